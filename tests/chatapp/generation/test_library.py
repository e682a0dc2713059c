"""What a conversation takes from its collection and its folder, and where that goes."""

from dataclasses import replace

import pytest

from chatapp.documents.extraction.shape import Block, BlockKind, Page
from chatapp.documents.outside import SENTENCES
from chatapp.documents.packing import packed
from chatapp.domain.conversation import Citation, Document, GenerationParameters, MessageStatus, Place
from chatapp.domain.errors import StoreUnavailable
from chatapp.domain.library import Collection, Folder, LibraryDocument
from chatapp.generation import document_texts
from chatapp.generation.library import with_instructions
from chatapp.generation.requests import LoadedFiles
from chatapp.models import ModelState, ModelStatus
from tests.chatapp.generation.running import answer_request, ended, turn_request
from tests.fakes.models import ScriptedModel

RENT = "The rent is 900 euros a month."
PETS = "Pets are allowed in the flat."
FILLER = "Nothing of interest stands here, and it goes on for a while in the same way. " * 4


def document(*texts, name="lease.pdf", document_id="d1"):
    """Return a document with a page for each text."""
    pages = tuple(Page(number, (Block(BlockKind.TEXT, text),)) for number, text in enumerate(texts, 1))
    return Document(id=document_id, name=name, kind="PDF", pages=len(pages), size=1000, data=packed(pages))


def model(*pieces, context_tokens=8192, **options):
    return ScriptedModel(*(pieces or ("Yes.",)), context_tokens=context_tokens, bytes_per_token=3, **options)


@pytest.fixture
async def library(store):
    """Return a function that makes Ann's collections k1, k2 ... of documents and a folder f1 with the first of them."""

    async def make(*collections, instructions=""):
        named = tuple(Collection(id=f"k{number}", name=f"Collection {number}") for number in range(1, 10))
        folder = Folder(id="f1", name="Flat", instructions=instructions, collection="k1")
        await store.change_library(
            "ann", lambda profile: replace(profile, collections=named[: len(collections)], folders=(folder,))
        )
        for collection, documents in zip(named, collections, strict=False):
            for one in documents:
                await store.add_library_document(
                    "ann", LibraryDocument(collection=collection.id, document=one, added_ms=1)
                )

    return make


@pytest.fixture
def ask(chat, store):
    """Return a function that sends a question and returns the stored messages and the conversation's id."""
    runners = {}

    async def send(model, text="What is the rent?", conversation_id="", **options):
        runners[id(model)] = runner = runners.get(id(model)) or await chat(model)
        conversation = await runner.start("ann", turn_request(text, conversation_id, **options))
        await ended(runner, "ann", conversation.id)
        return await store.messages("ann", conversation.id), conversation.id

    send.runner = lambda model: runners[id(model)]
    return send


def sent(model, at=-1):
    """Return the texts of the messages of a request."""
    return [message.content for message in model.asked[at][0]]


class TestPrompt:
    @pytest.mark.parametrize("choice", [{"collection": "k1"}, {"folder": "f1"}])
    async def test_the_documents_of_the_collection_are_told_before_the_first_question(self, ask, library, choice):
        await library([document(RENT)])
        one = model()
        messages, conversation = await ask(one, **choice)
        assert RENT in sent(one)[0]
        assert sent(one)[0].endswith("What is the rent?")
        assert messages[0].documents == ()
        assert not messages[1].passages
        await ask(one, "And pets?", conversation)
        assert sent(one)[0] == sent(one, 0)[0]  # so that a server need not read it again
        assert sent(one)[1:] == ["Yes.", "And pets?"]

    async def test_the_collection_of_a_conversation_goes_before_that_of_its_folder(self, ask, library):
        await library([document(RENT)], [document(PETS, document_id="d2")])
        one = model()
        await ask(one, collection="k2", folder="f1")
        assert PETS in sent(one)[0]
        assert RENT not in sent(one)[0]

    async def test_a_collection_that_is_gone_counts_as_none(self, ask, library, store):
        await library([document(RENT)])
        one = model()
        _, conversation = await ask(one, collection="k1")
        await store.change_library("ann", lambda profile: replace(profile, collections=(), folders=()))
        messages, _ = await ask(one, "And pets?", conversation)
        assert sent(one) == ["What is the rent?", "Yes.", "And pets?"]
        assert messages[-1].status is MessageStatus.COMPLETE

    async def test_documents_of_the_collection_and_of_the_conversation_are_told_together(self, ask, library):
        await library([document(RENT)])
        one = model()
        await ask(one, collection="k1", documents=LoadedFiles(document(PETS, name="pets.txt", document_id="own")))
        (content,) = sent(one)
        assert content.index(RENT) < content.index(PETS)
        assert content.count("end of documents") == 1

    async def test_a_document_that_is_added_or_removed_counts_from_the_next_question(self, ask, library, store):
        await library([document(RENT)])
        one = model()
        _, conversation = await ask(one, collection="k1")
        added = document(PETS, name="pets.txt", document_id="d2")
        await store.add_library_document("ann", LibraryDocument(collection="k1", document=added, added_ms=2))
        await store.remove_library_documents("ann", ["d1"])
        await ask(one, "And pets?", conversation)
        assert PETS in sent(one)[0]
        assert not any(RENT in content for content in sent(one))

    async def test_of_a_large_collection_the_passages_of_whichever_document_are_told(self, ask, library):
        many = [document(*[f"{FILLER} {number}"] * 9, name=f"{number}.txt", document_id=f"d{number}")
                for number in range(20)]  # fmt: skip
        many.append(document(FILLER, RENT, name="lease.txt", document_id="lease"))
        many.append(document(PETS, FILLER, name="pets.txt", document_id="pets"))
        await library(many)
        one = model()
        messages, conversation = await ask(one, collection="k1")
        assert RENT in sent(one)[-1]
        assert "passages of document lease.txt" in sent(one)[-1]
        assert messages[-1].passages
        assert len(sent(one)[-1].encode()) < 8192
        texts = ask.runner(one)._documents
        (index,) = texts._indexes
        assert (index.id, index.is_collection) == ("k1", True)
        before = texts._indexes[index][0]
        await ask(one, "And pets?", conversation)
        assert PETS in sent(one)[-1]
        assert texts._indexes[index][0] is before
        ask.runner(one).forget_documents("ann", "k1", [one.id for one in many])
        assert (texts._indexes, texts._chunks, texts._packed) == ({}, {}, {})

    async def test_a_question_without_a_word_of_the_collection_gets_the_beginning_of_its_documents(self, ask, library):
        await library([document(f"Title {number}", *[FILLER] * 40, document_id=f"d{number}") for number in range(20)])
        one = model()
        await ask(one, "Summarize!", collection="k1")
        assert sent(one)[-1].count("passages of document") > 1
        assert "Title 0" in sent(one)[-1]

    async def test_instructions_of_the_folder_go_before_those_of_the_conversation(self, ask, library, store):
        await library([], instructions="Answer in verse.")
        one = model()
        own = answer_request(parameters=GenerationParameters(system_prompt="Be brief."))
        _, conversation = await ask(one, folder="f1", answers=[own])
        assert one.asked[-1][1].system_prompt == "Answer in verse.\n\nBe brief."
        assert (await store.conversation("ann", conversation)).system_prompt == "Be brief."
        await ask(one, "Again?", conversation)
        assert one.asked[-1][1].system_prompt == "Answer in verse."

    def test_instructions_of_both_may_have_their_full_length(self):
        most = "a" * GenerationParameters.LONGEST_SYSTEM_PROMPT
        joined = with_instructions(GenerationParameters(system_prompt=most, max_tokens=7), most)
        assert joined.system_prompt == f"{most}\n\n{most}"
        assert joined.max_tokens == 7
        assert replace(joined, max_tokens=8).system_prompt == joined.system_prompt

    async def test_the_collection_of_another_user_is_not_told(self, ask, library):
        await library([document(RENT)])
        one = model()
        await ask(one, collection="k1")
        runner = ask.runner(one)
        bobs = await runner.start("bob", turn_request("What is the rent?", collection="k1"))
        await ended(runner, "bob", bobs.id)
        assert sent(one) == ["What is the rent?"]


class TestCitations:
    async def test_a_quote_of_the_collection_is_cited_with_its_name(self, ask, library):
        await library([document(FILLER, RENT)])
        messages, _ = await ask(model('It says "the rent is 900 euros a month".'), collection="k1")
        kept = {"collection": "k1", "name": "lease.pdf", "quote": "The rent is 900 euros a month"}
        expected = Citation(end=39, document="d1", page=2, page_start=0, page_end=29, **kept)
        assert messages[-1].citations == (expected,)

    async def test_a_document_of_the_conversation_is_cited_first(self, ask, library):
        await library([document(RENT)])
        own = document(RENT, document_id="own")
        messages, _ = await ask(model('"The rent is 900 euros a month"'), collection="k1", documents=LoadedFiles(own))
        (citation,) = messages[-1].citations
        assert citation.document == messages[0].documents[0].id
        assert (citation.collection, citation.name, citation.quote) == ("", "", "")

    async def test_a_document_of_which_the_model_got_no_passage_is_not_cited(self, ask, library):
        secret = "Zebras graze beyond the northern fence."
        many = [document(*[f"{RENT} {FILLER}"] * 9, document_id=f"d{number}") for number in range(20)]
        await library([*many, document(secret, document_id="zebra")])
        messages, _ = await ask(model(f'"{secret}" and "the rent is 900 euros"'), collection="k1")
        assert [citation.document == "zebra" for citation in messages[-1].citations] == [False]


class TestNotInDocuments:
    @pytest.mark.parametrize(
        "beginning",
        [
            *("Not in your documents.\n\n", "**Not in your documents.** ", "> *Not in your documents*:\n"),
            *("לא נמצא במסמכים שלכם.\n\n", "**לא נמצא במסמכים שלכם** - ", "غير موجود في مستنداتك.\n\n"),
            "\u200fغير موجود في مُستنداتك: ",
        ],
    )
    async def test_an_answer_that_says_so_is_marked(self, ask, library, beginning):
        await library([document(RENT)])
        messages, _ = await ask(model(beginning, "Paris is the capital of France."), "Capital?", collection="k1")
        assert messages[-1].not_in_documents

    @pytest.mark.parametrize(
        "text",
        [
            "The rent is 900. Not in your documents.",
            "Nothing in your documents.",
            'Not in your documents. But they say: "the rent is 900 euros a month".',
            "Not in your documentsX",
        ],
    )
    async def test_an_answer_that_says_something_else_or_quotes_a_document_is_not(self, ask, library, text):
        await library([document(RENT)])
        messages, _ = await ask(model(text), collection="k1")
        assert not messages[-1].not_in_documents

    async def test_an_answer_without_documents_is_never_marked(self, ask):
        messages, _ = await ask(model("Not in your documents. It is Paris."))
        assert not messages[-1].not_in_documents

    async def test_the_model_is_told_the_sentence_in_three_languages(self, ask, library):
        await library([document(RENT)])
        one = model()
        await ask(one, collection="k1")
        assert all(sentence in sent(one)[0] for sentence in SENTENCES.values())


class TestFaults:
    async def test_a_conversation_goes_on_with_its_collection_while_the_store_is_away(
        self, ask, library, store, monkeypatch
    ):
        async def unavailable(*_):
            raise StoreUnavailable("away")

        await library([document(RENT)], instructions="Answer in verse.")
        one = model()
        _, conversation = await ask(one, folder="f1")
        for name in ("library", "library_document"):
            monkeypatch.setattr(store, name, unavailable)
        messages, _ = await ask(one, "And pets?", conversation)
        assert messages[-1].status is MessageStatus.COMPLETE
        assert RENT in sent(one)[0]
        assert one.asked[-1][1].system_prompt == "Answer in verse."

    async def test_a_first_question_to_a_collection_that_cannot_be_read_is_an_error_in_words(
        self, ask, library, store, monkeypatch
    ):
        async def unavailable(*_):
            raise StoreUnavailable("The history is unavailable.")

        await library([document(RENT)])
        monkeypatch.setattr(store, "library", unavailable)
        one = model()
        messages, _ = await ask(one, collection="k1")
        assert messages[-1].status is MessageStatus.ERROR
        assert "unavailable" in messages[-1].error
        assert one.asked == []

    async def test_a_document_that_is_removed_while_it_is_asked_is_left_out(self, ask, library, store, monkeypatch):
        await library([document(RENT), document(PETS, document_id="d2")])
        listed = store.library

        async def removed_meanwhile(*arguments):
            documents = await listed(*arguments)
            await store.remove_library_documents("ann", ["d2"])
            return documents

        monkeypatch.setattr(store, "library", removed_meanwhile)
        one = model()
        messages, _ = await ask(one, collection="k1")
        assert messages[-1].status is MessageStatus.COMPLETE
        assert RENT in sent(one)[0]
        assert PETS not in sent(one)[0]

    async def test_an_index_larger_than_its_bounds_still_answers(self, ask, library, monkeypatch):
        monkeypatch.setattr(document_texts, "MAX_INDEX_BYTES", 1)
        monkeypatch.setattr(document_texts, "MAX_CHUNK_BYTES", 1)
        monkeypatch.setattr(document_texts, "PACKED_BYTES", 1)
        await library([document(*[FILLER] * 40, RENT), document(*[FILLER] * 40, PETS, document_id="d2")])
        one = model()
        _, conversation = await ask(one, collection="k1")
        assert RENT in sent(one)[-1]
        await ask(one, "Are pets allowed?", conversation)
        assert PETS in sent(one)[-1]


@pytest.mark.parametrize(
    ("place", "answers"), [(Place.OWN_GPUS, "other"), (Place.GEMINI_API, "scripted"), (Place.UNKNOWN, "scripted")]
)
async def test_another_model_gets_a_collection_only_at_the_same_place(chat, store, library, place, answers):
    await library([document(RENT)])
    chosen = model(status=ModelStatus(ModelState.LOADING, "loading"))
    other = model(id="other")
    chosen.place, other.place = Place.OWN_GPUS, place
    runner = await chat(chosen, other)
    fallback = [answer_request(allow_fallback=True)]
    conversation = await runner.start("ann", turn_request("Rent?", answers=fallback, folder="f1"))
    await ended(runner, "ann", conversation.id)
    assert (await store.messages("ann", conversation.id))[-1].model == answers
    await runner.start("ann", turn_request("And?", conversation.id, answers=fallback))
    await ended(runner, "ann", conversation.id)
    assert (await store.messages("ann", conversation.id))[-1].model == answers
    assert bool(other.asked) == (answers == "other")
