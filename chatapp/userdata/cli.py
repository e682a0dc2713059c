"""What the commands that import have in common: whose history it becomes, where it is, and how they end."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from chatapp.config.settings import InvalidSettings, load_settings
from chatapp.domain.conversation import now_ms
from chatapp.domain.errors import ChatError, StoreUnavailable
from chatapp.store.sqlite.store import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from chatapp.config.settings import Settings
    from chatapp.store import Store

# Exit statuses.
ALL, PART, FAILED = 0, 1, 2
DAY_MS = 24 * 3600 * 1000
WHOSE = (
    "--user says whose history it becomes. With CHAT_IDENTITY=anonymous everybody has an own one: open the chat in the "
    'browser that it is for, download its history as JSON, and take "user" from the first line.'
)


class CannotBegin(ChatError):
    """The history cannot be opened; nothing was changed."""


def say(line: str) -> None:
    """Write a line for whoever runs the command."""
    sys.stdout.write(f"{line}\n")


def run(work: Callable[[Settings], Awaitable[int]]) -> int:
    """Do the work with the chat's own settings and return the exit status; what goes wrong is said in words."""
    try:
        return asyncio.run(_awaited(work(load_settings())))
    except ChatError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("Stopped. The same command again goes on.\n")
        return FAILED


async def _awaited(work: Awaitable[int]) -> int:
    return await work


def owner(settings: Settings, user: str | None) -> str:
    """Return whose history it becomes.

    Raises:
        InvalidSettings: it cannot be told, or nobody would ever see it.
    """
    if settings.identity == "local":
        if user not in (None, "local"):
            raise InvalidSettings(
                f"With CHAT_IDENTITY=local there is one user, 'local', and nobody would see what {user!r} has. Leave "
                "--user out, or set CHAT_IDENTITY as the chat has it."
            )
        return "local"
    if not user:
        raise InvalidSettings(WHOSE)
    if settings.identity == "anonymous" and not re.fullmatch("anonymous-[0-9a-f]{32}", user):
        raise InvalidSettings(f"{user!r} is no user of this chat: they look like anonymous-0123456789abcdef... {WHOSE}")
    return user


def oldest_ms(settings: Settings) -> int:
    """Return from when on this history keeps messages."""
    return 0 if settings.retention_days is None else now_ms() - settings.retention_days * DAY_MS


def place(settings: Settings) -> str:
    """Return where the history is, in words."""
    if settings.store == "sqlite":
        return str(settings.data_dir / "chat.db")
    return f"Firestore, database {settings.firestore_database} of project {settings.google_cloud_project}"


@asynccontextmanager
async def history(settings: Settings) -> AsyncIterator[Store]:
    """Open the history that the settings name, as `chatapp.app` does, but for the journal.

    A chat that runs keeps its journal to itself, and Firestore takes what is written beside it.

    Raises:
        CannotBegin: a chat that runs uses the file, or it cannot be used.
    """
    store: Store
    if settings.store == "sqlite":
        try:
            store = await SQLiteStore.open(settings.data_dir / "chat.db")
        except StoreUnavailable as error:
            raise CannotBegin(f"{error} Nothing was imported.", detail=error.detail) from error
    else:
        from chatapp.store.firestore.store import FirestoreStore  # noqa: PLC0415  # Google's library, where it is used

        store = FirestoreStore(
            settings.google_cloud_project, settings.firestore_database, retention_days=settings.retention_days
        )
    try:
        yield store
    finally:
        await store.aclose()
