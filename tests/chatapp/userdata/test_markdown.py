"""A conversation as Markdown: readable, whatever its messages hold; and names that every system takes."""

import pytest
from markdown_it import MarkdownIt

from chatapp.domain.conversation import (
    Conversation,
    Document,
    FinishReason,
    Image,
    Message,
    MessageStatus,
    Role,
    new_id,
)
from chatapp.domain.errors import CannotSee
from chatapp.domain.sentences import translated
from chatapp.http import assets
from chatapp.userdata.markdown import NAME_BYTES, Language, document, file_name

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
    assert "Messages: 2" in text


def test_image_without_data_is_mentioned():
    picture = Image(id="i", media_type="image/png", width=640, height=480, data=b"x")
    assert "*Picture, 640 × 480*\n\nLook" in shown(message("Look", images=(picture,)))


def test_document_is_named_on_one_line_without_markup():
    report = Document(id="d", name="*r*\n# [x](y).pdf", kind="PDF", pages=2, size=9)
    assert "*Document: \\*r\\* \\# \\[x\\](y).pdf*\n\nLook" in shown(message("Look", documents=(report,)))


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
        "# Greetings\n\n2026-11-02 06:15 UTC · Messages: 2\n\n"
        "---\n\n**You** · 2026-11-02 06:15 UTC\n\nHi there\n\n"
        "---\n\n**Gemma3 12b it** · 2026-11-02 06:15 UTC\n\nHello.\n\nAnd welcome.\n"
    )


def test_a_system_prompt_comes_first():
    assert "Messages: 2\n\n---\n\n**System prompt**\n\nBe brief.\n\n---\n\n" in shown(
        message("a"), message("b"), system_prompt="Be brief."
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": MessageStatus.STOPPED}, " · stopped\n\nhalf"),
        ({"status": MessageStatus.INTERRUPTED}, " · interrupted\n\nhalf"),
        ({"status": MessageStatus.STREAMING}, " · still being written at the time of this export\n\nhalf"),
        ({"status": MessageStatus.INTERRUPTED}, "\n\n*The chat restarted while this answer was being written.*\n"),
        ({"finish_reason": FinishReason.LENGTH}, "half\n\n*The answer stopped at Max tokens.*\n"),
        ({"omitted_messages": 3}, "it did not read the beginning (3 messages)"),
        ({"unshown_pictures": 2}, "*Pictures that were not shown: 2*"),
        ({"instead_of": "gemini"}, "*gemini was unavailable, so Gemma3 12b it answered.*"),
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


def test_a_message_that_leaves_a_fence_open_ends_with_it():
    assert top_level(shown(message("````md\n```"), message("next")))[-1] == ("paragraph_open", "next")


@pytest.mark.parametrize(
    ("language", "lines"),
    [
        (
            "he",
            [
                "# \u200fBach בעברית",
                "\u200f02.11.2026 בשעה 06:15 (UTC) · הודעות: 2",
                "\u200f**הוראות מערכת**",
                "\u200f**אתם** · 02.11.2026 בשעה 06:15 (UTC)",
                "\u200f*תמונה, 640 × 480*",
                "\u200f**\u2068Gemma3 12b it\u2069** · 02.11.2026 בשעה 06:15 (UTC) · שגיאה",
            ],
        ),
        (
            "ar",
            [
                "# \u200fBach בעברית",
                "\u200f02/11/2026 الساعة 06:15 (UTC) · عدد الرسائل: 2",
                "\u200f**تعليمات النظام**",
                "\u200f**أنت** · 02/11/2026 الساعة 06:15 (UTC)",
                "\u200f*صورة، 640 × 480*",
                "\u200f**\u2068Gemma3 12b it\u2069** · 02/11/2026 الساعة 06:15 (UTC) · خطأ",
            ],
        ),
    ],
)
def test_the_words_of_an_export_are_in_the_readers_language_and_direction(language, lines):
    catalogue = assets.translations(language)
    words = Language(lambda sentence: translated(sentence, catalogue), is_right_to_left=True)
    picture = Image(id="i", media_type="image/png", width=640, height=480)
    failed = answer("half", status=MessageStatus.ERROR, error=CannotSee("Gemma").sentence)
    text = document(
        conversation(title="Bach בעברית", system_prompt="Be brief."),
        [message("Look", images=(picture,)), failed],
        lambda model: LABELS.get(model, model),
        language=words,
    )
    assert [line for line in text.splitlines() if line in lines] == lines
    error = text.splitlines()[-1]
    assert error.startswith("\u200f*")
    assert "does not support" not in error
    untitled = file_name(conversation(title=""), ".md", words)
    assert untitled == f"2026-11-02 06.15 {catalogue['Untitled']}.md"
    assert document(conversation(title="Bach"), [], str, language=words).startswith("# Bach\n")


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
