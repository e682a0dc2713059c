"""A chat session as the app of Google's codelab stored it -> a conversation of this chat; without Google's library.

The codelab is "Build a hybrid AI chat application on GKE with Gemma and Gemini". Its app, and the one for Cloud Run
beside it (GoogleCloudPlatform/devrel-demos, containers/gradio-chat-gke/app/app_full.py.ignore and
containers/gradio-chat-cloudrun/chat-app/app/app.py, and their history since August 2025), write a document for each
opened page:

    chat_sessions/session-{hash}                        on GKE
    chat_sessions/session-{date}-{time}-{hash}          on Cloud Run
    chat_sessions/{date}-{time}-session-{hash or uuid}  older ones; with a uuid, for all pages of one process

    "Session start": a time
    "2026-03-01 12:34:56": {"789012": {"user": "the question", "Gemini": "the answer"}}

The app's name of a field is ``str(datetime.now())``, or ``.isoformat()`` in UTC on Cloud Run. Firestore's library takes
the dot before the microseconds for one between names: so they are a field within a field, and a moment without
microseconds is not. The time is taken after the answer. Who asked is written nowhere.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from chatapp.domain.conversation import Conversation, Message, MessageStatus, Role
from chatapp.models.prompt import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

START, USER = "Session start", "user"
MODELS = {"Gemma3 12b it": "gemma", "Gemma": "gemma", "Gemini": "gemini"}  # as the dropdown calls them
# What the apps store in place of an answer.
FAILURES = re.compile(
    r"Error: Invalid model selected\.|An unexpected error occurred\.|An error occurred while communicating with .*\."
)
TITLE_CHARS = 60

_MICROSECONDS = re.compile(r"\d{1,6}(?:Z|[+-]\d\d:\d\d)?")
_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)


@dataclass(slots=True)
class Session:
    """What a document holds.

    Attributes:
        conversation: None if nothing was said.
        messages: in order.
        problems: what could not be read, in words, without text of the conversation.
    """

    conversation: Conversation | None = None
    messages: list[Message] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class _Exchange(NamedTuple):
    """A question with its answer, under the name that the app gave it."""

    name: str
    ms: int | None
    said: Mapping[str, Any]


def session_of(path: str, fields: Mapping[str, Any], created_ms: int, owner: str) -> Session:
    """Return the session in a document.

    Ids come from the ``path`` (project, database, collection and document) and the names of the fields, so that they
    are the same each time; that of the conversation from its ``owner`` too, so that each user may have a copy.
    ``created_ms`` is the time for what has none of its own. Times without a time zone are UTC, as in a container.
    """
    session = Session()
    start = fields.get(START)
    started_ms = _milliseconds(start) if isinstance(start, datetime) else created_ms
    exchanges = sorted(
        _exchanges(fields, session.problems),
        key=lambda one: (started_ms if one.ms is None else one.ms, one.name),
    )
    last_ms = 0
    for exchange in exchanges:
        ms = max(started_ms if exchange.ms is None else exchange.ms, last_ms + 1)
        said = _messages(path, exchange, ms, session.problems)
        session.messages += said
        last_ms = said[-1].created_ms if said else last_ms
    if session.messages:
        first, last = session.messages[0], session.messages[-1]
        session.conversation = Conversation(
            id=_id(path, owner),
            title=_title(first.content) or path.rpartition("/")[2],
            created_ms=min(started_ms, first.created_ms),
            updated_ms=last.created_ms,
            model=next((one.model for one in reversed(session.messages) if one.model), ""),
        )
    return session


def _exchanges(fields: Mapping[str, Any], problems: list[str]) -> Iterator[_Exchange]:
    for name, value in fields.items():
        if name == START:
            if not isinstance(value, datetime):
                problems.append(f"{name!r} is no time.")
        elif not isinstance(value, dict):
            problems.append(f"The field {name!r} is not the codelab's and was left out.")
        else:
            within = {key for key, one in value.items() if _MICROSECONDS.fullmatch(key) and isinstance(one, dict)}
            found = {f"{name}.{key}": value[key] for key in within}
            if whole := {key: one for key, one in value.items() if key not in within}:
                found[name] = whole
            for full_name, said in found.items():
                if USER in said:
                    yield _Exchange(full_name, _time(full_name), said)
                else:
                    problems.append(f"The field {full_name!r} has no question and was left out.")


def _messages(path: str, exchange: _Exchange, ms: int, problems: list[str]) -> list[Message]:
    """Return the question and its answer, the first at ``ms``; nothing if the question cannot be read."""
    turn_id = _id(path, exchange.name)
    question = exchange.said[USER]
    text = _text(question)
    if text is None:
        problems.append(f"The question of {exchange.name!r} is no text; it was left out with its answer.")
        return []
    if isinstance(question, dict) and question.get("files"):
        problems.append(f"The files of {exchange.name!r} were left out.")
    asked = _id(path, exchange.name, USER)
    messages = [Message(id=asked, turn_id=turn_id, role=Role.USER, content=text, created_ms=ms)]
    for model, said in sorted(exchange.said.items()):
        text = "" if said is None else _text(said)
        if model == USER:
            continue
        if text is None:
            problems.append(f"The answer of {exchange.name!r} is no text and was left out.")
        else:
            answered = _id(path, exchange.name, "answer", model)
            messages.append(_answer(answered, turn_id, model, text, ms + len(messages)))
    return messages


def _answer(answer_id: str, turn_id: str, model: str, text: str, ms: int) -> Message:
    failure = text if FAILURES.fullmatch(text) else "" if text else "The codelab's app stored no answer."
    return Message(
        id=answer_id,
        turn_id=turn_id,
        role=Role.ASSISTANT,
        content="" if failure else text,
        created_ms=ms,
        status=MessageStatus.ERROR if failure else MessageStatus.COMPLETE,
        model=MODELS.get(model, clean_text(model)),
        error=failure,
    )


def _text(said: object) -> str | None:
    """Return the text of what was said; that of a message with files is a field of it."""
    if isinstance(said, dict):
        said = said.get("text")
    return clean_text(said) if isinstance(said, str) else None


def _time(name: str) -> int | None:
    try:
        return _milliseconds(datetime.fromisoformat(name))
    except ValueError:
        return None


def _milliseconds(time: datetime) -> int:
    return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND


def _id(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARS else f"{line[: TITLE_CHARS - 1].rstrip()}…"
