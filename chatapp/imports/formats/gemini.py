"""Gemini, of Google Takeout: "My Activity" as JSON or HTML, and "Gemini in Workspace / Conversation History".

    MyActivity.json: [{"header": "Gemini Apps", "title": "Prompted the question", "time", "products": ["Gemini Apps"],
        "safeHtmlItem": [{"html": "<p>the answer</p>"}], "subtitles": [{"name": "Attached 1 file."}],
        "attachedFiles": ["picture.png"], "imageFile": "picture.png"}]
    conversation_1.txt: {"title", "creation_time", "conversation_turns": [
        {"user_turn": {"prompt", "turn_index", "turn_last_modified"}},
        {"system_turn": {"text": [{"data", "cards"}], "images", "model_thoughts": [{"headline", "description"}]}}]}

`chatapp.imports.takeout_page` makes of the HTML what the JSON has, and ``imageFiles`` for several pictures.

Google does not document them. Sources, read in November 2026: public readers that were written from real exports, and
what they say of them. An activity does not say which conversation it was in: those with less than 30 minutes between
them become one, which is what those readers do. Titles are in the account's language: an activity with an answer is a
question, whatever its verb.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from chatapp.documents.extraction.html_text import markdown_of
from chatapp.domain.conversation import Role
from chatapp.imports.parsed import (
    Node,
    Parsed,
    PictureRef,
    Skipped,
    dict_of,
    headed,
    id_of,
    iso_time,
    joined,
    list_of,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAME = "Gemini"
PAUSE_MS = 30 * 60 * 1000
MAX_ACTIVITIES = 500  # in a conversation
PICTURE_NAMES = (".png", ".jpg", ".jpeg", ".webp", ".gif")

_ASKED = re.compile(r"(?:Prompted(?: with:)?|Asked(?: Gemini:| Bard:)?|Said|Branched|Answered)\s+")
_OTHER = re.compile(
    r"(?:Created|Used|Added|Gave|Selected|Shared|Deleted|Viewed|Visited|Searched|Edited|Pinned|Renamed|Exported|Updated)"
    r"\s"
)
_ATTACHED = re.compile(r"Attached \d{1,4} files?\.?\Z")


def recognizes(value: object) -> bool:
    """Return whether a value is an activity, or a conversation of Workspace."""
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("conversation_turns"), list):
        return True
    labels = [value.get("header"), *list_of(value.get("products"))]
    is_activity = isinstance(value.get("time"), str) and isinstance(value.get("title"), str)
    return is_activity and any(re.search("gemini|bard", text_of(one), re.IGNORECASE) for one in labels)


def convert(value: Mapping[str, Any]) -> Iterator[Parsed]:
    """Yield a conversation of Workspace; `Activities` makes some of activities."""
    turns = list_of(value.get("conversation_turns"))
    created = text_of(value.get("creation_time"))
    parsed = Parsed(
        source="gemini-workspace",
        id=joined(created, text_of(value.get("title"))),
        title=text_of(value.get("title")),
        created_ms=iso_time(created),
        updated_ms=iso_time(value.get("last_modification_time")),
    )
    before = ""
    for number, turn in enumerate(map(dict_of, turns)):
        question, answer = dict_of(turn.get("user_turn")), dict_of(turn.get("system_turn"))
        one = question or answer
        if one.get("turn_deleted_time"):
            parsed.skipped[Skipped.DELETED] += 1
            continue
        node = Node(
            id=str(number),
            parent=before,
            time_ms=iso_time(one.get("turn_last_modified")),
            pictures=tuple(PictureRef((name,)) for name in map(text_of, list_of(one.get("images"))) if name),
        )
        if question:
            node.role, node.text = Role.USER, text_of(question.get("prompt"))
        elif answer:
            node.role, node.model = Role.ASSISTANT, NAME
            node.text = joined(*_answer_texts(list_of(answer.get("text"))))
            thoughts = map(dict_of, list_of(answer.get("model_thoughts")))
            node.folded = joined(
                *(headed(text_of(one.get("headline")), text_of(one.get("description"))) for one in thoughts)
            )
        else:
            parsed.skipped[Skipped.UNKNOWN] += 1
        before = node.id
        parsed.nodes.append(node)
    yield parsed


def _answer_texts(parts: list[Any]) -> Iterator[str]:
    for part in map(dict_of, parts):
        yield text_of(part.get("data"))
        yield from (text_of(dict_of(card).get("content")) for card in list_of(part.get("cards")))


def has_verb(title: str) -> bool:
    """Return whether a title begins with what a person did, in English."""
    return bool(_ASKED.match(title) or _OTHER.match(title))


class Activities:
    """Makes conversations of activities, which come in order, the newest or the oldest first."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, Mapping[str, Any]]] = []
        self.skipped: Counter[Skipped] = Counter()

    def add(self, activity: Mapping[str, Any]) -> Iterator[Parsed]:
        """Take one, and yield the conversation that is complete with the one before it."""
        time, title = iso_time(activity.get("time")), text_of(activity.get("title")).strip()
        if _OTHER.match(title) or not (_ASKED.match(title) or activity.get("safeHtmlItem")):
            self.skipped[Skipped.ACTIVITIES] += 1
            return
        if time is None:
            self.skipped[Skipped.TIMELESS] += 1
            return
        if self._waiting and (abs(time - self._waiting[-1][0]) > PAUSE_MS or len(self._waiting) >= MAX_ACTIVITIES):
            yield from self.end()
        self._waiting.append((time, activity))

    def end(self) -> Iterator[Parsed]:
        """Yield the last conversation."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        if waiting[0][0] > waiting[-1][0]:  # the newest first: also those of the same second, in a page
            waiting.reverse()
        waiting.sort(key=lambda one: one[0])
        first = waiting[0][0]
        parsed = Parsed(source="gemini", id=_digest(waiting[0][1]), created_ms=first, updated_ms=waiting[-1][0])
        before = ""
        for time, activity in waiting:
            question, answer = _exchange(activity, time, before, parsed.skipped)
            parsed.nodes += [question, answer]
            before = answer.id
        yield parsed


def _exchange(activity: Mapping[str, Any], time: int, before: str, skipped: Counter[Skipped]) -> tuple[Node, Node]:
    """Return the question and the answer of an activity."""
    id_ = _digest(activity)
    attached: list[PictureRef] = []
    drawn: list[PictureRef] = []
    images = [activity.get("imageFile"), *list_of(activity.get("imageFiles"))]
    for name in map(text_of, [*list_of(activity.get("attachedFiles")), *images]):
        if name.lower().endswith(PICTURE_NAMES):
            (drawn if name in images else attached).append(PictureRef((name.rpartition("/")[2],)))
        elif name:
            skipped[Skipped.FILES] += 1
    html = (text_of(dict_of(item).get("html")) for item in list_of(activity.get("safeHtmlItem")))
    title = text_of(activity.get("title")).strip()
    question = Node(
        id=f"{id_} question",
        parent=before,
        role=Role.USER,
        text=_question(title),
        time_ms=time,
        pictures=tuple(attached),
    )
    answer = Node(
        id=f"{id_} answer",
        parent=question.id,
        role=Role.ASSISTANT,
        text=joined(*map(markdown_of, html)),
        model=NAME,
        time_ms=time + 1,
        pictures=tuple(drawn),
    )
    return question, answer


def _question(title: str) -> str:
    """Return the words of the person in the title of an activity."""
    if asked := _ASKED.match(title):
        title = title[asked.end() :]
    if attached := _ATTACHED.search(title, max(0, len(title) - 30)):
        title = title[: attached.start()].rstrip()
    return title


def _digest(activity: Mapping[str, Any]) -> str:
    text = "\0".join((id_of(activity.get("time")), text_of(activity.get("title"))))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
