"""The list of models of an OpenAI-compatible server, and what a model's name and address say about it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from yarl import URL

from chatapp.domain.conversation import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

# Families that support images in all sizes, Gemma 3 but for its smallest two; and the usual words in names.
_IMAGE_MODELS = re.compile(
    r"gemma-?4|gemma-?3(?!n|.*\b(?:270m|1b)\b)|pixtral|llava|\bvl\b|vision|gemini|gpt-4o|gpt-5|claude", re.IGNORECASE
)
_LOCAL_NAMES = ("localhost", "host.docker.internal")  # the second is the host of a container


@dataclass(frozen=True, slots=True)
class Listing:
    """What the server lists, and the model that is chosen from it.

    Attributes:
        supports_images: None where the server does not list it.
    """

    models: tuple[str, ...]
    model: str
    context_tokens: int | None
    supports_images: bool | None = None


def listing(entries: Sequence[dict[str, Any]], name: str) -> Listing | None:
    """Choose ``name``, listed or not, else the first: llama.cpp takes every name, and Ollama short ones."""
    if not entries:
        return None
    models = tuple(str(entry["id"]) for entry in entries)
    model = name or models[0]
    entry = next((entry for entry in entries if entry["id"] == model), entries[0] if len(entries) == 1 else {})
    meta = entry.get("meta")
    sizes = [entry.get("max_model_len"), meta.get("n_ctx") if isinstance(meta, dict) else None]  # vLLM, llama.cpp
    context_tokens = next((size for size in sizes if isinstance(size, int) and size > 0), None)
    return Listing(models, model, context_tokens, _listed_image_support(entry))


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


def _listed_image_support(entry: dict[str, Any]) -> bool | None:
    match entry:
        case {"capabilities": list() as capabilities}:  # llama.cpp
            return "multimodal" in capabilities
        case {"capabilities": {"vision": bool() as vision}}:  # Mistral
            return vision
        case {"architecture": {"input_modalities": list() as modalities}}:  # OpenRouter
            return "image" in modalities
        case _:
            return None
