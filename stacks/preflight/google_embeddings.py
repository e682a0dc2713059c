"""Check of Gemini's embeddings: a word is embedded, as the chat embeds documents, where the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.models.gemini.embedding_models import MULTI_REGIONS, default_model
from stacks.preflight.checks import Check, Finding, Project
from stacks.preflight.google_api import AbsentError, ForbiddenError, Json

if TYPE_CHECKING:
    from collections.abc import Iterable

WORD = "word"


def _embeddings(project: Project) -> Iterable[Finding]:
    settings = project.settings
    location = settings.model_location
    default = default_model(project=settings.project, location=location)
    model = settings.embeddings_model or default
    # As google-genai 3.4: gemini-embedding-001 has `predict`, later models `embedContent`.
    operation: str = "embedContent"
    body: Json = {"content": {"parts": [{"text": WORD}]}}
    if model == "gemini-embedding-001":
        operation, body = "predict", {"instances": [{"content": WORD}]}
    address = f"https://{_host(location)}/v1beta1/projects/{settings.project}/locations/{location}"
    try:
        project.api.read(f"{address}/publishers/google/models/{model}:{operation}", body)
    except AbsentError:
        mend = "set embeddingsModel to one that it has, or another vertexLocation"
        if model != default:
            mend = f"pulumi config set embeddingsModel {default}"
        yield (
            "note",
            f"Vertex AI has no embedding model {model} at {location}, so documents would be found by words alone: "
            f"{mend}",
        )
    except ForbiddenError:
        yield (
            "note",
            f"Your account may not use the embedding model {model} in the project {settings.project} (permission "
            "aiplatform.endpoints.predict), so it was not tried. make up gives the permission to the chat's own "
            "account; then the command of pulumi stack output status tries it.",
        )
    else:
        yield "pass", f"embedding model {model} at {location}"


def _host(location: str) -> str:
    """Return the host of Vertex AI for a location, as google-genai chooses it."""
    if location == "global":
        return "aiplatform.googleapis.com"
    if location in MULTI_REGIONS:
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{location}-aiplatform.googleapis.com"


CHECK = Check("embeddings", _embeddings, lambda it: it.embeddings == "gemini")
