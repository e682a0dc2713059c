"""Opening the store that the settings name: for the chat and for the import commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from chatapp.domain.errors import ChatError
from chatapp.store.journal.store import JournaledStore
from chatapp.store.sqlite.store import SQLiteStore

if TYPE_CHECKING:
    from pathlib import Path

    from chatapp.store import Store


class _Settings(Protocol):
    """The part of `chatapp.config.settings.Settings` that a store needs."""

    @property
    def store(self) -> str: ...
    @property
    def data_dir(self) -> Path: ...
    @property
    def retention_days(self) -> int | None: ...
    @property
    def google_cloud_project(self) -> str: ...
    @property
    def firestore_database(self) -> str: ...
    @property
    def abandoned_seconds(self) -> float: ...
    @property
    def journal_writes(self) -> int: ...
    @property
    def journal_megabytes(self) -> int: ...
    @property
    def drain_seconds(self) -> float: ...


def history_file(settings: _Settings) -> Path:
    """Return the file of a history in SQLite."""
    return settings.data_dir / "chat.db"


def describe_store(settings: _Settings) -> str:
    """Return where the history is stored, in words."""
    if settings.store == "sqlite":
        return str(history_file(settings))
    return f"Firestore, database {settings.firestore_database} of project {settings.google_cloud_project}"


async def open_store(settings: _Settings) -> Store:
    """Open the store of a running chat: SQLite, or Firestore behind a journal on this disk.

    Raises:
        StoreUnavailable: another chat uses the data folder, or the folder cannot be used.
        ChatError: Google's library is not installed.
    """
    if settings.store == "sqlite":
        return await SQLiteStore.open(history_file(settings), retention_days=settings.retention_days)
    return await JournaledStore.open(
        settings.data_dir / "journal.db",
        _firestore(settings),
        destination=describe_store(settings),
        most_writes=settings.journal_writes,
        most_bytes=settings.journal_megabytes * 1_000_000,
        drain_seconds=settings.drain_seconds,
    )


async def open_store_for_import(settings: _Settings) -> Store:
    """Open the store without a journal, so that every write is in it when it returns.

    A running chat holds the lock of its journal; Firestore accepts writes in parallel. SQLite opens without a retention
    period, so that an import deletes nothing.

    Raises:
        StoreUnavailable: a running chat uses the file, or it cannot be used.
    """
    return await SQLiteStore.open(history_file(settings)) if settings.store == "sqlite" else _firestore(settings)


def _firestore(settings: _Settings) -> Store:
    try:
        # Google's library takes 0.4 s and 60 MB to import.
        from chatapp.store.firestore.store import FirestoreStore  # noqa: PLC0415  # the start-up cost above
    except ImportError as error:
        raise ChatError(
            "CHAT_STORE is 'firestore', which needs the package google-cloud-firestore. Install what "
            f"requirements/chat.txt lists, as make run does. ({error})"
        ) from error
    return FirestoreStore(
        settings.google_cloud_project,
        settings.firestore_database,
        retention_days=settings.retention_days,
        stale_seconds=settings.abandoned_seconds,
    )
