"""What local servers say in their own APIs, beside the OpenAI-compatible one: what is loaded, and with which context.

Only requests that load nothing. The formats are those of the servers' documentation:
https://github.com/ollama/ollama/blob/main/docs/api.md, https://lmstudio.ai/docs/developer/rest/endpoints,
https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md, https://github.com/mostlygeek/llama-swap
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    Reader = Callable[[Sequence[dict[str, Any]], str], Awaitable["NativeState | None"]]

TIMEOUT_SECONDS: Final = 2.0
OLLAMA_CONTEXT: Final = 4096
"""What Ollama loads a model with where neither the model nor the server sets another size and the GPU is small. It is
the smallest of its defaults (https://docs.ollama.com/context-length): a larger one is seen once the model is loaded."""

_MOST_SHOWN = 8  # models of Ollama that are looked at to find one that can chat
_NUM_CTX = re.compile(r"^\s*num_ctx\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class NativeState:
    """What a server says about its models.

    Attributes:
        entries: of its list, by the id in the OpenAI-compatible list: more fields for `listing`.
        loaded: ids of the models in memory; None where the server does not say.
        context_tokens: of models, by id: as loaded, or as they would be loaded.
        cuts_prompts: it silently cuts off the beginning of a prompt that does not fit.
    """

    entries: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    loaded: frozenset[str] | None = None
    context_tokens: Mapping[str, int] = field(default_factory=dict)
    cuts_prompts: bool = False


_UNKNOWN = NativeState()


class NativeApi:
    """Finds out which server it is, once, and asks it about its models.

    Args:
        get: requests a path below the server's root, and returns the JSON of a successful answer, else None. With
            ``post``, posts that.
    """

    def __init__(self, get: Callable[..., Awaitable[Any]]) -> None:
        self._get = get
        self._reader: Reader | None = None
        self._was_identified = False
        self._seen_contexts: dict[str, int] = {}

    def forget(self) -> None:
        """Find out again which server it is, as after it was unreachable."""
        self._reader, self._was_identified = None, False

    async def state(self, entries: Sequence[dict[str, Any]], model: str) -> NativeState:
        """Return what the server says. Never raises; takes a few seconds at most.

        Args:
            entries: of the OpenAI-compatible list.
            model: the model that will be used; "" if it is still to be chosen.
        """
        try:
            async with asyncio.timeout(2 * TIMEOUT_SECONDS):
                if self._was_identified:
                    return (await self._reader(entries, model) if self._reader else None) or _UNKNOWN
                readers = self._candidates(entries)
                states = await asyncio.gather(*(reader(entries, model) for reader in readers))
        except TimeoutError:
            return _UNKNOWN
        self._was_identified = True
        for reader, state in zip(readers, states, strict=True):
            if state is not None:
                self._reader = reader
                return state
        return _UNKNOWN

    def _candidates(self, entries: Sequence[dict[str, Any]]) -> list[Reader]:
        owners = {entry.get("owned_by") for entry in entries}
        if owners and owners <= {"vllm", "sglang"}:
            return []  # one model, which is loaded, and whose context is in the list
        if "llamacpp" in owners:
            return [self._llama_cpp]
        if "llama-swap" in owners:
            return [self._llama_swap]
        return [self._ollama, self._lm_studio, self._llama_cpp, self._llama_swap]

    async def _ollama(self, entries: Sequence[dict[str, Any]], model: str) -> NativeState | None:
        running = _items(await self._get("/api/ps"), "models")
        if running is None:
            return None
        ids = [str(entry["id"]) for entry in entries]
        loaded: set[str] = set()
        for item in running:
            name = str(item.get("model") or item.get("name") or "")
            same = {one for one in [*ids, model] if one and _tagged(one) == _tagged(name)}
            loaded |= same or {name}
            if _positive(size := item.get("context_length")):
                self._seen_contexts.update(dict.fromkeys(same or {name}, size))
        shown = [model] if model else ids[:_MOST_SHOWN]
        details = dict(zip(shown, await asyncio.gather(*(self._shown(name) for name in shown)), strict=True))
        contexts = {name: self._ollama_context(name, detail) for name, detail in details.items() if detail}
        return NativeState(
            entries={
                name: {"capabilities": detail["capabilities"]}
                for name, detail in details.items()
                if isinstance(detail.get("capabilities"), list)
            },
            loaded=frozenset(loaded),
            context_tokens=contexts
            | {name: self._seen_contexts[name] for name in shown if name in self._seen_contexts},
            cuts_prompts=True,
        )

    async def _shown(self, name: str) -> dict[str, Any]:
        detail = await self._get("/api/show", post={"model": name})
        return detail if isinstance(detail, dict) else {}

    def _ollama_context(self, name: str, detail: dict[str, Any]) -> int:
        """Return the context that the model would be loaded with; see `OLLAMA_CONTEXT`."""
        info = detail.get("model_info")
        trained = [value for key, value in info.items() if key.endswith(".context_length")] if _is_dict(info) else []
        largest = next((size for size in trained if _positive(size)), None)
        if detail.get("remote_model") and largest:  # one of Ollama's cloud, which has its full size there
            return largest
        set_here = _NUM_CTX.search(str(detail.get("parameters") or ""))
        size = int(set_here[1]) if set_here else self._seen_contexts.get(name, OLLAMA_CONTEXT)
        return min(size, largest or size)

    async def _lm_studio(self, _entries: Sequence[dict[str, Any]], _model: str) -> NativeState | None:
        listed = _items(await self._get("/api/v0/models"), "data")
        models = {str(item["id"]): item for item in listed or () if "state" in item and "id" in item}
        if not models:
            return None
        # A model that is not loaded gets the size of its own settings, which nothing tells.
        loaded = {name: item for name, item in models.items() if item["state"] == "loaded"}
        return NativeState(
            entries={name: {"type": item.get("type")} for name, item in models.items()},
            loaded=frozenset(loaded),
            context_tokens={
                name: item["loaded_context_length"]
                for name, item in loaded.items()
                if _positive(item.get("loaded_context_length"))
            },
        )

    async def _llama_cpp(self, entries: Sequence[dict[str, Any]], _model: str) -> NativeState | None:
        # The router of llama-server lists every model with its state.
        states = {str(entry["id"]): status for entry in entries if _is_dict(status := entry.get("status"))}
        if states:
            loaded = {name for name, status in states.items() if status.get("value") in {"loaded", "loading"}}
            return NativeState(loaded=frozenset(loaded))
        props = await self._get("/props")
        settings = props.get("default_generation_settings") if _is_dict(props) else None
        if not _is_dict(settings):
            return None
        size = settings.get("n_ctx")  # of one slot
        ids = [str(entry["id"]) for entry in entries]
        contexts = dict.fromkeys(ids, size) if _positive(size) else {}
        return NativeState(loaded=frozenset(ids), context_tokens=contexts)

    async def _llama_swap(self, _entries: Sequence[dict[str, Any]], _model: str) -> NativeState | None:
        running = _items(await self._get("/running"), "running")
        if running is None:
            return None
        return NativeState(loaded=frozenset(str(item.get("model")) for item in running))


def _tagged(name: str) -> str:
    """Return Ollama's full name of a model, where "latest" need not be written."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _items(body: object, name: str) -> list[dict[str, Any]] | None:
    items = body.get(name) if isinstance(body, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else None


def _is_dict(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _positive(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and value > 0
