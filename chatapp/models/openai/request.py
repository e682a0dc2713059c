"""From a conversation to the request for a chat completion, in the words that a server takes."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from chatapp.domain.errors import CannotSee
from chatapp.models.prompt import alternating_turns, clean_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chatapp.domain.conversation import GenerationParameters, Image, Message
    from chatapp.models.openai.errors import ServerProblem
    from chatapp.models.prompt import ChatTurn


class Dialect:
    """What one server takes: as it is set, and as it was learned from its refusals.

    Args:
        ignores: "temperature", "top_p": what is not sent.

    Attributes:
        ignored: that, and what was refused.
        is_blind: pictures were refused.
    """

    def __init__(self, ignores: Iterable[str] = ()) -> None:
        self.ignored = set(ignores)
        self.is_blind = False
        self._limit = "max_tokens"

    def question(
        self, model: str, messages: Sequence[Message], parameters: GenerationParameters, context_tokens: int | None
    ) -> dict[str, Any]:
        """Return the request for an answer."""
        # Always with a limit: without it llama.cpp generates until its context is full. vLLM refuses more than the
        # context holds, and shortens by itself what does not fit beside the prompt (both seen with 0.32).
        max_tokens = int(parameters.max_tokens)
        sampling = {"temperature": parameters.temperature, "top_p": parameters.top_p}
        return {
            "model": model,
            "messages": chat_messages(messages, parameters),
            **{name: value for name, value in sampling.items() if name not in self.ignored},
            self._limit: min(max_tokens, context_tokens or max_tokens),
            "stream_options": {"include_usage": True},
        }

    def one_token(self, model: str) -> dict[str, Any]:
        """Return the request that proves that the model generates."""
        return {"model": model, "messages": [{"role": "user", "content": "Hi"}], self._limit: 1}

    def gives_way(self, problem: ServerProblem) -> bool:
        """Note what the server does not take, and say whether there is another way to ask that it may take."""
        if problem.kind is CannotSee:
            self.is_blind = True
        refused = problem.refused_parameter
        if refused in {"temperature", "top_p"} and refused not in self.ignored:
            self.ignored.add(refused)
            return True
        if refused == self._limit == "max_tokens":
            self._limit = "max_completion_tokens"  # OpenAI's own models that think
            return True
        return False


def chat_messages(messages: Iterable[Message], parameters: GenerationParameters) -> list[dict[str, Any]]:
    """Translate a conversation: the system prompt if there is one, then turns that alternate, all of it valid UTF-8."""
    prompt = clean_text(parameters.system_prompt)
    system = [{"role": "system", "content": prompt}] if prompt.strip() else []
    return [*system, *({"role": turn.role.value, "content": _content(turn)} for turn in alternating_turns(messages))]


def _content(turn: ChatTurn) -> str | list[dict[str, Any]]:
    # vLLM answers 400 to half a surrogate pair, which a message cut in the middle of an emoji ends with.
    text = clean_text(turn.text)
    if not turn.images:
        return text
    parts = [{"type": "image_url", "image_url": {"url": _data_url(image)}} for image in turn.images]
    return [*parts, {"type": "text", "text": text}] if text.strip() else parts


def _data_url(image: Image) -> str:
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"
