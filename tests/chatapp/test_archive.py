"""The JSON that a chat exports: what is in it, and what is read from it."""

import json

import pytest

from chatapp import archive
from chatapp.archive import Archived, InvalidArchive
from chatapp.conversation import Conversation, FinishReason, Message, MessageStatus, Role, Usage, new_id

CONVERSATION = Conversation(
    id=new_id(),
    title="שלום, מה שלומך?",
    created_ms=1_793_600_130_123,
    updated_ms=1_793_600_140_000,
    model="gemini",
    system_prompt="Be brief.\nAnd kind.",
)
QUESTION = Message(
    id=new_id(), turn_id=new_id(), role=Role.USER, content='He said "hi"\r\n\t\\ 🙂', created_ms=1_793_600_130_123
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
)


def exported(*conversations):
    lines = b",\n".join(archive.encoded(*one) for one in conversations)
    return (archive.beginning("ana") + lines + archive.END).decode()


def changed(**fields):
    """Return an export of one conversation with one message, with some fields changed, by their path."""
    found = json.loads(exported((CONVERSATION, [QUESTION])))
    for path, value in fields.items():
        *steps, last = path.split("__")
        target = found
        for step in steps:
            target = target[int(step) if step.isdigit() else step]
        target[last] = value
    return json.dumps(found)


def test_what_is_exported_is_read_without_a_loss():
    everything = [
        Archived(CONVERSATION, [QUESTION, ANSWER]),
        Archived(Conversation(id="b", title="", created_ms=0, updated_ms=0), []),
    ]
    assert archive.read(exported(*everything)) == everything


def test_an_export_says_what_it_is_and_whose_and_times_in_words_too():
    found = json.loads(exported((CONVERSATION, [QUESTION])))
    assert (found["format"], found["version"], found["user"]) == ("hybrid-chat", 1, "ana")
    (conversation,) = found["conversations"]
    assert (conversation["created_ms"], conversation["created"]) == (1_793_600_130_123, "2026-11-02T06:15:30.123Z")
    assert conversation["messages"][0]["created"] == "2026-11-02T06:15:30.123Z"


def test_every_conversation_is_a_line():
    lines = exported((CONVERSATION, [QUESTION]), (CONVERSATION, [ANSWER])).splitlines()
    assert [json.loads(line.rstrip(","))["title"] for line in lines[1:3]] == [CONVERSATION.title] * 2


def test_an_export_without_conversations_is_one_too():
    assert archive.read(exported()) == []


def test_fields_that_a_newer_chat_may_add_are_ignored():
    text = changed(conversations__0__colour="red", conversations__0__messages__0__stars=5, extra=1)
    assert archive.read(text) == [Archived(CONVERSATION, [QUESTION])]


def test_half_of_a_surrogate_pair_does_not_break_an_export():
    error = Message(**{name: getattr(ANSWER, name) for name in Message.__slots__} | {"error": "bad \ud83d here"})
    ((_, (message,)),) = archive.read(exported((CONVERSATION, [error])))
    assert message.error == "bad ? here"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", r"not JSON.*download broke off"),
        ("PK\x03\x04", r"not JSON: .*line 1 column 1"),
        ("[" * 100_000, "not JSON"),
        ("[]", r'no export of a chat.*"format": "hybrid-chat"'),
        ('{"format": "other"}', "no export of a chat"),
        ('{"format": "hybrid-chat", "version": 2}', "version 2.*reads version 1"),
        ('{"format": "hybrid-chat", "version": 1}', 'no list of "conversations"'),
        (changed(conversations__0__title=7), r"conversations\[0\]\.title: input should be a valid string"),
        (changed(conversations__0__id="../../etc"), r"conversations\[0\]\.id: '\.\./\.\./etc' cannot be an id"),
        (changed(conversations__0__created_ms=-1), r"conversations\[0\]\.created_ms: -1 is no time"),
        (changed(conversations__0__updated_ms=10**18), r"conversations\[0\]\.updated_ms: 10+ is no time"),
        (changed(conversations__0__messages=None), r"conversations\[0\]\.messages: input should be a valid list"),
        (changed(conversations__0__messages__0__role="system"), r"messages\[0\]\.role: input should be 'user' or"),
        (changed(conversations__0__messages__0__id="a b"), r"messages\[0\]\.id: 'a b' cannot be an id"),
        (changed(conversations__0__messages__0__created_ms="soon"), r"messages\[0\]\.created_ms: "),
        (changed(conversations=[None]), r"conversations\[0\]: "),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(text, why):
    with pytest.raises(InvalidArchive, match=why):
        archive.read(text)


def test_an_export_that_broke_off_anywhere_is_refused():
    whole = exported((CONVERSATION, [QUESTION, ANSWER])).rstrip()
    for end in range(0, len(whole), 7):
        with pytest.raises(InvalidArchive):
            archive.read(whole[:end])
