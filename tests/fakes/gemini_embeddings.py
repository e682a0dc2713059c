"""Gemini's embeddings, for `tests.fakes.gemini_server`: what google-genai 3.4 sends and reads.

Limits as documented, or as users met them:

- the Gemini API takes 100 texts in a request (langchain-ai/langchainjs#4491);
- Vertex AI takes one with ``embedContent``, and of gemini-embedding-001 one with ``predict``
  (https://cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings), where gemini-embedding-2 has
  no ``predict`` (vercel/ai#16238);
- a text is cut off after 2,048 tokens, of gemini-embedding-2 after 8,192 (the same page);
- gemini-embedding-2 is at global, us and eu, gemini-embedding-001 in regions (.../embeddings/
  batch-prediction-genai-embeddings), and at global too (promptfoo/promptfoo#6570);
- a content with several parts has one vector (googleapis/python-genai#2523).
"""

from __future__ import annotations

import re
import zlib
from typing import Any

MULTI_REGIONS = {"global", "us", "eu"}
TOKENS = {"gemini-embedding-001": 2048, "gemini-embedding-2": 8192}
DIMENSIONS = 3072
CONCEPTS = {"stripes": "zebras", "פסים": "zebras"}


def vector(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Return a vector of what the words mean; not of length 1, as cut vectors of gemini-embedding-001."""
    values = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()):
        values[zlib.crc32(CONCEPTS.get(word, word).encode()) % dimensions] += 2.0
    return values


class Refused(Exception):
    """Google's status code, its name and the message."""


def embedded(operation: str, model: str, location: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the response to a request; ``location`` is "" at the Gemini API.

    Raises:
        Refused: as said at the top.
    """
    is_there = location in ({"", *MULTI_REGIONS} if model == "gemini-embedding-2" else {"", "global"})
    if model not in TOKENS or not (is_there or (model == "gemini-embedding-001" and "-" in location)):
        raise Refused(404, "NOT_FOUND", f"Publisher Model `{location}/{model}` was not found.")
    if operation == "predict":
        return _predicted(model, body)
    if operation == "embedContent":
        values, tokens, is_cut = _values(
            model, body["content"], body.get("embedContentConfig", {}) if location else body
        )
        return {"embedding": {"values": values}, "usageMetadata": {"promptTokenCount": tokens}, "truncated": is_cut}
    if location:
        raise Refused(400, "INVALID_ARGUMENT", "The model takes one content in a request.")
    if len(body["requests"]) > 100:
        message = "* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch"
        raise Refused(400, "INVALID_ARGUMENT", message)
    return {"embeddings": [{"values": _values(model, one["content"], one)[0]} for one in body["requests"]]}


def _predicted(model: str, body: dict[str, Any]) -> dict[str, Any]:
    if model != "gemini-embedding-001":
        raise Refused(400, "FAILED_PRECONDITION", "Precondition check failed.")
    if len(body["instances"]) > 1:
        raise Refused(400, "INVALID_ARGUMENT", "Unable to submit request because it included too many instances.")
    (instance,) = body["instances"]
    values, tokens, is_cut = _values(model, {"parts": [{"text": instance["content"]}]}, body.get("parameters", {}))
    return {
        "predictions": [{"embeddings": {"values": values, "statistics": {"token_count": tokens, "truncated": is_cut}}}]
    }


def _values(model: str, content: dict[str, Any], config: dict[str, Any]) -> tuple[list[float], int, bool]:
    """Return the vector of a content, its tokens, and whether it was cut; a token is a character, as at the worst."""
    text, most = "".join(part["text"] for part in content["parts"]), TOKENS[model]
    return vector(text[:most], config.get("outputDimensionality", DIMENSIONS)), min(len(text), most), len(text) > most
