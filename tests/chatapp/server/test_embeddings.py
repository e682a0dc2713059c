"""The settings of embeddings: which are used, for which models, and what the page is told."""

import pytest

from chatapp.config.settings import InvalidSettings
from chatapp.domain.conversation import Place
from chatapp.models.embeddings import ServerEmbedder
from chatapp.models.gemini.embeddings import GeminiEmbedder
from chatapp.server.catalog import open_embeddings
from tests.page_client import open_page


@pytest.fixture
def policy(settings):
    """Return a function that returns the embeddings of some settings."""

    def make(**values):
        return open_embeddings(settings.model_copy(update={"gemma_url": "http://gpu.test:8000", **values}))

    return make


def test_there_are_none_by_default(settings):
    assert settings.embeddings == "off"
    assert open_embeddings(settings) is None


@pytest.mark.parametrize("url", ["", "http://gpu.test:8000/v1", "http://gpu.test:8000/v1/embeddings"])
def test_the_server_of_gemma_may_embed_what_gemma_reads(policy, url):
    made = policy(embeddings="server", embeddings_url=url)
    assert isinstance(made.embedder, ServerEmbedder)
    assert made.allows("gemma", Place.OTHER_SERVER)
    assert not made.allows("gemini", Place.GEMINI_API)
    assert not made.elsewhere


def test_another_server_embeds_only_what_runs_at_its_place(policy):
    made = policy(embeddings="server", embeddings_url="http://other.test:8000")
    assert made.embedder.place is Place.OTHER_SERVER
    assert not made.allows("gemma", Place.OTHER_SERVER)
    own = policy(embeddings="server", embeddings_url="http://other.test:8000", embeddings_place=Place.OWN_GPUS)
    assert own.allows("gemma", Place.OWN_GPUS)
    everywhere = policy(embeddings="server", embeddings_url="http://other.test:8000", embeddings_elsewhere=True)
    assert everywhere.allows("gemini", Place.GEMINI_API)


def test_gemini_embeds_on_vertex_ai_where_there_is_a_project(policy, settings):
    made = policy(embeddings="gemini", google_cloud_project="my-project")
    assert isinstance(made.embedder, GeminiEmbedder)
    assert made.embedder.place is Place.VERTEX_AI
    key = type(settings.gemini_api_key)("key")
    assert policy(embeddings="gemini", gemini_api_key=key).embedder.place is Place.GEMINI_API


@pytest.mark.parametrize(
    ("place", "model"),
    [
        *(({"google_cloud_location": one}, "gemini-embedding-2") for one in ("global", "eu", "us")),
        ({"google_cloud_location": "europe-west4"}, "gemini-embedding-001"),
        ({"google_cloud_location": "eu", "embeddings_model": "other"}, "other"),
    ],
)
def test_the_model_is_one_that_the_location_has(policy, place, model):
    made = policy(embeddings="gemini", google_cloud_project="my-project", **place)
    assert made.embedder.model == model


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"embeddings": "gemini"}, "GEMINI_API_KEY"),
        ({"embeddings": "server", "gemma_url": ""}, "CHAT_EMBEDDINGS_URL"),
        ({"embeddings": "server", "embeddings_url": "http://user:secret@host"}, "CHAT_EMBEDDINGS_URL"),
    ],
)
def test_embeddings_that_lack_something_are_refused_at_the_start(policy, values, name):
    with pytest.raises(InvalidSettings, match=name):
        policy(**values)


@pytest.mark.slow
@pytest.mark.parametrize(("elsewhere", "told"), [(True, "this-computer"), (False, None)])
async def test_the_page_is_told_where_texts_go_besides_the_model(settings, serve, elsewhere, told):
    values = {"embeddings": "server", "embeddings_url": "http://127.0.0.1:9", "embeddings_elsewhere": elsewhere}
    async with serve(settings.model_copy(update=values)) as url, open_page(url) as page:
        assert (await page.get("state")).get("embeddingsPlace") == told
        assert (await page.get("models")).get("embeddingsPlace") == told
