"""Test data of users, marked with a secret for each, and snapshots of everything that a store holds of a user."""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from google.cloud import firestore

from chatapp.documents.extraction.shape import Block, BlockKind, Page
from chatapp.documents.packing import packed
from chatapp.domain.conversation import (
    Conversation,
    Document,
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
from chatapp.domain.library import Collection, Folder, LibraryDocument
from chatapp.domain.share import Share
from chatapp.store.firestore.documents import uid
from chatapp.store.firestore.store import FirestoreStore
from chatapp.store.sqlite.store import SQLiteStore
from chatapp.store.values import cursor_after
from tests.firestore_emulator import PROJECT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from chatapp.store import Store

WORD = "quince"  # in the data of every user, for searches


@dataclass(frozen=True)
class UserData:
    """The conversations and the profile of a user.

    Attributes:
        ids: values of the placeholders of `tests.security.authorization_matrix`.
        secret: in all texts of this user, and in no other user's.
    """

    ids: dict[str, str]
    secret: str

    def fill(self, template: object) -> object:
        """Return a text, or JSON, with values in place of the placeholders."""
        if isinstance(template, str):
            for name, value in self.ids.items():
                template = template.replace("{%s}" % name, value)  # noqa: UP031  # braces in braces
            return template
        if isinstance(template, dict):
            return {key: self.fill(value) for key, value in template.items()}
        return template


async def create_user_data(user: str, store: Store) -> UserData:
    """Store two conversations, an image, a document, a profile and a library for a user."""
    secret = secrets.token_hex(8)

    def marked(text: str) -> str:
        return f"{text} {WORD} {secret}"

    now = now_ms() - 10_000
    # The chat sends the bytes of a stored image unchanged.
    image = Image(id=new_id(), media_type="image/png", width=2, height=2, data=marked("image").encode())
    page = Page(1, (Block(BlockKind.TEXT, marked("document")),))
    file = marked("file").encode()
    document = Document(
        id=new_id(),
        name=marked("name.txt"),
        kind="text",
        pages=1,
        size=len(file),
        data=packed((page,)),
        file=await store.add_file(user, file),
    )
    question = _message(Role.USER, marked("question"), now, follows="", images=(image,), documents=(document,))
    answer = _message(
        Role.ASSISTANT, marked("answer"), now + 1, follows=question.id, status=MessageStatus.STOPPED, model="gemma"
    )
    conversation = Conversation(
        id=new_id(),
        title=marked("title"),
        created_ms=now,
        updated_ms=now,
        system_prompt=marked("system prompt"),
        persona=marked("persona"),
    )
    older = Conversation(id=new_id(), title=marked("older title"), created_ms=now - 5_000, updated_ms=now - 5_000)
    await store.create(user, older, _message(Role.USER, marked("older question"), now - 5_000))
    await store.create(user, conversation, question, answer)
    persona = Persona(id=new_id(), name=marked("name"), instructions=marked("instructions"))
    profile = Profile(personas=(persona,), parameters=GenerationParameters(temperature=0.4), revision=1)
    await store.save_profile(user, profile)
    collection = Collection(id=new_id(), name=marked("collection"))
    folder = Folder(
        id=new_id(), name=marked("folder"), instructions=marked("folder instructions"), collection=collection.id
    )
    await store.change_library(user, lambda stored: replace(stored, collections=(collection,), folders=(folder,)))
    kept = LibraryDocument(collection=collection.id, document=replace(document, id=new_id()), added_ms=now)
    await store.add_library_document(user, kept)
    now = now_ms()
    share = Share(
        id=secrets.token_hex(32),
        conversation_id=conversation.id,
        title=marked("shared title"),
        created_ms=now,
        expires_ms=now + 1_000_000_000,
        size=2,
    )
    await store.save_share(user, share, {"text-0": b"[]"})
    ids = {
        "share_id": share.id,
        "conversation": conversation.id,
        "conversation_id": conversation.id,
        "question": question.id,
        "answer": answer.id,
        "message_id": answer.id,
        "image": image.id,
        "image_id": image.id,
        "document": document.id,
        "document_id": document.id,
        "collection_id": collection.id,
        "folder_id": folder.id,
        "library_document_id": kept.document.id,
        "cursor": cursor_after(conversation),
        "word": WORD,
    }
    return UserData(ids, secret)


def _message(role: Role, content: str, created_ms: int, **fields: object) -> Message:
    return Message(id=new_id(), turn_id=new_id(), role=role, content=content, created_ms=created_ms, **fields)


class SQLiteStorage:
    """The database file of the chat, read through a second connection."""

    is_shared = False

    def __init__(self, folder: Path) -> None:
        self.settings = {"store": "sqlite"}
        self._path = folder / "chat.db"

    async def open(self) -> Store:
        """Open a store on it, before the chat does."""
        return await SQLiteStore.open(self._path)

    def snapshot(self, users: Sequence[str]) -> list[list[tuple[object, ...]]]:
        """Return all rows of each user."""
        return [self._rows(user) for user in users]

    def _rows(self, user: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as file:
            tables = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            rows = []
            for table in sorted(tables):
                columns = {row[1] for row in file.execute(f"PRAGMA table_info({table})")}
                condition = (
                    "user = :user"
                    if "user" in columns
                    else "conversation_id IN (SELECT id FROM conversations WHERE user = :user)"
                )
                if columns & {"user", "conversation_id"}:
                    selected = file.execute(f"SELECT * FROM {table} WHERE {condition}", {"user": user}).fetchall()
                    rows += sorted(((table, *row) for row in selected), key=repr)
            return rows


class FirestoreStorage:
    """A separate database in the emulator, to which other replicas may write."""

    is_shared = True

    def __init__(self) -> None:
        self._database = f"chat-{new_id()}"
        self.settings = {
            "store": "firestore",
            "google_cloud_project": PROJECT,
            "firestore_database": self._database,
        }

    async def open(self) -> Store:
        """Open a store on it."""
        return FirestoreStore(PROJECT, self._database)

    def snapshot(self, users: Sequence[str]) -> list[list[tuple[object, ...]]]:
        """Return all documents of each user, those that exist by their children alone too."""
        client = firestore.Client(project=PROJECT, database=self._database)
        try:
            found = [document for collection in client.collections() for document in collection.list_documents()]
            for document in found:  # grows meanwhile
                found += [child for collection in document.collections() for child in collection.list_documents()]
            theirs = [document for document in found if any(uid(user) in document.path for user in users)]
            fields = {
                document.reference.path: repr(sorted((document.to_dict() or {}).items()))
                for document in client.get_all(theirs)
            }
            return [sorted(item for item in fields.items() if uid(user) in item[0]) for user in users]
        finally:
            client.close()
