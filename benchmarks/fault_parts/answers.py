"""Questions and answers that contain checksums, so that missing, changed or mixed-up text is detected.

A question is its name, its length and a checksum. Its answer is the name, the time at which the backend sent it (by the
clock that all processes of a computer share), words that follow from the name, and a checksum of all that.
"""

from __future__ import annotations

import random
import zlib

NAME_CHARS = 11
FIRST_CHARS = NAME_CHARS + 1 + 16  # of an answer: the name and the time in microseconds
WORDS = ("lamp", "winter", "keeper", "storm", "שלום", "bread", "é\\&<b>", "letter", "tide", "boat", "😀", "`rope`")
SHORT, LONG = (3, 8), (40, 80)  # words


class WrongText(Exception):
    """A question or an answer differs from what was written."""


def name_of(seed: int, number: int) -> str:
    """Return the name of a question, which no other question of this run has."""
    return f"{seed % 0xFFFF:04x}-{number:06d}"


def question_of(name: str, *, is_long: bool) -> str:
    """Return the question of this name; ``is_long`` asks for an answer that takes seconds."""
    text = f"{name} {'long' if is_long else 'short'} What did the keeper of the lighthouse do that winter?"
    return f"{text} {_checksum(text)}"


def document_of(name: str) -> str:
    """Return the text of the document that belongs to the question of this name."""
    return f"{name} {' '.join(random.Random(f'document {name}').choices(WORDS, k=200))}"


def question_name(question: str) -> str:
    """Return the name of a question.

    Raises:
        WrongText: it is not a question of this benchmark.
    """
    text, _, checksum = question.rpartition(" ")
    if checksum != _checksum(text):
        raise WrongText(f"unknown question {question[:120]!r}")
    return question[:NAME_CHARS]


def is_long(question: str) -> bool:
    """Return whether the answer takes seconds."""
    return question[NAME_CHARS:].startswith(" long ")


def tokens_of(question: str, sent: float) -> list[str]:
    """Return the answer that is sent at this time, token by token."""
    name = question[:NAME_CHARS]
    chance = random.Random(name)
    words = [f" {chance.choice(WORDS)}" for _ in range(chance.randint(*(LONG if is_long(question) else SHORT)))]
    before = [f"{name} {round(sent * 1e6):016d}", *words]
    return [*before, f" {_checksum(''.join(before))}"]


def remaining_tokens(question: str, before: str) -> list[str]:
    """Return what follows of an answer of which some whole tokens are there."""
    tokens = tokens_of(question, sent_at(before))
    while before and tokens:
        before = before.removeprefix(tokens.pop(0))
    return tokens


def sent_at(answer: str) -> float:
    """Return when the backend sent an answer of which at least the first token is there."""
    return int(answer[NAME_CHARS + 1 : FIRST_CHARS]) / 1e6


def check(question: str, answer: str, *, is_whole: bool) -> None:
    """Compare an answer, or as much of it as there is, with what the backend sent to this question.

    Raises:
        WrongText: a character is missing, doubled or wrong, or it answers something else.
    """
    try:
        expected = "".join(tokens_of(question, sent_at(answer))) if answer else ""
    except ValueError:
        expected = ""
    if answer != expected if is_whole or not expected else not expected.startswith(answer):
        raise WrongText(f"{question[:NAME_CHARS]} has the answer {answer[:60]!r} ... {answer[-20:]!r}")
    if is_whole and not answer:
        raise WrongText(f"{question[:NAME_CHARS]} has an empty answer that counts as whole")


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
