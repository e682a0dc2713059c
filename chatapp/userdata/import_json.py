"""Import what a chat exported as JSON: ``python -m chatapp.userdata.import_json FILE``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.config.logs import configure_logs
from chatapp.domain.errors import StoreUnavailable
from chatapp.store.opening import describe_store
from chatapp.userdata import json_export
from chatapp.userdata.cli import ALL, FAILED, PART, history, oldest_ms, owner, run, say
from chatapp.userdata.insert import Added, IdTaken, add, add_profile
from chatapp.userdata.json_export import ExportedConversation, InvalidExport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatapp.config.settings import Settings
    from chatapp.domain.conversation import Profile


def main(arguments: Sequence[str] | None = None) -> int:
    """Import a file into the history that the chat's settings name, and return the exit status.

    0: all of it is there; 1: some conversations were left out, and are named; 2: it could not begin, or broke off.
    """
    parser = argparse.ArgumentParser(prog="python -m chatapp.userdata.import_json", description=__doc__)
    parser.add_argument("file", type=Path, help="what GET /export/everything.json gave")
    parser.add_argument("--user", help="whose history it becomes; not needed with CHAT_IDENTITY=local")
    parser.add_argument("--dry-run", action="store_true", help="check the file, change nothing")
    given = parser.parse_args(arguments)
    return run(lambda settings: _import(settings, given.file, given.user, dry_run=given.dry_run))


async def _import(settings: Settings, path: Path, user: str | None, *, dry_run: bool) -> int:
    whose = owner(settings, user)
    archived, profile = _read(path)  # all of it is checked before anything is written
    say(f"{path}: {len(archived):,} conversations, {sum(len(one.messages) for one in archived):,} messages.")
    if dry_run:
        say(f"Nothing was changed. They would be added to the history of {whose} in {describe_store(settings)}.")
        return ALL
    added, left_out = Added(), 0
    try:
        async with history(settings) as store:
            if profile:
                added.personas = await add_profile(store, whose, profile)
            for conversation, messages in archived:
                try:
                    await add(store, whose, conversation, messages, added, oldest_ms=oldest_ms(settings))
                except IdTaken as error:
                    left_out += 1
                    say(f"{conversation.id}: {error}")
    except StoreUnavailable as error:
        say(f"It broke off: {error}\nUntil then: {added}. The same command again goes on.")
        return FAILED
    say(f"Added to the history of {whose} in {describe_store(settings)}: {added}.")
    return PART if left_out else ALL


def _read(path: Path) -> tuple[list[ExportedConversation], Profile | None]:
    try:
        text = path.read_text(encoding="utf-8")
        return json_export.read(text), json_export.read_profile(text)
    except OSError as error:
        raise InvalidExport(f"{path} cannot be read: {error.strerror}. Nothing was imported.") from error
    except UnicodeDecodeError as error:
        raise InvalidExport(f"{path} is no text. Nothing was imported.") from error
    except InvalidExport as error:
        raise InvalidExport(f"{path}: {error} Nothing was imported.") from error


if __name__ == "__main__":
    configure_logs("text")
    sys.exit(main())
