"""Comparing words however they are written, and what is shown around them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.store.folding import fold, unfolded
from chatapp.store.snippets import AROUND, has_all, snippet, words_of
from tests.any_text import any_text

# Letters that fold to nothing, to one and to several, and pictures of several characters.
PIECES = [
    "a",
    "É",
    "e\u0301",
    "ß",
    "ﷺ",
    "שָׁ",
    "ם",
    "كِ",
    "ـ",
    "👩🏽‍🚀",
    "🇮🇱",
    "🇫🇷",
    "❤️",
    "각",
    "\r\n",
    "\u200b",
    " ",
    "x" * 50,
]
TEXTS = st.one_of(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), any_text(max_size=80))


@pytest.mark.slow
@settings(deadline=None)  # a busy machine takes longer
@given(TEXTS)
def test_every_index_of_the_folded_text_maps_to_its_source_character(text):
    folded = fold(text)
    assert folded == "".join(map(fold, text))
    for place in range(len(folded)):
        number = unfolded(text, place)
        assert len(fold(text[:number])) <= place < len(fold(text[: number + 1]))
    assert unfolded(text, len(folded)) == len(text)


def test_an_index_is_mapped_in_a_long_text_too():
    text = "ﷺé" * 10_000 + "needle"
    assert text[unfolded(text, fold(text).index("needle")) :] == "needle"


@pytest.mark.slow
@settings(deadline=None)  # a busy machine takes longer
@given(TEXTS)
def test_folding_is_idempotent(text):
    assert fold(fold(text)) == fold(text)


@pytest.mark.slow
@settings(deadline=None)  # a busy machine takes longer
@given(TEXTS, TEXTS, TEXTS)
def test_snippet_is_a_part_of_the_text(before, match, after):
    text = before + match + after
    words = words_of(match)
    if not words:
        return
    assert has_all(fold(text), words)
    result = snippet(text, words)
    shown = result.before.removeprefix("…" if not text.startswith(result.before) else "") + result.match
    assert shown in text
    assert any(word in fold(result.match) for word in words)
    assert len(result.before) <= AROUND + 1
    assert len(result.after) <= AROUND + 1


@pytest.mark.parametrize(
    "cluster",
    ["👩🏽‍🚀", "👨‍👩‍👧‍👦", "🇮🇱", "❤️", "e\u0301\u0323", "שָׁ", "हि", "\u1100\u1161\u11a8", "🏴\U000e0067\U000e007f"],
)
@pytest.mark.parametrize("shift", range(4))
def test_nothing_that_people_see_as_one_character_is_cut(cluster, shift):
    text = cluster * 60 + "." * shift + "needle" + "." * shift + cluster * 60
    result = snippet(text, ["needle"])
    before, after = result.before.strip("…."), result.after.strip("….")
    assert before == cluster * (len(before) // len(cluster))
    assert after == cluster * (len(after) // len(cluster))
    assert len(before) > AROUND - 2 * len(cluster) - shift


def test_a_query_is_limited_to_a_few_words():
    assert words_of(" B  a\tbb\nA ") == ["bb", "a", "b"]
    assert len(words_of(" ".join(map(str, range(10_000))))) <= 16
    assert words_of("x" * 100_000) == ["x" * 200]
    assert words_of("\u0301 ـ \u200b") == []
