"""Passages by meaning: where texts may go, and that a question is answered without embeddings too."""

import asyncio

import pytest
from google.oauth2.credentials import Credentials

from chatapp.documents.index import Passage
from chatapp.domain.conversation import Place
from chatapp.domain.errors import StoreUnavailable
from chatapp.generation import vectors
from chatapp.generation.document_texts import DocumentTexts, Source
from chatapp.generation.requests import LoadedFiles
from chatapp.generation.vectors import DocumentVectors, EmbeddingPolicy
from chatapp.models.embeddings import NoEmbeddings
from chatapp.models.gemini.embeddings import GeminiEmbedder
from chatapp.store.temporary.memory import MemoryStore
from tests.chatapp.generation.running import ended, turn_request
from tests.chatapp.generation.test_library import FILLER, RENT, document, model, sent
from tests.chatapp.generation.test_library import library as made_library
from tests.fakes.gemini_server import PERMISSION_DENIED, GeminiServer

library = made_library  # a fixture
LAST = "Zebras graze behind the northern fence."
SOURCE = Source("ann", "c1")


class FakeEmbedder:
    """Vectors by meaning: a question about stripes is near to zebras."""

    model = "e5"
    place = Place.OWN_GPUS
    batch = 2

    def __init__(self):
        self.texts = []
        self.error = None
        self.transient_failures = 0  # of the next requests for passages
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_closed = False
        self.dimensions = 2

    async def embed(self, texts, *, are_questions):
        self.texts += texts
        await self.gate.wait()
        if self.error:
            raise self.error
        if self.transient_failures and not are_questions:
            self.transient_failures -= 1
            raise NoEmbeddings("status 429", is_transient=True)
        rest = [0.0] * (self.dimensions - 2)
        return [[*([1.0, 0.1] if "ebra" in text or "stripes" in text else [0.1, 1.0]), *rest] for text in texts]

    async def aclose(self):
        self.is_closed = True


@pytest.fixture(autouse=True)
def _time_enough(monkeypatch):
    """Let a slow machine take its time."""
    monkeypatch.setattr(vectors, "WAIT_SECONDS", 60.0)


@pytest.fixture
def embedder():
    return FakeEmbedder()


@pytest.fixture
async def searched(embedder):
    """Return vectors of documents, of a chat that stores none of them."""
    made = DocumentVectors(DocumentTexts(None), MemoryStore(), EmbeddingPolicy(embedder))
    yield made
    await made.aclose()
    assert embedder.is_closed


def both(*documents):
    return {one.id: (SOURCE, one) for one in documents}


@pytest.mark.parametrize(
    ("place", "model_id", "elsewhere", "allowed"),
    [
        *((Place.OWN_GPUS, "gemma", False, True), (Place.GEMINI_API, "gemini", False, False)),
        *((Place.GEMINI_API, "gemini", True, True), (Place.OTHER_SERVER, "mine", False, True)),
        (Place.UNKNOWN, "x", False, False),
    ],
)
def test_texts_go_to_embeddings_only_where_the_model_runs_or_a_setting_allows_it(
    embedder, place, model_id, elsewhere, allowed
):
    assert EmbeddingPolicy(embedder, frozenset({"mine"}), elsewhere).allows(model_id, place) is allowed


@pytest.mark.parametrize("place", [Place.OTHER_SERVER, Place.UNKNOWN])
def test_two_other_servers_are_not_one_place(embedder, place):
    embedder.place = place
    assert not EmbeddingPolicy(embedder).allows("gemma", place)


async def test_the_nearest_passages_are_returned_and_documents_are_embedded_once(searched, embedder):
    one, other = document(RENT, FILLER), document(FILLER, LAST, document_id="d2")
    assert (await searched.nearest(both(one, other), "Which animal has stripes?"))[0] == Passage("d2", 1)
    number = len(embedder.texts)
    await searched.nearest(both(one, other), "Which animal has stripes?")
    assert len(embedder.texts) == number + 1  # the question
    searched.forget("ann", "c1")
    await searched.nearest(both(one, other), "Which animal has stripes?")
    assert len(embedder.texts) == 2 * number + 1


async def test_a_failure_is_no_passage_and_embeddings_pause(searched, embedder):
    embedder.error = NoEmbeddings("status 500")
    assert await searched.nearest(both(document(RENT)), "Stripes?") == []
    embedder.error, number = None, len(embedder.texts)
    assert await searched.nearest(both(document(RENT)), "Stripes?") == []
    assert len(embedder.texts) == number
    searched._paused_until = 0.0
    assert await searched.nearest(both(document(RENT)), "Stripes?") == [Passage("d1", 0)]


async def test_a_request_of_a_document_that_fails_for_a_while_is_repeated(searched, embedder, monkeypatch):
    monkeypatch.setattr(vectors, "RETRY_SECONDS", (0.0, 0.0))
    texts = both(document(*[FILLER] * 4, LAST))
    for failures, found in ((2, [Passage("d1", 4)]), (9, [])):  # of three requests at once
        embedder.transient_failures = failures
        assert (await searched.nearest(texts, "Any with stripes?"))[:1] == found
        searched.forget("ann", "c1")


async def test_a_document_that_is_removed_takes_only_its_own_vectors_with_it(searched, embedder):
    two = both(document(RENT), document(LAST, document_id="d2"))
    await searched.nearest(two, "Stripes?")
    searched.forget("ann", "c1", ["d2"])
    number = len(embedder.texts)
    assert await searched.nearest(both(document(RENT)), "Stripes?") == [Passage("d1", 0)]
    assert len(embedder.texts) == number + 1  # the question


async def test_a_fault_is_no_passage_either(searched, embedder):
    embedder.error = RuntimeError("a fault")
    assert await searched.nearest(both(document(RENT)), "Stripes?") == []


async def test_a_question_waits_for_embeddings_for_a_while_only(searched, embedder, monkeypatch):
    monkeypatch.setattr(vectors, "WAIT_SECONDS", 0.0)
    embedder.gate.clear()
    assert await searched.nearest(both(document(RENT)), "Stripes?") == []
    embedder.gate.set()
    monkeypatch.setattr(vectors, "WAIT_SECONDS", 30.0)
    await asyncio.gather(*searched._running.values())  # it went on in the background
    assert await searched.nearest(both(document(RENT)), "Stripes?") == [Passage("d1", 0)]


async def test_vectors_are_bounded_by_their_bytes_and_their_age(searched, embedder, monkeypatch):
    one, other = document(RENT), document(FILLER, document_id="d2")
    monkeypatch.setattr(vectors, "MAX_BYTES", 2)  # of one passage
    assert len(await searched.nearest(both(one, other), "Stripes?")) == 1
    monkeypatch.setattr(vectors, "MAX_BYTES", 100)
    monkeypatch.setattr(vectors, "KEEP_SECONDS", -1.0)
    searched._drop_old()
    assert not searched._vectors


async def test_without_embeddings_nothing_is_asked():
    none = DocumentVectors(DocumentTexts(None), MemoryStore(), None)
    assert not none.are_allowed("gemma", Place.OWN_GPUS)
    assert await none.nearest(both(document(RENT)), "Stripes?") == []
    await none.aclose()


@pytest.mark.parametrize(("place", "is_told"), [(Place.OWN_GPUS, True), (Place.GEMINI_API, False)])
async def test_a_passage_without_a_word_of_the_question_is_told_by_its_meaning(chat, embedder, place, is_told):
    one = model()
    one.place = place
    runner = await chat(one, embeddings=EmbeddingPolicy(embedder))
    long = document(*[f"{FILLER} {number}" for number in range(60)], LAST)
    request = turn_request("Are there any with stripes?", documents=LoadedFiles(long))
    conversation = await runner.start("ann", request)
    await ended(runner, "ann", conversation.id)
    assert (LAST in sent(one)[0]) is is_told
    assert bool(embedder.texts) is is_told
    await runner.delete("ann", conversation.id)
    assert not runner._vectors._vectors


async def test_a_question_is_answered_where_embeddings_fail(chat, embedder):
    embedder.error = NoEmbeddings("status 500")
    one = model()
    one.place = Place.OWN_GPUS
    runner = await chat(one, embeddings=EmbeddingPolicy(embedder))
    long = document(*[FILLER] * 60, RENT)
    conversation = await runner.start("ann", turn_request("What is the rent?", documents=LoadedFiles(long)))
    await ended(runner, "ann", conversation.id)
    assert RENT in sent(one)[0]


LONG = [*(f"{FILLER} {number}" for number in range(60)), LAST]


async def asked_about_long(make, embedder, conversation_id="", **options):
    """Ask a question, like a chat that has just started; return the conversation and how many texts were embedded."""
    before, one = len(embedder.texts), model()
    one.place = Place.OWN_GPUS
    runner = await make(one, embeddings=EmbeddingPolicy(embedder))
    request = turn_request("Are there any with stripes?", conversation_id, **options)
    conversation = await runner.start("ann", request)
    await ended(runner, "ann", conversation.id)
    assert LAST in sent(one)[-1]
    return conversation.id, len(embedder.texts) - before


async def test_a_document_is_embedded_once_also_after_a_restart(chat, embedder, library):
    whole = LoadedFiles(document(*LONG))
    conversation, embedded = await asked_about_long(chat, embedder, documents=whole)
    assert embedded == len(LONG) + 1  # its passages and the question
    assert await asked_about_long(chat, embedder, conversation) == (conversation, 1)
    await library([document(*LONG, document_id="k")])
    first, embedded = await asked_about_long(chat, embedder, collection="k1")
    assert embedded == len(LONG) + 1
    assert await asked_about_long(chat, embedder, first) == (first, 1)
    other, embedded = await asked_about_long(chat, embedder, collection="k1")
    assert (other != first, embedded) == (True, 1)


@pytest.mark.parametrize("change", [{"model": "another"}, {"model": ""}])
async def test_vectors_of_another_model_or_of_an_unnamed_one_are_not_used(chat, embedder, change):
    conversation, _ = await asked_about_long(chat, embedder, documents=LoadedFiles(document(*LONG)))
    vars(embedder).update(change)
    for _ in range(2 if not embedder.model else 1):
        _, embedded = await asked_about_long(chat, embedder, conversation)
        assert embedded == len(LONG) + 1


async def test_vectors_of_other_dimensions_are_replaced_with_the_second_question(chat, store, embedder):
    conversation, _ = await asked_about_long(chat, embedder, documents=LoadedFiles(document(*LONG)))
    embedder.dimensions = 3
    one = model()
    one.place = Place.OWN_GPUS
    runner = await chat(one, embeddings=EmbeddingPolicy(embedder))
    for is_told in (False, True):
        await runner.start("ann", turn_request("Are there any with stripes?", conversation))
        await ended(runner, "ann", conversation)
        assert (LAST in sent(one)[-1]) is is_told
    assert await asked_about_long(chat, embedder, conversation) == (conversation, 1)
    stored = await store.vectors("ann", conversation, ["d1"])
    assert stored["d1"].startswith(b'{"model": "e5", "dimensions": 3,')


@pytest.mark.parametrize("failing", ["vectors", "save_vectors"])
async def test_a_store_that_fails_only_costs_the_embedding(chat, store, embedder, monkeypatch, failing):
    async def unavailable(*_):
        raise StoreUnavailable("It is away.")

    monkeypatch.setattr(store, failing, unavailable)
    conversation, _ = await asked_about_long(chat, embedder, documents=LoadedFiles(document(*LONG)))
    assert (await asked_about_long(chat, embedder, conversation))[1] == len(LONG) + 1
    monkeypatch.undo()


async def test_no_vectors_are_read_for_a_model_whose_documents_are_not_embedded(chat, store, embedder, monkeypatch):
    conversation, _ = await asked_about_long(chat, embedder, documents=LoadedFiles(document(*LONG)))
    read = []
    monkeypatch.setattr(store, "vectors", lambda *_: read.append(1))
    one = model()
    one.place = Place.GEMINI_API
    runner = await chat(one, embeddings=EmbeddingPolicy(embedder))
    await runner.start("ann", turn_request("Are there any with stripes?", conversation))
    await ended(runner, "ann", conversation)
    assert (LAST in sent(one)[-1], read) == (False, [])


@pytest.mark.slow  # google-genai
async def test_vertex_ai_finds_a_passage_by_its_meaning_once_it_has_the_permission(chat):
    async with GeminiServer() as vertex:
        options = {"model": "gemini-embedding-2", "project": "demo", "location": "eu", "base_url": vertex.url}
        one = model()
        one.place = Place.VERTEX_AI
        runner = await chat(one, embeddings=EmbeddingPolicy(GeminiEmbedder(credentials=Credentials("t"), **options)))
        long = document(*[f"{FILLER} {number}" for number in range(60)], LAST)
        vertex.refusal = PERMISSION_DENIED
        request = turn_request("Are there any with stripes?", documents=LoadedFiles(long))
        conversation = await runner.start("ann", request)
        await ended(runner, "ann", conversation.id)
        assert LAST not in sent(one)[-1], "it was answered by words"
        vertex.refusal, vertex.requests, runner._vectors._paused_until = None, [], 0.0
        await runner.start("ann", turn_request("And with stripes?", conversation.id))
        await ended(runner, "ann", conversation.id)
        assert LAST in sent(one)[-1]
        assert len(vertex.requests) == 61 + 1  # each passage and the question
