"""The passages of several documents are ranked together, bounded in number and bytes."""

import pytest

from chatapp.documents.chunks import chunks_of
from chatapp.documents.extraction.shape import Block, BlockKind, Page
from chatapp.documents.index import Passage, PassageIndex
from chatapp.documents.passages import BEGINNINGS, MOST, beginnings, candidates, chosen, ranked


def document(*paragraphs):
    """Return a document with a page for each paragraph, which is long enough to be a passage of its own."""
    filler = " and so on" * 60
    return chunks_of(Page(number, (Block(BlockKind.TEXT, text + filler),)) for number, text in enumerate(paragraphs, 1))


def shown(documents, question, most=100_000, *, together=True):
    """Return the chosen pages by document; of documents that are in one index, or each in its own."""
    chunks = {Passage(name, place): chunk for name, one in documents.items() for place, chunk in enumerate(one)}
    groups = [documents] if together else [{name: one} for name, one in documents.items()]
    lists = []
    for group in groups:
        with PassageIndex() as index:
            for name, one in group.items():
                index.add(name, one)
            lists.append(candidates(index, [question]))
    first = beginnings({name: len(one) for name, one in documents.items()})
    passages = chosen([*ranked(lists, chunks, [question]), *first], chunks, most)
    return {name: sorted(chunk.page for chunk in chunks.values()) for name, chunks in passages.items()}


MANY = [f"paragraph {number} about nothing" for number in range(40)]


@pytest.mark.parametrize("together", [True, False])
def test_the_passages_that_fit_come_first_from_whichever_document(together):
    lease = document(*MANY, "the rent is nine hundred euros", *MANY)
    law = document(*MANY, "a landlord returns the deposit", *MANY)
    documents = {"lease": lease, "law": law}
    assert shown(documents, "What is the rent?", most=700, together=together) == {"lease": [41]}
    assert shown(documents, "Who returns the deposit?", most=700, together=together) == {"law": [41]}
    both = shown(documents, "What are the rent and the deposit?", most=1500, together=together)
    assert both == {"lease": [41], "law": [41]}


def test_the_beginning_is_shown_where_no_word_of_the_question_is_in_a_document():
    assert shown({"a": document(*MANY)}, "Summarize") == {"a": list(range(1, BEGINNINGS + 1))}


def test_no_more_than_a_number_of_passages_are_shown():
    passages = shown({"a": document(*["the rent"] * 60), "b": document(*["the rent"] * 60)}, "rent")
    assert sum(map(len, passages.values())) == MOST


def test_a_passage_is_shown_even_where_it_takes_more_than_there_is_room_for():
    (chunk,) = document("the rent is 900")
    (chunks,) = chosen([Passage("a", 0)], {Passage("a", 0): chunk}, 10).values()
    (chunk,) = chunks.values()
    assert chunk.text.startswith("the rent is 900")
    assert len(chunk.text) <= 200


def test_documents_without_text_have_no_passages():
    assert shown({"a": [], "b": []}, "rent") == {}
    assert ranked([], {}, ["rent"]) == []


def test_a_passage_whose_document_was_deleted_meanwhile_is_left_out():
    here, gone = Passage("a", 0), Passage("b", 0)
    (chunk,) = document("the rent is 900")
    assert ranked([[gone, here]], {here: chunk}, ["rent"]) == [here]
