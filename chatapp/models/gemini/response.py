"""The parser of Gemini's streamed response: its text, its usage, and the error where there is no text.

No network and no clock; google.genai is not imported.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from chatapp.domain.conversation import FinishReason, Usage
from chatapp.domain.errors import Blocked, ModelError, ModelUnavailable
from chatapp.domain.sentences import Duration, Sentence
from chatapp.models import Finish, PictureDelta, TextDelta, ThinkingDelta
from chatapp.models.failure import raise_max_tokens
from chatapp.models.prompt import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.genai import types

    from chatapp.models import ModelEvent, TimeLimits

_BYTES_PER_TOKEN = 5  # of UTF-8, a high estimate: only ends an answer that Vertex AI does not count while it streams


@dataclass(slots=True)
class StreamedResponse:
    """The chunks of one stream so far.

    The end of the stream ends the answer, and not a finish reason: a proxy may write one into every chunk.

    Attributes:
        has_text: there is text other than white space.
        has_pictures: the model drew some.
        finish: Gemini's last finish reason; empty before the first.
        blocked_prompt: Gemini's reason for blocking the prompt; empty if it did not.
        prompt_tokens, answer_tokens, thinking_tokens: the last counts; None before the first.
    """

    has_text: bool = False
    has_pictures: bool = False
    finish: str = ""
    blocked_prompt: str = ""
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    thinking_tokens: int | None = None
    _text_bytes: int = 0
    _unfinished_chunks: int = 0  # with text and without a finish reason
    _went_on: bool = False  # text followed a finish reason

    @property
    def is_complete(self) -> bool:
        """Whether nothing is likely to follow: a finish reason at the end of the text, and not with each part of it."""
        return bool(self.finish) and self._unfinished_chunks > 0 and not self._went_on

    def add(self, chunk: types.GenerateContentResponse) -> list[TextDelta | ThinkingDelta | PictureDelta]:
        """Add a chunk and return what it holds, which may be nothing."""
        if counts := chunk.usage_metadata:  # running totals; Vertex AI sends some without any number
            self.prompt_tokens = _latest(counts.prompt_token_count, self.prompt_tokens)
            self.answer_tokens = _latest(counts.candidates_token_count, self.answer_tokens)
            self.thinking_tokens = _latest(counts.thoughts_token_count, self.thinking_tokens)
        if chunk.prompt_feedback and chunk.prompt_feedback.block_reason:
            self.blocked_prompt = str(chunk.prompt_feedback.block_reason.value)
        if not chunk.candidates:
            return []
        candidate = chunk.candidates[0]
        added = list(_added((candidate.content and candidate.content.parts) or []))
        self._went_on = self._went_on or bool(added and self.finish)
        for one in added:
            if isinstance(one, TextDelta):
                self.has_text = self.has_text or bool(one.text.strip())
                self._text_bytes += len(one.text.encode())
            self.has_pictures = self.has_pictures or isinstance(one, PictureDelta)
        has_reason = candidate.finish_reason and candidate.finish_reason.value != "FINISH_REASON_UNSPECIFIED"
        if candidate.finish_reason and has_reason and self.finish in {"", *_ENDS}:
            self.finish = str(candidate.finish_reason.value)
        self._unfinished_chunks += bool(added) and not has_reason
        return added

    @property
    def is_all_thinking(self) -> bool:
        """Whether thinking used up all tokens, so that there is no text."""
        nothing = not (self.has_text or self.has_pictures)
        return nothing and bool(self.thinking_tokens) and _ENDS.get(self.finish) is FinishReason.LENGTH

    @property
    def tokens(self) -> int:
        """Tokens of the answer so far: the server's count, else a low estimate."""
        return self._text_bytes // _BYTES_PER_TOKEN if self.answer_tokens is None else self.answer_tokens

    def end(self, max_tokens: int, most_tokens: int) -> Iterator[ModelEvent]:
        """Yield the usage and the finish reason.

        Args:
            max_tokens: for the error where there is no text, like the next one.
            most_tokens: up to which they can be raised.

        Raises:
            Blocked: the prompt or the answer was blocked.
            ModelUnavailable: the answer ended early.
            ModelError: it ended without any text.
        """
        if self.prompt_tokens is not None or self.answer_tokens is not None:
            yield Usage(prompt_tokens=self.prompt_tokens, completion_tokens=self.answer_tokens)
        if self.blocked_prompt:
            raise Blocked(
                _PROMPT_BLOCKED.get(self.blocked_prompt)
                or Sentence(
                    "Google rejected the question (reason: {reason}). Rephrase it.", reason=self.blocked_prompt
                ),
                detail=f"block_reason {self.blocked_prompt}",
            )
        if not self.finish:
            raise ModelUnavailable(
                Sentence("The answer of Gemini was cut off. Send the question again."),
                detail="the stream ended without a finish reason",
            )
        if self.finish not in _ENDS:
            raise Blocked(
                _ANSWER_STOPPED.get(self.finish)
                or Sentence(
                    "Gemini ended the answer early (reason: {reason}). Rephrase the question.", reason=self.finish
                ),
                detail=f"finish_reason {self.finish}",
            )
        if not (self.has_text or self.has_pictures):
            raise ModelError(self._no_text(max_tokens, most_tokens), detail=f"no text, finish_reason {self.finish}")
        yield Finish(_ENDS[self.finish])

    def timeout(self, limits: TimeLimits) -> ModelError:
        """Return the error of a response without new text for too long."""
        if self.has_text:
            return ModelUnavailable(
                Sentence(
                    "Gemini stopped in the middle of the answer: no text arrived for {time}. Send the question again.",
                    time=Duration(limits.between_tokens),
                )
            )
        return ModelUnavailable(
            Sentence(
                "Gemini did not start to answer within {time}. Send the question again, or shorten it.",
                time=Duration(limits.first_token),
            )
        )

    def _no_text(self, max_tokens: int, most_tokens: int) -> Sentence:
        if _ENDS[self.finish] is FinishReason.STOP:
            return Sentence("Gemini returned an empty answer. Send the question again, or rephrase it.")
        used_up = (
            Sentence(
                "Gemini used all its tokens for thinking ({thinking}); none were left for the answer.",
                thinking=self.thinking_tokens or 0,
            )
            if self.is_all_thinking
            else Sentence("Max tokens (now {most}) was used up before any text was written.", most=max_tokens)
        )
        return Sentence("{one} {next}", one=used_up, next=raise_max_tokens(max_tokens, most_tokens))


def _added(parts: Iterable[types.Part]) -> Iterator[TextDelta | ThinkingDelta | PictureDelta]:
    texts: list[str] = []
    for part in parts:
        if part.inline_data:  # a picture; of another kind of file, the chat can only say that there was one
            is_picture = (part.inline_data.mime_type or "").startswith("image/")
            data = part.inline_data.data or b""
            yield PictureDelta(base64.b64encode(data).decode() if is_picture else "")
        elif part.text and part.thought:
            yield ThinkingDelta(clean_text(part.text))
        elif part.text:
            texts.append(part.text)
    if text := clean_text("".join(texts)):
        yield TextDelta(text)


def _latest(new: int | None, old: int | None) -> int | None:
    return old if new is None else new


_ENDS: Final = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "CONTINUATION": FinishReason.LENGTH,  # "reached the per-request token limit" (google-genai 3.4, types.py)
}

_MALFORMED = Sentence("Gemini returned an answer that is not plain text and cannot be shown. Send the question again.")
_IMAGE_ANSWER = Sentence("Gemini tried to answer with an image and stopped. Ask for an answer in words.")
_ANSWER_STOPPED: Final = {
    "SAFETY": Sentence(
        "Gemini stopped: Google's safety filter classified the answer as unsafe. Rephrase the question."
    ),
    "RECITATION": Sentence("Gemini stopped: the answer was too similar to a published text. Rephrase the question."),
    "BLOCKLIST": Sentence(
        "Gemini stopped: the answer contained a word from a list of forbidden words. Rephrase the question."
    ),
    "PROHIBITED_CONTENT": Sentence(
        "Gemini stopped: Google prohibits content like this answer. Ask about something else."
    ),
    "SPII": Sentence("Gemini stopped: the answer may contain sensitive personal data. Ask without it."),
    "LANGUAGE": Sentence("Gemini stopped: it does not support this language. Ask in another language."),
    "MODEL_ARMOR": Sentence(
        "Gemini stopped: Model Armor, the content filter of this project, blocked the answer. "
        "Rephrase the question, or contact the operator of this chat."
    ),
    "ESCALATION": Sentence("Gemini stopped: one of Google's rules filtered out the question. Rephrase it."),
    "PUP_LIMITED_DISABLED": Sentence(
        "Google has limited or closed this account for violating its use policy. Contact the operator of this chat."
    ),
    "OTHER": Sentence("Gemini stopped without a reason. Send the question again, or rephrase it."),
    "MALFORMED_RESPONSE": _MALFORMED,
    "MALFORMED_FUNCTION_CALL": _MALFORMED,
    "UNEXPECTED_TOOL_CALL": _MALFORMED,
    "TOO_MANY_TOOL_CALLS": _MALFORMED,
    "MISSING_THOUGHT_SIGNATURE": _MALFORMED,
    "IMAGE_SAFETY": _IMAGE_ANSWER,
    "IMAGE_PROHIBITED_CONTENT": _IMAGE_ANSWER,
    "IMAGE_RECITATION": _IMAGE_ANSWER,
    "IMAGE_OTHER": _IMAGE_ANSWER,
    "NO_IMAGE": _IMAGE_ANSWER,
}
_PROMPT_BLOCKED: Final = {
    "SAFETY": Sentence("Google's safety filter classified the question as unsafe. Rephrase it."),
    "BLOCKLIST": Sentence("The question contains a word from a list of forbidden words. Rephrase it."),
    "PROHIBITED_CONTENT": Sentence("Google prohibits content like this question. Ask about something else."),
    "MODEL_ARMOR": Sentence(
        "Model Armor, the content filter of this project, blocked the question. Rephrase it, or "
        "contact the operator of this chat."
    ),
    "JAILBREAK": Sentence("Google classified the question as an attempt to bypass its rules. Rephrase it."),
    "IMAGE_SAFETY": Sentence("Google classified the question as unsafe for generating images. Rephrase it."),
    "OTHER": Sentence("Google rejected the question without a reason. Rephrase it, or ask in another language."),
}
