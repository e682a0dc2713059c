"""Converts a chat session of the app of Google's codelab to a conversation of this chat, without Google's library.

The codelab is "Build a hybrid AI chat application on GKE with Gemma and Gemini". Its app, and its variant for Cloud
Run (GoogleCloudPlatform/devrel-demos, containers/gradio-chat-gke/app/app_full.py.ignore and
containers/gradio-chat-cloudrun/chat-app/app/app.py, and their history since August 2025), write a document for each
opened page:

    chat_sessions/session-{hash}                        on GKE
    chat_sessions/session-{date}-{time}-{hash}          on Cloud Run
    chat_sessions/{date}-{time}-session-{hash or uuid}  older ones; with a uuid, for all pages of one process

    "Session start": a time
    "2026-03-01 12:34:56": {"789012": {"user": "the question", "Gemini": "the answer"}}

The app's name of a field is ``str(datetime.now())``, or ``.isoformat()`` in UTC on Cloud Run. Firestore's library takes
the dot before the microseconds for a path separator: so the microseconds are a nested field, and a time without
microseconds is not nested. The time is that of the end of the answer. The user is not stored.
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
    """The converted session of a document.

    Attributes:
        conversation: None if the session is empty.
        messages: in order.
        problems: sentences about unreadable parts, without text of the conversation.
    """

    conversation: Conversation | None = None
    messages: list[Message] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class _Exchange(NamedTuple):
    """A question with its answers: a field of the document, and the name that the app gave it."""

    name: str
    ms: int | None
    fields: Mapping[str, Any]


def session_of(path: str, fields: Mapping[str, Any], created_ms: int, owner: str) -> Session:
    """Return the session in a document.

    Ids come from the ``path`` (project, database, collection and document) and the names of the fields, so that they
    are the same each time; that of the conversation from its ``owner`` too, so that each user may have a copy.
    ``created_ms`` is the time of exchanges without a time. Times without a time zone are UTC, as in a container.
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
        messages = _messages(path, exchange, ms, session.problems)
        session.messages += messages
        last_ms = messages[-1].created_ms if messages else last_ms
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
                problems.append(f"{name!r} is not a time.")
        elif not isinstance(value, dict):
            problems.append(f"The field {name!r} is not from the codelab and was skipped.")
        else:
            nested = {key for key, one in value.items() if _MICROSECONDS.fullmatch(key) and isinstance(one, dict)}
            exchanges = {f"{name}.{key}": value[key] for key in nested}
            if remainder := {key: one for key, one in value.items() if key not in nested}:
                exchanges[name] = remainder
            for full_name, exchange in exchanges.items():
                if USER in exchange:
                    yield _Exchange(full_name, _time(full_name), exchange)
                else:
                    problems.append(f"The field {full_name!r} has no question and was skipped.")


def _messages(path: str, exchange: _Exchange, ms: int, problems: list[str]) -> list[Message]:
    """Return the question and its answer, the first at ``ms``; nothing if the question cannot be read."""
    turn_id = _id(path, exchange.name)
    question = exchange.fields[USER]
    text = _text(question)
    if text is None:
        problems.append(f"The question of {exchange.name!r} is not text; it was skipped with its answer.")
        return []
    if isinstance(question, dict) and question.get("files"):
        problems.append(f"The files of {exchange.name!r} were skipped.")
    question_id = _id(path, exchange.name, USER)
    messages = [Message(id=question_id, turn_id=turn_id, role=Role.USER, content=text, created_ms=ms)]
    for model, content in sorted(exchange.fields.items()):
        text = "" if content is None else _text(content)
        if model == USER:
            continue
        if text is None:
            problems.append(f"The answer of {exchange.name!r} is not text and was skipped.")
        else:
            answer_id = _id(path, exchange.name, "answer", model)
            messages.append(_answer(answer_id, turn_id, model, text, ms + len(messages)))
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


def _text(content: object) -> str | None:
    """Return the text of a message, which is a field if the message has files; None if it has none."""
    if isinstance(content, dict):
        content = content.get("text")
    return clean_text(content) if isinstance(content, str) else None


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
