"""Common parts of the import commands: the target user, the store, and the exit status."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from chatapp.config.settings import InvalidSettings, load_settings
from chatapp.domain.errors import ChatError, StoreUnavailable
from chatapp.store.opening import open_store_for_import

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from chatapp.config.settings import Settings
    from chatapp.store import Store

# Exit statuses.
ALL, PART, FAILED = 0, 1, 2
USER_HINT = (
    "--user names the user who gets the history. With CHAT_IDENTITY=anonymous, each browser is a separate user: open "
    'the chat in that browser, download its history as JSON, and copy "user" from the first line.'
)


class CannotBegin(ChatError):
    """The store cannot be opened; nothing was changed."""


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")


def run(work: Callable[[Settings], Awaitable[int]]) -> int:
    """Run a command with the chat's settings and return the exit status; print errors as sentences."""
    try:
        return asyncio.run(_awaited(work(load_settings())))
    except ChatError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("Stopped. Run the same command again to continue.\n")
        return FAILED


async def _awaited(work: Awaitable[int]) -> int:
    return await work


def owner(settings: Settings, user: str | None) -> str:
    """Return the id of the user who gets the imported history.

    Raises:
        InvalidSettings: the user is ambiguous, or no user of this chat has this id.
    """
    if settings.identity == "local":
        if user not in (None, "local"):
            raise InvalidSettings(
                f"With CHAT_IDENTITY=local the only user is 'local', so a history of {user!r} would be invisible. Omit "
                "--user, or set CHAT_IDENTITY to the chat's value."
            )
        return "local"
    if not user:
        raise InvalidSettings(USER_HINT)
    if settings.identity == "anonymous" and not re.fullmatch("anonymous-[0-9a-f]{32}", user):
        raise InvalidSettings(
            f"{user!r} is not a user id of this chat, such as anonymous-0123456789abcdef... {USER_HINT}"
        )
    return user


@asynccontextmanager
async def history(settings: Settings) -> AsyncIterator[Store]:
    """Open the store that the settings name, and close it at the end.

    Raises:
        CannotBegin: a running chat uses the file, or it cannot be used.
    """
    try:
        store = await open_store_for_import(settings)
    except StoreUnavailable as error:
        raise CannotBegin(f"{error} Nothing was imported.", detail=error.detail) from error
    try:
        yield store
    finally:
        await store.aclose()
