"""The JSON that a chat exports: what is in it, and what is read from it."""

import base64
import gzip
import json
from dataclasses import replace

import pytest

from chatapp.documents.extraction.shape import Block, BlockKind, Page
from chatapp.documents.packing import packed
from chatapp.documents.uploads import file_name
from chatapp.domain.conversation import (
    Citation,
    Conversation,
    Document,
    Feedback,
    FinishReason,
    GenerationParameters,
    Image,
    Message,
    MessageStatus,
    Persona,
    Place,
    Profile,
    Role,
    Usage,
    new_id,
)
from chatapp.domain.library import LibraryDocument
from chatapp.domain.sentences import Sentence, as_json
from chatapp.userdata import json_export
from chatapp.userdata.json_export import ExportedConversation, InvalidExport
from tests import own_export

PACKED = packed((Page(1, (Block(BlockKind.TEXT, "So much rain"),)),))
CONVERSATION = Conversation(
    id=new_id(),
    title="שלום, מה שלומך?",
    created_ms=1_793_600_130_123,
    updated_ms=1_793_600_140_000,
    model="gemini",
    system_prompt="Be brief.\nAnd kind.",
    persona="p1",
    pinned=True,
    archived=True,
    branch="somewhere",
)
QUESTION = Message(
    id=new_id(),
    turn_id=new_id(),
    role=Role.USER,
    content='He said "hi"\r\n\t\\ 🙂',
    created_ms=1_793_600_130_123,
    follows="",
    images=(Image(id="i1", media_type="image/png", width=3, height=2, data=b"\x89PNG\r\n\xff\x00"),),
    documents=(
        Document(id="d1", name="דוח.pdf", kind="PDF", pages=1, size=9, data=PACKED),
        Document(id="d2", name="expired.txt", kind="text", pages=3, size=0),
    ),
)
ANSWER = Message(
    id=new_id(),
    turn_id=QUESTION.turn_id,
    role=Role.ASSISTANT,
    content="",
    created_ms=1_793_600_130_124,
    status=MessageStatus.ERROR,
    revision=7,
    model="gemini",
    usage=Usage(prompt_tokens=12),
    seconds_to_first_token=0.25,
    finish_reason=FinishReason.LENGTH,
    omitted_messages=4,
    error="It broke off.",
    follows=QUESTION.id,
    feedback=Feedback.UP,
    place=Place.VERTEX_AI,
    instead_of="gemma",
    temperature=0.7,
    seconds=3.5,
    cost=0.0001,
)
PROFILE = Profile(
    personas=(Persona(id="p1", name="מורה", instructions="Explain."),),
    parameters=GenerationParameters(temperature=0.3),
    answer_with_other=True,
    revision=4,
)


def exported(*conversations):
    lines = b",\n".join(json_export.encode(*one) for one in conversations)
    return (json_export.header("ana") + lines + json_export.FOOTER).decode()


def changed(**fields):
    """Return an export of one conversation with one message, with some fields changed, by their path."""
    document = json.loads(exported((CONVERSATION, [QUESTION])))
    for path, value in fields.items():
        *steps, last = path.split("__")
        target = document
        for step in steps:
            target = target[int(step) if step.isdigit() else step]
        target[last] = value
    return json.dumps(document)


IMAGE = "conversations__0__messages__0__images__0"
DOCUMENT = "conversations__0__messages__0__documents__0"
TWO_PAGES = base64.b64encode(packed((Page(1, ()), Page(2, ())))).decode()
BOMB = base64.b64encode(gzip.compress(b"[" + b"[]," * 15_000_000, compresslevel=1)).decode()


def test_exported_data_is_read_without_loss():
    everything = [
        ExportedConversation(CONVERSATION, [QUESTION, ANSWER]),
        ExportedConversation(Conversation(id="b", title="", created_ms=0, updated_ms=0), []),
    ]
    assert own_export.read(exported(*everything)) == everything


def test_a_sentence_of_an_error_can_still_be_translated_and_is_read_as_text_by_an_older_chat():
    sentence = Sentence("{model} did not answer for {seconds} s.", model="Gemma", seconds=1200)
    text = exported((CONVERSATION, [replace(ANSWER, error=sentence)]))
    assert json.loads(text)["conversations"][0]["messages"][0]["error"] == "Gemma did not answer for 1,200 s."
    ((_, (message,)),) = own_export.read(text)
    assert as_json(message.error) == as_json(sentence)


@pytest.mark.parametrize(
    "value", [7, {}, {"template": "{x.y}", "values": {}}, {"template": "Other", "values": {}}, {"template": 1}]
)
def test_sentence_with_another_text_is_ignored(value):
    text = changed(conversations__0__messages__0__error="Broken.", conversations__0__messages__0__error_said=value)
    ((_, (message,)),) = own_export.read(text)
    assert as_json(message.error) == {"text": "Broken."}


def test_an_export_of_everything_holds_the_profile():
    text = (json_export.header("ana", PROFILE) + json_export.FOOTER).decode()
    assert own_export.read_profile(text) == PROFILE
    assert own_export.read(text) == []
    assert own_export.read_profile(exported()) is None


def test_export_from_before_versions_and_images_is_read():
    """As the chat wrote it in November 2026."""
    text = """{"format": "hybrid-chat", "version": 1, "exported": "2026-11-02T10:15:30.123Z", "user": "local",
    "conversations": [{"id": "c", "title": "Old", "created_ms": 5, "created": "1970-01-01T00:00:00.005Z",
    "updated_ms": 6, "updated": "1970-01-01T00:00:00.006Z", "model": "gemma", "system_prompt": "", "messages": [
    {"id": "m", "turn_id": "t", "role": "assistant", "content": "hi", "created_ms": 5, "created": "x",
    "status": "error", "revision": 2, "model": "gemma", "usage": {"prompt_tokens": 1, "completion_tokens": null},
    "seconds_to_first_token": 0.5, "finish_reason": null, "omitted_messages": 0, "error": "Broken."}]}]}"""
    old = Message(
        id="m",
        turn_id="t",
        role=Role.ASSISTANT,
        content="hi",
        created_ms=5,
        status=MessageStatus.ERROR,
        revision=2,
        model="gemma",
        usage=Usage(prompt_tokens=1),
        seconds_to_first_token=0.5,
        error="Broken.",
    )
    expected = Conversation(id="c", title="Old", created_ms=5, updated_ms=6, model="gemma")
    assert own_export.read(text) == [ExportedConversation(expected, [old])]
    assert own_export.read_profile(text) is None


def test_export_names_its_format_and_user_and_has_iso_times():
    document = json.loads(exported((CONVERSATION, [QUESTION])))
    assert (document["format"], document["version"], document["user"]) == ("hybrid-chat", 1, "ana")
    (conversation,) = document["conversations"]
    assert (conversation["created_ms"], conversation["created"]) == (1_793_600_130_123, "2026-11-02T06:15:30.123Z")
    assert conversation["messages"][0]["created"] == "2026-11-02T06:15:30.123Z"


def test_every_conversation_is_a_line():
    lines = exported((CONVERSATION, [QUESTION]), (CONVERSATION, [ANSWER])).splitlines()
    assert [json.loads(line.rstrip(","))["title"] for line in lines[1:3]] == [CONVERSATION.title] * 2


def test_an_export_without_conversations_is_one_too():
    assert own_export.read(exported()) == []


def test_fields_that_a_newer_chat_may_add_are_ignored():
    text = changed(conversations__0__colour="red", conversations__0__messages__0__stars=5, extra=1)
    assert own_export.read(text) == [ExportedConversation(CONVERSATION, [QUESTION])]


def test_half_of_a_surrogate_pair_does_not_break_an_export():
    error = Message(**{name: getattr(ANSWER, name) for name in Message.__slots__} | {"error": "bad \ud83d here"})
    ((_, (message,)),) = own_export.read(exported((CONVERSATION, [error])))
    assert message.error == "bad ? here"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (changed(conversations__0__title=7), r"conversations\[0\]\.title: input should be a valid string"),
        (changed(conversations__0__id="../../etc"), r"conversations\[0\]\.id: '\.\./\.\./etc' cannot be an id"),
        (changed(conversations__0__created_ms=-1), r"conversations\[0\]\.created_ms: -1 is not a time"),
        (changed(conversations__0__updated_ms=10**18), r"conversations\[0\]\.updated_ms: 10+ is not a time"),
        (changed(conversations__0__messages=None), r"conversations\[0\]\.messages: input should be a valid list"),
        (changed(conversations__0__messages__0__role="system"), r"messages\[0\]\.role: input should be 'user' or"),
        (changed(conversations__0__messages__0__id="a b"), r"messages\[0\]\.id: 'a b' cannot be an id"),
        (changed(conversations__0__messages__0__created_ms="soon"), r"messages\[0\]\.created_ms: "),
        (changed(conversations=[None]), r"conversations\[0\]: "),
        (changed(conversations__0__id="temporary-1"), r"conversations\[0\]\.id: 'temporary-1' is that of a temporary"),
        (changed(conversations__0__messages=[None]), r"messages\[0\]: "),
        (changed(**{f"{IMAGE}__data": "!"}), r"messages\[0\]\.images\[0\]\.data: this is not base64"),
        (changed(**{f"{IMAGE}__data": "é"}), r"images\[0\]\.data: this is not base64"),
        (changed(**{f"{IMAGE}__data": "AAAA" * 300_001}), r"images\[0\]\.data: this image has more than 900 kB"),
        (changed(**{f"{IMAGE}__id": "../x"}), r"images\[0\]\.id: '\.\./x' cannot be an id"),
        (
            changed(**{f"{IMAGE}__media_type": "text/html"}),
            r"images\[0\]\.media_type: 'text/html' is not one of image/jpeg",
        ),
        (changed(**{f"{IMAGE}__width": 0}), r"images\[0\]: its width and height must be 1 or more"),
        (changed(conversations__0__messages__0__images=[None]), r"messages\[0\]\.images\[0\]: "),
        (changed(conversations__0__messages__0__documents=[None]), r"messages\[0\]\.documents\[0\]: "),
        (changed(**{f"{DOCUMENT}__id": "../x"}), r"messages\[0\]\.documents\[0\]\.id: '\.\./x' cannot be an id"),
        (changed(**{f"{DOCUMENT}__name": ""}), r"documents\[0\]\.name: it must have 1 to 1000 characters"),
        (changed(**{f"{DOCUMENT}__name": "x" * 1_001}), r"documents\[0\]\.name: it must have 1 to 1000 characters"),
        (changed(**{f"{DOCUMENT}__kind": "exe"}), r"documents\[0\]\.kind: 'exe' is not one of PDF, Word"),
        (changed(**{f"{DOCUMENT}__size": -1}), r"documents\[0\]\.size: this is not the size of a file"),
        (changed(**{f"{DOCUMENT}__pages": 0}), r"documents\[0\]\.pages: it must be 1 to 2000"),
        (changed(**{f"{DOCUMENT}__pages": 2}), r"documents\[0\]\.pages: the text has another number of pages"),
        (changed(**{f"{DOCUMENT}__data": TWO_PAGES}), r"documents\[0\]\.pages: the text has another number of pages"),
        (changed(**{f"{DOCUMENT}__data": "!"}), r"documents\[0\]\.data: this is not base64"),
        (changed(**{f"{DOCUMENT}__data": "AAAA"}), r"documents\[0\]\.data: this is not the text of a document"),
        (changed(**{f"{DOCUMENT}__data": BOMB}), r"documents\[0\]\.data: this is not the text of a document"),
        (changed(**{f"{DOCUMENT}__data": "AAAA" * 300_001}), r"data: this is not the text of a document: 900003 bytes"),
    ],
)
def test_an_invalid_file_is_reported_with_the_field(text, why):
    with pytest.raises(InvalidExport, match=why):
        own_export.read(text)


def test_citations_are_read_only_if_their_quote_is_in_the_page():
    answer = replace(ANSWER, content="🙂 It says “so much rain”.")
    true = Citation(end=25, document="d1", page=1, page_start=0, page_end=12)
    wrong = [
        replace(true, **change)
        for change in (
            {"end": 24},
            {"end": 0},
            {"end": 10**30},
            {"document": "d2"},  # it has expired
            {"document": "x"},
            {"page": 0},
            {"page": 2},
            {"page_start": -1},
            {"page_start": 1},
            {"page_end": 13},
            {"collection": "k", "name": "kept.pdf"},  # without the words of the page
        )
    ]
    cited = exported((CONVERSATION, [QUESTION, replace(answer, citations=(*wrong[:3], true, *wrong[3:]))]))
    ((_, (_, read)),) = own_export.read(cited)
    assert read.citations == (true,)
    ((_, (_, read)),) = own_export.read(cited.replace("so much rain", "so much snow"))
    assert read.citations == ()


def test_a_quote_of_a_collection_is_read_without_its_document_only_if_it_is_what_the_answer_quotes():
    answer = replace(ANSWER, content="🙂 It says “so much rain” often.")
    kept = {"collection": "k", "name": "דוח.pdf", "quote": "So  much\nrain"}
    true = Citation(end=25, document="gone", page=2, page_start=7, page_end=20, **kept)
    wrong = [
        replace(true, **change)
        for change in (
            {"quote": ""},
            {"quote": "So much snow", "page_end": 19},
            {"quote": "So much rain fell", "page_end": 24},
            {"page_end": 19},
            {"end": 24},
            {"page": 0},
            {"page_start": -1, "page_end": 12},
            {"collection": "../k"},
            {"document": ""},
            {"name": ""},
            {"collection": ""},  # its document is not in the message
        )
    ]
    cited = exported((CONVERSATION, [QUESTION, replace(answer, citations=(*wrong[:3], true, *wrong[3:]))]))
    ((_, (_, read)),) = own_export.read(cited)
    assert read.citations == (true,)
    turned = own_export.read(cited.replace("דוח.pdf", "a/b\u202efdp.exe"))
    assert turned[0].messages[1].citations == (replace(true, name="bfdp.exe"),)


def test_a_file_whose_documents_unpack_to_too_much_is_refused():
    document = QUESTION.documents[0]
    text = packed((Page(1, (Block(BlockKind.TEXT, "x" * 100_000),)),))
    bombs = tuple(replace(document, id=f"b{number}", data=text) for number in range(3))
    room = json_export.Room(unpacked=250_000)
    files = [json.loads(exported((CONVERSATION, [replace(QUESTION, documents=(one,))]))) for one in bombs]
    conversations = [file["conversations"][0] for file in files]
    for conversation in conversations[:2]:
        json_export.validated(conversation, "c", room)
    with pytest.raises(InvalidExport, match=r"documents\[0\]\.data: the documents of this file unpack to much more"):
        json_export.validated(conversations[2], "c", room)


@pytest.mark.parametrize(("name", "shown"), [("../a/b\u202efdp.exe", "bfdp.exe"), ("\u202e", "PDF"), ("x" * 999, None)])
def test_name_of_a_document_is_read_as_that_of_an_upload(name, shown):
    ((_, (read,)),) = own_export.read(changed(**{f"{DOCUMENT}__name": name}))
    assert read.documents[0].name == (shown or file_name(name))


def test_citations_beyond_the_room_for_searching_are_left_out():
    answer = replace(ANSWER, content="“So much rain”")
    true = Citation(end=14, document="d1", page=1, page_start=0, page_end=12)
    file = json.loads(exported((CONVERSATION, [QUESTION, replace(answer, citations=(true,))])))
    for searched, kept in ((1, (true,)), (0, ())):
        read = json_export.validated(file["conversations"][0], "c", json_export.Room(searched=searched))
        assert read.messages[1].citations == kept


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        ("me", r"profile: "),
        ({"personas": [{"id": "p"}]}, r"profile\.personas\[0\]\.name: "),
        ({"collections": [{"id": "a b", "name": "n"}]}, r"profile\.collections\[0\]\.id: 'a b' cannot be an id"),
        ({"folders": [{"id": "f", "name": ""}]}, r"profile\.folders\[0\]\.name: it must have 1 to 100 characters"),
        ({"folders": [{"id": "f", "name": "n", "collection": "../x"}]}, r"profile\.folders\[0\]: its instructions"),
        ({"folders": [{"id": "f", "name": "n", "instructions": "x" * 20_001}]}, r"profile\.folders\[0\]: its instruct"),
        ({"collections": [{"id": "k", "name": "n"}] * 2}, r"profile\.collections: .*two with one id"),
        ({"folders": [{"id": f"{n}", "name": "n"} for n in range(101)]}, r"profile\.folders: there are more than 100"),
        ({"parameters": {"temperature": 9}}, r"profile\.parameters: Temperature must be a number from 0\.1 to 1\.0"),
    ],
)
def test_an_invalid_profile_is_reported_with_the_field(profile, why):
    with pytest.raises(InvalidExport, match=why):
        own_export.read_profile(changed(profile=profile))


KEPT = LibraryDocument(collection="k", document=QUESTION.documents[0], added_ms=1_793_600_130_125)


def test_a_document_of_a_collection_is_read_without_loss():
    line = json_export.encode_library_document(KEPT).decode()
    assert own_export.read_library(json.dumps({"library": [json.loads(line)]})) == [KEPT]
    assert json.loads(line)["added"] == "2026-11-02T06:15:30.125Z"
    assert "\n" not in line


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"collection": "a b"}, r"library\[0\]\.collection: 'a b' cannot be an id"),
        ({"collection": None}, r"library\[0\]\.collection: "),
        ({"added_ms": -1}, r"library\[0\]\.added_ms: -1 is not a time"),
        ({"added_ms": None}, r"library\[0\]\.added_ms: "),
        ({"data": ""}, r"library\[0\]\.data: it is missing"),
        ({"data": "!"}, r"library\[0\]\.data: this is not base64"),
        ({"data": "AAAA"}, r"library\[0\]\.data: this is not the text of a document"),
        ({"data": BOMB}, r"library\[0\]\.data: this is not the text of a document"),
        ({"id": "../x"}, r"library\[0\]\.id: '\.\./x' cannot be an id"),
        ({"kind": "exe"}, r"library\[0\]\.kind: 'exe' is not one of PDF, Word"),
    ],
)
def test_an_invalid_document_of_a_collection_is_reported_with_the_field(change, why):
    line = json.loads(json_export.encode_library_document(KEPT))
    with pytest.raises(InvalidExport, match=why):
        own_export.read_library(json.dumps({"library": [line | change]}))
    with pytest.raises(InvalidExport, match=r"library\[0\]"):
        own_export.read_library(json.dumps({"library": [None]}))
