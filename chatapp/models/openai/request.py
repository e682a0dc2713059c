"""Requests for a chat completion, with the parameters that a server supports."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from chatapp.domain.errors import CannotSee
from chatapp.models.prompt import alternating_turns, clean_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chatapp.domain.conversation import GenerationParameters, Image, Message
    from chatapp.models.failure import Failure
    from chatapp.models.prompt import ChatTurn


class Dialect:
    """The variant of the API that one server speaks: as set, and as learned from its refusals.

    Args:
        ignores: "temperature", "top_p": parameters that are not sent.

    Attributes:
        ignored: these, and those that the server has refused.
        refuses_images: the server has refused images.
    """

    def __init__(self, ignores: Iterable[str] = ()) -> None:
        self.ignored = set(ignores)
        self.refuses_images = False
        self._limit = "max_tokens"

    def chat_request(
        self, model: str, messages: Sequence[Message], parameters: GenerationParameters, context_tokens: int | None
    ) -> dict[str, Any]:
        """Return the request for an answer."""
        # Always with a limit: without one, llama.cpp generates until its context is full. vLLM refuses a limit larger
        # than the context, and lowers one that does not fit with the prompt (both seen with 0.32).
        max_tokens = int(parameters.max_tokens)
        sampling = {"temperature": parameters.temperature, "top_p": parameters.top_p}
        return {
            "model": model,
            "messages": chat_messages(messages, parameters),
            **{name: value for name, value in sampling.items() if name not in self.ignored},
            self._limit: min(max_tokens, context_tokens or max_tokens),
            "stream_options": {"include_usage": True},
        }

    def probe_request(self, model: str) -> dict[str, Any]:
        """Return the request of a probe, which generates one token."""
        return {"model": model, "messages": [{"role": "user", "content": "Hi"}], self._limit: 1}

    def adapts_to(self, error: Failure) -> bool:
        """Learn from a refusal; return whether the request can be repeated in another way."""
        if error.kind is CannotSee:
            self.refuses_images = True
        refused = error.refused_parameter
        if refused in {"temperature", "top_p"} and refused not in self.ignored:
            self.ignored.add(refused)
            return True
        if refused == self._limit == "max_tokens":
            self._limit = "max_completion_tokens"  # OpenAI's reasoning models
            return True
        return False


def chat_messages(messages: Iterable[Message], parameters: GenerationParameters) -> list[dict[str, Any]]:
    """Return the system prompt, if there is one, and alternating turns, all of it valid UTF-8."""
    prompt = clean_text(parameters.system_prompt)
    system = [{"role": "system", "content": prompt}] if prompt.strip() else []
    return [*system, *({"role": turn.role.value, "content": _content(turn)} for turn in alternating_turns(messages))]


def _content(turn: ChatTurn) -> str | list[dict[str, Any]]:
    # vLLM answers 400 to half a surrogate pair, as in a message that was cut in the middle of an emoji.
    text = clean_text(turn.text)
    if not turn.images:
        return text
    parts = [{"type": "image_url", "image_url": {"url": _data_url(image)}} for image in turn.images]
    return [*parts, {"type": "text", "text": text}] if text.strip() else parts


def _data_url(image: Image) -> str:
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"
