"""What is special to Firestore: replicas, lost replies, outages, expiry, limits, and deletions that are broken off."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import google.auth
import grpc
import pytest
from google.api_core import exceptions as google_errors
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.firestore import AsyncClient
from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcAsyncIOTransport
from google.oauth2.credentials import Credentials

from chatapp.domain.conversation import Document, Image, MessageStatus, Profile, Role, now_ms
from chatapp.domain.errors import ConversationNotFound, StoreUnavailable
from chatapp.domain.library import Collection, LibraryDocument
from chatapp.domain.share import Share
from chatapp.store import SessionRecord
from chatapp.store.firestore import bulk as firestore_bulk
from chatapp.store.firestore import client as firestore_client
from chatapp.store.firestore import deletions as firestore_deletions
from chatapp.store.firestore import documents as firestore_documents
from chatapp.store.firestore import profiles as firestore_profiles
from chatapp.store.firestore import store as firestore
from chatapp.store.firestore.documents import PART_BYTES, message_documents, message_of, uid
from chatapp.store.firestore.schema import (
    CONVERSATIONS,
    DELETIONS,
    DOCUMENTS,
    EXPIRING,
    EXPIRY_FIELD,
    IMAGES,
    INDEXED_FIELDS,
    LIBRARY,
    LIBRARY_VECTORS,
    MESSAGES,
    OF_CONVERSATION,
    PIECES,
    REVOCATIONS,
    SESSIONS,
    SHARES,
    USERS,
)
from chatapp.store.firestore.store import FirestoreStore
from chatapp.store.quota import message_bytes
from tests.chatapp.store.conftest import FirestorePlace, a_conversation, a_message
from tests.fakes.openai_server import FakeOpenAIServer
from tests.firestore_emulator import PROJECT, running_emulator
from tests.page_client import Refused, open_page, texts
from tests.serving import free_port, running_chat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.slow  # the emulator takes seconds to start

DAY_MS = 24 * 3600 * 1000
PICTURE = Image(id="picture", media_type="image/png", width=1, height=1, data=b"\x89PNG\xff")
REPORT = Document(id="report", name="r.pdf", kind="PDF", pages=2, size=9, data=b"\x1f\x8b\x00")


@pytest.fixture
def place(firestore_place: FirestorePlace) -> FirestorePlace:
    return firestore_place


@pytest.fixture
async def store(place: FirestorePlace) -> AsyncIterator[FirestoreStore]:
    store = await place.open()
    yield store
    await store.aclose()


@pytest.fixture
async def replica(place: FirestorePlace) -> AsyncIterator[FirestoreStore]:
    """Another copy of the chat, on the same database."""
    replica = await place.open()
    yield replica
    await replica.aclose()


@pytest.fixture
async def database(place: FirestorePlace) -> AsyncIterator[AsyncClient]:
    """The database itself, as its console shows it."""
    client = AsyncClient(project=PROJECT, database=place.database)
    yield client
    await client._firestore_api.transport.close()


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is asked of Firestore."""
    counted: Counter[str] = Counter()

    def counting(name: str):
        method = getattr(FirestoreAsyncClient, name)

        async def call(self, *args, **kwargs):
            counted[name] += 1
            return await method(self, *args, **kwargs)

        return call

    for name in ("commit", "run_query", "batch_get_documents"):
        monkeypatch.setattr(FirestoreAsyncClient, name, counting(name))
    return counted


@contextmanager
def losing_replies(monkeypatch: pytest.MonkeyPatch, *, all_of_them: bool = False) -> Iterator[None]:
    """Let commits be carried out, and lose the first reply or all, as a broken connection does."""
    commit, lost = FirestoreAsyncClient.commit, []

    async def commit_and_lose_the_reply(self, *args, **kwargs):
        if lost and not all_of_them:
            return await commit(self, *args, **kwargs)
        try:
            await commit(self, *args, **kwargs)
        finally:
            lost.append(True)
        raise google_errors.ServiceUnavailable("Socket closed")

    with monkeypatch.context() as patch:
        patch.setattr(FirestoreAsyncClient, "commit", commit_and_lose_the_reply)
        yield
    assert lost


def running(content: str = "", revision: int = 0, **fields: object):
    """Return an answer that is being written."""
    defaults = {"id": "answer", "role": Role.ASSISTANT, "status": MessageStatus.STREAMING, "revision": revision}
    return a_message(content, 2_000, **defaults | fields)


def ended(content: str, revision: int):
    return running(content, revision, status=MessageStatus.COMPLETE)


async def documents(database: AsyncClient, user: str, collection: str, conversation_id: str = "") -> dict[str, dict]:
    """Return the documents of a user's conversations or deletions, or of a conversation's messages or attachments."""
    parent = database.collection(USERS).document(uid(user))
    if collection in OF_CONVERSATION:
        parent = parent.collection(CONVERSATIONS).document(conversation_id)
    return {one.id: one.to_dict() async for one in parent.collection(collection).stream()}


# The newest revision wins


async def test_a_late_older_revision_of_this_process_is_dropped(store):
    conversation = a_conversation()
    await store.create("ana", conversation, running())
    await store.append("ana", conversation.id, ended("whole", 5))
    await store.append("ana", conversation.id, running("half", 3))
    assert await store.messages("ana", conversation.id) == [ended("whole", 5)]


async def test_a_late_older_revision_of_another_replica_is_dropped(store, replica):
    conversation = a_conversation()
    await store.create("ana", conversation, running())
    await store.append("ana", conversation.id, running("first", 1))
    await replica.append("ana", conversation.id, ended("whole", 5))
    await store.append("ana", conversation.id, running("first half", 2))  # as it remembers, 1 is the last
    assert await store.messages("ana", conversation.id) == [ended("whole", 5)]
    await store.append("ana", conversation.id, ended("whole, and more", 6))
    assert await replica.messages("ana", conversation.id) == [ended("whole, and more", 6)]


async def test_replicas_that_write_the_same_message_at_once_leave_the_highest_revision(store, replica):
    conversation = a_conversation()
    await store.create("ana", conversation, running())
    revisions = [running(f"revision {number}", number) for number in range(1, 9)]
    writes = (
        (store, replica)[number % 2].append("ana", conversation.id, message) for number, message in enumerate(revisions)
    )
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    given_up = [outcome for outcome in outcomes if outcome is not None]
    assert all(isinstance(outcome, StoreUnavailable) for outcome in given_up)
    stored = [message for message, outcome in zip(revisions, outcomes, strict=True) if outcome is None]
    assert await store.messages("ana", conversation.id) == [stored[-1]]


async def test_a_turn_is_two_commits_and_no_read_and_a_checkpoint_one_more(store, requests):
    conversation = a_conversation()
    await store.create("ana", conversation)
    requests.clear()
    await store.append("ana", conversation.id, a_message(), running())
    await store.append("ana", conversation.id, running("half", 1))
    await store.append("ana", conversation.id, ended("whole", 2))
    assert requests == {"commit": 3}
    requests.clear()
    await store.conversations("ana")
    assert requests["commit"] == 0


async def test_a_checkpoint_writes_one_document_and_an_answer_is_counted_once_also_by_another_replica(
    store, replica, monkeypatch
):
    writes = []
    commit = FirestoreAsyncClient.commit

    async def counting(self, request, **options):
        writes.append(len(request["writes"]))
        return await commit(self, request, **options)

    monkeypatch.setattr(FirestoreAsyncClient, "commit", counting)
    conversation = a_conversation()
    await store.create("ana", conversation, a_message())
    await store.append("ana", conversation.id, running())
    await store.append("ana", conversation.id, running("x" * 1_000, 1))
    await store.append("ana", conversation.id, running("x" * 2_000, 2))
    await replica.append("ana", conversation.id, running("x" * 2_000, 1_000))  # which takes it over
    await replica.append("ana", conversation.id, running("x" * 3_000, 1_001))
    await store.append("ana", conversation.id, running("x" * 9_000, 3))  # too late
    await replica.append("ana", conversation.id, last := ended("x" * 4_000, 1_002))
    assert writes == [2, 2, 1, 1, 2, 1, 1, 1, 2]  # the late one fails, and then changes nothing in the conversation
    assert await store.stored_bytes("ana") == message_bytes(a_message()) + message_bytes(last)


# Lost replies


async def test_write_whose_reply_was_lost_is_stored_once(store, monkeypatch):
    conversation = a_conversation()
    with losing_replies(monkeypatch):
        await store.create("ana", conversation, a_message("question", id="question"))
    with losing_replies(monkeypatch):
        await store.append("ana", conversation.id, running())
    with losing_replies(monkeypatch):
        await store.append("ana", conversation.id, running("half", 1))
    with losing_replies(monkeypatch):
        await store.append("ana", conversation.id, ended("whole", 2))
    with losing_replies(monkeypatch):
        await store.update("ana", replace(conversation, title="Renamed", updated_ms=3_000))
    assert [message.content for message in await store.messages("ana", conversation.id)] == ["question", "whole"]
    assert list((await store.conversations("ana")).items) == [replace(conversation, title="Renamed", updated_ms=3_000)]


async def test_a_call_that_raised_although_it_was_done_can_be_made_again(store, monkeypatch):
    conversation = a_conversation()
    monkeypatch.setattr(firestore_client, "RETRY_S", 0)  # no second attempt
    for change in (
        lambda: store.create("ana", conversation, a_message("question", id="question")),
        lambda: store.append("ana", conversation.id, running()),
        lambda: store.append("ana", conversation.id, ended("whole", 1)),
    ):
        with losing_replies(monkeypatch, all_of_them=True), pytest.raises(StoreUnavailable):
            await change()
        await change()
    assert [message.content for message in await store.messages("ana", conversation.id)] == ["question", "whole"]
    assert len((await store.conversations("ana")).items) == 1


# Several conversations at once


async def test_new_conversations_share_commits_that_firestore_takes(store, requests, monkeypatch):
    monkeypatch.setattr(firestore_bulk, "COMMIT_WRITES", 9)
    new = [(a_conversation(), [a_message(f"{number}") for number in range(2)]) for _ in range(7)]
    assert await store.create_all("ana", new) == set()
    assert requests["commit"] == 3  # of three conversations with three documents each
    monkeypatch.setattr(firestore_bulk, "COMMIT_BYTES", 3_000)
    large = [(a_conversation(), [a_message("x" * 2_000)]) for _ in range(2)]
    await store.create_all("ana", large)
    assert requests["commit"] == 3 + 2
    for conversation, messages in (*new, *large):
        assert await store.messages("ana", conversation.id) == sorted(messages, key=lambda one: one.id)


async def test_a_creation_of_several_whose_reply_is_lost_stores_each_once(store, monkeypatch):
    existing, late = a_conversation(), a_conversation()
    await store.create("ana", existing, a_message("before", id="m"))
    new = [(a_conversation(), [a_message("new")]) for _ in range(3)]
    with losing_replies(monkeypatch):
        await store.create_all("ana", new)
    for conversation, messages in new:
        assert await store.messages("ana", conversation.id) == messages
    await store.create_all("ana", [(existing, [a_message("after", id="m")]), (late, [])])
    assert [one.content for one in await store.messages("ana", existing.id)] == ["before"]
    assert await store.messages("ana", late.id) == []
    assert await store.stored_bytes("ana") == sum(message_bytes(a_message(text)) for text in ("before", *["new"] * 3))


async def test_revisions_are_read_without_texts_and_parts(store, monkeypatch):
    monkeypatch.setattr(firestore_bulk, "MESSAGES_AT_ONCE", 2)
    monkeypatch.setattr(firestore_documents, "PART_BYTES", 1_000)
    conversation = a_conversation()
    messages = [a_message("x" * 2_500, number, id=f"m{number}", revision=number) for number in range(5)]
    await store.create("ana", conversation, *messages)
    fields: list[set[str]] = []
    fetched = firestore_bulk.fetched

    async def seen(*args, **kwargs):
        documents = await fetched(*args, **kwargs)
        fields.extend(set(document.fields) for document in documents)
        return documents

    monkeypatch.setattr(firestore_bulk, "fetched", seen)
    assert await store.revisions("ana", [conversation.id]) == {conversation.id: {f"m{n}": n for n in range(5)}}
    assert len(fields) == 15
    assert set.union(*fields) == {"createdAt", "rev"}


# Answers that nobody writes any more


async def test_a_running_answer_of_another_replica_is_shown_as_running(store, replica):
    conversation = a_conversation()
    await store.create("ana", conversation, running("half"))
    assert await replica.messages("ana", conversation.id) == [running("half")]


async def test_stale_running_answer_is_returned_as_interrupted_and_can_still_be_written(place, store):
    conversation = a_conversation()
    await store.create("ana", conversation, running("half"))
    impatient = await place.open(stale_seconds=0.05)
    await asyncio.sleep(0.1)
    assert await impatient.messages("ana", conversation.id) == [
        running("half", status=MessageStatus.INTERRUPTED),
    ]
    assert await store.messages("ana", conversation.id) == [running("half")]  # it was only shown so
    await store.append("ana", conversation.id, ended("whole", 1))
    assert await impatient.messages("ana", conversation.id) == [ended("whole", 1)]
    await impatient.aclose()


async def test_after_a_kill_another_replica_shows_the_checkpoint_and_continues(place, firestore_emulator, tmp_path):
    async with FakeOpenAIServer(answer=[f"{number} " for number in range(1_000)], tokens_per_second=50) as gemma:
        settings = {
            "CHAT_STORE": "firestore",
            "CHAT_FIRESTORE_DATABASE": place.database,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "FIRESTORE_EMULATOR_HOST": firestore_emulator.host,
            "CHAT_GEMMA_URL": gemma.url,
            "CHAT_EMBEDDED_MODEL": "false",
            "CHAT_ABANDONED_SECONDS": "6",
        }
        folders = [tmp_path / name for name in ("killed", "other")]  # each has its own disk, with its journal
        for folder in folders:
            folder.mkdir()
        killed_chat, other_chat = (running_chat(folder, **settings) for folder in folders)
        async with killed_chat as killed, other_chat as other:
            async with open_page(killed.url) as page:
                conversation = await page.send("Count", model="gemma")
                await page.watch_until(conversation, lambda messages: " 300 " in texts(messages)[-1])  # over 5 s
            await killed.end(signal.SIGKILL)
            async with open_page(other.url) as page:
                assert await page.listed() == ["Count"]
                shown = await page.messages(conversation)
                assert texts(shown)[0] == "Count"
                assert re.match("0 1 2 3 .* 100 ", texts(shown)[1])  # a checkpoint
                assert (shown[1]["status"], shown[1]["canContinue"]) == ("interrupted", True)
                gemma.answer, gemma.tokens_per_second = ["And so on."], None
                await page.send("Go on", conversation=conversation, model="gemma")
                assert texts(await page.messages(conversation))[2:] == ["Go on", "And so on."]


# Whose it is


async def test_who_a_user_is_stands_in_no_path_and_no_document(store, database):
    await store.create("ana@example.org", a_conversation(), a_message())
    (owner,) = [reference async for reference in database.collection(USERS).list_documents()]
    assert re.fullmatch(r"[a-z2-7]{52}", owner.id)
    assert "ana" not in str(await documents(database, "ana@example.org", CONVERSATIONS))


@pytest.mark.parametrize(
    "conversation_id", ["../../ben/conversations/c", "c/messages/m", "..", ".", "__c__", "c~1", "/", "c\n"]
)
async def test_an_id_never_leads_to_another_path(store, conversation_id):
    for call in (
        store.conversation("ana", conversation_id),
        store.messages("ana", conversation_id),
        store.append("ana", conversation_id, a_message()),
        store.create("ana", a_conversation(id=conversation_id)),
    ):
        with pytest.raises(ConversationNotFound):
            await call
    await store.delete("ana", conversation_id)


# Deleting


@pytest.mark.parametrize("finished_by", ["the same replica", "another replica"])
async def test_an_interrupted_deletion_is_hidden_and_finished_by_the_next_listing(
    store, replica, database, monkeypatch, finished_by
):
    monkeypatch.setattr(firestore_deletions, "DOCUMENTS_AT_ONCE", 2)
    conversation = a_conversation()
    await store.create("ana", conversation, *(a_message(created_ms=number) for number in range(7)))
    await store.conversations("ana")  # looks for unfinished deletions, and finds none
    await asyncio.gather(*store._deletions.tasks)
    batches = 0
    committed = firestore_deletions.committed

    async def broken_off(batch):
        nonlocal batches
        batches += 1
        if batches == 3:  # the conversation itself, two messages, and here the connection ends
            raise google_errors.ServiceUnavailable("Socket closed")
        return await committed(batch)

    with monkeypatch.context() as patch:
        patch.setattr(firestore_deletions, "committed", broken_off)
        await store.delete("ana", conversation.id)
    assert len(await documents(database, "ana", MESSAGES, conversation.id)) == 5
    for each in (store, replica):
        with pytest.raises(ConversationNotFound):
            await each.messages("ana", conversation.id)
        with pytest.raises(ConversationNotFound):
            await each.append("ana", conversation.id, running("late", 4))
    finishing = store if finished_by == "the same replica" else replica
    assert (await finishing.conversations("ana")).items == []
    await asyncio.gather(*finishing._deletions.tasks)
    assert await documents(database, "ana", MESSAGES, conversation.id) == {}
    assert await documents(database, "ana", DELETIONS) == {}


async def test_failed_resumption_of_deletions_is_retried(store, requests, monkeypatch):
    async def unreachable(_query):
        raise google_errors.ServiceUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(firestore_deletions, "fetched", unreachable)
        await store.conversations("ana")
        await asyncio.gather(*store._deletions.tasks)
    for expected in (2, 3, 4):  # this time it works; then there is nothing to look for
        await store.conversations("ana")
        await asyncio.gather(*store._deletions.tasks)
        assert requests["run_query"] - 1 == expected


async def test_finishing_a_deletion_spares_a_conversation_that_was_made_again(store, replica, database, monkeypatch):
    conversation, message = a_conversation(), a_message()
    await store.create("ana", conversation)
    with monkeypatch.context() as patch:
        patch.setattr(firestore, "READ_CALL_S", 0)
        await store.delete("ana", conversation.id)
    await store.create("ana", conversation, message)
    await replica.conversations("ana")
    await asyncio.gather(*replica._deletions.tasks)
    assert await replica.messages("ana", conversation.id) == [message]
    assert await documents(database, "ana", DELETIONS) == {}


async def test_repeated_deletion_finishes_an_interrupted_one(store, database, monkeypatch):
    conversation = a_conversation()
    await store.create("ana", conversation, a_message(), a_message())
    with monkeypatch.context() as patch:
        patch.setattr(firestore, "READ_CALL_S", 0)
        await store.delete("ana", conversation.id)
    assert len(await documents(database, "ana", MESSAGES, conversation.id)) == 2
    await store.delete("ana", conversation.id)
    assert await documents(database, "ana", MESSAGES, conversation.id) == {}
    assert await documents(database, "ana", DELETIONS) == {}


async def test_more_messages_than_one_batch_holds_are_all_read_and_all_deleted(store, database, monkeypatch):
    monkeypatch.setattr(firestore_bulk, "MESSAGES_AT_ONCE", 10)
    monkeypatch.setattr(firestore_deletions, "DOCUMENTS_AT_ONCE", 10)
    for count in (9, 10, 11, 30):
        conversation = a_conversation()
        messages = [a_message(f"number {number}", created_ms=number // 4) for number in range(count)]
        await store.create("ana", conversation, *messages)
        assert await store.messages("ana", conversation.id) == messages
        await store.delete("ana", conversation.id)
        assert await documents(database, "ana", MESSAGES, conversation.id) == {}


async def test_a_conversation_is_read_as_it_was_at_one_moment(store, monkeypatch):
    monkeypatch.setattr(firestore_bulk, "MESSAGES_AT_ONCE", 2)
    conversation = a_conversation()
    messages = [a_message(created_ms=number) for number in range(5)]
    await store.create("ana", conversation, *messages)
    fetched = firestore_bulk.fetched

    async def fetched_while_it_is_deleted(*args, **kwargs):
        result = await fetched(*args, **kwargs)
        await store.delete("ana", conversation.id)
        return result

    monkeypatch.setattr(firestore_bulk, "fetched", fetched_while_it_is_deleted)
    assert await store.messages("ana", conversation.id) == messages


# Retention


async def test_without_a_retention_nothing_expires(store, database):
    conversation = a_conversation()
    await store.create("ana", conversation, a_message())
    await store.append("ana", conversation.id, a_message())
    stored = [*(await documents(database, "ana", CONVERSATIONS)).values()]
    stored += (await documents(database, "ana", MESSAGES, conversation.id)).values()
    assert len(stored) == 3
    assert not any(EXPIRY_FIELD in document for document in stored)


async def test_with_a_retention_every_document_says_when_it_expires(place, database):
    store = await place.open(retention_days=30)
    created_ms = now_ms() - 5_000
    conversation = a_conversation()
    long = "x" * (PART_BYTES + 1)
    await store.create(
        "ana", conversation, a_message(long, created_ms, id="question"), replace(running(), created_ms=created_ms)
    )
    await store.append("ana", conversation.id, replace(ended("whole", 1), created_ms=created_ms))
    await store.update("ana", conversation)
    messages = await documents(database, "ana", MESSAGES, conversation.id)
    assert messages.keys() == {"question", "question~1", "answer"}
    for document in messages.values():
        assert document[EXPIRY_FIELD].timestamp() * 1000 == pytest.approx(created_ms + 30 * DAY_MS)
    (document,) = (await documents(database, "ana", CONVERSATIONS)).values()
    assert document[EXPIRY_FIELD].timestamp() * 1000 == pytest.approx(now_ms() + 30 * DAY_MS, abs=5_000)
    await store.aclose()


async def test_attachments_expire_with_their_message(place, database, monkeypatch):
    store = await place.open(retention_days=7)
    conversation, old_ms = a_conversation(), now_ms() - 8 * DAY_MS
    await store.create("ana", conversation, a_message(created_ms=old_ms, images=(PICTURE,), documents=(REPORT,)))
    for collection in (IMAGES, DOCUMENTS):
        (document,) = (await documents(database, "ana", collection, conversation.id)).values()
        assert document[EXPIRY_FIELD].timestamp() * 1000 == pytest.approx(old_ms + 7 * DAY_MS)
    with pytest.raises(ConversationNotFound):
        await store.image("ana", conversation.id, PICTURE.id)
    with pytest.raises(ConversationNotFound):
        await store.document("ana", conversation.id, REPORT.id)
    assert (await store.search("ana", "hello")).items == []
    await store.aclose()


async def test_a_deletion_deletes_the_attachments(store, database):
    conversation = a_conversation()
    await store.create("ana", conversation, a_message(images=(PICTURE,), documents=(REPORT,)))
    assert (await documents(database, "ana", IMAGES, conversation.id)).keys() == {PICTURE.id}
    assert (await documents(database, "ana", DOCUMENTS, conversation.id)).keys() == {REPORT.id}
    await store.delete("ana", conversation.id)
    for collection in OF_CONVERSATION:
        assert await documents(database, "ana", collection, conversation.id) == {}


async def test_vectors_expire_with_their_document_and_a_deletion_leaves_none(place, database, monkeypatch):
    store = await place.open(retention_days=7)
    created_ms = now_ms() - 6 * DAY_MS
    await store.create("ana", a_conversation(id="c"), a_message(created_ms=created_ms, documents=(REPORT,)))
    await store.add_library_document("ana", LibraryDocument(collection="k", document=REPORT, added_ms=1))
    for where in ("c", ""):
        await store.save_vectors("ana", where, REPORT.id, b"x" * 1_000_000)
    stored = await documents(database, "ana", DOCUMENTS, "c")
    assert stored.keys() == {REPORT.id, f"{REPORT.id}~0", f"{REPORT.id}~1"}
    assert len({document[EXPIRY_FIELD] for document in stored.values()}) == 1
    assert not any(EXPIRY_FIELD in one for one in (await documents(database, "ana", LIBRARY_VECTORS)).values())
    expired = replace(REPORT, id="expired")
    await store.append("ana", "c", a_message(created_ms=now_ms() - 8 * DAY_MS, documents=(expired,)))
    with pytest.raises(ConversationNotFound):
        await store.save_vectors("ana", "c", expired.id, b"x")
    await store.delete("ana", "c")
    await store.remove_library_documents("ana", [REPORT.id])
    assert await documents(database, "ana", DOCUMENTS, "c") == {}
    assert await documents(database, "ana", LIBRARY_VECTORS) == {}
    await store.aclose()


async def test_attachments_and_text_that_are_more_than_one_commit_can_hold_are_refused_in_words(store):
    conversation = a_conversation()
    await store.create("ana", conversation)
    images = tuple(replace(PICTURE, id=f"i{number}", data=b"x" * 900_000) for number in range(2))
    reports = tuple(replace(REPORT, id=f"d{number}", data=b"x" * 900_000) for number in range(3))
    with pytest.raises(StoreUnavailable, match=r"This is 4\.5 MB.* 4 MB at once"):
        await store.append("ana", conversation.id, a_message(images=images, documents=reports))
    await store.append("ana", conversation.id, a_message(images=images, documents=reports[:2]))
    assert len((await store.messages("ana", conversation.id))[0].attachments) == 4


async def test_documents_from_before_versions_and_images_are_read(store, database):
    """As that version wrote them."""
    conversation = database.collection(USERS).document(uid("ana")).collection(CONVERSATIONS).document("c")
    created = datetime.fromtimestamp(1, UTC)
    await conversation.set(
        {"v": 1, "title": "Old", "model": "gemma", "systemPrompt": "", "createdAt": created, "updatedMs": 2_000}
    )
    facts = {"v": 1, "turnId": "t", "role": "assistant", "status": "error", "content": "hi", "parts": 1, "rev": 2}
    facts |= {"model": "gemma", "usage": None, "secondsToFirstToken": 0.5, "finishReason": None, "omittedMessages": 0}
    await conversation.collection(MESSAGES).document("m").set(facts | {"error": "Broken.", "createdAt": created})
    message = a_message(
        "hi",
        1_000,
        id="m",
        turn_id="t",
        role=Role.ASSISTANT,
        status=MessageStatus.ERROR,
        revision=2,
        model="gemma",
        seconds_to_first_token=0.5,
        error="Broken.",
    )
    assert await store.messages("ana", "c") == [message]
    stored = a_conversation(id="c", title="Old", updated_ms=2_000, model="gemma")
    assert await store.conversation("ana", "c") == stored
    assert await store.pinned("ana") == []
    await store.update("ana", replace(stored, pinned=True))
    assert await store.pinned("ana") == [replace(stored, pinned=True)]


@pytest.mark.parametrize("before", [None, 1])
async def test_a_higher_revision_of_a_profile_that_comes_between_wins(store, replica, monkeypatch, before):
    if before:
        await store.save_profile("ana", Profile(revision=before))
    committed, between = firestore_profiles.committed, [Profile(answer_with_other=True, revision=6)]

    async def committed_later(batch):
        if between:
            await replica.save_profile("ana", between.pop())
        return await committed(batch)

    monkeypatch.setattr(firestore_profiles, "committed", committed_later)
    await store.save_profile("ana", Profile(revision=5))
    assert await store.profile("ana") == Profile(answer_with_other=True, revision=6)
    await store.save_profile("ana", Profile(revision=7))
    assert await replica.profile("ana") == Profile(revision=7)


def adding(name):
    """Return a change that adds a collection once."""

    def change(profile):
        new = Collection(id=name, name=name)
        return profile if new in profile.collections else replace(profile, collections=(*profile.collections, new))

    return change


@pytest.mark.parametrize("before", [False, True])
async def test_a_change_of_another_replica_that_comes_between_is_kept(store, replica, monkeypatch, before):
    if before:
        await store.change_library("ana", adding("first"))
    committed = firestore_profiles.committed
    between = [
        replica.change_library("ana", adding("other")),
        replica.save_profile("ana", Profile(answer_with_other=True, revision=6)),
    ]

    async def committed_later(batch):
        if between:
            await between.pop()
        return await committed(batch)

    monkeypatch.setattr(firestore_profiles, "committed", committed_later)
    changed = await store.change_library("ana", adding("own"))
    assert await replica.profile("ana") == await store.profile("ana") == changed
    assert changed.answer_with_other
    assert [one.id for one in changed.collections] == [*(["first"] if before else []), "other", "own"]


async def test_a_change_of_the_library_whose_reply_is_lost_is_made_once(store, monkeypatch):
    committed, lost = firestore_profiles.committed, [google_errors.FailedPrecondition("made by the first attempt")]

    async def committed_twice(batch):
        result = await committed(batch)
        if lost:
            raise lost.pop()
        return result

    monkeypatch.setattr(firestore_profiles, "committed", committed_twice)
    changed = await store.change_library("ana", adding("one"))
    assert (len(changed.collections), changed.library_revision) == (1, 1)
    assert await store.profile("ana") == changed


async def test_of_many_changes_at_two_replicas_those_that_are_acknowledged_are_kept(store, replica):
    names = [f"c{number}" for number in range(8)]
    changes = [one.change_library("ana", adding(name)) for name, one in zip(names, [store, replica] * 4, strict=True)]
    ends = dict(zip(names, await asyncio.gather(*changes, return_exceptions=True), strict=True))
    refused = {name for name, end in ends.items() if isinstance(end, StoreUnavailable)}  # too many came between
    stored = {one.id for one in (await store.profile("ana")).collections}
    assert set(names) - refused <= stored <= set(names)
    assert stored


async def test_expired_documents_are_not_returned_before_their_removal(place, database, monkeypatch):
    store = await place.open(retention_days=7)
    old, old_ms = a_conversation(updated_ms=5_000), now_ms() - 8 * DAY_MS
    goes_on = a_conversation(updated_ms=4_000)
    with monkeypatch.context() as patch:
        patch.setattr(firestore, "now_ms", lambda: old_ms)
        await store.create("ana", old, a_message(created_ms=old_ms))
        await store.create("ana", goes_on, a_message("old", created_ms=old_ms))
    new = a_message("new", created_ms=now_ms())
    await store.append("ana", goes_on.id, new)
    assert [one.id for one in (await store.conversations("ana")).items] == [goes_on.id]
    assert await store.messages("ana", goes_on.id) == [new]
    for call in (store.conversation, store.messages):
        with pytest.raises(ConversationNotFound):
            await call("ana", old.id)
    assert old.id in await documents(database, "ana", CONVERSATIONS)
    first = await store.conversations("ana", limit=1)
    rest = await store.conversations("ana", limit=1, cursor=first.cursor)
    assert [one.id for one in [*first.items, *rest.items]] == [goes_on.id]
    await store.aclose()


async def test_documents_written_without_retention_do_not_expire(place, store, database):
    brief = await place.open(retention_days=1)
    conversation = a_conversation()
    await brief.create("ana", conversation, a_message(id="question"), running())
    await store.append("ana", conversation.id, ended("whole", 1))
    (document,) = (await documents(database, "ana", CONVERSATIONS)).values()
    messages = await documents(database, "ana", MESSAGES, conversation.id)
    assert [EXPIRY_FIELD in stored for stored in (document, messages["answer"], messages["question"])] == [
        False,
        False,
        True,
    ]
    await brief.aclose()


# Limits


@pytest.mark.parametrize("character", ["x", "ש", "€", "😀"])
async def test_a_message_that_is_longer_than_a_document_comes_back_as_it_was(store, database, character):
    text = "." + character * 900_000  # the longest that a setting allows
    conversation, message = a_conversation(), a_message(text, id="long")
    await store.create("ana", conversation)
    await store.append("ana", conversation.id, message, ended("short", 0))
    assert await store.messages("ana", conversation.id) == [message, ended("short", 0)]
    stored = await documents(database, "ana", MESSAGES, conversation.id)
    assert max(len(document["content"].encode()) for document in stored.values()) <= PART_BYTES


def test_long_thinking_is_cut_into_parts_and_older_documents_have_none():
    message = replace(a_message("x" * PART_BYTES, id="long"), thinking="ש" * PART_BYTES)
    stored = message_documents(message, None)
    sizes = [len((one["content"] + one.get("thinking", "")).encode()) for one in stored.values()]
    assert max(sizes) <= PART_BYTES < sum(sizes)
    assert message_of("long", stored) == message
    older = {name: {key: value for key, value in one.items() if key != "thinking"} for name, one in stored.items()}
    assert message_of("long", older) == replace(message, thinking="")


async def test_a_message_that_becomes_shorter_leaves_no_part_behind(store, replica, database):
    conversation = a_conversation()
    await store.create("ana", conversation, running("x" * (2 * PART_BYTES + 1)))
    await store.append("ana", conversation.id, running("y" * (PART_BYTES + 1), 1))
    assert await store.messages("ana", conversation.id) == [running("y" * (PART_BYTES + 1), 1)]
    await replica.append("ana", conversation.id, ended("short", 2))
    assert await store.messages("ana", conversation.id) == [ended("short", 2)]
    assert (await documents(database, "ana", MESSAGES, conversation.id)).keys() == {"answer"}


async def test_more_than_one_commit_can_hold_is_refused_in_words(store):
    conversation = a_conversation()
    await store.create("ana", conversation)
    with pytest.raises(StoreUnavailable, match=r"This is 4\.5 MB.* 4 MB at once.*Shorten it"):
        await store.append("ana", conversation.id, *(a_message("x" * 900_000) for _ in range(5)))
    assert await store.messages("ana", conversation.id) == []


# Indexes


async def test_every_indexed_field_and_the_expiry_time_are_written(place, database):
    store = await place.open(retention_days=1)
    conversation = a_conversation(folder="f")
    long = a_message("x" * (PART_BYTES + 1), created_ms=now_ms(), images=(PICTURE,), documents=(REPORT,))
    await store.create("ana", conversation, long, running())
    await store.save_profile("ana", Profile(revision=1))
    await store.revoke("ana", session="one", before_ms=1, until_ms=now_ms())
    session = SessionRecord(id="one", began_ms=1, seen_ms=2, device="Firefox")
    await store.save_session("ana", session, until_ms=now_ms())
    share = Share(id="d1", conversation_id=conversation.id, title="", created_ms=1, expires_ms=now_ms() + 1_000)
    await store.save_share("ana", share, {"text-0": b"x"})
    await store.add_library_document("ana", LibraryDocument(collection="k", document=REPORT, added_ms=1))
    await store.save_vectors("ana", "", REPORT.id, b"x")
    written = {
        CONVERSATIONS: await documents(database, "ana", CONVERSATIONS),
        MESSAGES: await documents(database, "ana", MESSAGES, conversation.id),
        IMAGES: await documents(database, "ana", IMAGES, conversation.id),
        DOCUMENTS: await documents(database, "ana", DOCUMENTS, conversation.id),
        USERS: {one.id: one.to_dict() async for one in database.collection(USERS).stream()},
        REVOCATIONS: await documents(database, "ana", REVOCATIONS),
        SESSIONS: await documents(database, "ana", SESSIONS),
        SHARES: await documents(database, "ana", SHARES),
        PIECES: {one.id: one.to_dict() async for one in database.collection(SHARES, "d1", PIECES).stream()},
        LIBRARY: await documents(database, "ana", LIBRARY),
        LIBRARY_VECTORS: await documents(database, "ana", LIBRARY_VECTORS),
    }
    assert INDEXED_FIELDS.keys() == written.keys()
    for collection, stored in written.items():
        fields = {field for document in stored.values() for field in document}
        expires = {EXPIRY_FIELD} if collection in EXPIRING else set()
        assert {*INDEXED_FIELDS[collection]} | expires <= fields
        assert (EXPIRY_FIELD in fields) == (collection in EXPIRING)
    await store.aclose()


async def test_no_query_needs_a_composite_index(store, database, monkeypatch):
    queries = []
    run_query = FirestoreAsyncClient.run_query

    async def recorded(self, request, **kwargs):
        queries.append(request["structured_query"])
        return await run_query(self, request=request, **kwargs)

    monkeypatch.setattr(FirestoreAsyncClient, "run_query", recorded)
    conversation = a_conversation()
    await store.create("ana", conversation, a_message())
    await store.create("ana", a_conversation())
    page = await store.conversations("ana", limit=1)
    await store.conversations("ana", cursor=page.cursor)
    await store.messages("ana", conversation.id)
    await store.pinned("ana")
    await store.in_folder("ana", "f")
    await store.library("ana")
    await store.library("ana", "k")
    await store.search("ana", "hello")
    share = Share(id="d1", conversation_id=conversation.id, title="", created_ms=1, expires_ms=now_ms() + 100_000)
    await store.save_share("ana", share, {"text-0": b"x"})
    await store.shares("ana")
    await store.delete("ana", conversation.id)
    await asyncio.gather(*store._deletions.tasks)
    left = [one.id async for one in database.collection_group(SHARES).stream()]
    left += [one.id async for one in database.collection_group(PIECES).stream()]
    assert left == []  # the share went with its conversation
    assert len(queries) >= 8
    for query in queries:
        collection = query.from_[0].collection_id
        ordered = [order for order in query.order_by if order.field.field_path != "__name__"]
        asked_for = [query.where.field_filter.field.field_path] if query.where else []
        assert not (asked_for and ordered)
        assert {*asked_for, *(order.field.field_path for order in ordered)} <= {*INDEXED_FIELDS.get(collection, ())}
        assert len({order.direction for order in query.order_by}) <= 1


# Trouble


@pytest.mark.parametrize("silent", [False, True], ids=["a closed port", "a server that never answers"])
async def test_an_unreachable_server_raises_a_sentence_within_the_timeout(monkeypatch, silent):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        if not silent:
            server.close()
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", address)
        store = FirestoreStore(PROJECT, "dead")
        started = time.monotonic()
        outcomes = await asyncio.gather(
            store.conversations("ana"),
            store.conversation("ana", "c"),
            store.messages("ana", "c"),
            store.create("ana", a_conversation(), a_message()),
            store.update("ana", a_conversation()),
            store.append("ana", "c", a_message()),
            store.append("ana", "c", a_message(revision=4)),
            store.delete("ana", "c"),
            return_exceptions=True,
        )
        assert time.monotonic() - started < 3 * firestore_client.CALL_S  # one after the other, eight times
        for outcome in outcomes:
            assert isinstance(outcome, StoreUnavailable)
            assert "is unavailable. Try again" in str(outcome)
            assert re.match(r"ServiceUnavailable: 503|DeadlineExceeded: 504|TimeoutError", outcome.detail)
        await store.aclose()


@pytest.mark.slow
async def test_it_reconnects_by_itself_after_an_outage(monkeypatch):
    port = free_port()
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{port}")
    store = FirestoreStore(PROJECT, "outage")
    with running_emulator(port=port):
        await store.create("ana", a_conversation())
    with pytest.raises(StoreUnavailable):
        await store.conversations("ana")
    with running_emulator(port=port):
        async with asyncio.timeout(180):  # 4 s on an idle machine; the backoff is in test_firestore_compat
            page = None
            while page is None:
                with suppress(StoreUnavailable):
                    page = await store.conversations("ana")
        assert page.items == []  # an emulator begins empty
        await store.aclose()


async def test_closing_closes_the_connection_really_and_waits_for_no_unfinished_deletion(place, monkeypatch):
    async def endless(_query):
        await asyncio.Event().wait()

    monkeypatch.setattr(firestore_deletions, "fetched", endless)
    store = await place.open()
    await store.conversations("ana")
    (deletion,) = store._deletions.tasks
    channel = store._connection._client._firestore_api.transport.grpc_channel
    assert channel.get_state() is grpc.ChannelConnectivity.READY
    async with asyncio.timeout(30):
        await store.aclose()
    assert deletion.cancelled()
    assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN


@pytest.mark.parametrize(
    ("error", "words", "detail"),
    [
        (google_errors.NotFound("The database x does not exist"), "set CHAT_FIRESTORE_DATABASE", "404 The database"),
        (google_errors.PermissionDenied("Missing permissions."), "roles/datastore.user", "403 Missing"),
        (google_errors.Unauthenticated("expired"), "roles/datastore.user", "401 expired"),
        (google_errors.ResourceExhausted("Quota exceeded."), "a Firestore limit", "429 Quota"),
        (google_errors.InvalidArgument("too long"), "Firestore rejected this change", "400 too long"),
        (google_errors.RetryError("x", google_errors.ServiceUnavailable("gone")), "Try again in a moment", "503 gone"),
        (DefaultCredentialsError("none here"), "gcloud auth application-default login", "none here"),
        (TimeoutError(), "Try again in a moment", "TimeoutError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_errors_have_a_sentence_for_the_user_and_a_detail_for_the_log(store, monkeypatch, error, words, detail):
    async def failing(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(firestore, "fetched", failing)
    with pytest.raises(StoreUnavailable, match=words) as raised:
        await store.conversations("ana")
    assert detail in raised.value.detail
    assert detail not in str(raised.value)


async def test_credentials_are_loaded_at_the_first_call_and_again_after_a_failure(place, monkeypatch):
    def no_credentials():
        raise DefaultCredentialsError("none here")

    store = await place.open()
    with monkeypatch.context() as patch:
        patch.setattr(firestore_client, "_credentials", no_credentials)
        with pytest.raises(StoreUnavailable, match="no Google credentials"):
            await store.conversations("ana")
    assert (await store.conversations("ana")).items == []
    await store.aclose()


async def test_without_an_emulator_it_asks_google_itself_and_signs_in(place, firestore_emulator, monkeypatch):
    channels = []

    def create_channel(host, *, credentials, options):
        channels.append((host, credentials, dict(options)))
        return grpc.aio.insecure_channel(firestore_emulator.host, options=options)

    credentials = Credentials(token="owner")
    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST")
    monkeypatch.setattr(google.auth, "default", lambda scopes: (credentials, PROJECT))
    monkeypatch.setattr(FirestoreGrpcAsyncIOTransport, "create_channel", create_channel)
    store = await place.open()
    assert (await store.conversations("ana")).items == []
    ((host, signed_in, options),) = channels
    assert host.partition(":")[0] == "firestore.googleapis.com"
    assert signed_in is credentials
    assert options["grpc.max_reconnect_backoff_ms"] == 2_000
    await store.aclose()


async def test_another_replica_shows_a_running_answer_to_its_end(place, firestore_emulator, tmp_path):
    words = [f"{number} " for number in range(300)]
    async with FakeOpenAIServer(answer=words, tokens_per_second=30) as gemma:
        settings = {
            "CHAT_STORE": "firestore",
            "CHAT_FIRESTORE_DATABASE": place.database,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "FIRESTORE_EMULATOR_HOST": firestore_emulator.host,
            "CHAT_GEMMA_URL": gemma.url,
            "CHAT_EMBEDDED_MODEL": "false",
        }
        folders = [tmp_path / name for name in ("one", "other")]
        for folder in folders:
            folder.mkdir()
        async with (
            running_chat(folders[0], **settings) as one,
            running_chat(folders[1], **settings) as other,
            open_page(one.url) as page,
            open_page(other.url) as elsewhere,
        ):
            conversation = await page.send("Count", model="gemma")
            seen = [messages async for messages in _followed_once_there(elsewhere, conversation)]
            assert texts(seen[-1]) == ["Count", "".join(words)]
            checkpoints = {texts(messages)[1] for messages in seen if messages[1]["writing"]}
            assert any(text and text != "".join(words) for text in checkpoints)
            gemma.tokens_per_second = None
            await elsewhere.send("And on", conversation=conversation, model="gemma")
            assert len(await elsewhere.messages(conversation)) == 4


async def _is_listed(page):
    try:
        return bool(await page.listed())
    except Refused:  # the emulator did not answer in time on a busy machine
        return False


async def _followed_once_there(page, conversation):
    """Follow a conversation as soon as this copy knows of it, and see what it may not do meanwhile."""
    async with asyncio.timeout(60):
        while not await _is_listed(page):
            await asyncio.sleep(0.1)
    first = True
    async for messages in page.follow(conversation):
        yield messages
        if first:
            with pytest.raises(Refused, match="still being written"):
                await page.send("Too early", conversation=conversation, model="gemma")
        first = False
