"""Embeddings of a server: what is sent, and every response that has none."""

import base64
import json

import pytest

from chatapp.domain.conversation import Place
from chatapp.models.embeddings import NoEmbeddings, ServerEmbedder, prefix, vectors_of
from tests.fakes.embeddings import FakeEmbeddings


@pytest.fixture
async def server():
    async with FakeEmbeddings() as fake:
        yield fake


@pytest.fixture
async def embedder(server):
    embedder = ServerEmbedder(server.url, model="small", api_key="secret", place=Place.OWN_GPUS)
    yield embedder
    await embedder.aclose()


async def test_texts_get_their_vectors_in_their_order(server, embedder):
    assert await embedder.embed(["a", "bb"], are_questions=False) == [[1, 1], [2, 0]]
    assert server.bodies == [{"input": ["a", "bb"], "model": "small"}]
    assert server.headers[0]["Authorization"] == "Bearer secret"
    assert embedder.place is Place.OWN_GPUS


async def test_the_base_of_the_api_is_found_and_remembered(server):
    embedder = ServerEmbedder(f"{server.url}/openai", place=Place.OTHER_SERVER)
    server.reply = (404, "{}")
    with pytest.raises(NoEmbeddings, match="404"):
        await embedder.embed(["a"], are_questions=True)
    server.reply = None
    one = ServerEmbedder(f"{server.url}/v1/embeddings", place=Place.OTHER_SERVER)
    for _ in range(2):
        assert await one.embed(["a"], are_questions=True) == [[1, 1]]
    assert server.paths[-2:] == ["/v1/embeddings"] * 2
    assert "model" not in server.bodies[-1]
    await embedder.aclose()
    await one.aclose()


@pytest.mark.parametrize(
    "reply",
    [
        *((500, "{}"), (200, ""), (200, "[]"), (200, "{}"), (200, '{"data": 1}'), (200, '{"data": []}')),
        *((200, '{"data": [{}]}'), (200, '{"data": [{"embedding": []}]}'), (200, '{"data": [{"embedding": "AAAA"}]}')),
        *((200, '{"data": [{"embedding": ["x"]}]}'), (302, "{}"), (200, "[" * 100_000)),
        (200, json.dumps({"data": [{"embedding": [0.5] * 5000}]})),
        (200, json.dumps({"data": [{"embedding": [1, 2]}, {"embedding": [1, 2]}]})),
    ],
)
async def test_a_response_without_vectors_is_none(server, embedder, reply):
    server.reply = reply
    with pytest.raises(NoEmbeddings) as refusal:
        await embedder.embed(["a"], are_questions=True)
    assert refusal.value.is_transient is (reply[0] == 500)


async def test_a_server_that_is_not_there_has_none(server):
    embedder = ServerEmbedder("http://127.0.0.1:9", place=Place.THIS_COMPUTER)
    with pytest.raises(NoEmbeddings):
        await embedder.embed(["a"], are_questions=True)
    await embedder.aclose()


@pytest.mark.parametrize("url", ["ftp://host", "http://user:secret@host", ""])
def test_an_invalid_address_is_refused(url):
    with pytest.raises(ValueError, match="CHAT_EMBEDDINGS_URL"):
        ServerEmbedder(url, place=Place.UNKNOWN)


@pytest.mark.parametrize(
    ("model", "question", "passage"),
    [
        ("multilingual-e5-small", "query: ", "passage: "),
        ("nomic-embed-text:v1.5", "search_query: ", "search_document: "),
        ("EmbeddingGemma-300m", "task: search result | query: ", "title: none | text: "),
        ("text-embedding-3-small", "", ""),
    ],
)
def test_a_model_gets_the_prefix_that_it_was_trained_with(model, question, passage):
    assert prefix(model, are_questions=True) == question
    assert prefix(model, are_questions=False) == passage


def test_vectors_in_base64_are_none():
    data = base64.b64encode(b"\0" * 8).decode()
    with pytest.raises(NoEmbeddings):
        vectors_of(json.dumps({"data": [{"embedding": data}]}).encode(), 1)
