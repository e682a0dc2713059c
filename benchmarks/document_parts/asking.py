"""Questions about documents to a real model, through the whole chat, and what is true of its answers."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.document_parts.questions import CORPUS, LANGUAGES, corpus
from chatapp.documents.citations import spans, utf16_length
from chatapp.documents.outside import is_outside
from chatapp.domain.conversation import MessageStatus
from chatapp.models.llamacpp.loops import LoopDetector
from tests.page_client import PARAMETERS, PageClient, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.document_parts.questions import Text

ANSWERED = 8  # questions of each language that its documents answer
LEAST_QUOTE = 8  # letters and digits; what is shorter is a word between quotation marks

UNANSWERED = {
    "en": (
        ("library", "Is there a café in the library?"),
        ("lease", "How many square metres does the flat have?"),
        ("washer", "In which colours is the washing machine sold?"),
        ("handbook", "In which year was the cooperative founded?"),
    ),
    "he": (
        ("centre", "כמה עולה כרטיס למופע באולם?"),
        ("centre", "האם יש במתנ״ס קפיטריה?"),
        ("lease", "כמה מטרים רבועים יש בדירה?"),
        ("washer", "באילו צבעים נמכרת מכונת הכביסה?"),
    ),
    "ar": (
        ("clinic", "كم طبيبًا يعمل في العيادة؟"),
        ("clinic", "هل يوجد مقهى في العيادة؟"),
        ("lease", "كم مترًا مربعًا تبلغ مساحة الشقة؟"),
        ("washer", "بأي ألوان تُباع الغسالة؟"),
    ),
}
"""Questions that the documents do not answer: the document that they are about, and the text."""

_LETTERS = {"en": re.compile(r"[A-Za-z]"), "he": re.compile(r"[א-ת]"), "ar": re.compile(r"[\u0621-\u064a]")}
_WITH_PAGE = re.compile(r"[\"”“»״']\s*\([^()\n]{0,20}\d+\)")


class Asked(NamedTuple):
    """A question with its documents.

    Attributes:
        text: of the question.
        language: of it and its documents.
        documents: names of the files that it is asked with.
        section: the text that answers it; "" where none does.
    """

    text: str
    language: str
    documents: tuple[str, ...]
    section: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a question.

    Attributes:
        asked: the question.
        text: of the answer, or of the sentence that says why there is none.
        has_arrived: the answer is complete.
        offered: quotes that the model wrote.
        names_page: it followed a quote with its page, as it is told.
        shown: the words of the document to which each citation leads.
        in_section: how many of these are in the section that answers the question.
        false: the citations whose words are not before their number in the answer, or not in the page.
        says_outside: the answer begins with "Not in your documents."
        has_passages: the model got passages.
        has_loop: the answer goes around in a circle.
        in_language: most letters of the answer are of the question's language.
        prompt_tokens: as the server counted; 0 where it did not answer.
        seconds: to the first token; 0 where there is none.
    """

    asked: Asked
    text: str
    has_arrived: bool
    offered: int = 0
    names_page: bool = False
    shown: tuple[str, ...] = ()
    in_section: int = 0
    false: tuple[str, ...] = ()
    says_outside: bool = False
    has_passages: bool = False
    has_loop: bool = False
    in_language: bool = False
    prompt_tokens: int = 0
    seconds: float = 0.0


def questions(*, all_documents: bool, languages: Sequence[str] = LANGUAGES, each: int = ANSWERED) -> list[Asked]:
    """Return questions of each language, of which the last third have no answer in the documents.

    Args:
        all_documents: whether each is asked with all documents of its language, or with the one that it is about.
        languages: of the questions and the documents.
        each: how many of a language have an answer; half as many have none.
    """
    texts, every = corpus()
    made = []
    for language in languages:
        names = tuple(key for key, text in texts.items() if text.language == language)
        own = [one for one in every if one.language == language]
        for one in random.Random(20).sample(own, each):
            key = f"{one.document}.{language}"
            files = names if all_documents else (key,)
            made.append(Asked(one.text, language, files, section_of(texts[key], one.section)))
        for document, text in UNANSWERED[language][: each // 2]:
            made.append(Asked(text, language, names if all_documents else (f"{document}.{language}",), ""))
    return made


def section_of(text: Text, section: int) -> str:
    """Return the text of the chunk that has a section."""
    return text.chunks[text.places[section]].text


def file_of(name: str) -> str:
    """Return the file of a document, without the questions in it."""
    lines = (CORPUS / f"{name}.md").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("? "))


async def answered(page: PageClient, asked: Asked, model: str) -> Answered:
    """Ask a question in a new conversation, and return what is true of its answer.

    The citations are checked without the code that found them: the text of the page comes from the chat's API.
    """
    documents = [{"id": (await page.upload_document(file_of(name), f"{name}.md"))["id"]} for name in asked.documents]
    try:
        conversation = await page.send(
            asked.text, model=model, documents=documents, **PARAMETERS | {"temperature": 0.1, "max_tokens": 256}
        )
        *_, answer = await page.messages(conversation)
    except Refused as refusal:
        return Answered(asked, str(refusal), has_arrived=False)
    if answer["status"] != MessageStatus.COMPLETE.value:
        return Answered(asked, str(answer["error"] or answer["text"]), has_arrived=False)
    shown, false = [], []
    for citation in answer.get("citations", ()):
        words = await _cited(page, conversation, citation)
        (shown if _ends_with(answer["text"], citation["end"], words) else false).append(words)
    text = answer["text"]
    return Answered(
        asked=asked,
        text=text,
        has_arrived=True,
        offered=offered(text),
        names_page=_WITH_PAGE.search(text) is not None,
        shown=tuple(shown),
        in_section=sum(_letters(words) in _letters(asked.section) for words in shown) if asked.section else 0,
        false=tuple(false),
        says_outside=is_outside(text),
        has_passages=answer.get("passages", False),
        has_loop=LoopDetector().loops(text),
        in_language=_is_in(text, asked.language),
        prompt_tokens=answer["tokensIn"] or 0,
        seconds=answer["secondsToFirstToken"] or 0.0,
    )


def offered(text: str) -> int:
    """Return how many quotes between marks an answer has, true or not: none within another, and no single words."""
    number = at = 0
    for span in sorted(spans(text)):
        is_marked = not span.is_sentence_in(text)
        if is_marked and span.start >= at and len(_letters(span.quote_in(text))) >= LEAST_QUOTE:
            number, at = number + 1, span.end
    return number


async def _cited(page: PageClient, conversation: str, citation: dict[str, Any]) -> str:
    document = await page.get(f"conversations/{conversation}/documents/{citation['document']}")
    text = next(one["text"] for one in document["pages"] if one["number"] == citation["page"])
    units = text.encode("utf-16-le", "surrogatepass")
    return units[2 * citation["start"] : 2 * citation["stop"]].decode("utf-16-le", "surrogatepass")


def _ends_with(answer: str, end: int, words: str) -> bool:
    """Return whether words stand in an answer before a position, counted in UTF-16 code units."""
    before = answer.encode("utf-16-le", "surrogatepass")[: 2 * end].decode("utf-16-le", "surrogatepass")
    return utf16_length(before) == end and bool(_letters(words)) and _letters(before).endswith(_letters(words))


def _letters(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _is_in(text: str, language: str) -> bool:
    counts = {one: len(pattern.findall(text)) for one, pattern in _LETTERS.items()}
    return counts[language] > 0 and counts[language] == max(counts.values())
