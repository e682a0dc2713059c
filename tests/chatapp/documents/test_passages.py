"""The passages of several documents are ranked together, bounded in number and bytes."""

from chatapp.documents.extraction.shape import Block, BlockKind, Page
from chatapp.documents.passages import BEGINNINGS, MOST, IndexedDocument, chosen


def document(*paragraphs):
    """Return a document with a page for each paragraph, which is long enough to be a passage of its own."""
    filler = " and so on" * 60
    return IndexedDocument.of(
        [Page(number, (Block(BlockKind.TEXT, text + filler),)) for number, text in enumerate(paragraphs, 1)]
    )


def shown(documents, question, most=100_000):
    """Return the chosen pages by document."""
    passages = chosen({name: one.candidates([question]) for name, one in documents.items()}, [question], most)
    return {name: sorted(chunk.page for chunk in chunks.values()) for name, chunks in passages.items()}


MANY = [f"paragraph {number} about nothing" for number in range(40)]


def test_the_passages_that_fit_come_first_from_whichever_document():
    lease = document(*MANY, "the rent is nine hundred euros", *MANY)
    law = document(*MANY, "a landlord returns the deposit", *MANY)
    documents = {"lease": lease, "law": law}
    assert shown(documents, "What is the rent?", most=700) == {"lease": [41]}
    assert shown(documents, "Who returns the deposit?", most=700) == {"law": [41]}
    both = shown(documents, "What are the rent and the deposit?", most=1500)
    assert both == {"lease": [41], "law": [41]}


def test_the_beginning_is_shown_where_no_word_of_the_question_is_in_a_document():
    assert shown({"a": document(*MANY)}, "Summarize") == {"a": list(range(1, BEGINNINGS + 1))}


def test_no_more_than_a_number_of_passages_are_shown():
    passages = shown({"a": document(*["the rent"] * 60), "b": document(*["the rent"] * 60)}, "rent")
    assert sum(map(len, passages.values())) == MOST


def test_a_passage_is_shown_even_where_it_takes_more_than_there_is_room_for():
    one = document("the rent is 900")
    (chunks,) = chosen({"a": one.candidates(["rent"])}, ["rent"], 10).values()
    (chunk,) = chunks.values()
    assert chunk.text.startswith("the rent is 900")
    assert len(chunk.text) <= 200


def test_a_document_without_text_has_no_passages():
    assert chosen({"a": IndexedDocument.of([]).candidates(["rent"])}, ["rent"], 1000) == {}


def test_an_index_says_how_large_it_is():
    small, large = document("a"), document(*MANY)
    assert 4096 <= small.size < large.size
    assert large.size >= large.index.size + sum(len(chunk.text) for chunk in large.chunks)
