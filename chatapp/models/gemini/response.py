"""The parser of Gemini's streamed response: its text, its usage, and the error where there is no text.

No network and no clock; google.genai is not imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from chatapp.domain.conversation import FinishReason, Usage
from chatapp.domain.errors import Blocked, ModelError, ModelUnavailable
from chatapp.domain.sentences import Duration, Sentence
from chatapp.models import Finish
from chatapp.models.prompt import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.genai import types

    from chatapp.models import ModelEvent, TimeLimits

_BYTES_PER_TOKEN = 5  # of UTF-8, a high estimate: only ends an answer that Vertex AI does not count while it streams


@dataclass(slots=True)
class StreamedResponse:
    """The chunks of one stream so far.

    Attributes:
        has_text: there is text other than white space.
        finish: Gemini's finish reason; empty before the end.
        blocked_prompt: Gemini's reason for blocking the prompt; empty if it did not.
        prompt_tokens, answer_tokens, thinking_tokens: the last counts; None before the first.
    """

    has_text: bool = False
    finish: str = ""
    blocked_prompt: str = ""
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    thinking_tokens: int | None = None
    _text_bytes: int = 0

    def add(self, chunk: types.GenerateContentResponse) -> str:
        """Add a chunk and return its text, which may be empty."""
        if counts := chunk.usage_metadata:  # running totals; Vertex AI sends some without any number
            self.prompt_tokens = _latest(counts.prompt_token_count, self.prompt_tokens)
            self.answer_tokens = _latest(counts.candidates_token_count, self.answer_tokens)
            self.thinking_tokens = _latest(counts.thoughts_token_count, self.thinking_tokens)
        if chunk.prompt_feedback and chunk.prompt_feedback.block_reason:
            self.blocked_prompt = str(chunk.prompt_feedback.block_reason.value)
        if not chunk.candidates:
            return ""
        candidate = chunk.candidates[0]
        if candidate.finish_reason and candidate.finish_reason.value != "FINISH_REASON_UNSPECIFIED":
            self.finish = str(candidate.finish_reason.value)
        parts = (candidate.content and candidate.content.parts) or []
        text = clean_text("".join(part.text for part in parts if part.text and not part.thought))
        self.has_text = self.has_text or bool(text.strip())
        self._text_bytes += len(text.encode())
        return text

    @property
    def is_all_thinking(self) -> bool:
        """Whether thinking used up all tokens, so that there is no text."""
        return not self.has_text and bool(self.thinking_tokens) and _ENDS.get(self.finish) is FinishReason.LENGTH

    @property
    def tokens(self) -> int:
        """Tokens of the answer so far: the server's count, else a low estimate."""
        return self._text_bytes // _BYTES_PER_TOKEN if self.answer_tokens is None else self.answer_tokens

    def end(self, max_tokens: int) -> Iterator[ModelEvent]:
        """Yield the usage and the finish reason; ``max_tokens`` is for the error where there is no text.

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
        if not self.has_text:
            raise ModelError(self._no_text(max_tokens), detail=f"no text, finish_reason {self.finish}")
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

    def _no_text(self, max_tokens: int) -> Sentence:
        if _ENDS[self.finish] is FinishReason.STOP:
            return Sentence("Gemini returned an empty answer. Send the question again, or rephrase it.")
        if self.is_all_thinking:
            return Sentence(
                "Gemini used all its tokens for thinking ({thinking}); none were left for the "
                "answer. Raise Max tokens (now {most}).",
                thinking=self.thinking_tokens or 0,
                most=max_tokens,
            )
        return Sentence(
            "Max tokens (now {most}) was used up before any text was written. Raise Max tokens.", most=max_tokens
        )


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
