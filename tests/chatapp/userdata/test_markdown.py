"""A conversation as Markdown: readable, whatever its messages hold; and names that every system takes."""

import random

import pytest
from markdown_it import MarkdownIt

from chatapp.domain.conversation import Conversation, Image, Message, MessageStatus, Role, new_id
from chatapp.userdata.markdown import NAME_BYTES, closed, document, file_name

LABELS = {"gemma": "Gemma3 12b it"}
# 2026-11-02 06:15 UTC
AT = 1_793_600_130_123


def conversation(title="A chat", **fields):
    return Conversation(**{"id": "c", "title": title, "created_ms": AT, "updated_ms": AT} | fields)


def message(content, role=Role.USER, **fields):
    model = "gemma" if role is Role.ASSISTANT else ""
    defaults = {"id": new_id(), "turn_id": "t", "role": role, "content": content, "created_ms": AT, "model": model}
    return Message(**defaults | fields)


def answer(content, **fields):
    return message(content, Role.ASSISTANT, **fields)


def shown(*messages, **fields):
    return document(conversation(**fields), messages, lambda model: LABELS.get(model, model))


def test_document_contains_the_displayed_version_of_each_message():
    question = message("Q1", id="q1", follows="")
    answers = [answer(f"A{number}", id=f"a{number}", follows="q1") for number in (1, 2)]
    edited = message("Q2", id="q2", follows="")
    messages = (question, *answers, edited)
    assert [content for _, content in top_level(shown(*messages)) if content in ("Q1", "Q2", "A1", "A2")] == ["Q2"]
    text = shown(*messages, branch="a1")
    assert [content for _, content in top_level(text) if content in ("Q1", "Q2", "A1", "A2")] == ["Q1", "A1"]
    assert "2 messages" in text


def test_image_without_data_is_mentioned():
    picture = Image(id="i", media_type="image/png", width=640, height=480, data=b"x")
    assert "*Picture, 640 × 480*\n\nLook" in shown(message("Look", images=(picture,)))


def top_level(text):
    """Return the blocks of a document as a renderer sees them: type and text."""
    tokens = MarkdownIt("commonmark").parse(text)
    return [
        (token.type, "" if token.type == "hr" else token.content or tokens[place + 1].content)
        for place, token in enumerate(tokens)
        if token.level == 0 and not token.type.endswith("_close")
    ]


def test_document_has_title_date_and_messages_in_order():
    assert shown(message("Hi there"), answer("Hello.\n\nAnd welcome."), title="Greetings") == (
        "# Greetings\n\n2026-11-02 06:15 UTC · 2 messages\n\n"
        "---\n\n**You** · 2026-11-02 06:15 UTC\n\nHi there\n\n"
        "---\n\n**Gemma3 12b it** · 2026-11-02 06:15 UTC\n\nHello.\n\nAnd welcome.\n"
    )


def test_a_system_prompt_comes_first():
    assert "messages\n\n---\n\n**System prompt**\n\nBe brief.\n\n---\n\n" in shown(
        message("a"), message("b"), system_prompt="Be brief."
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": MessageStatus.STOPPED}, " · stopped\n\nhalf"),
        ({"status": MessageStatus.INTERRUPTED}, " · interrupted\n\nhalf"),
        ({"status": MessageStatus.STREAMING}, " · still being written at the time of this export\n\nhalf"),
        ({"status": MessageStatus.ERROR, "error": "It *broke*."}, " · error\n\nhalf\n\n*It \\*broke\\*.*\n"),
    ],
)
def test_an_answer_that_is_not_whole_says_so(fields, words):
    assert words in shown(answer("half", **fields))


def test_answer_of_an_unknown_model_has_its_id():
    assert "**old-model**" in shown(answer("Hi", model="old-model"))


def test_code_stays_as_it_was_written():
    code = "Look:\n\n````md\n```python\ndef f():\n    return `1`\n```\n````\n\n~~~\ntext"
    blocks = top_level(shown(answer(code), message("and?")))
    fences = [text for kind, text in blocks if kind == "fence"]
    assert fences == ["```python\ndef f():\n    return `1`\n```\n", "text\n"]
    assert blocks[-2:] == [("paragraph_open", "**You** · 2026-11-02 06:15 UTC"), ("paragraph_open", "and?")]


@pytest.mark.parametrize(
    "whole", ["a ``` b", "```\ncode\n```", "- a\n  ```\n  b\n  ```", "<b>bold</b>", "<!-- a -->", "> ```"]
)
def test_closed_constructs_are_not_changed(whole):
    assert closed(whole) == whole


def lines(text):
    return text.split("|")


# Lines that open, close or hold blocks, at the margin, further in, and within lists and quotations.
MARGIN = lines("```|```python|~~~|~~~~|````|```a`b|text||# head|***|---|``` ```|```  |`x`")
PIECES = [
    *MARGIN,
    *lines("  ```|   ```sh|    ```|\t```|> ```|- ```|+ ~~~|* ```js|10) ```|1. do|   more|- a|  b|~~~ ~~~|    code"),
    *lines("<!-- x|-->|<div>|</div>|<pre>|</pre>|<?php|<!DOCTYPE|<![CDATA[|<script>| <style>|<https://x>|<b>c</b>"),
    '[a]: /u "t',
    "===",
]


@pytest.mark.parametrize("pieces", [PIECES, MARGIN], ids=["anything", "fences at the margin"])
def test_open_constructs_of_a_message_never_include_the_next_message(pieces):
    chosen = random.Random(1)
    for _ in range(3_000):
        text = "\n".join(chosen.choice(pieces) for _ in range(chosen.randint(1, 8)))
        ended = closed(text)
        assert ended.startswith(text.rstrip())
        assert top_level(f"{ended}\n\n---\n\n**You**\n")[-2:] == [("hr", ""), ("paragraph_open", "**You**")], text


def test_a_title_is_one_line_without_marks():
    assert shown(title="# <b>C#</b> *and*\n[more](x) `y` &lt;").splitlines()[0] == (
        r"# \# \<b>C\#\</b> \*and\* \[more\](x) \`y\` \&lt;"
    )


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Recipes", "2026-11-02 06.15 Recipes.md"),
        ("שלום עולם", "2026-11-02 06.15 שלום עולם.md"),
        ("../../etc/passwd", "2026-11-02 06.15 etc passwd.md"),
        ("C:\\Windows\\system32", "2026-11-02 06.15 C Windows system32.md"),
        ('a/b\0c\nd"e|f?g*h<i>j', "2026-11-02 06.15 a b c d e f g h i j.md"),
        ("evil\u202egnp.exe", "2026-11-02 06.15 evil gnp.exe.md"),
        ("ends with dots...", "2026-11-02 06.15 ends with dots.md"),
        ("", "2026-11-02 06.15 Untitled.md"),
        ("///", "2026-11-02 06.15 Untitled.md"),
        ("e\u0301t\u00e9", "2026-11-02 06.15 \u00e9t\u00e9.md"),
        ("half \ud83d pair", "2026-11-02 06.15 half pair.md"),
    ],
)
def test_a_title_becomes_a_name_that_every_system_takes(title, name):
    assert file_name(conversation(title), ".md") == name


def test_a_long_title_becomes_a_name_of_bounded_length_with_whole_characters():
    name = file_name(conversation("🙂א" * 200), ".md")
    assert NAME_BYTES - 4 < len(name.encode()) <= NAME_BYTES
    assert name.endswith(("🙂.md", "א.md"))
