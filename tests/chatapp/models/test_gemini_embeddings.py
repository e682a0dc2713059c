"""Gemini's embeddings on Vertex AI and on the Gemini API: what the SDK sends, limits, and refusals."""

import json

import pytest
from google.oauth2.credentials import Credentials

from chatapp.domain.conversation import Place
from chatapp.generation.vectors import MAX_CHARS
from chatapp.models.embeddings import NoEmbeddings
from chatapp.models.gemini.embeddings import BATCH, DIMENSIONS, GeminiEmbedder
from tests.fakes import gemini_server
from tests.fakes.gemini_embeddings import vector
from tests.fakes.gemini_server import GeminiServer, Refusal

OLD, NEW = "gemini-embedding-001", "gemini-embedding-2"
VERTEX = {"project": "demo", "credentials": Credentials(token="t")}
KEY = {"api_key": "key"}


@pytest.fixture
async def server():
    async with GeminiServer() as fake:
        yield fake


@pytest.fixture
async def make(server):
    made = []

    def embedder(model, **options):
        made.append(GeminiEmbedder(model=model, base_url=server.url, **options))
        return made[-1]

    yield embedder
    for one in made:
        await one.aclose()


@pytest.mark.parametrize("model", [OLD, NEW])
async def test_the_gemini_api_returns_a_vector_for_each_of_a_hundred_texts(make, server, model):
    embedder = make(model, **KEY)
    texts = [f"word{number}" for number in range(embedder.batch)]
    vectors = await embedder.embed(texts, are_questions=False)
    before = "title: none | text: " if model == NEW else ""
    assert vectors == [vector(before + text, DIMENSIONS) for text in texts]
    assert embedder.place is Place.GEMINI_API
    (request,) = server.requests
    assert request.operation == "batchEmbedContents"
    assert {one["outputDimensionality"] for one in request.body["requests"]} == {DIMENSIONS}
    with pytest.raises(NoEmbeddings, match="400 INVALID_ARGUMENT"):
        await embedder.embed([*texts, "one more"], are_questions=False)
    assert len(texts) == BATCH


@pytest.mark.parametrize(("model", "location"), [(OLD, "europe-west4"), (NEW, "eu"), (NEW, "us"), (NEW, "global")])
async def test_vertex_ai_gets_one_text_in_a_request(make, server, model, location):
    embedder = make(model, location=location, **VERTEX)
    assert (embedder.batch, embedder.place) == (1, Place.VERTEX_AI)
    (values,) = await embedder.embed(["The rent"], are_questions=False)
    assert len(values) == DIMENSIONS
    (request,) = server.requests
    assert f"/projects/demo/locations/{location}/publishers/google/models/{model}:embedContent" in request.path
    assert request.body["embedContentConfig"]["outputDimensionality"] == DIMENSIONS
    with pytest.raises(NoEmbeddings):
        await embedder.embed(["one", "two"], are_questions=False)


@pytest.mark.parametrize("options", [{"location": "global", **VERTEX}, KEY], ids=["Vertex AI", "Gemini API"])
async def test_each_model_is_told_the_task_in_its_own_way(make, server, options):
    for model in (OLD, NEW):
        for are_questions in (True, False):
            await make(model, **options).embed(["Rent?"], are_questions=are_questions)
    sent = [json.dumps(request.body) for request in server.requests]
    assert ["RETRIEVAL_QUERY" in one for one in sent] == [True, False, False, False]
    assert ["RETRIEVAL_DOCUMENT" in one for one in sent] == [False, True, False, False]
    assert ["task: search result | query: Rent?" in one for one in sent] == [False, False, True, False]
    assert ["title: none | text: Rent?" in one for one in sent] == [False, False, False, True]


@pytest.mark.parametrize("model", [OLD, NEW])
async def test_no_passage_is_cut_off_even_if_each_letter_is_a_token(make, server, model):
    text = "x" * (MAX_CHARS - 4) + " end"
    embedder = make(model, location="global", **VERTEX)
    vectors = [(await embedder.embed([one], are_questions=True))[0] for one in (text, text[:-4])]
    assert sum(vectors[0]) == sum(vectors[1]) + 2, "its last word counts"


@pytest.mark.parametrize(
    ("refusal", "is_transient"),
    [
        (gemini_server.QUOTA_EXHAUSTED, True),
        *((one, True) for one in (gemini_server.OVERLOADED, gemini_server.INTERNAL, gemini_server.DEADLINE_EXCEEDED)),
        *((one, False) for one in (gemini_server.PERMISSION_DENIED, gemini_server.SERVICE_DISABLED)),
        *((one, False) for one in (gemini_server.UNAUTHENTICATED, gemini_server.MODEL_NOT_FOUND)),
        (Refusal(400, "INVALID_ARGUMENT", "the text of a document"), False),
    ],
    ids=lambda one: one.status if isinstance(one, Refusal) else "",
)
async def test_a_refusal_says_whether_the_request_may_succeed_later_and_quotes_no_text(
    make, server, refusal, is_transient
):
    server.embedding_refusals.append(refusal)
    embedder = make(NEW, location="global", **VERTEX)
    with pytest.raises(NoEmbeddings, match=f"{NEW}: .* {refusal.code} {refusal.status}$") as raised:
        await embedder.embed(["secret"], are_questions=False)
    assert raised.value.is_transient is is_transient
    assert raised.value.__cause__ is None
    assert await embedder.embed(["secret"], are_questions=False)


async def test_a_location_without_the_model_is_a_refusal_for_good(make):
    for model, location in ((NEW, "us-central1"), (OLD, "eu")):
        with pytest.raises(NoEmbeddings, match="404 NOT_FOUND") as raised:
            await make(model, location=location, **VERTEX).embed(["a"], are_questions=True)
        assert not raised.value.is_transient


async def test_a_server_that_is_not_there_may_come_back():
    embedder = GeminiEmbedder(model=NEW, base_url="http://127.0.0.1:9", **KEY)
    with pytest.raises(NoEmbeddings) as raised:
        await embedder.embed(["a"], are_questions=True)
    assert raised.value.is_transient
    await embedder.aclose()


async def test_an_embedder_that_never_opened_is_closed():
    await GeminiEmbedder(model=NEW, api_key="key").aclose()
