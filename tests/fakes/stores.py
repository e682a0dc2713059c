"""A fake cloud store with latency and failures that the test sets."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING

from chatapp.domain.errors import ChatError, StoreUnavailable
from chatapp.store import StoreStatus
from chatapp.store.sqlite.database import SQLiteDatabase
from chatapp.store.sqlite.document_files import DocumentFiles
from chatapp.store.sqlite.file import HISTORY, SQLiteFile
from chatapp.store.sqlite.file_folder import FileFolder
from chatapp.store.sqlite.store import READERS, SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

READS = {
    *("conversations", "conversation", "messages", "message", "image", "document", "pinned", "search", "profile"),
    *("revocations", "sessions", "revisions", "stored_bytes", "shares", "shared", "shared_piece"),
    *("in_folder", "library", "library_document", "vectors"),
}


_SHARERS: defaultdict[Path, dict[str, str]] = defaultdict(dict)  # the users of the shares, by folder of a cloud


class FakeCloud:
    """A `Store` in which each user's ids are apart, as in Firestore: one SQLite file for each user.

    Attributes:
        down: each call raises StoreUnavailable.
        fails: called before each call with its name and conversation id; raises the returned error.
        loses_reply: called after each successful call; True raises StoreUnavailable.
        latency: seconds before each call, and again before its response.
        gate: while it is not set, calls wait.
        calls: name, conversation id and written messages (ids with revisions) of every executed call.
        requests: the same of every call, executed or not.
    """

    def __init__(self, folder: Path) -> None:
        self.down = False
        self.fails: Callable[[str, str], Exception | None] = lambda _name, _conversation_id: None
        self.loses_reply: Callable[[str], bool] = lambda _name: False
        self.latency = 0.0
        self.gate = asyncio.Event()
        self.gate.set()
        self.calls: list[tuple[str, str, list[str]]] = []
        self.requests: list[tuple[str, str, list[str]]] = []
        self.at_once = self.most_at_once = 0
        self.closed = 0
        self._folder = folder
        self._stores: dict[str, SQLiteStore] = {}
        self._sharers = _SHARERS[folder]
        self._opening = asyncio.Lock()

    @property
    def writes(self):
        return [call for call in self.calls if call[0] not in READS]

    async def conversations(self, user, **options):
        return await self._call("conversations", user, "", [], **options)

    async def conversation(self, user, conversation_id, **options):
        return await self._call("conversation", user, conversation_id, [], conversation_id, **options)

    async def messages(self, user, conversation_id, **options):
        return await self._call("messages", user, conversation_id, [], conversation_id, **options)

    async def message(self, user, conversation_id, message_id, **options):
        return await self._call("message", user, conversation_id, [], conversation_id, message_id, **options)

    async def image(self, user, conversation_id, image_id):
        return await self._call("image", user, conversation_id, [], conversation_id, image_id)

    async def document(self, user, conversation_id, document_id):
        return await self._call("document", user, conversation_id, [], conversation_id, document_id)

    async def pinned(self, user, **options):
        return await self._call("pinned", user, "", [], **options)

    async def search(self, user, text, **options):
        return await self._call("search", user, "", [], text, **options)

    async def profile(self, user, **options):
        return await self._call("profile", user, "", [], **options)

    async def save_profile(self, user, profile):
        await self._call("save_profile", user, "", [], profile)

    async def delete_profile(self, user):
        await self._call("delete_profile", user, "", [])

    async def in_folder(self, user, folder, **options):
        return await self._call("in_folder", user, "", [], folder, **options)

    async def change_library(self, user, change):
        return await self._call("change_library", user, "", [], change)

    async def add_library_document(self, user, document):
        await self._call("add_library_document", user, "", [], document)

    async def library(self, user, collection=""):
        return await self._call("library", user, "", [], collection)

    async def library_document(self, user, document_id):
        return await self._call("library_document", user, "", [], document_id)

    async def remove_library_documents(self, user, document_ids):
        await self._call("remove_library_documents", user, "", [], document_ids)

    async def vectors(self, user, conversation_id, document_ids):
        return await self._call("vectors", user, conversation_id, [], conversation_id, document_ids)

    async def save_vectors(self, user, conversation_id, document_id, vectors):
        await self._call("save_vectors", user, conversation_id, [], conversation_id, document_id, vectors)

    async def revocations(self, user):
        return await self._call("revocations", user, "", [])

    async def revoke(self, user, **ended):
        await self._call("revoke", user, "", [], **ended)

    async def sessions(self, user):
        return await self._call("sessions", user, "", [])

    async def save_session(self, user, session, *, until_ms):
        await self._call("save_session", user, "", [], session, until_ms=until_ms)

    async def save_share(self, user, share, pieces):
        await self._call("save_share", user, share.conversation_id, [], share, pieces)
        self._sharers[share.id] = user

    async def shares(self, user):
        return await self._call("shares", user, "", [])

    async def delete_share(self, user, share_id):
        await self._call("delete_share", user, "", [], share_id)

    async def shared(self, share_id):
        return await self._call("shared", self._sharers.get(share_id, "unknown"), "", [], share_id)

    async def shared_piece(self, share_id, name):
        return await self._call("shared_piece", self._sharers.get(share_id, "unknown"), "", [], share_id, name)

    async def create(self, user, conversation, *messages):
        await self._call("create", user, conversation.id, messages, conversation, *messages)

    async def create_all(self, user, new):
        messages = [message for _, of_conversation in new for message in of_conversation]
        return await self._call("create_all", user, "", messages, new)

    async def revisions(self, user, conversation_ids):
        return await self._call("revisions", user, "", [], conversation_ids)

    async def update(self, user, conversation):
        await self._call("update", user, conversation.id, [], conversation)

    async def append(self, user, conversation_id, *messages):
        await self._call("append", user, conversation_id, messages, conversation_id, *messages)

    async def delete(self, user, conversation_id):
        await self._call("delete", user, conversation_id, [], conversation_id)

    async def stored_bytes(self, user=None, **options):
        if user is None:
            return sum([await store.stored_bytes() for store in self._stores.values()])
        return await self._call("stored_bytes", user, "", [], **options)

    def status(self):
        return StoreStatus()

    async def aclose(self):
        self.closed += 1
        await asyncio.gather(*(store.aclose() for store in self._stores.values()))

    async def _call(self, name, user, conversation_id, messages, *arguments, **options):
        call = name, conversation_id, [f"{message.id}@{message.revision}" for message in messages]
        self.requests.append(call)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self._wait()
            if self.down or self.closed:
                raise StoreUnavailable("The cloud cannot be reached.", detail="503 down")
            if error := self.fails(name, conversation_id):
                raise error
            try:
                by_user = [] if name in {"shared", "shared_piece"} else [user]
                return await getattr(await self._store(user), name)(*by_user, *arguments, **options)
            finally:
                self.calls.append(call)
                await self._wait()
                if self.loses_reply(name):
                    raise StoreUnavailable("The cloud cannot be reached.", detail="503 reply lost")
        finally:
            self.at_once -= 1

    async def _wait(self):
        await self.gate.wait()
        if self.latency:
            await asyncio.sleep(self.latency)

    async def _store(self, user) -> SQLiteStore:
        async with self._opening:
            if user not in self._stores:
                name = hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:16]
                # Not SQLiteStore.open: a cloud does not know whether others still write what is running.
                file = await asyncio.to_thread(
                    SQLiteFile.open, self._folder / f"{name}.db", HISTORY, readers=READERS, busy_timeout=5.0
                )
                database = SQLiteDatabase(file, 5.0)
                files = DocumentFiles(database, FileFolder(self._folder / f"{name}.files"))
                self._stores[user] = SQLiteStore(database, files)
        return self._stores[user]


def refusing(conversation_id: str, error: ChatError) -> Callable[[str, str], Exception | None]:
    """Return a value of `FakeCloud.fails` that refuses every write to a conversation."""
    return lambda name, requested: error if requested == conversation_id and name not in READS else None
