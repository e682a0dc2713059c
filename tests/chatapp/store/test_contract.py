"""What every place that keeps conversations promises (the docstrings of `chatapp.store.Store`)."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from chatapp.domain.conversation import (
    Citation,
    Document,
    Feedback,
    FinishReason,
    GenerationParameters,
    Image,
    Message,
    MessageStatus,
    Persona,
    Profile,
    Role,
    Usage,
    new_id,
    now_ms,
)
from chatapp.domain.conversation import Place as ModelPlace
from chatapp.domain.errors import (
    ChatError,
    ConversationNotFound,
    DocumentNotFound,
    LibraryEntryNotFound,
    ShareNotFound,
    StoreUnavailable,
)
from chatapp.domain.library import Collection, Folder, LibraryDocument
from chatapp.domain.sentences import Sentence, as_json
from chatapp.domain.share import Share
from chatapp.store import Consistency, Hit, Revocations, SessionRecord, StoreStatus
from chatapp.store.folding import fold
from chatapp.store.journal import cloud_reads
from chatapp.store.journal.store import JournaledStore
from chatapp.store.sqlite.store import SQLiteStore
from chatapp.store.values import IMAGE_BYTES, in_order
from tests.chatapp.store.conftest import ADAPTERS, a_conversation, a_message
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatapp.domain.conversation import Attachment, Conversation
    from chatapp.store import Store
    from tests.chatapp.store.conftest import Place

ANSWER = a_message(
    "An answer",
    2_000,
    id="answer",
    role=Role.ASSISTANT,
    status=MessageStatus.ERROR,
    revision=7,
    model="gemma",
    usage=Usage(prompt_tokens=12, completion_tokens=None),
    seconds_to_first_token=0.1 + 0.2,
    finish_reason=FinishReason.LENGTH,
    omitted_messages=3,
    error="The server closed the connection.",
    follows="question",
    feedback=Feedback.DOWN,
    place=ModelPlace.OWN_GPUS,
    instead_of="gemini",
    temperature=0.1 + 0.2,
    seconds=12.5,
    cost=0.000123,
    citations=(
        Citation(end=4, document="picture", page=2, page_start=0, page_end=9),
        Citation(end=9, document="notes", page=1, page_start=3, page_end=5),
        Citation(end=9, document="d", page=1, page_start=3, page_end=5, collection="k", name="דוח", quote="\U0001f642"),
    ),
)
PICTURE = Image(id="picture", media_type="image/png", width=640, height=480, data=b"\x89PNG\r\n\x00\xff" * 100)
OTHER = Image(id="other", media_type="image/webp", width=1, height=2, data=b"RIFF")
REPORT = Document(
    id="picture", name="דוח \U0001f642.pdf", kind="PDF", pages=2, size=10**9, data=b"\x1f\x8b\x00\xff" * 100
)
NOTES = Document(id="notes", name="notes.txt", kind="text", pages=1, size=7, data=b"\x1f")
ATTACHED = {"images": (PICTURE, OTHER), "documents": (REPORT, NOTES)}  # an image and a document have the same id
PROFILE = Profile(
    personas=(Persona(id="p1", name="מורה", instructions="Explain. {braces}\nשלום"),),
    parameters=GenerationParameters(temperature=0.3, top_p=0.5, max_tokens=77),
    answer_with_other=True,
    revision=3,
)


@pytest.fixture(autouse=True)
def patient_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the emulator on a busy machine: what a read returns in an outage is tested elsewhere."""
    monkeypatch.setattr(cloud_reads, "READ_TIMEOUT_S", 60)


async def list_all(store: Store, user: str, limit: int = 50) -> list[Conversation]:
    listed: list[Conversation] = []
    cursor = None
    while True:
        page = await store.conversations(user, limit=limit, cursor=cursor)
        listed += page.items
        cursor = page.cursor
        if cursor is None:
            return listed


# What is kept


async def test_a_conversation_and_its_messages_come_back_as_they_were(store):
    conversation = a_conversation(
        model="gemma",
        system_prompt="Be brief.",
        updated_ms=5_000,
        persona="p1",
        pinned=True,
        archived=True,
        branch="answer",
        deleted_ms=4_000,
    )
    question = a_message("A question", follows="")
    await store.create("ana", conversation, question, ANSWER)
    assert await store.conversation("ana", conversation.id) == conversation
    assert await store.messages("ana", conversation.id) == [question, ANSWER]
    assert list((await store.conversations("ana")).items) == [conversation]


async def test_unknown_and_zero_are_distinguished(store):
    usages = [None, Usage(), Usage(prompt_tokens=0, completion_tokens=0)]
    messages = [a_message(usage=usage, seconds_to_first_token=time) for usage in usages for time in (None, 0.0)]
    conversation = a_conversation()
    await store.create("ana", conversation, *messages)
    assert await store.messages("ana", conversation.id) == in_order(messages)


async def test_acknowledged_writes_survive_reopening_the_store(place):
    conversation = a_conversation()
    store = await place.open()
    await store.create("ana", conversation)
    await store.append("ana", conversation.id, ANSWER)
    await store.aclose()
    again = await place.open()
    assert await again.messages("ana", conversation.id) == [ANSWER]
    await again.aclose()


ODD_TEXTS = {
    "empty": "",
    "Hebrew": "שלום, מה שלומך?\n",
    "Arabic": "مرحبًا بالعالم",
    "emoji": "👩🏽‍🚀👨‍👩‍👧‍👦 e\u0301 ﷺ \U0010ffff\ufeff\ufffe",
    "control": "null\x00 and \x1b control \r\n\t",
    "SQL": "'; DROP TABLE messages; --",
    "long Unicode": "ש😀" * 70_000,  # 420 KB in UTF-8
    "long": "x" * 500_000,
}


async def test_any_text_is_stored_unchanged(store):
    for name, text in ODD_TEXTS.items():
        conversation = a_conversation(title=text[:200], system_prompt=text[:1_000])
        await store.create("ana", conversation, a_message(text, id="first"))
        await store.append("ana", conversation.id, a_message(text, id="second"))
        assert [message.content for message in await store.messages("ana", conversation.id)] == [text, text], name
        assert await store.conversation("ana", conversation.id) == conversation, name


async def test_half_a_surrogate_pair_does_not_lose_the_message(store):
    conversation = a_conversation(title="half \ud83d")
    await store.create("ana", conversation, a_message("half \ud83d here, whole \ud83d\ude00 there"))
    (message,) = await store.messages("ana", conversation.id)
    assert message.content == "half \ufffd here, whole 😀 there"
    assert (await store.conversation("ana", conversation.id)).title == "half \ufffd"


@pytest.mark.slow
async def test_one_message_is_found_without_the_others(store):
    conversation = a_conversation(id="same-id")
    long = a_message("ש😀" * 300_000, id="long")  # 1.8 MB: parts, where a document is smaller
    also = a_message(id="same-id")
    await store.create("ana", conversation, ANSWER, long, also)
    for expected in (ANSWER, long, also):
        assert await store.message("ana", conversation.id, expected.id) == expected
    newer = replace(ANSWER, content="More of it", revision=8)
    await store.append("ana", conversation.id, newer)
    assert await store.message("ana", conversation.id, ANSWER.id) == newer
    for user, conversation_id, message_id in (
        ("ben", conversation.id, ANSWER.id),
        ("ana", conversation.id, "another"),
        ("ana", "another", ANSWER.id),
        ("ana", conversation.id, "long~1"),
        ("ana", conversation.id, "half \ud83d"),
        ("ana", conversation.id, ""),
    ):
        with pytest.raises(ConversationNotFound):
            await store.message(user, conversation_id, message_id)
    await store.delete("ana", conversation.id)
    with pytest.raises(ConversationNotFound):
        await store.message("ana", conversation.id, ANSWER.id)


async def test_a_cached_read_includes_every_write_of_this_process(store):
    older, newer = a_conversation(title="older"), a_conversation(title="newer", updated_ms=3_000)
    question = a_message()
    for conversation in (older, newer):
        await store.create("ana", conversation, question)
    await store.conversations("ana")
    await store.append("ana", older.id, ANSWER, a_message(created_ms=4_000))
    renamed = replace(older, title="renamed", updated_ms=4_000)
    await store.update("ana", renamed)
    assert await store.conversation("ana", older.id, consistency=Consistency.CACHED) == renamed
    assert list((await store.conversations("ana", consistency=Consistency.CACHED)).items) == [renamed, newer]
    assert (await store.messages("ana", older.id, consistency=Consistency.CACHED))[:2] == [question, ANSWER]
    assert await store.message("ana", older.id, ANSWER.id, consistency=Consistency.CACHED) == ANSWER
    first = await store.conversations("ana", limit=1, consistency=Consistency.CACHED)
    assert list(first.items) == [renamed]
    assert list((await store.conversations("ana", cursor=first.cursor, consistency=Consistency.CACHED)).items) == [
        newer
    ]
    await store.delete("ana", older.id)
    assert list((await store.conversations("ana", consistency=Consistency.CACHED)).items) == [newer]
    for read in (store.conversation, store.messages):
        with pytest.raises(ConversationNotFound):
            await read("ana", older.id, consistency=Consistency.CACHED)
    with pytest.raises(ConversationNotFound):
        await store.message("ana", older.id, ANSWER.id, consistency=Consistency.CACHED)
    with pytest.raises(ConversationNotFound):
        await store.conversation("ben", newer.id, consistency=Consistency.CACHED)


async def test_a_store_with_nothing_to_do_says_that_all_is_well(store):
    assert store.status() == StoreStatus()


@pytest.mark.slow
async def test_size_of_what_a_user_stores_is_known_and_goes_with_it(place):
    picture = replace(PICTURE, data=b"x" * 20_000)
    report = replace(REPORT, data=b"x" * 30_000)
    store = await place.open()
    assert await store.stored_bytes("ana") == 0
    question = a_message("x" * 100_000, id="q", images=(picture,), documents=(report,))
    await store.create("ana", a_conversation(id="c"), question)
    await store.append("ana", "c", a_message("y" * 100_000, 2_000, id="a", role=Role.ASSISTANT))
    await store.append("ana", "c", a_message("y" * 10_000, 2_000, id="a", role=Role.ASSISTANT, revision=1))
    await store.create("ben", a_conversation(id="d"), a_message("z" * 20_000))
    store = await reopened(store, place)
    own, bens = await store.stored_bytes("ana"), await store.stored_bytes("ben")
    # In memory a character may take two bytes.
    assert 160_000 <= own < 280_000
    assert 20_000 <= bens < 45_000
    assert await store.stored_bytes() == own + bens
    await store.delete("ana", "c")
    store = await reopened(store, place)
    assert [await store.stored_bytes(user) for user in ("ana", "ben", None)] == [0, bens, bens]
    await store.aclose()


async def reopened(store, place):
    """Return the store, opened again when nothing waits for a cloud."""
    await until(lambda: not store.status().waiting_writes)
    await store.aclose()
    return await place.open()


async def test_stored_sentence_can_still_be_translated(store):
    inner = Sentence("{model} is \ud83d away", model="Gemma")
    error = Sentence("{reason} for {count} s. Sent {text}.", reason=inner, count=1200, text="{x} \ud83d\ude00")
    conversation = a_conversation()
    translatable, plain = replace(ANSWER, id="said", error=error), replace(ANSWER, id="plain", error='{"text": "{x}"}')
    await store.create("ana", conversation, translatable, plain)
    for message in (*await store.messages("ana", conversation.id), await store.message("ana", conversation.id, "said")):
        if message.id == "plain":
            assert (message.error, type(message.error)) == (plain.error, str)
        else:
            repaired = Sentence("{model} is \ufffd away", model="Gemma")
            expected = Sentence(error.template, reason=repaired, count=1200, text="{x} 😀")
            assert as_json(message.error) == as_json(expected)


# Images and documents


def bare(message: Message) -> Message:
    return message.with_attachments(replace(one, data=b"") for one in message.attachments)


async def read(store: Store, user: str, conversation_id: str, attachment: Attachment) -> Attachment:
    one = store.image if isinstance(attachment, Image) else store.document
    return await one(user, conversation_id, attachment.id)


async def test_attachments_are_stored_with_their_message_and_read_separately(store):
    conversation, question = a_conversation(), a_message("Look", id="m", **ATTACHED)
    await store.create("ana", conversation)
    await store.append("ana", conversation.id, question)
    assert await store.messages("ana", conversation.id) == [bare(question)]
    assert await store.message("ana", conversation.id, "m") == bare(question)
    assert await store.messages("ana", conversation.id, consistency=Consistency.CACHED) == [bare(question)]
    stored = [await read(store, "ana", conversation.id, one) for one in question.attachments]
    assert stored == [PICTURE, OTHER, REPORT, NOTES]
    await store.append("ana", conversation.id, replace(question, content="Look!", revision=1))
    await store.append("ana", conversation.id, bare(replace(question, content="Look here", revision=2)))
    assert await store.messages("ana", conversation.id) == [bare(replace(question, content="Look here", revision=2))]
    assert await store.image("ana", conversation.id, "picture") == PICTURE
    assert await store.document("ana", conversation.id, "picture") == REPORT


async def test_attachments_of_a_first_message_survive_reopening_the_store(place):
    conversation = a_conversation()
    store = await place.open()
    await store.create("ana", conversation, a_message(images=(PICTURE,), documents=(REPORT,)))
    await store.aclose()
    again = await place.open()
    assert await again.image("ana", conversation.id, "picture") == PICTURE
    assert await again.document("ana", conversation.id, "picture") == REPORT
    await again.aclose()


@pytest.mark.parametrize("kind", ATTACHED)
async def test_an_attachment_of_another_user_or_a_missing_one_is_not_found(store, kind):
    first, second = ATTACHED[kind]
    mine, other = a_conversation(), a_conversation()
    await store.create("ana", mine, a_message(**{kind: (first, replace(second, data=b""))}))
    await store.create("ana", other)
    for user, conversation_id, attachment_id in (
        ("ben", mine.id, first.id),
        ("ana", other.id, first.id),
        ("ana", mine.id, second.id),  # named, and never given
        ("ana", mine.id, f"../{first.id}"),
        ("ana", mine.id, "half \ud83d"),
        ("ana", mine.id, ""),
        ("ana", "never there", first.id),
    ):
        with pytest.raises(ConversationNotFound):
            await read(store, user, conversation_id, replace(first, id=attachment_id))
    with pytest.raises(ConversationNotFound):  # the message has none of the other kind
        await read(store, "ana", mine.id, PICTURE if kind == "documents" else REPORT)


async def test_attachments_go_with_their_conversation(store):
    conversation, question = a_conversation(), a_message(**ATTACHED)
    await store.create("ana", conversation, question)
    await store.delete("ana", conversation.id)
    for one in question.attachments:
        with pytest.raises(ConversationNotFound):
            await read(store, "ana", conversation.id, one)
    await store.create("ana", conversation)
    for one in question.attachments:
        with pytest.raises(ConversationNotFound):
            await read(store, "ana", conversation.id, one)


async def test_largest_attachments_are_stored_and_a_larger_one_is_rejected_with_its_message(store):
    image, document = replace(PICTURE, data=b"\xff" * 900_000), replace(REPORT, data=b"\xff" * 900_000)
    conversation = a_conversation()
    await store.create("ana", conversation, a_message(images=(image,), documents=(document,)))
    assert await store.image("ana", conversation.id, "picture") == image
    assert await store.document("ana", conversation.id, "picture") == document
    data = b"\xff" * 900_001
    for larger, words in (
        (a_message(images=(replace(OTHER, data=data),)), "This image is 901 kB.* at most 900 kB.*Send a smaller image"),
        (a_message(documents=(NOTES, replace(REPORT, data=data))), r"דוח .*\.pdf takes 901 kB.* at most 900 kB.*Split"),
    ):
        with pytest.raises(StoreUnavailable, match=words):
            await store.append("ana", conversation.id, larger)
        with pytest.raises(StoreUnavailable, match=words):
            await store.create("ana", a_conversation(), larger)
    assert len(await store.messages("ana", conversation.id)) == 1
    assert len(await list_all(store, "ana")) == 1


async def test_attachments_of_a_failed_write_are_not_stored(store):
    conversation, question = a_conversation(), a_message(**ATTACHED)
    await store.create("ana", conversation)
    with pytest.raises((TypeError, AttributeError, ChatError)):
        await store.append("ana", conversation.id, question, a_message(content=object()))
    for one in question.attachments:
        with pytest.raises(ConversationNotFound):
            await read(store, "ana", conversation.id, one)


async def test_name_of_a_document_that_utf8_cannot_encode_is_stored_readably(store):
    conversation, document = a_conversation(), replace(NOTES, name="half \ud83d \ud83d\ude42.txt")
    await store.create("ana", conversation, a_message(documents=(document,)))
    readable = replace(document, name="half \ufffd \U0001f642.txt")
    assert await store.document("ana", conversation.id, "notes") == readable
    (message,) = await store.messages("ana", conversation.id)
    assert message.documents == (replace(readable, data=b""),)


# What is pinned


async def test_pinned_conversations_are_listed_separately_the_last_updated_first(store):
    first, second = a_conversation(pinned=True, updated_ms=10), a_conversation(pinned=True, archived=True, updated_ms=5)
    other = a_conversation(updated_ms=7)
    for conversation in (other, first, second, a_conversation(pinned=True, deleted_ms=1)):
        await store.create("ana", conversation)
    await store.create("ben", a_conversation(pinned=True))
    assert await store.pinned("ana") == [first, second]
    await store.append("ana", second.id, a_message(created_ms=20))
    second = replace(second, updated_ms=20)
    for consistency in (Consistency.LATEST, Consistency.CACHED):
        assert await store.pinned("ana", consistency=consistency) == [second, first]
    await store.update("ana", replace(first, pinned=False))
    await store.update("ana", replace(other, pinned=True))
    for consistency in (Consistency.CACHED, Consistency.LATEST, Consistency.CACHED):
        assert await store.pinned("ana", consistency=consistency) == [second, replace(other, pinned=True)]
    await store.update("ana", replace(other, pinned=True, deleted_ms=1))
    await store.delete("ana", second.id)
    for consistency in (Consistency.CACHED, Consistency.LATEST, Consistency.CACHED):
        assert await store.pinned("ana", consistency=consistency) == []


@pytest.mark.slow
async def test_a_hundred_pinned_conversations_are_shown(store):
    conversations = [a_conversation(pinned=True, updated_ms=number) for number in range(103)]
    await asyncio.gather(*(store.create("ana", conversation) for conversation in conversations))
    assert await store.pinned("ana") == conversations[:2:-1]


# Search


async def search_hits(store: Store, user: str, text: str, limit: int = 20) -> list[Hit]:
    hits: list[Hit] = []
    cursor = None
    while True:
        page = await store.search(user, text, limit=limit, cursor=cursor)
        assert len(page.items) <= limit
        hits += page.items
        cursor = page.cursor
        if cursor is None:
            return hits


async def test_a_search_finds_the_newest_message_of_each_conversation_that_has_all_words(store):
    first, second = a_conversation(updated_ms=10), a_conversation(title="Apple pie", updated_ms=20)
    await store.create("ana", first, a_message("old apple, ripe pear", id="a", created_ms=1))
    await store.append("ana", first.id, a_message("pear and APPLE", id="b", created_ms=2))
    await store.append("ana", first.id, a_message("only a pear", id="c", created_ms=3))
    await store.create("ana", second, a_message("pear", id="d"))
    assert await search_hits(store, "ana", " Apple  pear ") == [Hit(first, "b", "", "pear", " and APPLE")]
    assert await search_hits(store, "ana", "apple and") == [Hit(first, "b", "pear ", "and", " APPLE")]
    assert await search_hits(store, "ana", "pear") == [
        Hit(second, "d", "", "pear", ""),
        Hit(first, "c", "only a ", "pear", ""),
    ]
    assert await search_hits(store, "ana", "apple pi") == [Hit(second, "", "", "Apple", " pie")]
    assert await search_hits(store, "ana", "ppl") == [
        Hit(second, "", "A", "ppl", "e pie"),
        Hit(first, "b", "pear and A", "PPL", "E"),
    ]
    for nothing in ("", "  ", "apple cherry", "%", "_", "'", "pearand", "\ud83d"):
        assert await search_hits(store, "ana", nothing) == []
    assert await search_hits(store, "ben", "pear") == []


async def test_a_search_finds_a_message_by_the_names_of_its_documents(store):
    chat = a_conversation(title="Rain")
    asked = a_message("Is it much?", id="q", created_ms=1, documents=(NOTES, REPORT))
    cited = Citation(end=4, document="d", page=1, page_start=0, page_end=9)
    kept = replace(cited, collection="k", name="Lease חוזה.pdf")
    answer = a_message('Plain "documents".', id="a", created_ms=2, citations=(cited, kept, replace(kept, end=6)))
    await store.create("ana", chat, asked, answer)
    assert await search_hits(store, "ana", "NOTES") == [Hit(chat, "q", "", "notes", f".txt\n{REPORT.name}")]
    assert await search_hits(store, "ana", "דוח") == [Hit(chat, "q", "notes.txt\n", "דוח", " \U0001f642.pdf")]
    assert [hit.message_id for hit in await search_hits(store, "ana", "much pdf")] == ["q"]
    assert [hit.message_id for hit in (await store.search("ana", "txt", thinking=True)).items] == ["q"]
    assert await search_hits(store, "ana", "lease") == [Hit(chat, "a", "", "Lease", " חוזה.pdf")]
    for nothing in ("kind", "size", "picture", "txt plain", "collection"):
        assert await search_hits(store, "ana", nothing) == []
    assert [hit.message_id for hit in await search_hits(store, "ana", "documents")] == ["a"]
    assert await search_hits(store, "ben", "notes") == []


async def test_thinking_is_searched_only_on_demand(store):
    chat = a_conversation(title="Sums")
    answer = replace(ANSWER, id="a", content="It is four.", thinking="Two and TWO, hmm", created_ms=2, revision=1)
    await store.create("ana", chat, a_message("What is it?", id="q", created_ms=1))
    assert (await store.search("ana", "hmm", thinking=True)).items == []
    await store.append("ana", chat.id, answer)
    assert await search_hits(store, "ana", "hmm") == []
    assert (await store.search("ana", "two hmm", thinking=True)).items == [
        Hit(chat, "a", "", "Two", " and TWO, hmm", in_thinking=True)
    ]
    assert (await store.search("ana", "four", thinking=True)).items == [Hit(chat, "a", "It is ", "four", ".")]
    assert [hit.message_id for hit in (await store.search("ana", "four hmm", thinking=True)).items] == ["a"]
    assert (await store.search("ben", "hmm", thinking=True)).items == []


SPELLINGS = [
    ("Crème brûlée", "creme brulee"),
    ("creme", "CRÈME"),
    ("cre\u0300me", "crème"),
    ("Straße", "STRASSE"),
    ("Łódź", "lodz"),
    ("שָׁלוֹם", "שלום"),
    ("שלום", "שָׁלוֹם"),
    ("צה״ל", 'צה"ל'),
    ("ספרים", "ספרימ"),
    ("مُحَمَّد", "محمد"),
    ("كتــــاب", "كتاب"),
    ("أحمد إلى آخر", "احمد الي اخر"),
    ("مدرسة", "مدرسه"),
    ("فارسی", "فارسي"),
    ("ＡＢＣ", "abc"),
    ("Привет", "ПРИВЕТ"),
    ("日本語の文", "本語"),
    ("हिन्दी", "हिन्दी"),
    ("100% [a_b]", "% [a_b]"),
]


@pytest.mark.slow
async def test_however_a_word_is_written_it_is_found(store):
    for number, (written, query) in enumerate(SPELLINGS):
        user, conversation = f"user{number}", a_conversation(updated_ms=5)
        titled = a_conversation(title=f"({written})", updated_ms=3)
        await store.create(user, conversation, a_message(f"({written})", id="m"))
        await store.create(user, titled)
        hits = await search_hits(store, user, query)
        assert [(hit.conversation, hit.message_id) for hit in hits] == [(conversation, "m"), (titled, "")], written
        assert all(hit.before + hit.match + hit.after == f"({written})" for hit in hits), written
        assert all(hit.match for hit in hits), written


async def test_hit_includes_the_text_around_the_words(store):
    conversation = a_conversation()
    text = "x" * 100 + "👨‍👩‍👧‍👦" * 20 + " needle " + "é" * 30 + "e\u0301" * 40
    await store.create("ana", conversation, a_message(text))
    (hit,) = await search_hits(store, "ana", "NEEDLE")
    assert hit.before == "…" + "👨‍👩‍👧‍👦" * 8 + " "
    assert hit.match == "needle"
    assert hit.after == " " + "é" * 30 + "e\u0301" * 14 + "…"


@pytest.mark.slow
async def test_search_finds_new_writes_and_no_deleted_text(store):
    conversation = a_conversation()
    running = a_message("one", 5_000, id="m", role=Role.ASSISTANT, status=MessageStatus.STREAMING)
    await store.create("ana", conversation, running)
    for number, text in enumerate(["one two", "one two three"], start=1):
        assert await search_hits(store, "ana", text) == []
        await store.append("ana", conversation.id, replace(running, content=text, revision=number))
        assert [hit.message_id for hit in await search_hits(store, "ana", text)] == ["m"]
    await store.append("ana", conversation.id, replace(ANSWER, id="m", content="four", revision=3))
    assert await search_hits(store, "ana", "three") == []
    renamed = replace(await store.conversation("ana", conversation.id), title="Five")
    await store.update("ana", renamed)
    assert [hit.message_id for hit in await search_hits(store, "ana", "five")] == [""]
    await store.update("ana", replace(renamed, archived=True))
    assert len(await search_hits(store, "ana", "four")) == 1
    await store.update("ana", replace(renamed, deleted_ms=1))
    assert await search_hits(store, "ana", "four") == []
    await store.update("ana", renamed)
    assert len(await search_hits(store, "ana", "four")) == 1
    await store.delete("ana", conversation.id)
    assert await search_hits(store, "ana", "four") == []


async def test_pages_of_a_search_are_complete_and_without_doubles(store):
    conversations = [a_conversation(updated_ms=number // 2, title=f"chat {number % 3}") for number in range(12)]
    await asyncio.gather(*(store.create("ana", conversation, a_message("hay")) for conversation in conversations))
    expected = sorted(
        (one for one in conversations if one.title == "chat 1"), key=lambda one: (one.updated_ms, one.id), reverse=True
    )
    for limit in (1, 2, 3, 50):
        assert [hit.conversation for hit in await search_hits(store, "ana", "chat 1", limit)] == expected
    everything = sorted(conversations, key=lambda one: (one.updated_ms, one.id), reverse=True)
    assert [hit.conversation for hit in await search_hits(store, "ana", "hay", 5)] == everything
    assert len((await store.search("ana", "hay", limit=0)).items) == 1
    assert [hit.conversation for hit in (await store.search("ana", "hay", cursor="garbage")).items] == everything


# For sure


async def test_a_strict_read_returns_everything_once_nothing_is_pending(store):
    conversation, message = a_conversation(), a_message()
    await store.create("ana", conversation, message)
    await store.save_profile("ana", PROFILE)
    assert await store.messages("ana", conversation.id, consistency=Consistency.STRICT) == [message]
    assert await store.profile("ana", consistency=Consistency.STRICT) == PROFILE
    async with asyncio.timeout(60):
        while store.pending("ana", conversation.id) or store.pending("ana"):
            await asyncio.sleep(0.01)
    assert not store.pending("ben")
    assert await store.delivered("ana", conversation.id, message.id, seconds=60)
    assert await store.undelivered("ana", conversation.id) == set()
    assert await store.messages("ana", conversation.id, consistency=Consistency.STRICT) == [message]
    with pytest.raises(ConversationNotFound):
        await store.messages("ana", "other", consistency=Consistency.STRICT)


# Sessions


async def test_sessions_are_listed_the_last_used_first_until_they_expire(place):
    store = await place.open()
    later = now_ms() + 1_000_000
    one, two, old = (
        SessionRecord(id=name, began_ms=1, seen_ms=seen, device="Firefox, Linux")
        for name, seen in (("one", 1_000), ("two", 2_000), ("old", 3_000))
    )
    assert await store.sessions("ana") == []
    for session, until_ms in ((one, later), (two, later), (old, now_ms() - 1)):
        await store.save_session("ana", session, until_ms=until_ms)
    assert await store.sessions("ana") == [two, one]
    used = replace(one, seen_ms=5_000)
    for _ in range(2):  # again changes nothing
        await store.save_session("ana", used, until_ms=later)
    await store.revoke("ana", session="two", until_ms=later)
    await store.aclose()
    again = await place.open()
    assert await again.sessions("ana") == [used, two]
    assert await again.sessions("ben") == []
    await again.aclose()


# Ended sessions


async def test_a_revoked_session_stays_revoked_and_others_continue(place):
    store = await place.open()
    later = now_ms() + 1_000_000
    assert await store.revocations("ana") == Revocations()
    for _ in range(2):  # again changes nothing
        await store.revoke("ana", session="one", until_ms=later)
    await store.revoke("ana", session="two", until_ms=later)
    assert await store.revocations("ana") == Revocations(sessions=frozenset({"one", "two"}))
    assert await store.revocations("ben") == Revocations()
    await store.aclose()
    again = await place.open()
    ended = await again.revocations("ana")
    assert [ended.end(session, 5) for session in ("one", "two", "three")] == [True, True, False]
    await again.aclose()


async def test_all_sessions_until_a_moment_end_and_no_earlier_moment_brings_one_back(store):
    later = now_ms() + 1_000_000
    await store.revoke("ana", before_ms=2_000, until_ms=later)
    await store.revoke("ana", before_ms=1_000, until_ms=later)
    await store.revoke("ana", session="one", until_ms=later)
    ended = await store.revocations("ana")
    assert ended == Revocations(before_ms=2_000, sessions=frozenset({"one"}))
    assert [ended.end("other", began_ms) for began_ms in (0, 1_999, 2_000, 2_001)] == [True, True, True, False]


async def test_revocations_are_separate_from_conversations_and_outlive_them(store):
    await store.revoke("ana", session="one", until_ms=now_ms() + 1_000_000)
    assert await list_all(store, "ana") == []
    await store.create("ana", a_conversation(id="one"))
    await store.delete("ana", "one")
    await store.save_profile("ana", PROFILE)
    await store.delete_profile("ana")
    assert await store.revocations("ana") == Revocations(sessions=frozenset({"one"}))


# Shares


def a_share(conversation_id: str, share_id: str = "d1", **fields: object) -> Share:
    now = now_ms()
    times = {"created_ms": now, "expires_ms": now + 1_000_000}
    return Share(id=share_id, conversation_id=conversation_id, title="Hello", **{**times, **fields})


async def test_share_is_read_by_its_id_alone_and_listed_and_deleted_by_its_user_only(place):
    store = await place.open()
    conversation = a_conversation()
    await store.create("ana", conversation, a_message())
    older, newer = a_share(conversation.id, "d1", size=9), a_share(conversation.id, "d2", created_ms=now_ms() + 5)
    pieces = {"text-0": b"hello", "i1": b"\x00" * 900_000, "i2": b"\xff" * 900_000, "i3": b"\x01" * 900_000}
    for _ in range(2):  # again changes nothing
        await store.save_share("ana", older, pieces)
    await store.save_share("ana", newer, {"text-0": b"other"})
    with pytest.raises(ConversationNotFound):
        await store.save_share("ben", a_share(conversation.id, "d3"), {"text-0": b"stolen"})
    await store.aclose()
    store = await place.open()
    assert [one.id for one in await store.shares("ana")] == ["d2", "d1"]
    assert replace(await store.shared("d1"), size=9) == older
    assert [await store.shared_piece("d1", name) for name in pieces] == list(pieces.values())
    assert await store.shares("ben") == []
    await store.delete_share("ben", "d1")
    assert (await store.shared("d1")).id == "d1"
    for _ in range(2):
        await store.delete_share("ana", "d1")
    assert [one.id for one in await store.shares("ana")] == ["d2"]
    for share, piece in (("d1", "text-0"), ("d2", "i1"), ("d3", "text-0"), ("none", "text-0"), ("a/b", "text-0")):
        with pytest.raises(ShareNotFound):
            await store.shared_piece(share, piece)
    assert await store.shared_piece("d2", "text-0") == b"other"
    await store.aclose()


@pytest.mark.slow
async def test_share_ends_with_its_time_and_with_its_conversation(store):
    conversation = a_conversation()
    await store.create("ana", conversation, a_message())
    await store.save_share("ana", a_share(conversation.id, "old", expires_ms=now_ms() - 1), {"text-0": b"x"})
    await store.save_share("ana", a_share(conversation.id), {"text-0": b"x"})

    async def opens(share_id: str) -> bool:
        try:
            return await store.shared_piece(share_id, "text-0") == b"x"
        except ShareNotFound:
            return False

    async def becomes(share_id: str, *, is_open: bool) -> None:
        async with asyncio.timeout(60):  # until it is delivered
            while await opens(share_id) != is_open:
                await asyncio.sleep(0.01)

    assert not await opens("old")
    assert await opens("d1")
    stamp = now_ms()
    await store.update("ana", replace(conversation, deleted_ms=5, changed_ms={"deleted_ms": stamp}))
    await becomes("d1", is_open=False)
    assert await store.shares("ana") == []
    await store.update("ana", replace(conversation, deleted_ms=0, changed_ms={"deleted_ms": stamp + 1}))
    await becomes("d1", is_open=True)
    assert [one.id for one in await store.shares("ana")] == ["d1"]
    await store.delete("ana", conversation.id)
    await becomes("d1", is_open=False)
    await store.create("ana", a_conversation(), a_message())
    assert await store.shares("ana") == []


# The profile


async def test_a_profile_comes_back_as_it_was(place):
    store = await place.open()
    assert await store.profile("ana") == Profile()
    await store.save_profile("ana", PROFILE)
    assert await store.profile("ana") == await store.profile("ana", consistency=Consistency.CACHED) == PROFILE
    assert await store.profile("ben") == Profile()
    assert await list_all(store, "ana") == []
    await store.aclose()
    again = await place.open()
    assert await again.profile("ana") == PROFILE
    await again.aclose()


async def test_the_highest_revision_of_a_profile_wins(store):
    newer, older, same = (replace(PROFILE, revision=revision, parameters=None) for revision in (4, 2, 3))
    await store.save_profile("ana", PROFILE)
    for ignored in (older, same):
        await store.save_profile("ana", ignored)
        assert await store.profile("ana") == await store.profile("ana", consistency=Consistency.CACHED) == PROFILE
    await store.save_profile("ana", newer)
    await store.save_profile("ana", PROFILE)
    assert await store.profile("ana") == await store.profile("ana", consistency=Consistency.CACHED) == newer


async def test_deleted_profile_can_be_created_again(store):
    await store.delete_profile("ana")
    await store.save_profile("ana", PROFILE)
    await store.delete_profile("ana")
    assert await store.profile("ana", consistency=Consistency.CACHED) == await store.profile("ana") == Profile()
    first = Profile(answer_with_other=True, revision=1)
    await store.save_profile("ana", first)
    assert await store.profile("ana", consistency=Consistency.CACHED) == await store.profile("ana") == first


async def test_half_a_surrogate_pair_does_not_lose_a_profile_and_too_much_is_refused_in_words(store):
    persona = Persona(id="p", name="\ud83d", instructions="half \ud83d")
    await store.save_profile("ana", Profile(personas=(persona,), revision=1))
    stored = Profile(personas=(Persona(id="p", name="\ufffd", instructions="half \ufffd"),), revision=1)
    assert await store.profile("ana") == stored
    large = tuple(Persona(id=str(number), name="n", instructions="ש" * 20_000) for number in range(23))
    with pytest.raises(StoreUnavailable, match=r"All personas together take 921 kB, and the limit is 900 kB"):
        await store.save_profile("ana", Profile(personas=large, revision=2))
    assert await store.profile("ana") == stored
    await store.save_profile("ana", Profile(personas=large[:-1], revision=2))
    assert (await store.profile("ana")).personas == large[:-1]


# The library


def adding(*names: str) -> Callable[[Profile], Profile]:
    """Return a change that adds collections, and a folder for each."""

    def change(profile: Profile) -> Profile:
        collections = (Collection(id=name, name=name) for name in names)
        folders = (Folder(id=f"f-{name}", name=name, instructions="Be exact.", collection=name) for name in names)
        return replace(profile, collections=(*profile.collections, *collections), folders=(*profile.folders, *folders))

    return change


def kept(document: Document = REPORT, collection: str = "k", **fields: object) -> LibraryDocument:
    return LibraryDocument(collection=collection, document=replace(document, **fields), added_ms=1_700_000_000_000)


def listed(document: LibraryDocument) -> LibraryDocument:
    return replace(document, document=replace(document.document, data=b""))


async def test_collections_and_folders_come_back_as_they_were(place):
    store = await place.open()
    changed = await store.change_library("ana", adding("k"))
    assert changed.collections == (Collection(id="k", name="k"),)
    assert changed.folders == (Folder(id="f-k", name="k", instructions="Be exact.", collection="k"),)
    assert await store.profile("ana") == await store.profile("ana", consistency=Consistency.CACHED) == changed
    assert await store.profile("ben") == Profile()
    await store.aclose()
    again = await place.open()
    assert await again.profile("ana") == changed
    emptied = await again.change_library("ana", lambda profile: replace(profile, collections=(), folders=()))
    assert (emptied.collections, emptied.folders) == ((), ())
    assert await again.profile("ana") == await again.profile("ana", consistency=Consistency.CACHED) == emptied
    await again.aclose()


async def test_changes_of_the_library_and_of_settings_undo_neither(store):
    await store.change_library("ana", adding("first"))
    await store.save_profile("ana", PROFILE)  # made of a profile without a library
    await asyncio.gather(
        store.change_library("ana", adding("second")),
        store.save_profile("ana", replace(PROFILE, answer_with_other=False, revision=4)),
        store.change_library("ana", lambda profile: adding("third")(replace(profile, personas=(), revision=9))),
    )
    for consistency in (Consistency.LATEST, Consistency.CACHED):
        profile = await store.profile("ana", consistency=consistency)
        assert (profile.personas, profile.answer_with_other, profile.revision) == (PROFILE.personas, False, 4)
        assert {one.id for one in profile.collections} == {"first", "second", "third"}
        assert [one.collection for one in profile.folders] == [one.id for one in profile.collections]


async def test_a_change_of_the_library_that_is_refused_changes_nothing(store):
    before = await store.change_library("ana", adding("k"))

    def refused(profile: Profile) -> Profile:
        raise LibraryEntryNotFound

    with pytest.raises(LibraryEntryNotFound):
        await store.change_library("ana", refused)
    folders = tuple(Folder(id=f"{number}", name="n", instructions="ש" * 20_000) for number in range(23))
    with pytest.raises(StoreUnavailable, match=r"All personas and folders together take 921 kB"):
        await store.change_library("ana", lambda profile: replace(profile, folders=folders))
    assert await store.profile("ana") == before
    half = Folder(id="f", name="\ud83d", instructions="half \ud83d")
    stored = await store.change_library("ana", lambda profile: replace(profile, folders=(half,)))
    assert stored.folders == (replace(half, name="\ufffd", instructions="half \ufffd"),)
    assert await store.profile("ana") == stored


async def test_a_deleted_profile_has_no_library(store):
    await store.change_library("ana", adding("k"))
    await store.delete_profile("ana")
    assert await store.profile("ana") == Profile()
    changed = await store.change_library("ana", adding("new"))
    assert [one.id for one in changed.collections] == ["new"]
    assert await store.profile("ana") == changed


async def test_documents_of_collections_are_listed_read_and_removed(place):
    store = await place.open()
    largest = kept(NOTES, "other", id="large", name="א" * 200, data=b"x" * IMAGE_BYTES)
    half = kept(NOTES, "k", id="half", name="half \ud83d.txt")
    for document in (largest, kept(), half, kept(name="again", data=b"other")):
        await store.add_library_document("ana", document)  # the last one has the id of the second, which stays
    await store.aclose()
    store = await place.open()
    readable = replace(half, document=replace(half.document, name="half \ufffd.txt"))
    assert await store.library("ana") == [listed(readable), listed(kept()), listed(largest)]
    assert await store.library("ana", "other") == [listed(largest)]
    assert await store.library("ana", "none") == []
    assert await store.library("ben") == []
    assert await store.library_document("ana", "large") == largest
    assert await store.library_document("ana", "half") == readable
    for user, document_id in (("ben", "large"), ("ana", "none"), ("ana", "a/b"), ("ana", "")):
        with pytest.raises(DocumentNotFound):
            await store.library_document(user, document_id)
        await store.remove_library_documents(user, [document_id])
    for _ in range(2):
        await store.remove_library_documents("ana", ["large"])
    assert await store.library("ana") == [listed(readable), listed(kept())]
    with pytest.raises(DocumentNotFound):
        await store.library_document("ana", "large")
    await store.add_library_document("ana", largest)
    assert await store.library_document("ana", "large") == largest
    await store.aclose()


async def test_a_document_of_a_collection_counts_until_it_is_removed_and_a_larger_one_is_refused(place):
    store = await place.open()
    await store.add_library_document("ana", kept(data=b"x" * 500_000))
    await store.add_library_document("ben", kept(data=b"x" * 1_000))
    with pytest.raises(StoreUnavailable, match=r"at most 900 kB of a document"):
        await store.add_library_document("ana", kept(id="large", data=b"x" * (IMAGE_BYTES + 1)))
    store = await reopened(store, place)
    own, bens = await store.stored_bytes("ana"), await store.stored_bytes("ben")
    assert 500_000 < own < 501_000
    assert 1_000 < bens < 2_000
    assert await store.stored_bytes() == own + bens
    await store.remove_library_documents("ana", [kept().document.id])
    store = await reopened(store, place)
    assert [await store.stored_bytes(user) for user in ("ana", "ben", None)] == [0, bens, bens]
    await store.aclose()


async def test_conversations_of_a_folder_are_listed_the_last_updated_first(store):
    first, second = a_conversation(folder="f", updated_ms=10), a_conversation(folder="f", archived=True, updated_ms=5)
    other = a_conversation(updated_ms=7, collection="k")
    for conversation in (other, first, second, a_conversation(folder="f", deleted_ms=1), a_conversation(folder="g")):
        await store.create("ana", conversation)
    await store.create("ben", a_conversation(folder="f"))
    assert await store.in_folder("ana", "f") == [first, second]
    await store.append("ana", second.id, a_message(created_ms=20))
    second = replace(second, updated_ms=20)
    assert await store.in_folder("ana", "f") == [second, first]
    await store.update("ana", replace(first, folder=""))
    await store.update("ana", replace(other, folder="f", collection=""))
    assert await store.in_folder("ana", "f") == [second, replace(other, folder="f", collection="")]
    assert await store.conversation("ana", first.id) == replace(first, folder="")
    await store.delete("ana", second.id)
    await store.update("ana", replace(other, folder="f", collection="", deleted_ms=1))
    assert await store.in_folder("ana", "f") == []
    assert await store.in_folder("ana", "") == []


# Messages: order, idempotency, revisions, all or nothing


async def test_messages_are_ordered_by_time_then_id_however_they_arrive(store):
    ordered = [
        a_message(id=name, created_ms=ms) for ms, name in [(9, "z"), (10, "a"), (10, "b"), (10, "c"), (100, "a0")]
    ]
    conversation = a_conversation()
    await store.create("ana", conversation, ordered[3])
    await store.append("ana", conversation.id, ordered[4], ordered[1])
    await store.append("ana", conversation.id, ordered[2])
    await store.append("ana", conversation.id, ordered[0])
    assert await store.messages("ana", conversation.id) == ordered


async def test_the_same_append_again_changes_nothing(store):
    conversation = a_conversation()
    await store.create("ana", conversation)
    question = a_message()
    await store.append("ana", conversation.id, question, ANSWER)
    before = await store.conversation("ana", conversation.id)
    await store.append("ana", conversation.id, question, ANSWER)
    await store.append("ana", conversation.id)
    assert await store.messages("ana", conversation.id) == [question, ANSWER]
    assert await store.conversation("ana", conversation.id) == before


@pytest.mark.slow
async def test_of_two_ratings_the_later_one_stays_in_any_order_and_with_any_revisions(store):
    answer = replace(ANSWER, feedback=Feedback.NONE, revision=0)
    writes = [
        replace(answer, revision=1, feedback=Feedback.UP, feedback_ms=1_000),
        replace(answer, revision=1, feedback=Feedback.DOWN, feedback_ms=2_000),  # at another replica, at the same time
        replace(answer, revision=3, content="Continued", feedback=Feedback.UP, feedback_ms=1_000),
        replace(answer, revision=4, content="Continued, without any rating"),
    ]
    expected = replace(writes[-1], feedback=Feedback.DOWN, feedback_ms=2_000)
    await store.create("ana", a_conversation(id="c"))
    for number, order in enumerate([(0, 1, 2, 3), (3, 2, 1, 0), (1, 0, 2, 3), (1, 3, 0, 2), (2, 1, 3, 0)]):
        for write in [answer, *(writes[position] for position in order), writes[order[0]]]:
            await store.append("ana", "c", replace(write, id=f"m{number}"))
        assert await store.message("ana", "c", f"m{number}") == replace(expected, id=f"m{number}"), order
    assert {message.feedback for message in await store.messages("ana", "c")} == {Feedback.DOWN}


@pytest.mark.slow
async def test_the_newest_revision_wins_in_any_order(store):
    revisions = [
        a_message(id="m", content="", status=MessageStatus.STREAMING, revision=0, role=Role.ASSISTANT),
        a_message(id="m", content="half", status=MessageStatus.STREAMING, revision=1, role=Role.ASSISTANT),
        replace(ANSWER, id="m", revision=2),
    ]
    for order in itertools.permutations(revisions):
        apart, together, first = a_conversation(), a_conversation(), a_conversation()
        await store.create("ana", apart)
        await store.create("ana", together)
        for revision in order:
            await store.append("ana", apart.id, revision)
        await store.append("ana", together.id, *order)
        await store.create("ana", first, *order)
        for conversation in (apart, together, first):
            assert await store.messages("ana", conversation.id) == [revisions[2]], order


async def test_the_same_revision_does_not_replace(store):
    conversation = a_conversation()
    await store.create("ana", conversation, a_message("first", id="m", revision=3))
    await store.append("ana", conversation.id, a_message("second", id="m", revision=3))
    assert [message.content for message in await store.messages("ana", conversation.id)] == ["first"]


async def test_an_append_moves_the_conversation_to_its_newest_message_and_never_back(store):
    conversation = a_conversation(updated_ms=5_000)
    await store.create("ana", conversation)
    await store.append("ana", conversation.id, a_message(created_ms=4_000))
    assert await store.conversation("ana", conversation.id) == conversation
    await store.append("ana", conversation.id, a_message(created_ms=7_000), a_message(created_ms=6_000))
    assert await store.conversation("ana", conversation.id) == replace(conversation, updated_ms=7_000)


async def test_an_append_that_fails_has_changed_nothing(store):
    conversation = a_conversation()
    stored = a_message("kept", id="kept")
    await store.create("ana", conversation, stored)
    newer = replace(stored, content="newer", revision=1, created_ms=9_000)
    with pytest.raises((TypeError, AttributeError, ChatError)):
        await store.append("ana", conversation.id, newer, a_message(created_ms=8_000), a_message(content=object()))
    assert await store.messages("ana", conversation.id) == [stored]
    assert await store.conversation("ana", conversation.id) == conversation


async def test_the_same_message_id_in_two_conversations_is_two_messages(store):
    mine, also_mine, theirs = a_conversation(), a_conversation(), a_conversation()
    await store.create("ana", mine, a_message("mine", id="m"))
    await store.create("ana", also_mine, a_message("also mine", id="m", revision=5))
    await store.create("ben", theirs)
    await store.append("ben", theirs.id, a_message("theirs", id="m", revision=9))
    assert [message.content for message in await store.messages("ana", mine.id)] == ["mine"]
    assert [message.content for message in await store.messages("ana", also_mine.id)] == ["also mine"]
    assert [message.content for message in await store.messages("ben", theirs.id)] == ["theirs"]


# Conversations: create, update, delete


async def test_create_again_changes_nothing(store):
    conversation, message = a_conversation(), a_message()
    await store.create("ana", conversation, message)
    await store.create("ana", replace(conversation, title="Other", updated_ms=9_000), a_message("another"))
    assert await store.conversation("ana", conversation.id) == conversation
    assert await store.messages("ana", conversation.id) == [message]


async def test_create_is_all_or_nothing(store):
    conversation = a_conversation()
    with pytest.raises((TypeError, AttributeError, ChatError)):
        await store.create("ana", conversation, a_message("fine"), a_message(content=object()))
    with pytest.raises(ConversationNotFound):
        await store.conversation("ana", conversation.id)
    assert await list_all(store, "ana") == []
    await store.create("ana", conversation)
    assert await store.messages("ana", conversation.id) == []


async def test_update_replaces_mutable_fields_and_updated_ms_never_goes_back(store):
    conversation, message = a_conversation(updated_ms=5_000), a_message()
    await store.create("ana", conversation, message)
    changed = replace(
        conversation,
        title="Other",
        model="gemini",
        system_prompt="Be kind.",
        updated_ms=6_000,
        persona="p1",
        pinned=True,
        archived=True,
        branch="m",
        deleted_ms=7,
    )
    await store.update("ana", changed)
    assert await store.conversation("ana", conversation.id) == changed
    await store.update("ana", replace(changed, title="Third", updated_ms=1, created_ms=77))
    assert await store.conversation("ana", conversation.id) == replace(changed, title="Third")
    assert await store.messages("ana", conversation.id) == [message]


async def test_delete_takes_the_messages_along_and_leaves_the_others(store):
    deleted, stored, message = a_conversation(), a_conversation(), a_message()
    await store.create("ana", deleted, a_message("gone"))
    await store.create("ana", stored, message)
    await store.delete("ana", deleted.id)
    assert await list_all(store, "ana") == [stored]
    assert await store.messages("ana", stored.id) == [message]
    with pytest.raises(ConversationNotFound):
        await store.messages("ana", deleted.id)
    await store.create("ana", deleted)
    assert await store.messages("ana", deleted.id) == []


async def test_deleting_a_missing_conversation_is_no_error(store):
    conversation = a_conversation()
    await store.delete("ana", "never there")
    await store.create("ana", conversation)
    await store.delete("ana", conversation.id)
    await store.delete("ana", conversation.id)


async def test_every_call_with_a_missing_conversation_raises_conversation_not_found(store):
    await store.create("ana", a_conversation())
    for conversation_id in ("never there", "", "' OR 1=1 --", "half \ud83d", "x" * 1_000):
        with pytest.raises(ConversationNotFound):
            await store.conversation("ana", conversation_id)
        with pytest.raises(ConversationNotFound):
            await store.messages("ana", conversation_id)
        with pytest.raises(ConversationNotFound):
            await store.message("ana", conversation_id, "m")
        with pytest.raises(ConversationNotFound):
            await store.update("ana", a_conversation(id=conversation_id))
        with pytest.raises(ConversationNotFound):
            await store.append("ana", conversation_id, a_message())
        with pytest.raises(ConversationNotFound):
            await store.append("ana", conversation_id)
    assert len(await list_all(store, "ana")) == 1


# Several conversations at once


async def test_several_conversations_are_added_with_all_their_messages(place):
    question = a_message("Look", 1_500, **ATTACHED)
    new = [(a_conversation(pinned=True), [question, ANSWER]), (a_conversation(title="שלום"), [a_message("Hi")])]
    new.append((a_conversation(), []))
    store = await place.open()
    assert await store.create_all("ana", new) == set()
    await store.aclose()
    again = await place.open()
    for conversation, messages in new:
        assert await again.conversation("ana", conversation.id) == conversation
        assert await again.messages("ana", conversation.id) == list(map(bare, messages))
    assert len(await list_all(again, "ana")) == len(new)
    assert [one.id for one in await again.pinned("ana")] == [new[0][0].id]
    stored = [await read(again, "ana", new[0][0].id, one) for one in question.attachments]
    assert stored == [PICTURE, OTHER, REPORT, NOTES]
    await again.aclose()


async def test_a_repeated_creation_of_several_adds_only_those_that_are_missing(store):
    stored, missing, empty = a_conversation(title="as it is"), a_conversation(), a_conversation()
    await store.create("ana", stored, ANSWER)
    for _ in range(2):
        new = [(missing, [a_message("first", id="m")]), (replace(stored, title="x"), [a_message("lost")]), (empty, [])]
        assert await store.create_all("ana", new) == set()
        assert await store.conversation("ana", stored.id) == stored
        assert await store.messages("ana", stored.id) == [ANSWER]
        assert await store.messages("ana", missing.id) == [a_message("first", id="m")]
    assert len(await list_all(store, "ana")) == 3
    assert await store.create_all("ana", []) == set()


async def test_several_conversations_leave_one_of_another_user_with_the_same_id_alone(store):
    bens, mine = a_conversation(title="of Ben"), a_conversation()
    await store.create("ben", bens, ANSWER)
    taken = await store.create_all("ana", [(replace(bens, title="of Ana"), [a_message("of Ana")]), (mine, [ANSWER])])
    assert await store.conversation("ben", bens.id) == bens
    assert await store.messages("ben", bens.id) == [ANSWER]
    assert await store.messages("ana", mine.id) == [ANSWER]
    if taken:
        assert taken == {bens.id}
        with pytest.raises(ConversationNotFound):
            await store.messages("ana", bens.id)
    else:
        assert [message.content for message in await store.messages("ana", bens.id)] == ["of Ana"]


async def test_revisions_of_several_conversations_are_those_of_their_messages(store):
    question = a_message("A question", id="question")
    one, empty, deleted, bens = (a_conversation() for _ in range(4))
    await store.create("ana", one, question, replace(ANSWER, status=MessageStatus.STREAMING))
    await store.create_all("ana", [(empty, []), (deleted, [question])])
    await store.create("ben", bens, question)
    await store.append("ana", one.id, replace(ANSWER, content="More of it", revision=8), a_message(id="more"))
    await store.append("ana", one.id, replace(ANSWER, content="Late", revision=2))
    await store.delete("ana", deleted.id)
    ids = [one.id, empty.id, deleted.id, bens.id, "never there", "half \ud83d", "", "' OR 1=1 --"]
    expected = {one.id: {"question": 0, "answer": 8, "more": 0}, empty.id: {}}
    assert await store.revisions("ana", ids) == expected
    assert await store.revisions("ana", [empty.id]) == {empty.id: {}}
    assert await store.revisions("ana", []) == {}
    assert await store.revisions("ben", [*ids]) == {bens.id: {"question": 0}}


# Two users


async def test_another_users_conversations_cannot_be_read_or_changed(store):
    conversation, message = a_conversation(), a_message(id="m")
    await store.create("ana", conversation, message)
    stolen = replace(message, content="changed", revision=9)
    for attempt in (
        store.conversation("ben", conversation.id),
        store.messages("ben", conversation.id),
        store.update("ben", replace(conversation, title="changed", updated_ms=9_000)),
        store.append("ben", conversation.id, stolen, a_message("added", created_ms=9_000)),
    ):
        with pytest.raises(ConversationNotFound):
            await attempt
    await store.delete("ben", conversation.id)
    assert await list_all(store, "ben") == []
    assert await store.conversation("ana", conversation.id) == conversation
    assert await store.messages("ana", conversation.id) == [message]


async def test_another_users_id_is_refused_or_creates_a_separate_conversation(store):
    conversation, message = a_conversation(), a_message(id="m")
    await store.create("ana", conversation, message)
    also = replace(conversation, title="Ben's")
    with suppress(ConversationNotFound):
        await store.create("ben", also, replace(message, content="Ben's", revision=9))
        assert await list_all(store, "ben") == [also]
        await store.delete("ben", conversation.id)
    assert await list_all(store, "ben") == []
    assert await store.conversation("ana", conversation.id) == conversation
    assert await store.messages("ana", conversation.id) == [message]


async def test_users_are_told_apart_to_the_letter(store):
    users = ["ana", "Ana", "ana ", "%", "an_", "", "ana\x00"]
    for user in users:
        await store.create(user, a_conversation(title=user))
    assert [[one.title for one in await list_all(store, user)] for user in users] == [[user] for user in users]


# The list


async def test_the_last_updated_comes_first(store):
    ids = list("abcdef")
    for conversation_id, updated_ms in zip(ids, [30, 10, 20, 20, 50, 20], strict=True):
        await store.create("ana", a_conversation(id=conversation_id, updated_ms=updated_ms))
    await store.append("ana", ids[1], a_message(created_ms=40))
    expected = [ids[4], ids[1], ids[0], ids[5], ids[3], ids[2]]  # at the same time, the later id
    assert [one.id for one in await list_all(store, "ana")] == expected
    assert [one.id for one in await list_all(store, "ana", limit=1)] == expected


async def test_pages_are_full_and_the_last_has_no_cursor(store):
    for count, pages in ((0, [0]), (2, [2]), (3, [3]), (4, [3, 1]), (6, [3, 3])):
        user = f"user{count}"
        for number in range(count):
            await store.create(user, a_conversation(updated_ms=number))
        sizes, cursor = [], None
        while len(sizes) < 10:
            page = await store.conversations(user, limit=3, cursor=cursor)
            sizes.append(len(page.items))
            cursor = page.cursor
            if cursor is None:
                break
        assert sizes == pages


@pytest.mark.slow
async def test_limit_is_clamped_to_1_and_200(store):
    await asyncio.gather(*(store.create("ana", a_conversation(updated_ms=number)) for number in range(203)))
    for limit, expected in ((0, 1), (-5, 1), (1, 1), (200, 200), (10**9, 200)):
        assert len((await store.conversations("ana", limit=limit)).items) == expected
    assert len((await store.conversations("ana")).items) == 50
    assert len(await list_all(store, "ana", limit=10**9)) == 203


async def test_an_invalid_cursor_starts_at_the_beginning(store):
    for number in range(3):
        await store.create("ana", a_conversation(updated_ms=number))
    for cursor in ("", "garbage", "AAAA", "!!!", "שלום", "\ud83d", "9" * 5_000, "OTk5OjA=" * 3, "LTk6eA"):
        page = await store.conversations("ana", limit=2, cursor=cursor)
        assert [one.updated_ms for one in page.items] == [2, 1], cursor


async def test_another_users_cursor_lists_only_own_conversations(store):
    for number in range(4):
        await store.create("ana", a_conversation(updated_ms=number))
        await store.create("ben", a_conversation(updated_ms=number, title="Ben's"))
    cursor = (await store.conversations("ana", limit=2)).cursor
    page = await store.conversations("ben", limit=50, cursor=cursor)
    assert {one.title for one in page.items} <= {"Ben's"}


@pytest.mark.slow
async def test_paging_is_complete_and_without_doubles_while_things_change(store):
    ids = [f"c{number:02}" for number in range(30)]
    for number, conversation_id in enumerate(ids):
        await store.create("ana", a_conversation(id=conversation_id, updated_ms=100 + number // 3))
    seen: list[str] = []
    cursor = None
    for step in itertools.count():
        page = await store.conversations("ana", limit=4, cursor=cursor)
        seen += [one.id for one in page.items]
        cursor = page.cursor
        if cursor is None:
            break
        await store.append("ana", seen[-1], a_message(created_ms=1_000 + step))  # shown already: moves to the front
        await store.create("ana", a_conversation(id=f"new{step}", updated_ms=2_000 + step))
        await store.delete("ana", seen[-2])  # shown already
        if step == 1:
            await store.delete("ana", "c03")  # not shown yet
    assert len(seen) == len(set(seen))
    assert set(seen) == set(ids) - {"c03"}


# Many at once


async def test_fifty_concurrent_appends_are_all_stored(store):
    conversation = a_conversation()
    await store.create("ana", conversation)
    messages = [a_message(f"number {number}", created_ms=number) for number in range(50)]
    await asyncio.gather(*(store.append("ana", conversation.id, message) for message in messages))
    assert await store.messages("ana", conversation.id) == messages


async def test_one_that_fails_among_many_at_once_fails_alone(store):
    conversation = a_conversation()
    await store.create("ana", conversation)
    outcomes = await asyncio.gather(
        *(store.append("ana", conversation.id if n % 3 else "not there", a_message(created_ms=n)) for n in range(30)),
        return_exceptions=True,
    )
    assert [isinstance(outcome, ConversationNotFound) for outcome in outcomes] == [n % 3 == 0 for n in range(30)]
    stored = [message.created_ms for message in await store.messages("ana", conversation.id)]
    assert stored == [n for n in range(30) if n % 3]


@pytest.mark.slow
async def test_a_reader_sees_a_write_of_several_messages_whole_or_not_at_all(store):
    conversations = [a_conversation() for _ in range(20)]

    async def write() -> None:
        for conversation in conversations:
            await store.create("ana", conversation, *(a_message() for _ in range(3)))
            await store.append("ana", conversation.id, *(a_message() for _ in range(3)))

    async def read() -> set[int]:
        seen = set()
        while not writing.done():
            await asyncio.sleep(0)  # memory never waits for anything
            for conversation in await list_all(store, "ana"):
                seen.add(len(await store.messages("ana", conversation.id)))
        return seen

    writing = asyncio.create_task(write())
    counts = await read()
    await writing
    assert counts
    assert counts <= {3, 6}


# The end


async def test_closing_finishes_accepted_writes(place):
    store = await place.open()
    conversation = a_conversation()
    await store.create("ana", conversation)
    writes = [asyncio.create_task(store.append("ana", conversation.id, a_message(created_ms=n))) for n in range(20)]
    await asyncio.sleep(0)  # each has begun
    await store.aclose()
    await asyncio.gather(*writes)
    again = await place.open()
    assert [message.created_ms for message in await again.messages("ana", conversation.id)] == list(range(20))
    await again.aclose()


async def test_a_closed_store_says_so_and_can_be_closed_again(place):
    store = await place.open()
    await store.aclose()
    await asyncio.gather(store.aclose(), store.aclose())
    with pytest.raises(StoreUnavailable):
        await store.conversations("ana")
    with pytest.raises(StoreUnavailable):
        await store.create("ana", a_conversation())


# Anything, against a model of it in memory

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
MILLISECONDS = st.integers(0, 50)


class AnyHistory(RuleBasedStateMachine):
    """Two users, four conversation ids that collide, three message ids that collide."""

    USERS = st.sampled_from(["ana", "ben"])
    CONVERSATIONS = st.builds(
        a_conversation,
        id=st.sampled_from("abcd"),
        title=TEXTS,
        created_ms=MILLISECONDS,
        updated_ms=MILLISECONDS,
        pinned=st.booleans(),
        archived=st.booleans(),
        deleted_ms=st.sampled_from([0, 0, 0, 7]),
        branch=st.sampled_from(["", "x"]),
        folder=st.sampled_from(["", "f"]),
        collection=st.sampled_from(["", "k"]),
    )
    PROFILES = st.builds(Profile, answer_with_other=st.booleans(), revision=st.integers(1, 4))
    MESSAGES = st.lists(
        st.builds(
            a_message,
            id=st.sampled_from("xyz"),
            content=TEXTS,
            created_ms=MILLISECONDS,
            revision=st.integers(0, 3),
            status=st.sampled_from(MessageStatus),
        ).map(
            lambda message: replace(
                message,
                images=(replace(PICTURE, id=f"of-{message.id}"),),
                documents=(replace(REPORT, id=f"of-{message.id}"),),
            )
        ),
        max_size=4,
    )

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.place = place
        self.store = self.runner.run(place.open())
        # Apart from the examples before: the place is the same. In order, as the ids are.
        self.prefix = new_id()
        self.model: dict[tuple[str, str], tuple[Conversation, dict[str, Message]]] = {}
        self.profiles: dict[str, Profile] = {}
        self.steps = 0

    def call(self, name: str, user: str, *arguments: object) -> bool:
        """Return whether the call was made; False if there was no such conversation."""
        try:
            self.runner.run(getattr(self.store, name)(self.prefix + user, *arguments))
        except ConversationNotFound:
            return False
        return True

    def owned(self, user: str, conversation_id: str) -> bool:
        return (user, conversation_id) in self.model

    @rule(user=USERS, conversation=CONVERSATIONS, messages=MESSAGES)
    def create(self, user, conversation, messages):
        conversation = replace(conversation, id=self.prefix + conversation.id)
        taken = self.owned("ben" if user == "ana" else "ana", conversation.id)
        if self.owned(user, conversation.id):
            # A creation is made again as it was, never with another running answer: a journal that cannot ask the cloud
            # whether there is such a conversation would end that one at its next start.
            messages = [one for one in messages if one.status is not MessageStatus.STREAMING]
        created = self.call("create", user, conversation, *messages)
        assert created or taken
        if created and not self.owned(user, conversation.id):
            self.model[user, conversation.id] = conversation, newest({}, messages)

    @rule(user=USERS, conversation=CONVERSATIONS)
    def update(self, user, conversation):
        conversation = replace(conversation, id=self.prefix + conversation.id)
        owned = self.owned(user, conversation.id)
        assert self.call("update", user, conversation) is owned
        if owned:
            before, messages = self.model[user, conversation.id]
            updated_ms = max(before.updated_ms, conversation.updated_ms)
            after = replace(conversation, created_ms=before.created_ms, updated_ms=updated_ms)
            self.model[user, conversation.id] = after, messages

    @rule(user=USERS, name=st.sampled_from("abcd"), messages=MESSAGES)
    def append(self, user, name, messages):
        conversation_id = self.prefix + name
        owned = self.owned(user, conversation_id)
        assert self.call("append", user, conversation_id, *messages) is owned
        if owned:
            before, stored = self.model[user, conversation_id]
            updated_ms = max([before.updated_ms, *(message.created_ms for message in messages)])
            self.model[user, conversation_id] = replace(before, updated_ms=updated_ms), newest(stored, messages)

    @rule(user=USERS, name=st.sampled_from("abcd"))
    def delete(self, user, name):
        assert self.call("delete", user, self.prefix + name)
        if self.owned(user, self.prefix + name):
            del self.model[user, self.prefix + name]

    @rule(user=USERS, profile=PROFILES)
    def save_profile(self, user, profile):
        assert self.call("save_profile", user, profile)
        before = self.profiles.get(user, Profile())
        if user not in self.profiles or profile.revision > before.revision:
            self.profiles[user] = replace(
                profile,
                collections=before.collections,
                folders=before.folders,
                library_revision=before.library_revision,
            )

    @rule(user=USERS, name=TEXTS)
    def change_library(self, user, name):
        """Add a collection, the oldest of three goes; again after a failure, as a person does."""
        new = Collection(id=new_id(), name=name)

        def change(profile: Profile) -> Profile:
            if new in profile.collections:
                return profile
            return replace(profile, collections=(*profile.collections, new)[-3:])

        for _ in range(10):
            with suppress(StoreUnavailable):
                assert self.call("change_library", user, change)
                break
        else:
            pytest.fail("no attempt succeeded")
        before = self.profiles.get(user, Profile())
        self.profiles[user] = replace(change(before), library_revision=before.library_revision + 1)

    @rule(user=USERS)
    def delete_profile(self, user):
        assert self.call("delete_profile", user)
        self.profiles.pop(user, None)

    @rule(user=USERS, text=TEXTS, consistency=st.sampled_from([Consistency.LATEST, Consistency.CACHED]))
    def look(self, user, text, consistency):
        """Search for any text, and for what is there; read with any consistency."""
        mine = [one for (owner, _), one in self.model.items() if owner == user and not one[0].deleted_ms]
        texts = [text, *(conversation.title for conversation, _ in mine)]
        texts += [message.content for _, messages in mine for message in messages.values()]
        for query in texts[:4]:
            hits = self.runner.run(search_hits(self.store, self.prefix + user, query, 2))
            assert [(hit.conversation, hit.message_id) for hit in hits] == expected_hits(mine, query)
        expected = self.profiles.get(user, Profile())
        assert self.runner.run(self.store.profile(self.prefix + user, consistency=consistency)) == expected

    @rule()
    def open_again(self):
        self.runner.run(self.store.aclose())
        self.store = self.runner.run(self.place.open())
        if isinstance(self.store, (SQLiteStore, JournaledStore)):  # nobody else can be writing what was running
            for key, (conversation, messages) in self.model.items():
                ended = {
                    name: replace(message, status=MessageStatus.INTERRUPTED, revision=message.revision + 1)
                    for name, message in messages.items()
                    if message.status is MessageStatus.STREAMING
                }
                appended = ended.values() if isinstance(self.store, JournaledStore) else ()  # SQLite marks them
                updated_ms = max([conversation.updated_ms, *(message.created_ms for message in appended)])
                self.model[key] = replace(conversation, updated_ms=updated_ms), messages | ended

    @invariant()
    def holds_what_the_model_holds(self):
        for user in ("ana", "ben"):
            expected = [conversation for (owner, _), (conversation, _) in self.model.items() if owner == user]
            expected.sort(key=lambda conversation: (conversation.updated_ms, conversation.id), reverse=True)
            assert self.runner.run(list_all(self.store, self.prefix + user, limit=2)) == expected
            pinned = [one for one in expected if one.pinned and not one.deleted_ms]
            assert self.runner.run(self.store.pinned(self.prefix + user)) == pinned
            inside = [one for one in expected if one.folder and not one.deleted_ms]
            assert self.runner.run(self.store.in_folder(self.prefix + user, "f")) == inside
        for (owner, conversation_id), (_, messages) in self.model.items():
            stored = self.runner.run(self.store.messages(self.prefix + owner, conversation_id))
            assert stored == [bare(message) for message in in_order(messages.values())]

    @invariant()
    def holds_the_attachments(self):
        self.steps += 1
        if self.steps % 5:  # a third of a run would be these reads, and what is lost once stays lost
            return
        for (owner, conversation_id), (_, messages) in self.model.items():
            for one in (attachment for message in messages.values() for attachment in message.attachments):
                assert self.runner.run(read(self.store, self.prefix + owner, conversation_id, one)) == one

    def teardown(self):
        self.runner.run(self.store.aclose())
        self.runner.close()


def expected_hits(mine: list[tuple[Conversation, dict[str, Message]]], text: str) -> list[tuple[Conversation, str]]:
    """Return where a text is, by the plainest of means."""
    words = fold(text[:200]).split()
    hits = []
    for conversation, messages in mine if words else []:
        places = [*((one.content, one.id) for one in in_order(messages.values())[::-1]), (conversation.title, "")]
        there = [name for place, name in places if all(word in fold(place) for word in words)]
        hits += [(conversation, name) for name in there[:1]]
    return sorted(hits, key=lambda hit: (hit[0].updated_ms, hit[0].id), reverse=True)


def newest(stored: dict[str, Message], messages: list[Message]) -> dict[str, Message]:
    stored = dict(stored)
    for message in messages:
        if message.id not in stored or message.revision > stored[message.id].revision:
            stored[message.id] = message
    return stored


EXAMPLES = pytest.mark.parametrize(
    "examples", [pytest.param(4, id="short"), pytest.param(25, id="long", marks=pytest.mark.long)]
)


def run_any_history(place: Place, examples: int) -> None:
    """Run sequences of calls, the same ones everywhere, against the model of the store."""
    run_state_machine_as_test(
        lambda: AnyHistory(place),
        settings=settings(
            max_examples=examples,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@EXAMPLES
@pytest.mark.parametrize("place", ADAPTERS.values(), ids=ADAPTERS, indirect=True)
@pytest.mark.slow
def test_any_sequence_of_calls_matches_the_model(place, examples):
    run_any_history(place, examples)
