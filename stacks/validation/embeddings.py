"""Conflicts between the settings of embeddings, and with platform and residency."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stacks.settings import Settings
    from stacks.validation.conflicts import Conflict

OF_A_SERVER = ("embeddings_url", "embeddings_api_key", "embeddings_place")
OF_ANY = (*OF_A_SERVER, "embeddings_model", "embeddings_elsewhere")


def embeddings_conflicts(settings: Settings) -> Iterator[Conflict]:
    """Yield each setting without effect, each that is missing, and a server whose place residency cannot know."""
    kind = settings.embeddings
    for name in {"off": OF_ANY, "gemini": OF_A_SERVER, "server": ()}[kind]:
        field = type(settings).model_fields[name]
        if getattr(settings, name) != field.default:
            key = str(field.alias)
            yield (key, "embeddings"), f"{key} has no effect while embeddings is {kind}: remove it, or set embeddings"
    if kind == "server" and not settings.embeddings_url:
        yield (
            ("embeddings", "embeddingsUrl"),
            "embeddings is server, and embeddingsUrl is not set: set it to the address of a server with "
            "/v1/embeddings (Gemma's vLLM has none)",
        )
    if kind == "server" and settings.on_gcp and settings.bound_to:
        yield (
            ("embeddings", "residency"),
            "embeddings is server, and the stack cannot know where that server is: set embeddings to gemini, whose "
            f"location is {settings.model_location}, or remove residency",
        )
    if kind == "gemini" and not settings.on_gcp and not settings.gemini_api_key.get_secret_value():
        yield (
            ("embeddings", "geminiApiKey", "platform"),
            "embeddings is gemini, which needs a key on platform kubernetes: pulumi config set --secret geminiApiKey",
        )
