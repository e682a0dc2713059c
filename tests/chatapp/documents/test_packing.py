"""The text of documents as stores keep it."""

from __future__ import annotations

import gzip
import json
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.documents.extraction.shape import (
    MAX_BLOCKS,
    MAX_CHARACTERS,
    MAX_PAGES,
    Block,
    BlockKind,
    Page,
    Reason,
    Refused,
)
from chatapp.documents.packing import MAX_JSON_BYTES, MAX_PACKED_BYTES, InvalidPacking, packed, unpacked

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
BLOCKS = st.builds(Block, st.sampled_from(BlockKind), TEXTS, st.integers(0, 6))
PAGES = st.lists(st.tuples(st.lists(BLOCKS, max_size=4), TEXTS), min_size=1, max_size=4).map(
    lambda pages: tuple(Page(number, tuple(blocks), name) for number, (blocks, name) in enumerate(pages, start=1))
)


def page(text: str) -> Page:
    return Page(1, (Block(BlockKind.TEXT, text),))


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(PAGES)
def test_what_is_packed_is_unpacked_again(pages: tuple[Page, ...]) -> None:
    assert unpacked(packed(pages)) == pages
    assert packed(pages) == packed(pages)


def test_a_lone_surrogate_becomes_a_question_mark_as_in_the_reader() -> None:
    assert unpacked(packed((page("a\ud800b"),))) == (page("a?b"),)


@pytest.mark.long
def test_the_longest_text_of_a_document_is_packed_and_unpacked() -> None:
    line = "\u0001" * 10  # six bytes of JSON for each
    full = MAX_CHARACTERS // MAX_BLOCKS
    assert full == len(line)
    pages = (Page(1, (Block(BlockKind.HEADING, line, 6),) * MAX_BLOCKS),)
    assert unpacked(packed(pages)) == pages


def test_a_text_that_does_not_fit_into_one_piece_is_refused() -> None:
    noise = random.Random(1).randbytes(MAX_PACKED_BYTES).hex()
    with pytest.raises(Refused) as refused:
        packed((page(noise * 2),))
    assert refused.value.reason == Reason.TEXT


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no gzip",
        gzip.compress(b""),
        gzip.compress(b"[]"),
        gzip.compress(b"{}"),
        gzip.compress(b"1"),
        gzip.compress(b"[[1]]"),
        gzip.compress(b'"' + b"\xff" * 9 + b'"'),
        gzip.compress(b'[[1,"",[["text","a",0]]]]')[:-4],
        gzip.compress(b'[[1,"",[["text","a",0]]]]') + b"more",
        gzip.compress(b'[[2,"",[["text","a",0]]]]'),
        gzip.compress(b'[[1.0,"",[["text","a",0]]]]'),
        gzip.compress(b'[[true,"",[["text","a",0]]]]'),
        gzip.compress(b'[[1,null,[["text","a",0]]]]'),
        gzip.compress(b'[[1,"",["text"]]]'),
        gzip.compress(b'[[1,"",{"text":1}]]'),
        gzip.compress(b'[[1,"",[["script","a",0]]]]'),
        gzip.compress(b'[[1,"",[["text",["a"],0]]]]'),
        gzip.compress(b'[[1,"",[["text","a",7]]]]'),
        gzip.compress(b'[[1,"",[["text","a",-1]]]]'),
        gzip.compress(b'[[1,"",[["text","a",NaN]]]]'),
        gzip.compress(b"[" * 100_000),
        gzip.compress(b'[[1,"",[["text","a",' + b"9" * 10_000 + b"]]]]"),
        gzip.compress(json.dumps([[n, "", []] for n in range(1, MAX_PAGES + 2)]).encode()),
        gzip.compress(json.dumps([[1, "", [["text", "a" * (MAX_CHARACTERS + 1_001), 0]]]]).encode()),
    ],
    ids=range(25),
)
def test_other_data_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidPacking):
        unpacked(data)


@pytest.mark.long
def test_more_blocks_than_a_document_can_have_are_refused() -> None:
    data = gzip.compress(json.dumps([[1, "", [["text", "", 0]] * (MAX_BLOCKS + 1)]], separators=(",", ":")).encode())
    with pytest.raises(InvalidPacking):
        unpacked(data)


@pytest.mark.slow
@pytest.mark.parametrize("piece", [b"[],", b'"', b"\\"])
def test_what_unpacks_to_more_than_a_document_takes_little_memory(piece: bytes) -> None:
    """Lists within lists would take 20 times their length."""
    data = gzip.compress(b"[" + piece * (MAX_JSON_BYTES // len(piece) + 9))
    assert len(data) < MAX_PACKED_BYTES
    tracemalloc.start()
    try:
        with pytest.raises(InvalidPacking):
            unpacked(data)
        assert tracemalloc.get_traced_memory()[1] < 3 * MAX_JSON_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_a_text_within_the_length_but_full_of_lists_is_refused_before_it_is_parsed() -> None:
    data = gzip.compress(b"[" + b"[]," * (MAX_JSON_BYTES // 3 - 9) + b"[]]")
    tracemalloc.start()
    try:
        with pytest.raises(InvalidPacking, match="structure"):
            unpacked(data)
        assert tracemalloc.get_traced_memory()[1] < 3 * MAX_JSON_BYTES
    finally:
        tracemalloc.stop()
