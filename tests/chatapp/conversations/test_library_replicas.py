"""Collections with Firestore: what a question and an upload read and write, and what the other replica keeps."""

import asyncio
from dataclasses import replace

import pytest

from chatapp.conversations import catch_up
from chatapp.conversations.library import Library
from chatapp.documents.extraction.shape import Block, BlockKind, Page
from chatapp.documents.packing import packed
from chatapp.domain.conversation import Document, Place, Profile, new_id
from chatapp.domain.library import Collection
from chatapp.generation.vectors import EmbeddingPolicy
from chatapp.store.firestore import library as firestore_library
from chatapp.store.firestore.store import FirestoreStore
from chatapp.store.journal.store import JournaledStore
from tests.chatapp.generation.running import ended, made_runner, turn_request
from tests.fakes.models import ScriptedModel
from tests.firestore_bill import counting
from tests.firestore_emulator import PROJECT, firestore_emulator  # noqa: F401  # a fixture
from tests.waiting import until

pytestmark = pytest.mark.slow  # the emulator takes seconds to start


@pytest.fixture
async def stores(firestore_emulator, tmp_path):  # noqa: F811  # the fixture
    """Return the stores of two replicas."""
    database, opened = f"chat-{new_id()}", []
    for number in range(2):
        cloud = FirestoreStore(PROJECT, database)
        opened.append(await JournaledStore.open(tmp_path / f"{number}.db", cloud, destination="the cloud"))
    yield opened
    for store in opened:
        await store.aclose()


class Replica:
    """A replica of a chat: its store, a runner of turns, a library and a model."""

    def __init__(self, store, runner, model):
        self.store = store
        self.runner = runner
        self.model = model
        self.library = Library(store, 100, runner.forget_documents)

    async def ask(self, conversation_id="", **options):
        """Ask, and have the question in Firestore before its answer: else both are written together, after a read."""
        self.model.gate.clear()
        conversation = await self.runner.start("ann", turn_request("What?", conversation_id, **options))
        await self._delivered()
        self.model.gate.set()
        await ended(self.runner, "ann", conversation.id)
        await self._delivered()
        return conversation.id

    async def _delivered(self):
        await until(lambda: not self.store.status().waiting_writes)


def scripted_model():
    return ScriptedModel("Yes.", context_tokens=8192, bytes_per_token=3, gate_at=0)


@pytest.fixture
async def replicas(stores):
    """Return two replicas of a chat."""
    opened = []
    async with made_runner(stores[0]) as make, made_runner(stores[1]) as make_other:
        for store, make_one in zip(stores, (make, make_other), strict=True):
            model = scripted_model()
            opened.append(Replica(store, await make_one(model), model))
        yield opened


@pytest.fixture
def bill(monkeypatch):
    """Return what is counted; no replica compares a conversation with Firestore again, however slow the machine is."""
    monkeypatch.setattr(catch_up, "CURRENT_S", 1e9)
    monkeypatch.setattr(catch_up, "UNNAMED_S", 60.0)
    return counting(monkeypatch)


def document(text):
    pages = (Page(1, (Block(BlockKind.TEXT, text),)),)
    return Document(id="", name=f"{text}.txt", kind="text", pages=1, size=9, data=packed(pages))


async def added(library, *texts):
    await library.add_collection("ann", "Leases", "k")
    return [await library.add_document("ann", "k", text, document(text)) for text in texts]


def names(listed):
    return [one.document.name for one in listed]


async def test_an_upload_and_a_question_read_as_much_for_ten_documents_as_for_one(replicas, bill):
    replica, _ = replicas
    library = replica.library
    first, *_ = await added(library, "text 0")
    bill.taken()
    for number in range(1, 10):
        await library.add_document("ann", "k", f"text {number}", document(f"text {number}"))
        assert bill.taken() == (2, 2, 0)  # the count and the profile; the document and the count
    conversation = await replica.ask(collection="k")
    assert bill.taken()[0] == 2 + 10  # the texts, once
    await replica.ask(conversation)
    assert bill.taken()[0] == 3  # the profile, the count and, every two seconds, the conversation
    await replica.ask(conversation)
    assert bill.taken()[0] == 2
    await library.content("ann")
    assert bill.taken()[0] == 1 + 1 + 10  # a list of all collections was not read before
    await library.content("ann")
    assert bill.taken()[0] == 2
    await library.remove_document("ann", "k", first.document.id)
    assert bill.taken() == (1, 1, 5)  # it, and its vectors, of which there are four parts at most
    await library.delete_collection("ann", "k")
    assert bill.taken() == (4, 2, 45)


class Embedder:
    """Vectors of the text's length; it counts the texts."""

    model, place, batch = "e5", Place.OWN_GPUS, 100

    def __init__(self):
        self.embedded = 0

    async def embed(self, texts, *, are_questions):
        self.embedded += len(texts)
        return [[1.0, float(len(text))] for text in texts]

    async def aclose(self):
        pass


async def test_another_replica_reads_the_vectors_of_ten_documents_and_embeds_none(stores, bill):
    """A read for each document, with the first question at each replica that needs passages; not with the next."""
    library, pages = Library(stores[0], 100), [f"page {number} " * 300 for number in range(10)]
    await library.add_collection("ann", "Leases", "k")
    for number in range(10):
        long = tuple(Page(at, (Block(BlockKind.TEXT, f"{number} {text}"),)) for at, text in enumerate(pages, 1))
        one = Document(id="", name=f"{number}.txt", kind="text", pages=10, size=9, data=packed(long))
        await library.add_document("ann", "k", str(number), one)
    counts, conversation = [], ""
    async with made_runner(stores[0]) as make, made_runner(stores[1]) as make_other:
        for store, make_one in zip(stores, (make, make_other), strict=True):
            embedder, model = Embedder(), scripted_model()
            model.place = embedder.place
            replica = Replica(store, await make_one(model, embeddings=EmbeddingPolicy(embedder)), model)
            for _ in range(2):
                bill.taken()
                conversation = await replica.ask(conversation, **({} if conversation else {"collection": "k"}))
                await asyncio.gather(*replica.runner._vectors._running.values())
                counts.append((embedder.embedded, bill.taken()[0]))
                embedder.embedded = 0
    embedded, reads = zip(*counts, strict=True)
    assert embedded == (200 + 1, 1, 1, 1)  # all passages once, and each question
    first, next_one, at_other, next_at_other = reads
    assert first == 2 + 10 + 10  # the texts, and whether they have vectors
    assert (next_one, next_at_other) == (3, 2)  # none of the ten documents
    # The other replica also reads the list and the conversation, for the first time.
    assert at_other == first + 10 + 7


async def test_what_another_replica_removed_is_gone_with_the_next_question(replicas, bill):
    replica, other = replicas[0], replicas[1].library
    model, texts = replica.model, replica.runner._documents
    pets, _ = await added(replica.library, "pets", "rent")
    conversation = await replica.ask(collection="k")
    assert "pets" in model.asked[-1][0][0].content
    await other.remove_document("ann", "k", pets.document.id)
    await replica.ask(conversation)
    assert "pets" not in model.asked[-1][0][0].content
    assert {document_id for _, _, document_id in texts._packed} == {
        one.document.id for one in (await other.content("ann"))[1]
    }
    await other.add_document("ann", "k", "cats", document("cats"))
    await replica.ask(conversation)
    assert "cats" in model.asked[-1][0][0].content
    await other.delete_collection("ann", "k")
    bill.taken()
    await replica.ask(conversation)
    assert "rent" not in model.asked[-1][0][0].content
    assert (texts._packed, texts._indexes, replica.runner._library._remembered) == ({}, {}, {})


async def test_lists_show_what_is_there_after_changes_at_both_replicas_at_once(stores):
    one, other = stores
    libraries = [Library(store, 1000) for store in stores]
    await libraries[0].add_collection("ann", "Leases", "k")
    await libraries[0].add_collection("ann", "Notes", "n")
    for turn in range(6):
        await asyncio.gather(
            *(
                library.add_document("ann", collection, f"{turn}", document(f"{turn} {number}"))
                for number, library in enumerate(libraries)
                for collection in ("k", "n")
            )
        )
        there = await one.library("ann")
        if turn % 2:
            await asyncio.gather(
                one.remove_library_documents("ann", [there[0].document.id]),
                other.remove_library_documents("ann", [there[0].document.id, there[-1].document.id]),
                other.library("ann", "k"),
            )
        fresh = FirestoreStore(PROJECT, one._cloud._connection._database)
        expected = await fresh.library("ann")
        for store in stores:
            assert names(await store.library("ann", "k")) == names(x for x in expected if x.collection == "k")
            assert await store.library("ann") == expected
        await fresh.aclose()


async def test_a_library_that_begins_anew_at_another_replica_is_no_former_one(stores):
    one, other = stores
    await added(Library(one, 100), "old")
    assert names(await one.library("ann", "k")) == ["old.txt"]
    await other.remove_library_documents("ann", [(await other.library("ann"))[0].document.id])
    await other.delete_profile("ann")
    assert await other.delivered("ann", "", "", seconds=60)
    await other.change_library("ann", lambda profile: replace(profile, collections=(Collection(id="k", name="New"),)))
    await added(Library(other, 100), "new")  # as many changes as before
    assert names(await one.library("ann", "k")) == ["new.txt"]


async def test_lists_are_bounded_and_a_document_without_a_profile_is_in_none(stores, bill, monkeypatch):
    one, _ = stores
    await added(Library(one, 100), "a", "b")
    monkeypatch.setattr(firestore_library, "LISTS_BYTES", 999)
    await one.library("ann")
    bill.taken()
    await one.library("ann")
    assert bill.taken()[0] == 3  # two documents are too many
    await one.add_library_document(
        "ben", (await one.library_document("ann", (await one.library("ann"))[0].document.id))
    )
    assert await one.profile("ben") == Profile()
    assert names(await one.library("ben")) == ["a.txt"]
    monkeypatch.setattr(firestore_library, "KEEP_SECONDS", -1)
    monkeypatch.setattr(firestore_library, "LISTS_BYTES", 9_999)
    await one.library("ann")
    bill.taken()
    await one.library("ann")
    assert bill.taken()[0] == 3  # too old
