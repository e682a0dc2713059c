"""What a person has in a chat, each piece with a text that is nowhere else, and where it is kept, byte for byte."""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.cloud import firestore

from chatapp.domain.conversation import (
    Conversation,
    GenerationParameters,
    Image,
    Message,
    MessageStatus,
    Persona,
    Profile,
    Role,
    new_id,
    now_ms,
)
from chatapp.store.firestore.documents import uid
from chatapp.store.firestore.store import FirestoreStore
from chatapp.store.sqlite.store import SQLiteStore
from chatapp.store.values import cursor_after
from tests.firestore_emulator import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

    from chatapp.store import Store

WORD = "quince"  # which others may search for


@dataclass(frozen=True)
class Owned:
    """One person's conversations and profile.

    Attributes:
        ids: what the placeholders of `tests.security.doors` stand for.
        secret: stands in every text of this person's, and in nobody else's.
    """

    ids: dict[str, str]
    secret: str

    def filled(self, template: object) -> object:
        """Return a text, or JSON, with the placeholders filled."""
        if isinstance(template, str):
            for name, value in self.ids.items():
                template = template.replace("{%s}" % name, value)  # noqa: UP031  # braces in braces
            return template
        if isinstance(template, dict):
            return {key: self.filled(value) for key, value in template.items()}
        return template


async def owned_by(user: str, store: Store) -> Owned:
    """Store two conversations, a picture and a profile for a user."""
    secret = secrets.token_hex(8)

    def told(what: str) -> str:
        return f"{what} {WORD} {secret}"

    now = now_ms() - 10_000
    # Bytes of a picture are given out as they are.
    image = Image(id=new_id(), media_type="image/png", width=2, height=2, data=told("picture").encode())
    question = _message(Role.USER, told("question"), now, follows="", images=(image,))
    answer = _message(
        Role.ASSISTANT, told("answer"), now + 1, follows=question.id, status=MessageStatus.STOPPED, model="gemma"
    )
    conversation = Conversation(
        id=new_id(),
        title=told("title"),
        created_ms=now,
        updated_ms=now,
        system_prompt=told("system prompt"),
        persona=told("persona"),
    )
    older = Conversation(id=new_id(), title=told("older title"), created_ms=now - 5_000, updated_ms=now - 5_000)
    await store.create(user, older, _message(Role.USER, told("older question"), now - 5_000))
    await store.create(user, conversation, question, answer)
    persona = Persona(id=new_id(), name=told("name"), instructions=told("instructions"))
    profile = Profile(personas=(persona,), parameters=GenerationParameters(temperature=0.4), revision=1)
    await store.save_profile(user, profile)
    ids = {
        "conversation": conversation.id,
        "conversation_id": conversation.id,
        "question": question.id,
        "answer": answer.id,
        "message_id": answer.id,
        "image": image.id,
        "image_id": image.id,
        "cursor": cursor_after(conversation),
        "word": WORD,
    }
    return Owned(ids, secret)


def _message(role: Role, content: str, created_ms: int, **facts: object) -> Message:
    return Message(id=new_id(), turn_id=new_id(), role=role, content=content, created_ms=created_ms, **facts)


class SQLitePlace:
    """The file that the chat has open: others may read it."""

    def __init__(self, folder: Path) -> None:
        self.settings = {"store": "sqlite"}
        self._path = folder / "chat.db"

    async def open(self) -> Store:
        """Open it before the chat does."""
        return await SQLiteStore.open(self._path)

    def kept(self, user: str) -> list[tuple[object, ...]]:
        """Return every row of the user's, as it is in the file."""
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as file:
            tables = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            rows = []
            for table in sorted(tables):
                columns = {row[1] for row in file.execute(f"PRAGMA table_info({table})")}
                whose = (
                    "user = :user"
                    if "user" in columns
                    else "conversation_id IN (SELECT id FROM conversations WHERE user = :user)"
                )
                if columns & {"user", "conversation_id"}:
                    found = file.execute(f"SELECT * FROM {table} WHERE {whose}", {"user": user}).fetchall()
                    rows += sorted(((table, *row) for row in found), key=repr)
            return rows


class FirestorePlace:
    """A database of its own in the emulator."""

    def __init__(self) -> None:
        self._database = f"chat-{new_id()}"
        self.settings = {
            "store": "firestore",
            "google_cloud_project": PROJECT,
            "firestore_database": self._database,
        }

    async def open(self) -> Store:
        """Open it beside the chat."""
        return FirestoreStore(PROJECT, self._database)

    def kept(self, user: str) -> list[tuple[object, ...]]:
        """Return every document of the user's, as it is in the database."""
        client = firestore.Client(project=PROJECT, database=self._database)
        try:
            found = []
            waiting = [document for one in client.collections() for document in one.list_documents()]
            while waiting:
                document = waiting.pop()
                snapshot = document.get()
                found.append((document.path, repr(sorted((snapshot.to_dict() or {}).items()))))
                waiting += [beneath for one in document.collections() for beneath in one.list_documents()]
            return sorted(one for one in found if uid(user) in one[0])
        finally:
            client.close()
