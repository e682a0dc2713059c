"""Exports of other chats, made by hand with invented people: the shapes that public importers and threads describe."""

import base64
import io
import json
import zipfile
from dataclasses import dataclass, field

from chatapp.domain.conversation import Conversation, Image, Message, Persona, Profile, Role
from chatapp.imports.parsed import Skipped
from chatapp.userdata import json_export
from tests.fakes.pictures import plain

PNG = plain()
JPEG = plain(color="blue", kind="JPEG")
DATA_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
AT = 1_709_654_400.0  # 2024-03-05 16:00 UTC, in seconds


@dataclass(frozen=True)
class Expected:
    """What an import should find.

    Attributes:
        conversations: how many.
        messages: how many.
        pictures: how many.
        skipped: what is left out.
        texts: that are in the messages, in order.
        folded: that are in the thinking.
        models: of the answers.
        branches: versions of a message, at most.
    """

    conversations: int
    messages: int
    pictures: int = 0
    skipped: dict = field(default_factory=dict)
    texts: tuple = ()
    folded: tuple = ()
    models: tuple = ()
    branches: int = 1


def packed(**files):
    """Return a ZIP with these files; "__" in a name stands for "/", and "_json" at its end for ".json"."""
    return archive({name.replace("__", "/").replace("_json", ".json"): content for name, content in files.items()})


def archive(files):
    """Return a ZIP with files by name: bytes, or values that become JSON."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content if isinstance(content, (bytes, str)) else json.dumps(content))
    return written.getvalue()


def encoded(value):
    return json.dumps(value).encode()


# ChatGPT


def node(
    id_, parent, role="", *parts, at=AT, kind="text", children=(), author=None, recipient="all", content=None, **meta
):
    """Return a node of a mapping; without a role, one without a message."""
    message = role and {
        "id": id_,
        "author": {"role": role, "name": author, "metadata": {}},
        "create_time": at,
        "content": content or {"content_type": kind, "parts": list(parts)},
        "status": "finished_successfully",
        "weight": 1.0,
        "recipient": recipient,
        "metadata": meta,
    }
    return {"id": id_, "parent": parent, "children": list(children), "message": message or None}


def chatgpt(*nodes, id_="c-1", title="Rye bread", current=None, **fields):
    return {
        "title": title,
        "create_time": AT,
        "update_time": AT + 60,
        "mapping": {one["id"]: one for one in nodes},
        "conversation_id": id_,
        "current_node": current or nodes[-1]["id"],
        **fields,
    }


def small_chat(number=1, **fields):
    return chatgpt(
        node("root", None),
        node("sys", "root", "system", ""),
        node("q", "sys", "user", f"How long does rye bread keep, Mirela? ({number})"),
        node("a", "q", "assistant", "About a week.", at=AT + 5, model_slug="gpt-4o"),
        id_=f"c-{number}",
        **fields,
    )


TREE = chatgpt(
    node("root", None),
    node("q1", "root", "user", "Name a river."),
    node("a1", "q1", "assistant", "The Drava.", at=AT + 1, model_slug="gpt-4"),
    node("a2", "q1", "assistant", "The Mur.", at=AT + 2, model_slug="gpt-4o"),
    node("q2", "a1", "user", "Where does it end?", at=AT + 3),
    node("q3", "a1", "user", "Where does it begin?", at=AT + 4),
    node("a3", "q3", "assistant", "In South Tyrol.", at=AT + 5, model_slug="gpt-4"),
    current="a2",
)
TOOLS = chatgpt(
    node("root", None),
    node(
        "ctx",
        "root",
        "user",
        kind="user_editable_context",
        content={
            "content_type": "user_editable_context",
            "user_profile": "Odalys, a baker",
            "user_instructions": "Be short.",
        },
        is_visually_hidden_from_conversation=True,
    ),
    node("q", "ctx", "user", "What does the oven cost today?"),
    node(
        "t",
        "q",
        "assistant",
        at=AT + 1,
        content={
            "content_type": "thoughts",
            "thoughts": [{"summary": "Looking it up", "content": "The price may have changed."}],
            "source_analysis_msg_id": "x",
        },
    ),
    node(
        "s",
        "t",
        "assistant",
        at=AT + 2,
        recipient="web.run",
        content={"content_type": "code", "language": "json", "text": '{"search_query": "oven price"}'},
    ),
    node(
        "r",
        "s",
        "tool",
        author="web.run",
        at=AT + 3,
        content={
            "content_type": "tether_quote",
            "title": "Ovens",
            "url": "https://ovens.example",
            "text": "It costs 700 EUR.",
        },
    ),
    node("rec", "r", "assistant", at=AT + 4, content={"content_type": "reasoning_recap", "content": "Thought for 9 s"}),
    node(
        "a",
        "rec",
        "assistant",
        "It costs 700 EUR \ue200cite\ue202turn0search1\ue201.",
        at=AT + 5,
        model_slug="gpt-5-thinking",
    ),
    default_model_slug="gpt-5-thinking",
)
PYTHON = chatgpt(
    node("q", None, "user", "Sum 1 to 10 with Python."),
    node(
        "c",
        "q",
        "assistant",
        at=AT + 1,
        recipient="python",
        content={"content_type": "code", "language": "unknown", "text": "print(sum(range(11)))"},
    ),
    node("o", "c", "tool", author="python", at=AT + 2, content={"content_type": "execution_output", "text": "55"}),
    node("a", "o", "assistant", "It is 55.", at=AT + 3, model_slug="gpt-4"),
)
PICTURES = chatgpt(
    node(
        "q",
        None,
        "user",
        {"content_type": "image_asset_pointer", "asset_pointer": "file-service://file-Ab12"},
        {"content_type": "image_asset_pointer", "asset_pointer": "file-service://file-Gone9"},
        "What is on it, Teodor?",
        kind="multimodal_text",
        attachments=[{"id": "file-Ab12", "name": "oven.png"}, {"id": "file-Zz9", "name": "recipe.pdf"}],
    ),
    node("a", "q", "assistant", "An oven.", at=AT + 1, model_slug="gpt-4o"),
    node("q2", "a", "user", "Draw one.", at=AT + 2),
    node(
        "d",
        "q2",
        "tool",
        {"content_type": "image_asset_pointer", "asset_pointer": "sediment://file_00ff12"},
        kind="multimodal_text",
        author="dalle.text2im",
        at=AT + 3,
    ),
    node(
        "v",
        "d",
        "user",
        {"content_type": "audio_transcription", "text": "Thank you."},
        {"content_type": "audio_asset_pointer", "asset_pointer": "file-service://file-Au"},
        kind="multimodal_text",
        at=AT + 4,
    ),
)
NULLS = [
    chatgpt(node("q", None, "user", "Hello"), title=None, id_="n-1", create_time=None, update_time=None),
    {**small_chat(2), "current_node": None, "conversation_id": None, "id": "n-2"},
    chatgpt(node("root", None), id_="n-3"),
    chatgpt(node("q", None, "user", "Only a question", at=None), id_="n-4"),
    {"title": "No mapping"},
]
CUT_TITLE = (
    b'[{"title": "Party \\ud83c", "conversation_id": "s-1", "mapping": {"q": {"id": "q", "parent": null, '
    b'"message": {"author": {"role": "user"}, "create_time": 1709654400.123456789, "content": '
    b'{"content_type": "text", "parts": ["Cake \\ud83c\\udf70?"]}}}}}]'
)
MANIFEST = {
    "version": 1,
    "files": [{"path": f"conversations-00{n}.json", "size_bytes": 1000} for n in range(3)] + [{"path": "user.json"}],
}
OTHER_FILES = {
    "user.json": {"id": "user-1", "email": "mirela@example.org"},
    "message_feedback.json": [{"id": "f", "conversation_id": "c-1", "rating": "thumbs_up"}],
    "shared_conversations.json": [{"id": "s", "conversation_id": "c-1", "title": "Rye bread"}],
    "chat.html": "<html></html>",
}

# Claude


def claude(*messages, id_="k-1", name="Seedlings", **fields):
    return {
        "uuid": id_,
        "name": name,
        "summary": "",
        "created_at": "2025-04-02T08:00:00.123456Z",
        "updated_at": "2025-04-02T09:00:00.000000+00:00",
        "account": {"uuid": "acc"},
        "chat_messages": list(messages),
        **fields,
    }


def claude_message(id_, sender, text="", parent=None, minute=0, content=None, **fields):
    return {
        "uuid": id_,
        "text": text,
        "content": [{"type": "text", "text": text, "citations": []}] if content is None else content,
        "sender": sender,
        "created_at": f"2025-04-02T08:{minute:02}:00.000000Z",
        "attachments": [],
        "files": [],
        **({"parent_message_uuid": parent} if parent else {}),
        **fields,
    }


CLAUDE_ROOT = "00000000-0000-4000-8000-000000000000"
CLAUDE_TREE = claude(
    claude_message("h1", "human", "When do I sow tomatoes, Ilkay?", CLAUDE_ROOT),
    claude_message("a1", "assistant", "In March.", "h1", 1),
    claude_message("a2", "assistant", "Late in March.", "h1", 2),
    claude_message("h2", "human", "And peas?", "a2", 3),
    model="claude-sonnet-4",
    current_leaf_message_uuid="a1",
    is_starred=True,
)
CLAUDE_TOOLS = claude(
    claude_message(
        "h1",
        "human",
        "Read this.",
        attachments=[{"file_name": "notes.txt", "file_type": "txt", "extracted_content": "Sow on the 3rd."}],
        files=[{"file_uuid": "f-1", "file_name": "bed.png", "file_kind": "image"}, {"file_name": "plan.pdf"}],
    ),
    claude_message(
        "a1",
        "assistant",
        minute=1,
        content=[
            {"type": "thinking", "thinking": "The notes name a day."},
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "name": "web_search", "input": {"query": "last frost"}},
            {"type": "tool_result", "name": "web_search", "content": [{"type": "text", "text": "15 May"}]},
            {"type": "text", "text": "Sow on the 3rd."},
            {"type": "token_budget"},
            {"type": "hologram"},
        ],
    ),
)

# Open WebUI


def open_webui(messages, id_="w-1", title="Trains", models=("gemma3:4b",), **fields):
    return {
        "id": id_,
        "user_id": "u",
        "title": title,
        "chat": {
            "title": title,
            "models": list(models),
            "params": {"system": "Answer in one sentence."},
            "history": {"messages": {one["id"]: one for one in messages}, "currentId": messages[-1]["id"]},
            "messages": [],
            "timestamp": 1_730_000_000_000,
        },
        "created_at": 1_730_000_000,
        "updated_at": 1_730_000_500,
        "archived": False,
        "pinned": True,
        **fields,
    }


def web_message(id_, parent, role, content, second=0, **fields):
    return {
        "id": id_,
        "parentId": parent,
        "childrenIds": [],
        "role": role,
        "content": content,
        "timestamp": 1_730_000_000 + second,
        **fields,
    }


REASONED = (
    '<details type="reasoning" done="true" duration="4">\n<summary>Thought for 4 seconds</summary>\n'
    "&gt; Two lines meet there.\n</details>\nIn Wels."
)
CALLED = (
    '<details type="tool_calls" done="true" name="timetable" arguments="&quot;{\\&quot;to\\&quot;: 1}&quot;" '
    'result="&quot;9:15&quot;">\n<summary>Tool</summary>\n</details>\nAt 9:15.'
)
WEB_TREE = open_webui(
    [
        web_message("u1", None, "user", "Where do I change trains?"),
        web_message("a1", "u1", "assistant", REASONED, 1, model="gemma3:4b", annotation={"rating": 1}),
        web_message("a2", "u1", "assistant", CALLED, 2, model="llama3.2:3b"),
    ]
)
WEB_PICTURES = open_webui(
    [
        web_message(
            "u1",
            None,
            "user",
            "What is this?",
            files=[
                {"type": "image", "url": DATA_URL},
                {"type": "image", "url": "/api/v1/files/abc/content"},
                {"type": "file", "name": "timetable.pdf"},
            ],
        ),
        web_message("a1", "u1", "assistant", "A train.", 1, error={"content": "The model stopped."}),
    ],
    id_="w-2",
)
WEB_OLD = {
    "id": "w-3",
    "title": "Old",
    "chat": {
        "models": ["mistral"],
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello."},
        ],
    },
}

# LibreChat


def libre(id_, parent, text, *, user=False, second=0, **fields):
    return {
        "messageId": id_,
        "parentMessageId": parent,
        "text": text,
        "sender": "User" if user else "GPT-4o",
        "isCreatedByUser": user,
        "createdAt": f"2025-01-05T10:00:{second:02}.000Z",
        **fields,
    }


NO_PARENT = "00000000-0000-0000-0000-000000000000"
LIBRE = {
    "conversationId": "l-1",
    "endpoint": "openAI",
    "title": "Bees",
    "exportAt": "10:00:00 GMT+0100",
    "branches": True,
    "recursive": False,
    "options": {"model": "gpt-4o", "promptPrefix": "You know bees."},
    "messages": [
        libre("m1", NO_PARENT, "How many eyes has a bee?", user=True),
        libre(
            "m2",
            "m1",
            "",
            second=1,
            model="gpt-4o-mini",
            content=[
                {"type": "think", "think": "Compound and simple eyes."},
                {"type": "tool_call", "tool_call": {"name": "encyclopedia", "args": '{"q": "bee"}', "output": "five"}},
                {"type": "text", "text": {"value": "Five."}},
            ],
        ),
        libre("m3", "m1", "Five eyes.", second=2),
    ],
}
LIBRE_TREE = {
    **{name: LIBRE[name] for name in ("endpoint", "title", "options")},
    "conversationId": "l-2",
    "recursive": True,
    "messagesTree": [
        libre(
            "m1",
            NO_PARENT,
            "Hello",
            user=True,
            files=[{"file_id": "p-1", "type": "image/png", "height": 2}],
            children=[
                libre(
                    "m2", "m1", "Hi.", second=1, children=[libre("m3", "m2", "Bye", user=True, second=2, children=[])]
                ),
                libre("m4", "m1", "Good day.", second=3, children=[]),
            ],
        )
    ],
}

# Gemini


def activity(title, time, *html, **fields):
    return {
        "header": "Gemini Apps",
        "title": title,
        "time": time,
        "products": ["Gemini Apps"],
        "activityControls": ["Gemini Apps Activity"],
        **({"safeHtmlItem": [{"html": one} for one in html]} if html else {}),
        **fields,
    }


ACTIVITIES = [  # the newest first, as Takeout writes them
    activity("Gave feedback: Good response", "2025-07-02T10:30:00.000Z"),
    activity("Prompted And in winter?", "2025-07-02T10:05:00.500Z", "<p>Then it <b>sleeps</b>.</p>"),
    activity(
        "Prompted What does a dormouse eat? Attached 1 file.",
        "2025-07-02T10:00:00.000Z",
        "<h2>Food</h2><ul><li>nuts</li><li>berries</li></ul><pre><code>x = 1</code></pre>",
        subtitles=[{"name": "Attached 1 file."}],
        attachedFiles=["dormouse.png", "notes.pdf"],
    ),
    activity("Used an Assistant feature", "2025-07-01T10:00:00.000Z"),
    activity("שאלה על ציפורים", "2025-06-01T08:00:00.000Z", "<p>תשובה</p>"),
    {"header": "Search", "title": "Searched for owls", "time": "2025-06-01T07:00:00Z", "products": ["Search"]},
]


def activity_cell(title, time, *answer, header="Gemini Apps", lines=()):
    """Return an activity as a page of Takeout has it: a title as HTML, further lines, the time, and the answer."""
    body = "<br>".join([title, *lines, time, "".join(answer)])
    kind = "content-cell mdl-cell mdl-cell--6-col mdl-typography--body-1"
    caption = "content-cell mdl-cell mdl-cell--12-col mdl-typography--caption"
    return (
        '<div class="outer-cell mdl-cell mdl-cell--12-col mdl-shadow--2dp"><div class="mdl-grid">'
        '<div class="header-cell mdl-cell mdl-cell--12-col">'
        f'<p class="mdl-typography--title">{header}<br></p></div>'
        f'<div class="{kind}">{body}</div><div class="{kind} mdl-typography--text-right"></div>'
        f'<div class="{caption}"><b>Products:</b><br>&emsp;{header}<br></div></div></div>'
    )


def activity_page(*cells):
    """Return a page of Takeout."""
    return (
        '<html><head><meta charset="UTF-8"><title>My Activity</title><style>.mdl-grid{display:flex}</style></head>'
        f'<body><div class="mdl-grid">{"".join(cells)}</div></body></html>'
    ).encode()


CELLS = [  # as `ACTIVITIES`
    activity_cell("Gave feedback:&nbsp;Good response", "Jul 2, 2025, 12:30:00\u202fPM CEST"),
    activity_cell(
        "Prompted&nbsp;And in winter?", "Jul 2, 2025, 12:05:00\u202fPM CEST", "<p>Then it <b>sleeps</b>.</p>"
    ),
    activity_cell(
        "Prompted&nbsp;What does a dormouse eat?",
        "Jul 2, 2025, 12:00:00\u202fPM CEST",
        "<h2>Food</h2><ul><li>nuts</li><li>berries</li></ul><pre><code>x = 1</code></pre>",
        lines=(
            "Attached 2 files.",
            '-&nbsp;<a href="dormouse.png">dormouse.png</a>',
            '-&nbsp;<a href="notes.pdf">notes.pdf</a>',
        ),
    ),
    activity_cell("Used an Assistant feature", "Jul 1, 2025, 12:00:00\u202fPM CEST"),
    activity_cell(
        "הזנת את ההנחיה:&nbsp;שאלה על &lt;ציפורים&gt; &amp; דבורים", "1 ביוני 2025, 11:00:00 IDT", "<p>תשובה</p>"
    ),
    activity_cell("Searched for&nbsp;owls", "Jun 1, 2025, 10:00:00\u202fAM CEST", header="Search"),
]
WORKSPACE = {
    "title": "Offer letter",
    "creation_time": "2025-09-01T07:00:00Z",
    "last_modification_time": "2025-09-01T07:05:00Z",
    "conversation_turns": [
        {
            "user_turn": {
                "prompt": "Write an offer, Benat.",
                "turn_index": 0,
                "turn_last_modified": "2025-09-01T07:00:01Z",
            }
        },
        {
            "system_turn": {
                "text": [{"data": "Dear customer,"}, {"cards": [{"content": "12 chairs"}]}],
                "turn_index": 1,
                "images": ["conversation_1_turn_1_images_0"],
                "turn_last_modified": "2025-09-01T07:00:09Z",
                "model_thoughts": [{"headline": "Tone", "description": "Polite."}],
            }
        },
        {"user_turn": {"prompt": "Forget it", "turn_deleted_time": "2025-09-01T07:02:00Z"}},
    ],
}

# This chat's own


def own(profile=None):
    """Return an export of this chat, with two versions of an answer and a picture."""
    picture = Image(id="p", media_type="image/png", width=30, height=20, data=PNG)
    question = Message(
        id="q", turn_id="t", role=Role.USER, content="Two answers?", created_ms=1_000, follows="", images=(picture,)
    )
    answers = [
        Message(
            id=f"a{n}",
            turn_id=f"t{n}",
            role=Role.ASSISTANT,
            content=f"Answer {n}",
            created_ms=1_001 + n,
            follows="q",
            model="gemma",
            thinking="So.",
        )
        for n in range(2)
    ]
    conversation = Conversation(id="own-1", title="Own", created_ms=1_000, updated_ms=1_002, branch="a0")
    return (
        json_export.header("ann", profile) + json_export.encode(conversation, [question, *answers]) + json_export.FOOTER
    )


PROFILE = Profile(personas=(Persona(id="p", name="Pirate", instructions="Arr."),))

SMALL = Expected(1, 2, texts=("How long does rye bread keep, Mirela? (1)", "About a week."), models=("gpt-4o",))
MARKED_MISSING = {Skipped.PICTURES: 2, Skipped.FILES: 1, Skipped.RECORDINGS: 1}

# By name: the file, and what should be found in it.
EXPORTS = {
    "chatgpt, one file": (encoded([small_chat()]), SMALL),
    "chatgpt, with a byte order mark and spaces": (
        b"\xef\xbb\xbf \n" + json.dumps([small_chat()], indent=2).encode(),
        SMALL,
    ),
    "chatgpt, one conversation alone": (encoded(small_chat()), SMALL),
    "chatgpt, many": (encoded([small_chat(n) for n in range(30)]), Expected(30, 60)),
    "chatgpt, all branches": (encoded([TREE]), Expected(1, 6, branches=2, models=("gpt-4", "gpt-4o", "gpt-4"))),
    "chatgpt, thinking and tools": (
        encoded([TOOLS]),
        Expected(
            1,
            2,
            skipped={Skipped.HIDDEN: 1},
            texts=("What does the oven cost today?", "It costs 700 EUR ."),
            folded=("Looking it up", "search_query", "https://ovens.example", "Thought for 9 s"),
            models=("gpt-5-thinking",),
        ),
    ),
    "chatgpt, python": (
        encoded([PYTHON]),
        Expected(1, 2, texts=("Sum 1 to 10", "It is 55."), folded=("sum(range(11))", "55")),
    ),
    "chatgpt, pictures that are not there": (
        encoded([PICTURES]),
        Expected(1, 5, skipped={Skipped.PICTURES: 3, Skipped.FILES: 1, Skipped.RECORDINGS: 1}),
    ),
    "chatgpt, a zip with pictures": (
        archive(
            {
                "conversations.json": [PICTURES],
                "file-Ab12-oven.png": PNG,
                "dalle-generations/file_00ff12-0.webp": JPEG,
                **OTHER_FILES,
            }
        ),
        Expected(
            1,
            5,
            pictures=2,
            skipped={Skipped.PICTURES: 1, Skipped.FILES: 1, Skipped.RECORDINGS: 1},
            texts=("What is on it", "An oven."),
        ),
    ),
    "chatgpt, nulls and gaps": (encoded(NULLS), Expected(3, 4, skipped={Skipped.EMPTY: 1, Skipped.UNREADABLE: 1})),
    "chatgpt, a title cut within an emoji": (CUT_TITLE, Expected(1, 1, texts=("Cake 🍰?",))),
    "chatgpt, parts with a manifest": (
        archive(
            {
                **{f"conversations-00{n}.json": [small_chat(n)] for n in range(3)},
                "export_manifest.json": MANIFEST,
                **OTHER_FILES,
            }
        ),
        Expected(3, 6),
    ),
    "chatgpt, a part is missing": (
        archive({**{f"conversations-00{n}.json": [small_chat(n)] for n in range(2)}, "export_manifest.json": MANIFEST}),
        Expected(2, 4),
    ),
    "chatgpt, packed again on a Mac": (
        archive(
            {
                "export/conversations.json": [small_chat()],
                "__MACOSX/export/._conversations.json": b"\0\5\x16\7",
                "export/.DS_Store": b"\0",
            }
        ),
        SMALL,
    ),
    "chatgpt, under another name": (archive({"mirela/backup-2024.json": [small_chat()]}), SMALL),
    "claude, one file": (
        encoded([claude(claude_message("h", "human", "Hi"), claude_message("a", "assistant", "Hello", minute=1))]),
        Expected(1, 2, texts=("Hi", "Hello"), models=("Claude",)),
    ),
    "claude, all branches": (encoded([CLAUDE_TREE]), Expected(1, 4, branches=2, models=("claude-sonnet-4",) * 2)),
    "claude, a zip with thinking, tools and files": (
        archive(
            {
                "conversations.json": [CLAUDE_TOOLS],
                "users.json": [{"uuid": "acc"}],
                "projects.json": [],
                "f-1/bed.png": PNG,
            }
        ),
        Expected(
            1,
            2,
            pictures=1,
            skipped={Skipped.FILES: 1, Skipped.UNKNOWN: 1},
            texts=("Sow on the 3rd.", "Let me look.\n\nSow on the 3rd."),
            folded=("The notes name a day.", "web_search", "15 May"),
        ),
    ),
    "claude, a wrapped list": (encoded({"conversations": [CLAUDE_TREE]}), Expected(1, 4, branches=2)),
    "claude, without messages": (
        encoded([claude(), CLAUDE_TREE]),
        Expected(1, 4, branches=2, skipped={Skipped.EMPTY: 1}),
    ),
    "open webui, all branches": (
        encoded([WEB_TREE]),
        Expected(
            1,
            3,
            branches=2,
            models=("gemma3:4b", "llama3.2:3b"),
            texts=("Where do I change", "In Wels.", "At 9:15."),
            folded=("Two lines meet there.", "timetable", '{"to": 1}', "9:15"),
        ),
    ),
    "open webui, pictures": (
        encoded([WEB_PICTURES]),
        Expected(
            1,
            2,
            pictures=1,
            skipped={Skipped.PICTURES: 1, Skipped.FILES: 1},
            texts=("What is this?", "The model stopped."),
        ),
    ),
    "open webui, an old one": (encoded([WEB_OLD]), Expected(1, 2, texts=("Hi", "Hello."), models=("mistral",))),
    "open webui, one chat alone": (encoded(WEB_TREE), Expected(1, 3, branches=2)),
    "librechat, flat": (
        encoded(LIBRE),
        Expected(
            1,
            3,
            branches=2,
            texts=("How many eyes", "Five."),
            models=("gpt-4o-mini", "gpt-4o"),
            folded=("Compound and simple eyes.", "encyclopedia", "five"),
        ),
    ),
    "librechat, a tree": (encoded(LIBRE_TREE), Expected(1, 4, branches=2, skipped={Skipped.PICTURES: 1})),
    "librechat, several in a zip": (
        archive({"bees.json": LIBRE, "hello.json": LIBRE_TREE}),
        Expected(2, 7, branches=2, skipped={Skipped.PICTURES: 1}),
    ),
    "gemini, my activity": (
        encoded(ACTIVITIES),
        Expected(
            2,
            6,
            skipped={Skipped.ACTIVITIES: 2, Skipped.FILES: 1, Skipped.PICTURES: 1, Skipped.UNREADABLE: 1},
            texts=("תשובה", "What does a dormouse eat?", "## Food\n\n- nuts\n- berries", "Then it **sleeps**."),
        ),
    ),
    "gemini, takeout": (
        archive(
            {
                "Takeout/My Activity/Gemini Apps/MyActivity.json": ACTIVITIES,
                "Takeout/My Activity/Gemini Apps/dormouse.png": PNG,
                "Takeout/archive_browser.html": "<html>",
            }
        ),
        Expected(2, 6, pictures=1, skipped={Skipped.ACTIVITIES: 2, Skipped.FILES: 1, Skipped.UNREADABLE: 1}),
    ),
    "gemini, a page": (
        activity_page(*CELLS),
        Expected(
            2,
            6,
            skipped={Skipped.ACTIVITIES: 2, Skipped.FILES: 1, Skipped.PICTURES: 1, Skipped.UNREADABLE: 1},
            texts=(
                "שאלה על <ציפורים> & דבורים",
                "תשובה",
                "What does a dormouse eat?",
                "## Food\n\n- nuts\n- berries",
                "And in winter?",
                "Then it **sleeps**.",
            ),
        ),
    ),
    "gemini, a page in a takeout, in Arabic, with pictures": (
        archive(
            {
                "Takeout/نشاطي/تطبيقات Gemini/نشاطي.html": activity_page(
                    activity_cell(
                        "المطالبة:&nbsp;ارسم سنجابًا",
                        "10\u200f/04\u200f/2026، 7:55:59\u00a0م GMT+03:00",
                        '<p>تفضّل</p><p><img alt="" src="squirrel%201.png"><img src="https://example.org/x.png"></p>',
                        header="تطبيقات Gemini",
                        lines=('-&nbsp;<a href="sketch.png">sketch.png</a>',),
                    )
                ),
                "Takeout/نشاطي/تطبيقات Gemini/squirrel 1.png": PNG,
                "Takeout/نشاطي/تطبيقات Gemini/sketch.png": PNG,
                "Takeout/archive_browser.html": "<html>",
            }
        ),
        Expected(1, 2, pictures=2, texts=("ارسم سنجابًا", "تفضّل"), models=("Gemini",)),
    ),
    "gemini, workspace": (
        archive(
            {
                "Takeout/Gemini in Workspace/Conversation History/conversation_1.txt": WORKSPACE,
                "Takeout/Gemini in Workspace/Conversation History/conversation_1_turn_1_images_0.png": PNG,
            }
        ),
        Expected(
            1, 2, pictures=1, skipped={Skipped.DELETED: 1}, folded=("Polite.",), texts=("Dear customer,\n\n12 chairs",)
        ),
    ),
    "own": (own(), Expected(1, 3, pictures=1, branches=2, models=("gemma", "gemma"), folded=("So.",))),
    "own, with personas, in a zip": (
        archive({"everything.json": own(PROFILE)}),
        Expected(1, 3, pictures=1, branches=2),
    ),
    "two chats in one zip": (archive({"a.json": [small_chat()], "b.json": [CLAUDE_TREE]}), Expected(2, 6, branches=2)),
}
