"""The list of models of an OpenAI-compatible server, and what a model's name and address say about it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from yarl import URL

from chatapp.domain.conversation import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Families that support images in all sizes, Gemma 3 but for its smallest two; and the usual words in names.
_IMAGE_MODELS = re.compile(
    r"gemma-?4|gemma-?3(?!n|.*\b(?:270m|1b)\b)|pixtral|llava|\bvl\b|vision|gemini|gpt-4o|gpt-5|claude", re.IGNORECASE
)
# Words in the names of models for embeddings, ranking, speech, images, moderation and plain completion. Servers list
# them among the others: Ollama the newest first, OpenAI in no order.
_NOT_FOR_CHAT = re.compile(
    r"embed|\bbge\b|\b[gm]?e5\b|\bgte\b|minilm|mpnet|colbert|\bsplade|rerank|cross-encoder|\bclip\b|siglip"
    r"|whisper|\btts\b|\bstt\b|\basr\b|speech|transcribe|parakeet|kokoro|voxtral-.*-tts|\bbark\b|realtime|\baudio\b"
    r"|dall-?e|stable-?diffusion|\bsdxl?\b|\bflux\b|\bimage\b|imagen|\bveo\b|\bsora\b|qwen-image|\bvideo\b|lyria"
    r"|moderation|llama-?guard|shieldgemma|prompt-guard|\baqa\b|babbage|davinci-00|instruct-0914",
    re.IGNORECASE,
)
SMALL_PARAMETERS = 600_000_000
_SMALL_NAMES = re.compile(r"(?<![\d.])(?:[1-5]?\d{2}m|0\.[1-5]\d*b)\b", re.IGNORECASE)  # "270m", "0.5b"
_NOT_FOR_CHAT_TYPES = {  # Together, LM Studio, LiteLLM, DeepInfra
    "embedding", "embeddings", "rerank", "reranker", "image", "image_generation", "audio", "audio_speech",
    "audio_transcription", "transcribe", "moderation", "video", "text-to-image", "text-to-speech",
    "automatic-speech-recognition",
}  # fmt: skip
# vLLM and SGLang; OpenRouter, Together, Fireworks; Groq; Mistral; llama-cpp-python.
_CONTEXT_FIELDS = ("max_model_len", "context_length", "context_window", "max_context_length", "n_ctx")
# These servers list exactly the names that they accept. Others take aliases, or every name.
_COMPLETE_LISTS = {"vllm", "sglang"}
_LOCAL_NAMES = ("localhost", "host.docker.internal")  # the second is the host of a container


@dataclass(frozen=True, slots=True)
class Listing:
    """What the server lists, and the model that is chosen from it.

    Attributes:
        model: "" where none of them can chat.
        context_tokens: None where the server does not list it.
        supports_images: None where the server does not list it.
        lacks_model: the server lists every name that it accepts, and not this one.
        continues: the server can continue an answer at its last letter (vLLM's ``continue_final_message``).
        is_small: the model has at most `SMALL_PARAMETERS`, as the server lists them, or its name or its file's says.
    """

    models: tuple[str, ...]
    model: str
    context_tokens: int | None = None
    supports_images: bool | None = None
    lacks_model: bool = False
    continues: bool = False
    is_small: bool = False


def listing(
    entries: Sequence[dict[str, Any]],
    name: str,
    *,
    loaded: Iterable[str] = (),
    current: str = "",
    cannot_chat: Iterable[str] = (),
) -> Listing:
    """Choose ``name``, listed or not, else one that can chat.

    Args:
        entries: of the list; each has an ``id``.
        name: as set; "" for none.
        loaded: models that are in memory: one of them spares the server a load.
        current: the model that was chosen before, which is kept while it is listed.
        cannot_chat: models that have refused to.
    """
    models = tuple(str(entry["id"]) for entry in entries)
    model = name
    if not model:
        able = [str(entry["id"]) for entry in entries if can_chat(entry) and entry["id"] not in set(cannot_chat)]
        in_memory = set(loaded)
        model = current if current in able else next((one for one in able if one in in_memory), "".join(able[:1]))
    entry = next((entry for entry in entries if entry["id"] == model), entries[0] if len(entries) == 1 else {})
    return Listing(
        models,
        model,
        _context_tokens(entry),
        _listed_image_support(entry),
        lacks_model=bool(entries) and model not in models and {e.get("owned_by") for e in entries} <= _COMPLETE_LISTS,
        continues=entry.get("owned_by") == "vllm",
        is_small=_is_small(entry | {"id": model}),
    )


def supports_images_by_name(model: str) -> bool:
    """Return whether the name is one of a model that supports images."""
    return _IMAGE_MODELS.search(model) is not None


def place_of_url(url: str) -> Place:
    """Return where the server of an address runs: on this computer or on another server."""
    host = URL(url).host or ""
    if host in _LOCAL_NAMES or host.endswith(".localhost"):
        return Place.THIS_COMPUTER
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return Place.OTHER_SERVER
    return Place.THIS_COMPUTER if address.is_loopback or address.is_unspecified else Place.OTHER_SERVER


def can_chat(entry: dict[str, Any]) -> bool:
    """Return whether a listed model can chat: as the server says, else by its name."""
    match entry:
        case {"capabilities": {"completion_chat": bool() as chats}}:  # Mistral
            return chats
        case {"supports_chat": bool() as chats}:  # Fireworks
            return chats
        case {"capabilities": list() as capabilities} if capabilities:  # llama.cpp, Ollama
            return bool({"completion", "chat", "multimodal"} & {str(one) for one in capabilities})
        case {"architecture": {"output_modalities": list() as modalities}} if modalities:  # OpenRouter
            return "text" in modalities and _NOT_FOR_CHAT.search(str(entry["id"])) is None
        case {"type": str() as kind} | {"mode": str() as kind} | {"task": str() as kind}:
            if kind.lower() in _NOT_FOR_CHAT_TYPES:
                return False
    return _NOT_FOR_CHAT.search(str(entry["id"]).replace("_", "-")) is None


def _context_tokens(entry: dict[str, Any]) -> int | None:
    meta = entry.get("meta")  # llama.cpp
    sizes = [entry.get(field) for field in _CONTEXT_FIELDS] + [meta.get("n_ctx") if isinstance(meta, dict) else None]
    return next((size for size in sizes if isinstance(size, int) and size > 0), None)


def _is_small(entry: dict[str, Any]) -> bool:
    match entry:
        case {"meta": {"n_params": int() as parameters}}:  # llama.cpp
            return parameters <= SMALL_PARAMETERS
    # vLLM has the file's name as "root".
    return any(_SMALL_NAMES.search(str(entry.get(field, "")).replace("_", "-")) for field in ("id", "root"))


def _listed_image_support(entry: dict[str, Any]) -> bool | None:
    match entry:
        case {"capabilities": list() as capabilities}:  # llama.cpp, Ollama
            return bool({"multimodal", "vision"} & {str(one) for one in capabilities})
        case {"capabilities": {"vision": bool() as vision}}:  # Mistral
            return vision
        case {"architecture": {"input_modalities": list() as modalities}}:  # OpenRouter
            return "image" in modalities
        case {"type": "vlm"}:  # LM Studio
            return True
        case _:
            return None
