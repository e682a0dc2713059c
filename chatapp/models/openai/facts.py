"""What is known of a model behind an OpenAI-compatible server: what it lists of itself, and what its name tells."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from yarl import URL

from chatapp.domain.conversation import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

# Families that see in every size that is sold under the name, Gemma 3 but for its smallest two; and the usual words.
_SEES = re.compile(
    r"gemma-?4|gemma-?3(?!n|.*\b(?:270m|1b)\b)|pixtral|llava|\bvl\b|vision|gemini|gpt-4o|gpt-5|claude", re.IGNORECASE
)
_LOCAL_NAMES = ("localhost", "host.docker.internal")  # the second is how a container names its own computer


@dataclass(frozen=True, slots=True)
class Listing:
    """What the server offers, and what was chosen from it.

    Attributes:
        sees_images: None where the server does not say so.
    """

    models: tuple[str, ...]
    model: str
    context_tokens: int | None
    sees_images: bool | None = None


def listing(entries: Sequence[dict[str, Any]], wanted: str) -> Listing | None:
    """Choose ``wanted`` whether it is listed or not: llama.cpp takes every name, and Ollama short ones."""
    if not entries:
        return None
    models = tuple(str(entry["id"]) for entry in entries)
    model = wanted or models[0]
    entry = next((entry for entry in entries if entry["id"] == model), entries[0] if len(entries) == 1 else {})
    meta = entry.get("meta")
    sizes = [entry.get("max_model_len"), meta.get("n_ctx") if isinstance(meta, dict) else None]  # vLLM, llama.cpp
    context_tokens = next((size for size in sizes if isinstance(size, int) and size > 0), None)
    return Listing(models, model, context_tokens, _listed_sight(entry))


def sees_by_name(model: str) -> bool:
    """Whether a model of this name sees pictures, as far as a name tells."""
    return _SEES.search(model) is not None


def place_of(url: str) -> Place:
    """Return this computer for its own addresses, another server for all others."""
    host = URL(url).host or ""
    if host in _LOCAL_NAMES or host.endswith(".localhost"):
        return Place.THIS_COMPUTER
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return Place.OTHER_SERVER
    return Place.THIS_COMPUTER if address.is_loopback or address.is_unspecified else Place.OTHER_SERVER


def _listed_sight(entry: dict[str, Any]) -> bool | None:
    match entry:
        case {"capabilities": list() as capabilities}:  # llama.cpp
            return "multimodal" in capabilities
        case {"capabilities": {"vision": bool() as vision}}:  # Mistral
            return vision
        case {"architecture": {"input_modalities": list() as modalities}}:  # OpenRouter
            return "image" in modalities
        case _:
            return None
