"""Answers of the real demo model about a document: what is shown as a quote of it stands in its page."""

import contextlib

import pytest

from chatapp.documents.extraction.shape import Block, BlockKind, Page
from chatapp.documents.packing import packed
from chatapp.domain.conversation import Document, MessageStatus, new_id
from chatapp.generation.requests import LoadedFiles
from chatapp.models.llamacpp.demo import DEMO_ID, DemoModel
from tests.chatapp.generation.running import ended, turn_request

pytestmark = pytest.mark.slow

OPEN = "The library is open from nine to seven on weekdays and until two on Fridays."
CLOSED = "It is closed on Saturdays and public holidays."
LENT = "Books are lent for four weeks, films for one."
PAGES = [Page(1, (Block(BlockKind.TEXT, LENT),)), Page(2, (Block(BlockKind.TEXT, f"{OPEN} {CLOSED}"),))]
ASKED = (
    "Is there a café in the library?",
    "When is the library open?",
    "Are books lent for nine weeks, and films for five?",
)


def document():
    """Return the document, as an upload of it becomes."""
    return Document(id=new_id(), name="library.md", kind="Markdown", pages=len(PAGES), size=100, data=packed(PAGES))


def letters(text):
    return "".join(letter for letter in text.casefold() if letter.isalnum())


async def test_every_quote_that_is_shown_stands_in_its_page_and_before_its_number(chat, store):
    async with contextlib.aclosing(DemoModel("Demo")) as model:
        runner = await chat(model)
        shown = []
        for text in ASKED:
            request = turn_request(text, model=DEMO_ID, documents=LoadedFiles(document()))
            conversation = await runner.start("ann", request)
            await ended(runner, "ann", conversation.id)
            answer = (await store.messages("ann", conversation.id))[-1]
            assert answer.status is MessageStatus.COMPLETE
            for one in answer.citations:
                page = PAGES[one.page - 1].text.encode("utf-16-le")
                words = page[2 * one.page_start : 2 * one.page_end].decode("utf-16-le")
                before = answer.content.encode("utf-16-le")[: 2 * one.end].decode("utf-16-le")
                assert letters(words)
                assert letters(before).endswith(letters(words))
                shown.append(words)
    assert shown  # it copies at least one sentence, or nothing was tried
