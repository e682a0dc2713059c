"""Error messages for wrong settings: one sentence each, with the key, its value, and what is allowed."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic_core import ErrorDetails

# What each pattern of `Settings` means, in words.
_PATTERNS = {
    "gcp:project": "the project's ID is needed (as `gcloud projects list` shows it), not its name or its number",
    "gcp:region": "a region is needed, such as us-central1 (not a zone)",
    "domain": "a name in small letters is needed, such as chat.example.org (without https://)",
    "oauthClientId": "the ID of an OAuth client is needed, which ends with .apps.googleusercontent.com",
    "imageRegistry": "a registry is needed, such as localhost:5001 or example.org/team",
    "volumeSize": "a size is needed, such as 5Gi",
    "storageClass": "the name of a storage class is needed (kubectl get storageclass)",
    "gemmaModel": "an owner and a name on Hugging Face are needed, such as google/gemma-3-12b-it",
    "gemmaRevision": "a commit, tag or branch of the weights on Hugging Face is needed",
    "otelEndpoint": "the address of a collector is needed, such as http://collector.monitoring.svc:4318",
    "gemmaUrl": "an address like http://ollama.example.org:11434 is needed",
    "embeddingsUrl": "an address like http://embeddings.example.org:8080 is needed",
    "embeddingsModel": "the name of an embedding model is needed, such as gemini-embedding-2",
    "geminiModel": "a model ID is needed, such as gemini-3.5-flash-lite",
    "buildRegion": "global or a region is needed, such as europe-west4",
    "vertexLocation": "global, eu, us or a region is needed, such as europe-west4",
    "databaseLocation": "a location of Firestore is needed, such as nam5, eur3 or europe-west4",
    "alertEmail": "an e-mail address is needed, such as ops@example.org",
    "network": "the name of a VPC network is needed",
    "subnetwork": "the name of a subnetwork of the VPC network is needed",
}


def unknown_key(key: str, keys: Iterable[str]) -> str:
    """Return the message for a key that is not a setting; ``keys`` are the settings."""
    close = difflib.get_close_matches(key, sorted(keys), n=1)
    own = ", ".join(sorted(name for name in keys if ":" not in name))
    hint = f"did you mean {close[0]}?" if close else f"the settings are: {own}"
    return f"{key} is not a setting of this stack; {hint}"


def invalid_value(problem: ErrorDetails, *, is_secret: bool) -> str:
    """Return the message for a value that its field refuses; a secret value is not repeated."""
    key = str(problem["loc"][0])
    value = "" if is_secret else f" is {str(problem['input'])[:80]!r}"
    return f"{key}{value}: {_allowed(key, problem)}"


def report(messages: Sequence[str]) -> str:
    """Return all messages as one text."""
    count = "One setting is" if len(messages) == 1 else f"{len(messages)} settings are"
    return f"{count} wrong; nothing was changed." + "".join(f"\n  - {message}" for message in messages)


def _allowed(key: str, problem: ErrorDetails) -> str:
    if problem["type"] == "string_pattern_mismatch":
        return _PATTERNS[key]
    if problem["type"] == "literal_error":
        return f"allowed: {problem['ctx']['expected'].replace(' or ', ', ').replace(chr(39), '')}"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    message = message.replace("Input should be", "it must be")
    return f"{message[:1].lower()}{message[1:]}"
