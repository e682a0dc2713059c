"""Models of a fake server."""

import pytest

from chatapp.models.openai.model import OpenAICompatibleModel


@pytest.fixture
async def connect():
    """Return a function that makes models of a server, all of which are closed at the end."""
    models = []

    def make(server, **arguments):
        url = server if isinstance(server, str) else server.url
        models.append(OpenAICompatibleModel("gemma", "Gemma", url, **arguments))
        return models[-1]

    yield make
    for model in models:
        await model.aclose()
