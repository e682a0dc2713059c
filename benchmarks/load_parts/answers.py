"""Answers of the fake backend, from which a reader detects missing, repeated, wrong or late tokens.

The clock is ``time.monotonic``, which all processes of a computer share on Linux and macOS, so the text
contains its times. An answer starts with a token of the question's name, the number of messages in the prompt and the
time. Tokens of 9 characters follow, with their number and the time since the first. The last token is a checksum.
"""

from __future__ import annotations

import zlib

FIRST_CHARS = 31
TOKEN_CHARS = 9
TICK_SECONDS = 1e-4  # what the time since the first token is counted in
ENDING_MARK = "="
SEPARATORS = " \n\"<é \\&ש 'م $*😀"  # one begins each token: what escaping and encoding get wrong


class WrongAnswer(Exception):
    """An answer is not what the backend sent."""


def first_token(question: str, messages: int, sent: float) -> str:
    """Return the first token of the answer to a question that begins with its name of 8 characters."""
    return f"{question[:8]:8} {messages:05d} {round(sent * 1e6):016d}"


def next_token(number: int, since_first: float) -> str:
    """Return a later token; ``since_first`` in seconds."""
    return f"{SEPARATORS[number % len(SEPARATORS)]}{number:03x}{round(since_first / TICK_SECONDS):05x}"


def last_token(before: str) -> str:
    """Return the end of an answer, given all that comes before it."""
    return f"{ENDING_MARK}{zlib.crc32(before.encode()):08x}"


def tokens_of(question: str) -> int:
    """Return how many tokens answer a question: 100 to 200, so that people do not move in step."""
    return 100 + zlib.crc32(question[:8].encode()) % 101


class Answer:
    """An answer while it arrives.

    Args:
        question: begins with a name of 8 characters.
        messages: how many the prompt has.
        tokens_per_second: what the backend promises.

    Attributes:
        text: all that has arrived.
        tokens: how many have arrived.
        sent: when the backend sent the first token.
        seen: when its text was there, 0.0 before.
        lags: seconds from sending to arrival of each token but the last, which carries no time.
        lates: seconds by which the backend was behind its own promise, for each of these tokens but the first.
    """

    def __init__(self, question: str, messages: int, tokens_per_second: float) -> None:
        self.text = ""
        self.tokens = 0
        self.sent = 0.0
        self.seen = 0.0
        self.lags: list[float] = []
        self.lates: list[float] = []
        self._question = question
        self._messages = messages
        self._tokens_per_second = tokens_per_second

    def grow(self, text: str, now: float) -> None:
        """Take the text as it is now.

        Raises:
            WrongAnswer: it cannot be the backend's.
        """
        if not text.startswith(self.text[-TOKEN_CHARS:], max(0, len(self.text) - TOKEN_CHARS)):
            raise WrongAnswer(f"{self.text[-40:]!r} became {text[-60:]!r}")
        self.text = text
        try:
            if not self.tokens and len(text) >= FIRST_CHARS:
                self.sent, self.seen, self.tokens = int(text[15:FIRST_CHARS]) / 1e6, now, 1
                self.lags.append(now - self.sent)
            while self.tokens and (start := self._position()) + TOKEN_CHARS <= len(text):
                if text[start] != ENDING_MARK:
                    since_first = int(text[start + 4 : start + TOKEN_CHARS], 16) * TICK_SECONDS
                    self.lags.append(now - self.sent - since_first)
                    self.lates.append(since_first - self.tokens / self._tokens_per_second)
                self.tokens += 1
        except ValueError as error:
            raise WrongAnswer(f"{text[-60:]!r}: {error}") from error

    def check(self) -> None:
        """Compare the whole answer with what was sent and asked.

        Raises:
            WrongAnswer: a character is missing, doubled or wrong, or it answers something else.
        """
        before, ending = self.text[:-TOKEN_CHARS], self.text[-TOKEN_CHARS:]
        if ending != last_token(before):
            raise WrongAnswer(f"{self.tokens} tokens end with {self.text[-60:]!r}: not what was sent")
        if self.text[:8] != self._question[:8] or self.tokens != tokens_of(self._question):
            raise WrongAnswer(f"{self._question!r} got the answer {self.text[:60]!r} of {self.tokens} tokens")
        if int(self.text[9:14]) != self._messages:
            raise WrongAnswer(f"the model saw {int(self.text[9:14])} messages of {self._messages}")

    def _position(self) -> int:
        return FIRST_CHARS + (self.tokens - 1) * TOKEN_CHARS
