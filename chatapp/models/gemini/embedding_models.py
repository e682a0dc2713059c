"""Which embedding model of Gemini is where. The infrastructure program imports it: only the standard library."""

MULTI_REGIONS = frozenset({"global", "us", "eu"})


def default_model(*, project: str, location: str) -> str:
    """Return the embedding model of a place: gemini-embedding-2 is in no region, the other one in no multi-region.

    https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/embeddings/batch-prediction-genai-embeddings

    Args:
        project: of Google Cloud; "": the Gemini API.
        location: of Vertex AI.
    """
    return "gemini-embedding-001" if project and location not in MULTI_REGIONS else "gemini-embedding-2"
