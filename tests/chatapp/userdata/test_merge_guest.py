"""What a guest has moves to the person who signs in: all of it, once, wherever it is broken off."""

import asyncio
import itertools
from dataclasses import replace

import pytest

from chatapp.domain.conversation import (
    Document,
    GenerationParameters,
    Image,
    MessageStatus,
    Persona,
    Profile,
    Role,
    now_ms,
)
from chatapp.domain.errors import ConversationBusy, ConversationNotFound, StoreUnavailable
from chatapp.domain.library import Collection, Folder, LibraryDocument
from chatapp.store import Consistency
from chatapp.store.journal import cloud_reads
from chatapp.store.journal.store import JournaledStore
from chatapp.store.sqlite.store import SQLiteStore
from chatapp.store.temporary.router import StoreRouter
from chatapp.userdata import insert, merge_guest
from chatapp.userdata.merge_guest import GuestMerge, Selection, StillWriting
from chatapp.userdata.queries import everything
from tests.chatapp.store.conftest import FirestorePlace, a_conversation, a_message
from tests.fakes.stores import FakeCloud
from tests.firestore_emulator import firestore_emulator  # noqa: F401  # a fixture
from tests.waiting import until

GUEST, ANA = "anonymous-1", "oidc-ana"
REPORT = Document(id="report", name="דוח.pdf", kind="PDF", pages=2, size=9, data=b"\x1f\x8b\x00" * 100)
PICTURE = Image(id="picture", media_type="image/png", width=3, height=2, data=b"\x89PNG\xff" * 100)
PERSONA = Persona(id="p1", name="Pirate", instructions="Arr.")
LEASES = Collection(id="k1", name="Leases")
HOME = Folder(id="f1", name="Home", instructions="Be brief.", collection="k1")
LIBRARY = [
    LibraryDocument(collection="k1", document=replace(REPORT, id=name, name=name), added_ms=5) for name in ("d1", "d2")
]

LARGE = 30_000  # characters of a message: 120 of them are copied in several writes


class Turns:
    def __init__(self):
        self.busy = set()

    def is_busy(self, user, conversation_id):
        return (user, conversation_id) in self.busy


WRITES = {
    *("create", "create_all", "append", "update", "delete", "save_profile", "delete_profile"),
    *("change_library", "add_library_document", "remove_library_documents"),
}


class Killed(BaseException):
    """The process is gone."""


class Mortal:
    """A store whose process is killed before, or just after, its n-th write."""

    def __init__(self, store, *, at, after):
        self._store = store
        self._left = at
        self._after = after

    def __getattr__(self, name):
        call = getattr(self._store, name)
        if name not in WRITES:
            return call

        async def counted(*arguments, **options):
            self._left -= 1
            if self._left < 0 and not self._after:
                raise Killed
            result = await call(*arguments, **options)
            if self._left < 0:
                raise Killed
            return result

        return counted


async def fill(store, user=GUEST, size=300):
    """Write a history with all there is: pictures, branches, pins, personas, an answer that broke off, much text.

    Each of 120 messages has ``size`` characters.
    """
    question = a_message("Look", follows="", images=(PICTURE,), documents=(REPORT,))
    first = a_message("One", 2_000, role=Role.ASSISTANT, follows=question.id, revision=3)
    second = a_message("Two", 3_000, role=Role.ASSISTANT, follows=question.id, status=MessageStatus.INTERRUPTED)
    branched = a_conversation(title="Branches", pinned=True, branch=first.id, persona="p1", system_prompt="Arr.")
    await store.create(user, branched, question, first, second)
    long = a_conversation(title="Long", archived=True, created_ms=2_000, updated_ms=500_000)
    await store.create(user, long, *(a_message(f"{i} " + "x" * size, 2_000 + i) for i in range(60)))
    await store.append(user, long.id, *(a_message(f"{i} " + "x" * size, 3_000 + i) for i in range(60)))
    await store.create(user, a_conversation(title="Empty", created_ms=3_000, updated_ms=3_000))
    parameters = GenerationParameters(temperature=0.3)
    await store.save_profile(user, Profile(personas=(PERSONA,), parameters=parameters, revision=5))


async def fill_library(store, user=GUEST):
    """Add a collection with two documents, and a folder."""
    await store.change_library(user, lambda stored: replace(stored, collections=(LEASES,), folders=(HOME,)))
    for document in LIBRARY:
        await store.add_library_document(user, document)


async def library_of(store, user):
    """Return the collections, folders and whole documents of a user."""
    profile = await store.profile(user)
    listed = await store.library(user)
    documents = [await store.library_document(user, one.document.id) for one in listed]
    return profile.collections, profile.folders, documents


async def held(store, user):
    """Return all that a user has, but for the ids of conversations."""
    return [(replace(one, id=""), messages) async for one, messages in everything(store, user)]


async def is_empty(store, user):
    page = await store.conversations(user)
    return not page.items and await store.profile(user) == Profile() and not await store.library(user)


@pytest.fixture
async def store(tmp_path):
    store = StoreRouter(await SQLiteStore.open(tmp_path / "chat.db"))
    yield store
    await store.aclose()


@pytest.fixture
async def journaled(tmp_path):
    cloud = FakeCloud(tmp_path / "cloud")
    store = await JournaledStore.open(tmp_path / "journal.db", cloud, destination="the cloud", drain_seconds=0)
    yield store, cloud
    cloud.gate.set()
    cloud.down = False
    await store.aclose()


@pytest.mark.slow
async def test_everything_moves_as_it_was_and_nothing_stays_behind(store):
    await fill(store, size=LARGE)
    await fill_library(store)
    before = await held(store, GUEST)
    taking = GuestMerge(store, Turns())
    assert len((await taking.data([GUEST])).conversations) == 3
    moved = await taking.merge(GUEST, ANA)
    assert await held(store, ANA) == before
    assert await is_empty(store, GUEST)
    assert {(await store.conversation(ANA, new)).title for new in moved.values()} == {"Branches", "Long", "Empty"}
    profile = await store.profile(ANA)
    assert (profile.personas, profile.parameters) == ((PERSONA,), GenerationParameters(temperature=0.3))
    assert await library_of(store, ANA) == ((LEASES,), (HOME,), LIBRARY)
    assert (bool(await taking.data([GUEST])), await taking.merge(GUEST, ANA)) == (False, {})


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before a write", "after a write"])
async def test_merge_killed_at_any_point_loses_nothing_and_a_retry_finishes_it(store, monkeypatch, after):
    monkeypatch.setattr(insert, "BATCH_MESSAGES", 30)  # as many writes as of long messages
    for at in itertools.count():
        guest, person = f"{GUEST}-{at}", f"{ANA}-{at}"
        await fill(store, guest)
        await fill_library(store, guest)
        before = await held(store, guest)
        try:
            await GuestMerge(Mortal(store, at=at, after=after), Turns()).merge(guest, person)
        except Killed:
            titles = [one.title for user in (guest, person) for one, _ in await held(store, user)]
            assert {one.title for one, _ in before} <= set(titles), at
            personas = [(await store.profile(user)).personas for user in (guest, person)]
            assert (PERSONA,) in personas, at
            documents = [one for user in (guest, person) for one in await store.library(user)]
            assert {one.document.id for one in documents} == {"d1", "d2"}, at
            await GuestMerge(store, Turns()).merge(guest, person)
        else:
            assert at >= 15
            break
        assert await held(store, person) == before, at
        assert await library_of(store, person) == ((LEASES,), (HOME,), LIBRARY), at
        assert await is_empty(store, guest), at


async def test_data_of_the_account_stays_and_personas_are_added(store):
    await fill(store)
    await store.create(ANA, a_conversation(title="Ana's own", created_ms=9_000))
    own = Persona(id="p2", name="Tutor", instructions="Teach.")
    await store.save_profile(ANA, Profile(personas=(own,), answer_with_other=True, revision=9))
    await GuestMerge(store, Turns()).merge(GUEST, ANA)
    assert [one.title for one, _ in await held(store, ANA)] == ["Branches", "Long", "Empty", "Ana's own"]
    profile = await store.profile(ANA)
    assert (profile.personas, profile.answer_with_other, profile.parameters) == ((own, PERSONA), True, None)


async def test_only_selected_parts_move_and_the_rest_stays_the_guests(store):
    await fill(store)
    merge = GuestMerge(store, Turns())
    await merge.merge(GUEST, ANA, Selection(personas=(), settings=False))
    assert await store.profile(ANA) == Profile()
    left = await merge.data([GUEST])
    assert (left.conversations, left.personas, left.parameters.temperature) == ((), (PERSONA,), 0.3)
    await merge.merge(GUEST, ANA, Selection(conversations=False, personas=("other",), settings=True))
    assert (await store.profile(ANA)).parameters == GenerationParameters(temperature=0.3)
    assert (await merge.data([GUEST])).parameters is None
    await merge.merge(GUEST, ANA, Selection(conversations=False, personas=("p1",), settings=False))
    assert (await store.profile(ANA)).personas == (PERSONA,)
    assert await is_empty(store, GUEST)


async def test_a_library_is_added_to_that_of_the_account_or_stays_the_guests(store):
    await fill_library(store)
    own = Collection(id="k2", name="Own")
    await store.change_library(ANA, lambda stored: replace(stored, collections=(own,)))
    merge = GuestMerge(store, Turns())
    await merge.merge(GUEST, ANA, Selection(library=False))
    assert await library_of(store, ANA) == ((own,), (), [])
    assert await library_of(store, GUEST) == ((LEASES,), (HOME,), LIBRARY)
    assert (await merge.data([GUEST])).has_library
    await merge.merge(GUEST, ANA, Selection(conversations=False, personas=(), settings=False))
    assert await library_of(store, ANA) == ((own, LEASES), (HOME,), LIBRARY)
    assert await is_empty(store, GUEST)


async def test_the_digest_changes_with_all_that_is_shown(store):
    merge, digests = GuestMerge(store, Turns()), []
    for change in (
        lambda: fill(store),
        lambda: store.create(GUEST, a_conversation(title="late"), a_message("x")),
        lambda: store.save_profile(GUEST, Profile(personas=(replace(PERSONA, instructions="Obey."),), revision=6)),
        lambda: store.save_profile(GUEST, Profile(answer_with_other=True, revision=7)),
        lambda: store.change_library(GUEST, lambda stored: replace(stored, collections=(LEASES,))),
        lambda: store.change_library(GUEST, lambda stored: replace(stored, folders=(HOME,))),
        lambda: store.add_library_document(GUEST, LIBRARY[0]),
    ):
        digests.append((await merge.data([GUEST])).digest)
        await change()
    digests.append((await merge.data([GUEST])).digest)
    assert len(set(digests)) == len(digests)


async def test_nothing_moves_while_an_answer_is_being_written(store):
    await fill(store)
    before = await held(store, GUEST)
    turns = Turns()
    last = (await store.conversations(GUEST)).items[-1]
    turns.busy.add((GUEST, last.id))
    with pytest.raises(ConversationBusy, match="still being written in one of these"):
        await GuestMerge(store, turns).merge(GUEST, ANA)
    assert await held(store, GUEST) == before
    assert await is_empty(store, ANA)
    turns.busy.clear()
    await store.append(GUEST, last.id, a_message("…", 9_000, role=Role.ASSISTANT, status=MessageStatus.STREAMING))
    with pytest.raises(StillWriting):  # by another copy of the chat
        await GuestMerge(store, turns).merge(GUEST, ANA)
    assert last.title in {one.title for one, _ in await held(store, GUEST)}


async def test_conversation_that_begins_during_the_merge_is_not_lost(store):
    """A message, and an answer, that come between the copying and the deleting."""
    conversation = a_conversation()
    await store.create(GUEST, conversation, a_message("first"))
    late, turns = a_message("late", 5_000), Turns()

    class Meanwhile(Mortal):
        written = False

        async def conversations(self, *arguments, **options):
            return await self._store.conversations(*arguments, **options)

        async def create_all(self, *arguments):
            taken = await self._store.create_all(*arguments)
            if not self.written:
                self.written = True
                await self._store.append(GUEST, conversation.id, late)
            return taken

    moved = await GuestMerge(Meanwhile(store, at=99, after=True), turns).merge(GUEST, ANA)
    assert [one.content for one in await store.messages(ANA, moved[conversation.id])] == ["first", "late"]

    other = a_conversation()
    await store.create(GUEST, other, a_message("first"))

    class Begins(Meanwhile):
        async def create_all(self, *arguments):
            taken = await self._store.create_all(*arguments)
            turns.busy.add((GUEST, other.id))
            return taken

    with pytest.raises(StillWriting):
        await GuestMerge(Begins(store, at=99, after=True), turns).merge(GUEST, ANA)
    assert await store.messages(GUEST, other.id)


async def test_continuing_a_copy_before_the_rest_is_moved_loses_nothing(store):
    await fill(store)
    with pytest.raises(Killed):
        await GuestMerge(Mortal(store, at=4, after=True), Turns()).merge(GUEST, ANA)
    copy = (await store.conversations(ANA)).items[0]
    answer = a_message("and on", now_ms(), revision=1)
    await store.append(ANA, copy.id, answer)
    await store.update(ANA, replace(copy, title="Renamed"))
    await GuestMerge(store, Turns()).merge(GUEST, ANA)
    assert (await store.conversation(ANA, copy.id)).title == "Renamed"
    assert (await store.messages(ANA, copy.id))[-1] == answer
    assert await is_empty(store, GUEST)
    assert len((await store.conversations(ANA)).items) == 3


@pytest.mark.parametrize("forgotten", ["images", "documents"])
async def test_a_copy_that_is_not_whole_is_not_taken_for_the_original(store, forgotten):
    conversation = a_conversation()
    await store.create(GUEST, conversation, a_message("kept", images=(PICTURE,), documents=(REPORT,)))

    class Forgets(Mortal):
        async def create_all(self, user, new):
            part = [(copy, [replace(one, **{forgotten: ()}) for one in messages]) for copy, messages in new]
            return await self._store.create_all(user, part)

    with pytest.raises(StoreUnavailable, match="Nothing was lost"):
        await GuestMerge(Forgets(store, at=99, after=True), Turns()).merge(GUEST, ANA)
    assert (await store.image(GUEST, conversation.id, PICTURE.id)) == PICTURE
    assert (await store.document(GUEST, conversation.id, REPORT.id)) == REPORT


async def test_deleted_conversations_of_the_guest_are_purged_and_not_moved(store):
    deleted = a_conversation(deleted_ms=now_ms())
    await store.create(GUEST, deleted, a_message("secret"))
    taking = GuestMerge(store, Turns())
    assert not await taking.data([GUEST])
    assert await taking.merge(GUEST, ANA) == {}
    with pytest.raises(ConversationNotFound):
        await store.conversation(GUEST, deleted.id)
    assert await is_empty(store, ANA)


async def test_concurrent_merges_move_each_conversation_once(store):
    await fill(store)
    before = await held(store, GUEST)
    taking, elsewhere = GuestMerge(store, Turns()), GuestMerge(store, Turns())
    await asyncio.gather(*(one.merge(GUEST, ANA) for one in (taking, taking, elsewhere)), return_exceptions=True)
    await taking.merge(GUEST, ANA)
    assert await held(store, ANA) == before
    assert await is_empty(store, GUEST)


@pytest.mark.slow
async def test_the_original_is_deleted_only_when_the_copy_is_in_the_cloud(journaled, monkeypatch):
    store, cloud = journaled
    await fill(store, size=LARGE)
    before = await held(store, GUEST)
    await until(lambda: not store.status().waiting_writes)
    monkeypatch.setattr(merge_guest, "SETTLED_S", 0.3)
    cloud.fails = lambda name, _: StoreUnavailable("full") if name in {"create", "append", "save_profile"} else None
    with pytest.raises(StoreUnavailable, match=r"because the cloud is unavailable\. Nothing was lost"):
        await GuestMerge(store, Turns()).merge(GUEST, ANA)
    assert [call for call in cloud.calls if call[0] in {"delete", "delete_profile"}] == []
    assert await held(store, GUEST) == before
    cloud.fails = lambda *_: None
    monkeypatch.setattr(merge_guest, "SETTLED_S", 30)
    await GuestMerge(store, Turns()).merge(GUEST, ANA)
    assert await held(store, ANA) == before
    assert await is_empty(store, GUEST)


@pytest.mark.slow  # until it is given up
async def test_a_merge_reads_the_cloud_and_never_the_cache(journaled, monkeypatch):
    monkeypatch.setattr(cloud_reads, "READ_TIMEOUT_S", 0.02)
    store, cloud = journaled
    conversation = a_conversation()
    await store.create(GUEST, conversation, a_message("first"))
    await store.messages(GUEST, conversation.id)
    await until(lambda: not store.status().waiting_writes)
    late = a_message("from another copy of the chat", 5_000)
    await (await cloud._store(GUEST)).append(GUEST, conversation.id, late)
    cloud.down = True
    with pytest.raises(StoreUnavailable):
        await GuestMerge(store, Turns()).merge(GUEST, ANA)
    cloud.down, cloud.fails = False, lambda name, _: StoreUnavailable("down") if name == "messages" else None
    with pytest.raises(StoreUnavailable):
        await store.messages(GUEST, conversation.id, consistency=Consistency.STRICT)
    cloud.fails = lambda *_: None
    cloud.latency = 0.05  # slower than a read waits that can return the cache
    moved = await GuestMerge(store, Turns()).merge(GUEST, ANA)
    cloud.latency = 0
    assert (await store.messages(ANA, moved[conversation.id], consistency=Consistency.STRICT))[-1] == late


@pytest.mark.slow
@pytest.mark.usefixtures("firestore_emulator")
async def test_it_moves_in_firestore_too():
    store = await FirestorePlace().open()
    await fill(store, size=LARGE)
    before = await held(store, GUEST)
    with pytest.raises(Killed):
        await GuestMerge(Mortal(store, at=4, after=False), Turns()).merge(GUEST, ANA)
    await GuestMerge(store, Turns()).merge(GUEST, ANA)
    assert await held(store, ANA) == before
    assert await is_empty(store, GUEST)
    await store.aclose()


async def test_the_files_of_a_guests_documents_move_with_them(store):
    files = [await store.add_file(GUEST, name) for name in (b"of a message", b"of a collection")]
    await store.create(GUEST, a_conversation(id="c"), a_message(documents=(replace(REPORT, file=files[0]),)))
    await store.change_library(GUEST, lambda stored: replace(stored, collections=(LEASES,)))
    await store.add_library_document(GUEST, replace(LIBRARY[0], document=replace(REPORT, id="d1", file=files[1])))
    moved = await GuestMerge(store, Turns()).merge(GUEST, ANA)
    assert await is_empty(store, GUEST)
    assert await store.document_file_part(ANA, moved["c"], REPORT.id, 0) == b"of a message"
    assert await store.library_file_part(ANA, "d1", 0) == b"of a collection"


async def test_the_vectors_of_a_guests_documents_move_with_them(store):
    await store.create(GUEST, a_conversation(id="c"), a_message(documents=(REPORT,)))
    await fill_library(store)
    await store.save_vectors(GUEST, "c", REPORT.id, b"of a message")
    await store.save_vectors(GUEST, "", "d1", b"of a collection")
    moved = await GuestMerge(store, Turns()).merge(GUEST, ANA)
    assert await store.vectors(ANA, moved["c"], [REPORT.id]) == {REPORT.id: b"of a message"}
    assert await store.vectors(ANA, "", ["d1", "d2"]) == {"d1": b"of a collection"}
    assert await store.vectors(GUEST, "c", [REPORT.id]) == await store.vectors(GUEST, "", ["d1"]) == {}
