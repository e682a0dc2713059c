"""Chunks follow headings, pages, paragraphs and rows, and together have all of the document."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.documents.chunks import MOST, TARGET, chunks_of
from chatapp.documents.extraction.blocks import markdown_blocks
from chatapp.documents.extraction.shape import Block, BlockKind, Page


def cut(markdown, number=1, name=""):
    return chunks_of([Page(number, tuple(markdown_blocks(markdown)), name)])


SENTENCE = "The committee met in March and agreed on a plan for the year. "


def test_a_short_page_is_one_chunk_with_its_headings():
    [chunk] = cut("# Report\n\n## Costs\n\nRent rose.\n\nWages fell.")
    assert (chunk.page, chunk.headings) == (1, "Report > Costs")
    assert chunk.text == "Report\nCosts\nRent rose.\nWages fell."


def test_a_heading_begins_a_chunk_and_ends_those_below_it():
    chunks = cut(f"# One\n\n{SENTENCE * 3}\n\n## Deep\n\n{SENTENCE * 3}\n\n# Two\n\n{SENTENCE * 3}")
    assert [chunk.headings for chunk in chunks] == ["One", "One > Deep", "Two"]


def test_a_chunk_never_crosses_a_page():
    pages = [Page(number, tuple(markdown_blocks(f"Text of page {number}."))) for number in (1, 2)]
    assert [(chunk.page, chunk.text) for chunk in chunks_of(pages)] == [(1, "Text of page 1."), (2, "Text of page 2.")]


def test_headings_go_on_on_the_next_page():
    pages = [Page(1, tuple(markdown_blocks("# Rules\n\nFirst."))), Page(2, tuple(markdown_blocks("Second.")))]
    assert [chunk.headings for chunk in chunks_of(pages)] == ["Rules", "Rules"]


def test_rows_stay_whole_and_each_chunk_of_a_table_has_its_header():
    rows = "\n".join(f"| Month {number} | {number * 1000} shekels for rent and wages |" for number in range(100))
    chunks = cut(f"| Month | Sum |\n|---|---|\n{rows}")
    assert len(chunks) > 3
    for chunk in chunks:
        first, *others = chunk.text.split("\n")
        assert first == "Month | Sum"
        assert all(row.startswith("Month ") and row.endswith("wages") for row in others)
    assert sum(chunk.text.count("\n") for chunk in chunks) == 100


def test_the_name_of_a_sheet_is_the_heading_of_its_rows():
    assert cut("| a | b |\n|---|---|\n| 1 | 2 |", name="Sales 2025")[0].headings == "Sales 2025"


@pytest.mark.parametrize("end", [". ", "؟ ", " "])
def test_a_long_paragraph_is_cut_behind_sentences_or_words(end):
    text = (("word " * 12).strip() + end) * 60
    chunks = cut(text)
    assert len(chunks) > 2
    assert all(len(chunk.text) <= MOST for chunk in chunks)
    assert " ".join(chunk.text for chunk in chunks).split() == text.split()
    if end != " ":
        assert all(chunk.text.endswith(end.strip()) for chunk in chunks)


BLOCK = st.builds(
    Block,
    st.sampled_from(BlockKind),
    st.text(st.sampled_from("ab אב.\n"), max_size=3 * TARGET).filter(str.strip),
    st.integers(1, 6),
)


@pytest.mark.slow
@given(st.lists(st.lists(BLOCK, max_size=6), max_size=3))
def test_chunks_together_have_every_word_of_a_document_and_none_is_too_long(pages):
    document = [Page(number, tuple(blocks)) for number, blocks in enumerate(pages, 1)]
    chunks = chunks_of(document)
    for page in document:
        letters = Counter("".join(chunk.text for chunk in chunks if chunk.page == page.number))
        missing = Counter(page.text) - letters
        assert set(missing) <= {" ", "\n"}
        if not any(block.kind == BlockKind.HEADER_ROW for block in page.blocks):  # a header is repeated
            assert set(letters - Counter(page.text)) <= {" ", "\n"}
    assert all(len(chunk.text) <= MOST + TARGET for chunk in chunks)
