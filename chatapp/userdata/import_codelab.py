"""Import the sessions of the app of Google's codelab: ``python -m chatapp.userdata.import_codelab --project P``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

from google.api_core.exceptions import Forbidden, InvalidArgument, NotFound, RetryError, Unauthorized
from google.auth.exceptions import DefaultCredentialsError

from chatapp.config.logs import configure_logs
from chatapp.config.settings import InvalidSettings
from chatapp.domain.errors import ChatError, StoreUnavailable
from chatapp.store.firestore.client import READ_ATTEMPT_S, READ_CALL_S, Connection, is_explained, retried
from chatapp.store.opening import describe_store
from chatapp.userdata.cli import ALL, FAILED, PART, history, owner, run, say
from chatapp.userdata.codelab_session import session_of
from chatapp.userdata.insert import Added, Entry, add_all, refuse_if_taken
from chatapp.userdata.json_export import iso

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from google.cloud.firestore import AsyncQuery, DocumentSnapshot

    from chatapp.config.settings import Settings
    from chatapp.store import ConversationStore

DATABASE, COLLECTION = "chat-app-db", "chat_sessions"
NO_SESSION = "initialize"  # written by the codelab's Terraform
DOCUMENTS_AT_ONCE = 20  # of up to 1 MiB each


class Source(NamedTuple):
    """The collection that the codelab's app wrote to."""

    project: str
    database: str
    collection: str

    def __str__(self) -> str:
        return f"collection {self.collection} of database {self.database}, project {self.project}"


class SourceUnavailable(ChatError):
    """The codelab's collection cannot be read."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Import into the history that the chat's settings name, and return the exit status.

    0: everything is imported; 1: some parts were skipped, and are listed; 2: the import failed.
    """
    parser = argparse.ArgumentParser(prog="python -m chatapp.userdata.import_codelab", description=__doc__)
    parser.add_argument("--project", help="the project of the codelab's app (default: GOOGLE_CLOUD_PROJECT)")
    parser.add_argument("--database", default=DATABASE, help="(default: %(default)s)")
    parser.add_argument("--collection", default=COLLECTION, help="(default: %(default)s)")
    parser.add_argument("--user", help="the user who gets the history; not needed with CHAT_IDENTITY=local")
    parser.add_argument("--session", action="append", default=[], metavar="ID", help="only this document; repeatable")
    parser.add_argument("--dry-run", action="store_true", help="list the sessions, change nothing")
    options = parser.parse_args(arguments)
    return run(lambda settings: _import(settings, options))


async def _import(settings: Settings, options: argparse.Namespace) -> int:
    user = owner(settings, options.user)
    project = options.project or settings.google_cloud_project
    if not project:
        raise InvalidSettings("Set --project to the Google Cloud project of the codelab's app.")
    if options.collection.count("/") % 2:
        raise InvalidSettings(f"{options.collection!r} is not a valid Firestore collection.")
    importing = _Importing(Source(project, options.database, options.collection), user, set(options.session))
    target = f"the history of {user} in {describe_store(settings)}"
    if options.dry_run:
        await importing.all(None)
        say(f"Nothing was changed. Without --dry-run, they are added to {target}.")
        return importing.status()
    try:
        async with history(settings) as store:
            await importing.all(store, settings.oldest_ms)
    except (SourceUnavailable, StoreUnavailable) as error:
        say(f"The import failed: {error}\nImported so far: {importing.added}. Run the same command again to continue.")
        return FAILED
    say(f"Added to {target}: {importing.added}.")
    return importing.status()


class _Importing:
    """Reads the documents once, imports them, and reports problems."""

    def __init__(self, source: Source, owner: str, session_ids: set[str]) -> None:
        self.added = Added()
        self._source = source
        self._owner = owner
        self._session_ids = session_ids
        self._missing = set(session_ids)
        self._documents = self._sessions = self._empty = self._problems = 0

    async def all(self, store: ConversationStore | None, oldest: int = 0) -> None:
        """Add every session to the store; without a store, list them."""
        async with aclosing(_documents(self._source)) as documents:
            async for page in documents:
                self._documents += len(page)
                entries = {one.id: entry for one in page if self._is_chosen(one.id) and (entry := self._entry(one))}
                if store is None:
                    for id_, entry in entries.items():
                        say(f"{id_}: {iso(entry.conversation.created_ms)}, {len(entry.messages):,} messages.")
                    continue
                await add_all(store, self._owner, list(entries.values()), oldest_ms=oldest)
                refuse_if_taken(entries.values())
        self._sum_up()

    def status(self) -> int:
        """Return the exit status."""
        return PART if self._problems or not self._documents else ALL

    def _is_chosen(self, document_id: str) -> bool:
        return document_id != NO_SESSION and (not self._session_ids or document_id in self._session_ids)

    def _entry(self, document: DocumentSnapshot[Any]) -> Entry | None:
        """Return the conversation of a document, None if it has none."""
        self._missing.discard(document.id)
        created_ms = round(document.create_time.timestamp() * 1000)
        path = "/".join((*self._source, document.id))
        session = session_of(path, document.to_dict() or {}, created_ms, self._owner)
        for problem in session.problems:
            self._problem(document.id, problem)
        if session.conversation is None:
            self._empty += 1
            return None
        self._sessions += 1
        return Entry(session.conversation, session.messages, self.added)

    def _sum_up(self) -> None:
        for name in sorted(self._missing):
            self._problem(name, "There is no such document.")
        empty = f", and {self._empty:,} empty ones" if self._empty else ""
        problems = f" Problems listed above: {self._problems:,}." if self._problems else ""
        say(f"In {self._source}: {self._sessions:,} sessions{empty}.{problems}")
        if not self._documents:
            say("The collection is empty. Older versions of the codelab wrote to --database='(default)'.")

    def _problem(self, document_id: str, problem: str) -> None:
        self._problems += 1
        say(f"{document_id}: {problem}")


async def _documents(source: Source) -> AsyncGenerator[list[DocumentSnapshot[Any]]]:
    """Yield all documents in pages; every request has a timeout.

    Raises:
        SourceUnavailable: the collection cannot be read.
    """
    connection = Connection(source.project, source.database)
    try:
        client = await connection.client()
        query = client.collection(source.collection).order_by("__name__").limit(DOCUMENTS_AT_ONCE)
        while page := await _page(query):
            yield page
            query = query.start_after({"__name__": page[-1].id})
    except Exception as error:
        if not is_explained(error):
            raise
        raise SourceUnavailable(_sentence(source, error), detail=str(error)[:300]) from error
    finally:
        await connection.close()


async def _page(query: AsyncQuery) -> list[DocumentSnapshot[Any]]:
    async with asyncio.timeout(READ_CALL_S):
        return list(await retried(lambda: query.get(retry=None, timeout=READ_ATTEMPT_S)))


def _sentence(source: Source, error: Exception) -> str:
    match (error.cause or error) if isinstance(error, RetryError) else error:
        case DefaultCredentialsError():
            return "There are no Google credentials. Run gcloud auth application-default login."
        case Forbidden() | Unauthorized():
            return (
                f"No permission to read Firestore of project {source.project}: the account needs "
                "roles/datastore.viewer."
            )
        case NotFound():
            return (
                f"There is no Firestore database {source.database} in project {source.project}. Set --database to "
                "another one; older versions of the codelab wrote to '(default)'."
            )
        case InvalidArgument() as refusal:
            return f"Firestore rejected the query of {source}: {refusal.message}"
    return f"Firestore of project {source.project} cannot be reached. Try again."


if __name__ == "__main__":
    configure_logs("text")
    sys.exit(main())
