"""Thinking inside the text of an answer."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatapp.models import TextDelta, TextWasThinking, ThinkingDelta
from chatapp.models.thinking import THINKING_TAGS, WRAPPERS, ThinkingParser


def parsed(*pieces):
    """Return the thinking and the text of an answer in these pieces."""
    parser, thinking, text = ThinkingParser(), "", ""
    for event in [*(event for piece in pieces for event in parser.feed(piece)), *parser.end()]:
        match event:
            case TextDelta(more):
                assert more
                text += more
            case ThinkingDelta(more):
                assert more
                thinking += more
            case TextWasThinking():
                thinking, text = thinking + text, ""
    return thinking, text


@pytest.mark.parametrize(("opening", "closing"), THINKING_TAGS.items())
def test_tags_of_every_model_are_recognized(opening, closing):
    assert parsed(f"{opening}\nA.\n{closing}\n\nParis.") == ("A.\n", "Paris.")
    assert parsed(f"{opening.upper()}A{closing.upper()}Paris.") == ("A", "Paris.")


@pytest.mark.parametrize(
    ("answer", "thinking", "text"),
    [
        ("  \n<think>A</think>B", "A", "B"),
        ("I recall Paris.\n</think>\n\nParis.", "I recall Paris.\n", "Paris."),
        ("</think>\n\nParis.", "", "Paris."),
        ("<think></think>Paris.", "", "Paris."),
        ("<think>A</think> <think>B</think>C", "A\n\nB", "C"),
        ("<think>A</think></think>C", "A", "C"),
        ("Let me see.\n<think>\nhm\n</think>\nIt is 4.", "hm\n", "Let me see.\nIt is 4."),
        ("<think>without an end", "without an end", ""),
        ("<think>\n<think>\nA</think>B", "<think>\nA", "B"),  # the model repeats the tag of its template
        ("<think>A<think>B</think>C</think>D", "A<think>BC", "D"),
        ("<think>I begin with `<think>`.</think>B </think>", "I begin with `<think>`.", "B </think>"),
        ("Let me see.\n<think>A<think>B</think>C</think>", "A<think>B", "Let me see.\nC</think>"),
        # gpt-oss
        ("<|channel|>analysis<|message|>A<|end|><|start|>assistant<|channel|>final<|message|>B<|return|>", "A", "B"),
        ("<|start|>assistant<|channel|>analysis<|message|>A<|end|>", "A", ""),
        ("<|channel|>final<|message|>B", "", "B"),
        ("<|start|>assistant<|message|>B<|end|>", "", "B"),
        (
            "<|channel|>analysis<|message|>A<|end|><|start|>assistant<|channel|>commentary to=functions.x "
            "<|constrain|>json<|message|>{}<|call|><|start|>assistant<|channel|>final<|message|>B",
            "A\n\n{}",
            "B",
        ),
        ("A<|end|><|start|>assistant<|channel|>final<|message|>B", "A", "B"),
        ("analysisThe person asks.assistantfinalIt is 4.", "The person asks.", "It is 4."),
        # what stands around the answer
        ("<think>A</think>\n<answer>\nB\n</answer>", "A", "B\n"),
        ("<think>A</think><answer>B", "A", "B"),
        ("<think>A</think>\n\n<response>B</response>\n", "A", "B\n"),
        ("<|START_THINKING|>A<|END_THINKING|><|START_RESPONSE|>B<|END_RESPONSE|>", "A", "B"),
        ("<|begin_of_thought|>A<|end_of_thought|><|begin_of_solution|>B<|end_of_solution|>", "A", "B"),
        ("<think>A</think>As XML: <answer>B</answer>", "A", "As XML: <answer>B</answer>"),
        ("<think>say `</think>` here</think>B", "say `</think>` here", "B"),
    ],
)
def test_thinking_is_told_from_text(answer, thinking, text):
    assert parsed(answer) == (thinking, text)


@pytest.mark.parametrize(
    "answer",
    [
        "Models write <think> before they answer, and </think> after it.",
        "The tag `</think>` ends it.",
        'It ends with "</think>" then.',
        "```\n<think>\nhm\n</think>\n```\nThat is the format.",
        "~~~xml\nhm\n</think>\n~~~",
        "As XML:\n<reasoning>a</reasoning>",
        "a < b, and x</y",
        "   indented",
        "<thin",
        "<answer>B</answer>",
        "analysis of a text",
        "Analysis: it is.",
        "analysis",
        "ana",
        "<|start",
        "The mark <|start|> begins a message, <|channel|> its channel.",
        " \n ",
        "",
    ],
)
def test_tags_that_are_mentioned_are_text(answer):
    assert parsed(answer) == ("", answer)


BITS = st.sampled_from(
    [
        "<think>",
        "</think>",
        "<",
        "</",
        "th",
        "ink>",
        "\n",
        "`",
        "```\n",
        "a",
        " ",
        "“",
        "<thought>",
        "</thought>",
        "[THINK]",
        "<answer>",
        "</answer>",
        "analysis",
        "assistantfinal",
        "<|channel|>",
        "final",
        "<|message|>",
        "<|end|>",
    ]
)


@pytest.mark.slow
@given(st.lists(BITS, max_size=14).map("".join), st.lists(st.integers(0, 60), max_size=6))
@example("\n" * 1000 + "<think>a</think>", [999, 1003])
def test_thinking_does_not_depend_on_where_the_text_is_cut(answer, cuts):
    places = sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
    pieces = [answer[start:end] for start, end in itertools.pairwise(places)]
    assert parsed(*pieces) == parsed(answer) == parsed(*answer)


@pytest.mark.slow
@given(st.lists(BITS.filter(lambda bit: "|" not in bit and "ssis" not in bit), max_size=14).map("".join))
def test_nothing_but_tags_and_white_space_is_lost(answer):
    assert _characters("".join(parsed(answer))) == _characters(answer)


def _characters(text):
    """Return the characters of a text, sorted, without white space and tags, those included that a removal forms."""
    before = None
    while before != text:
        before = text
        for tag in [*THINKING_TAGS, *THINKING_TAGS.values(), *WRAPPERS, *WRAPPERS.values(), "analysis"]:
            text = text.lower().replace(tag, "")
    return sorted("".join(text.split()))
