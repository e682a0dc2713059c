"""Backup and restore of a history in Firestore: every document of every user, as of one moment.

A restore writes into a database without a history: the old one is not touched, and the chat goes to the new one with
``CHAT_FIRESTORE_DATABASE``. Google's library takes 0.4 s to import, so it is imported when it is needed.
"""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chatapp.backup.package import InvalidBackup, Reader, Writer, refuse_newer
from chatapp.store.firestore.documents import VERSION
from chatapp.store.firestore.schema import (
    CONVERSATIONS,
    DELETIONS,
    LIBRARY,
    LIBRARY_VECTORS,
    OF_CONVERSATION,
    REVOCATIONS,
    SESSIONS,
    USERS,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from google.cloud.firestore import AsyncCollectionReference, AsyncQuery

    from chatapp.store.firestore.client import Snapshot
    from chatapp.store.firestore.firestore_compat import Client

DOCUMENTS = "documents.jsonl"
PAGE_DOCUMENTS = 20  # of up to 1 MiB each
SCHEMA = VERSION  # of the documents
BATCH_DOCUMENTS, BATCH_BYTES = 100, 3_000_000
MAX_LINE_BYTES = 8_000_000
# Names the backup that is being restored, so that the same one can go on after an interruption.
MARK = "restore", "running"


async def back_up(project: str, database: str, writer: Writer) -> None:
    """Write all documents as they are at one moment of Firestore's clock, while chats write.

    What a chat has not delivered to Firestore yet is not in it.

    Raises:
        StoreUnavailable: the database cannot be read.
    """
    from chatapp.store.firestore.client import READ_ATTEMPT_S, retried  # noqa: PLC0415  # see above

    async with _client(project, database) as client:
        mark = client.document(*MARK)
        at = (await retried(lambda: mark.get(retry=None, timeout=READ_ATTEMPT_S))).read_time
        with writer.file(DOCUMENTS) as stream:
            async for document in _documents(client, at):
                line = json.dumps({"path": document.reference.path, "fields": _encoded(document.fields)})
                stream.write(line.encode() + b"\n")


async def restore(reader: Reader, project: str, database: str) -> None:
    """Write all documents of a backup into a database that has none, or only some of the same backup.

    Raises:
        InvalidBackup: the backup is damaged or newer, or the database has a history.
        StoreUnavailable: the database cannot be written; the same command continues.
    """
    refuse_newer("This backup", reader.manifest.schema, SCHEMA)
    for _ in _lines(reader):  # all of it is checked first
        pass
    from chatapp.store.firestore.client import committed, fetched_one  # noqa: PLC0415  # see above

    async with _client(project, database) as client:
        mark, digest = client.document(*MARK), reader.manifest.files[DOCUMENTS][1]
        marked = await fetched_one(mark)
        if (marked is None or marked.fields.get("sha256") != digest) and await _has_history(client):
            raise InvalidBackup(
                f"The Firestore database {database} of project {project} has a history. Nothing was changed. Create "
                "another database, restore into that one with CHAT_FIRESTORE_DATABASE, and have the chat use it."
            )
        batch, count, size = client.batch(), 1, 0
        batch.set(mark, {"sha256": digest})
        for path, fields, length in _lines(reader):
            if count == BATCH_DOCUMENTS or size + length > BATCH_BYTES:
                await committed(batch)
                batch, count, size = client.batch(), 0, 0
            batch.set(client.document(path), fields)
            count, size = count + 1, size + length
        batch.delete(mark)
        await committed(batch)


async def _documents(client: Client, at: datetime) -> AsyncGenerator[Snapshot]:
    from chatapp.store.firestore.client import READ_ATTEMPT_S, fetched_all  # noqa: PLC0415  # see above

    # Those of users without a profile are only the beginning of a path; this lists them, too.
    users = client.collection(USERS).list_documents(retry=None, timeout=READ_ATTEMPT_S, read_time=at)
    async for user in users:
        for profile in await fetched_all(client, [user], at=at):
            yield profile
        for name in (DELETIONS, SESSIONS, REVOCATIONS, LIBRARY, LIBRARY_VECTORS):
            async for document in _all(user.collection(name), at):
                yield document
        async for conversation in _all(user.collection(CONVERSATIONS), at):
            yield conversation
            for name in OF_CONVERSATION:
                async for document in _all(conversation.reference.collection(name), at):
                    yield document


async def _all(collection: AsyncCollectionReference, at: datetime) -> AsyncGenerator[Snapshot]:
    from chatapp.store.firestore.client import READ_ATTEMPT_S, fetched  # noqa: PLC0415  # see above

    query: AsyncQuery = collection.order_by("__name__").limit(PAGE_DOCUMENTS)
    page = await fetched(query, at=at, seconds=READ_ATTEMPT_S)
    while page:
        for document in page:
            yield document
        if len(page) < PAGE_DOCUMENTS:
            return
        page = await fetched(query.start_after({"__name__": page[-1].id}), at=at, seconds=READ_ATTEMPT_S)


async def _has_history(client: Client) -> bool:
    from chatapp.store.firestore.client import READ_ATTEMPT_S  # noqa: PLC0415  # see above

    async for _ in client.collection(USERS).list_documents(page_size=1, retry=None, timeout=READ_ATTEMPT_S):
        return True
    return False


def _lines(reader: Reader) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Yield the path and the fields of each document, and its size.

    Raises:
        InvalidBackup: the backup is damaged.
    """
    rest = b""
    for chunk in reader.chunks(DOCUMENTS):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            raise InvalidBackup("This backup is damaged: a document is too large. Nothing was changed.")
        for line in lines:
            try:
                value = json.loads(line)
                path, fields = _checked_path(value["path"]), dict(_decoded(value["fields"]))
            except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
                raise InvalidBackup(
                    "This backup is damaged: a document cannot be read. Nothing was changed.", detail=str(error)[:200]
                ) from error
            yield path, fields, len(line)


def _checked_path(path: str) -> str:
    first, *rest = path.split("/")
    if first != USERS or not len(rest) % 2:
        raise ValueError(path)
    return path


def _encoded(value: Any) -> Any:  # noqa: ANN401  # any value of Firestore's
    """Return a value as JSON. An object has one key, the kind of the value."""
    match value:
        case dict():
            return {"map": {name: _encoded(one) for name, one in value.items()}}
        case list():
            return {"list": [_encoded(one) for one in value]}
        case bytes():
            return {"bytes": base64.b64encode(value).decode()}
        case datetime():
            return {"time": value.astimezone(UTC).isoformat(timespec="microseconds")}
    return value


def _decoded(value: Any) -> Any:  # noqa: ANN401  # any value of Firestore's
    match value:
        case {"map": dict() as fields}:
            return {name: _decoded(one) for name, one in fields.items()}
        case {"list": list() as items}:
            return [_decoded(one) for one in items]
        case {"bytes": str() as data}:
            return base64.b64decode(data, validate=True)
        case {"time": str() as time}:
            return datetime.fromisoformat(time)
        case dict() | list():
            raise ValueError("kind")
    return value


@asynccontextmanager
async def _client(project: str, database: str) -> AsyncIterator[Client]:
    from chatapp.store.firestore.client import Connection, is_explained  # noqa: PLC0415  # see above

    connection = Connection(project, database)
    try:
        yield await connection.client()
    except Exception as error:
        if not is_explained(error):
            raise
        raise connection.explained(error) from error
    finally:
        await connection.close()
