"""Requests for a chat completion, with the optional parts that a server accepts."""

from __future__ import annotations

import base64
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from chatapp.domain.conversation import Role
from chatapp.domain.errors import CannotSee, ContextTooLong, ModelUnavailable
from chatapp.models.openai.refusals import NAMES, cannot_chat, refusal_of
from chatapp.models.prompt import alternating_turns, clean_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chatapp.domain.conversation import GenerationParameters, Image, Message
    from chatapp.models.failure import Failure
    from chatapp.models.openai.refusals import Refusal
    from chatapp.models.prompt import ChatTurn

_MAX_STEPS: Final = 16  # more than the parts that can give way, so that a server that refuses everything ends the loop
_LIMITS: Final = ("max_tokens", "max_completion_tokens", "")  # "" sends none; OpenAI's reasoning models take the second
_SMALLEST_LIMIT: Final = 16  # of OpenAI's Responses API, which gateways translate to
_LARGEST_MINIMUM: Final = 4096


@dataclass(frozen=True, slots=True)
class RequestForm:
    """Which optional parts a request has.

    Attributes:
        omitted: of `refusals.NAMES`; without "system", the system prompt precedes the first question.
        refused_values: of sampling parameters, each omitted with this value only.
        limit: the name of the parameter for the longest answer; "" for none.
        most, least: the range of its value, in tokens.
    """

    omitted: frozenset[str] = frozenset()
    refused_values: frozenset[tuple[str, float]] = frozenset()
    limit: str = _LIMITS[0]
    most: int | None = None
    least: int = 1

    def request(
        self, model: str, messages: Sequence[Message], parameters: GenerationParameters, context_tokens: int | None
    ) -> dict[str, Any]:
        """Return the request for an answer."""
        optional: dict[str, Any] = {"temperature": parameters.temperature, "top_p": parameters.top_p}
        optional = {name: value for name, value in optional.items() if (name, value) not in self.refused_values}
        if self.limit:
            # Without a limit, llama.cpp generates until its context is full. vLLM refuses a limit larger than the
            # context, and lowers one that does not fit with the prompt (both seen with 0.32).
            limits = [int(parameters.max_tokens), context_tokens, self.most]
            optional[self.limit] = max(min(limit for limit in limits if limit), self.least)
        optional["stream_options"] = {"include_usage": True}
        return {
            "model": model,
            "messages": chat_messages(messages, parameters, system_role="system" not in self.omitted),
            **{name: value for name, value in optional.items() if name not in self.omitted},
        }

    def after(self, refusal: Refusal, request: dict[str, Any]) -> RequestForm | None:
        """Return the form to try after a request in this one was refused; None if nothing is left to give way."""
        named = [name for name in NAMES if name in refusal.parts]
        for name in [*named, *NAMES]:
            without = self._without(name, refusal if name in named else None, request)
            if without is not None:
                return without
        return None

    def _without(self, name: str, refusal: Refusal | None, request: dict[str, Any]) -> RequestForm | None:
        """Return the form in which a part gives way; None if the request did not have it.

        Args:
            name: of the part.
            refusal: that names this part.
            request: that was refused.
        """
        if name == "limit":
            return self._with_other_limit(refusal, request)
        if name == "system":
            was_sent = any(message["role"] == "system" for message in request["messages"])
        else:
            was_sent = name in request
        if not was_sent:
            return None
        if refusal and refusal.of_value and name in {"temperature", "top_p"}:
            return dataclasses.replace(self, refused_values=self.refused_values | {(name, request[name])})
        return dataclasses.replace(self, omitted=self.omitted | {name})

    def _with_other_limit(self, refusal: Refusal | None, request: dict[str, Any]) -> RequestForm | None:
        if self.limit not in request:
            return None
        limit = request[self.limit]
        if refusal and refusal.of_value:
            smaller = [number for number in refusal.numbers if _SMALLEST_LIMIT <= number < limit]
            larger = [number for number in refusal.numbers if limit < number <= _LARGEST_MINIMUM]
            if smaller:
                return dataclasses.replace(self, most=int(max(smaller)), least=1)
            least = int(min(larger, default=max(_SMALLEST_LIMIT, 4 * limit)))
            if limit < least <= _LARGEST_MINIMUM and (self.most is None or least <= self.most):
                return dataclasses.replace(self, least=least)
        return dataclasses.replace(self, limit=_LIMITS[_LIMITS.index(self.limit) + 1])


class Dialect:
    """The variant of the API that one model's server speaks: as set, and as learned from its refusals.

    Args:
        ignores: "temperature", "top_p": parameters that are not sent.

    Attributes:
        form: of requests, as far as it is known.
        refuses_images: the server has refused images.
    """

    def __init__(self, ignores: Iterable[str] = ()) -> None:
        self.form = RequestForm(frozenset(ignores))
        self.refuses_images = False

    @property
    def max_answer_tokens(self) -> int | None:
        """The longest answer, learned from a refusal of a longer one; None while unknown."""
        return self.form.most

    @property
    def ignored(self) -> set[str]:
        """The sampling parameters that are not sent."""
        return {"temperature", "top_p"} & self.form.omitted


class Negotiation:
    """The attempts at one answer: each refusal of an optional part leads to another attempt without it.

    What a server names in a refusal is remembered at once. Where it names nothing, the parts give way one by one, and
    that is remembered if it leads to an answer.

    Attributes:
        form: of the next attempt.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.form = dialect.form
        self._dialect = dialect
        self._steps = 0
        self._original: Failure | None = None

    def after(self, error: Failure, request: dict[str, Any]) -> Failure | None:
        """Learn from a failed attempt; return the failure of the answer, None if another attempt may succeed."""
        if error.kind is CannotSee:
            self._dialect.refuses_images = True
        refusal = refusal_of(error.reported) if error.reported else None
        may_adapt = error.kind is ModelUnavailable or (error.kind is ContextTooLong and refusal)
        if (
            error.unknown_model
            or cannot_chat(error.reported)
            or refusal is None
            or not may_adapt
            or self._steps == _MAX_STEPS
        ):
            return error
        if error.kind is ContextTooLong and not refusal.is_output_limit:
            return error
        form = self.form.after(refusal, request)
        if form is None:
            return self._original or error
        self._steps += 1
        self.form = form
        if not refusal.parts:
            self._original = self._original or error
        elif self._original is None:
            self._dialect.form = form
        return None

    def succeed(self) -> None:
        """Remember the form of an attempt that led to an answer."""
        self._dialect.form = self.form


def chat_messages(
    messages: Iterable[Message], parameters: GenerationParameters, *, system_role: bool = True
) -> list[dict[str, Any]]:
    """Return the system prompt, if there is one, and alternating turns, all of it valid UTF-8.

    Without ``system_role``, the system prompt is the beginning of the first question.
    """
    prompt = clean_text(parameters.system_prompt)
    turns = alternating_turns(messages)
    if not prompt.strip():
        system = []
    elif system_role:
        system = [{"role": "system", "content": prompt}]
    else:
        system = []
        if turns and turns[0].role is Role.USER:
            text = "\n\n".join(text for text in (prompt, turns[0].text) if text.strip())
            turns[0] = dataclasses.replace(turns[0], text=text)
    return [*system, *({"role": turn.role.value, "content": _content(turn)} for turn in turns)]


def _content(turn: ChatTurn) -> str | list[dict[str, Any]]:
    # vLLM answers 400 to half a surrogate pair, as in a message that was cut in the middle of an emoji.
    text = clean_text(turn.text)
    if not turn.images:
        return text
    parts = [{"type": "image_url", "image_url": {"url": _data_url(image)}} for image in turn.images]
    return [*parts, {"type": "text", "text": text}] if text.strip() else parts


def _data_url(image: Image) -> str:
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"
