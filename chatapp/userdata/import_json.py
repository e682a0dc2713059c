"""Import the JSON export of a chat: ``python -m chatapp.userdata.import_json FILE``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.config.logs import configure_logs
from chatapp.domain.errors import StoreUnavailable
from chatapp.store.opening import describe_store
from chatapp.userdata import json_export
from chatapp.userdata.cli import ALL, FAILED, PART, history, owner, run, say
from chatapp.userdata.insert import Added, IdTaken, add, add_profile
from chatapp.userdata.json_export import ExportedConversation, InvalidExport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatapp.config.settings import Settings
    from chatapp.domain.conversation import Profile


def main(arguments: Sequence[str] | None = None) -> int:
    """Import a file into the history that the chat's settings name, and return the exit status.

    0: everything is imported; 1: some conversations were skipped, and are listed; 2: the import failed.
    """
    parser = argparse.ArgumentParser(prog="python -m chatapp.userdata.import_json", description=__doc__)
    parser.add_argument("file", type=Path, help="the response of GET /export/everything.json")
    parser.add_argument("--user", help="the user who gets the history; not needed with CHAT_IDENTITY=local")
    parser.add_argument("--dry-run", action="store_true", help="check the file, change nothing")
    options = parser.parse_args(arguments)
    return run(lambda settings: _import(settings, options.file, options.user, dry_run=options.dry_run))


async def _import(settings: Settings, path: Path, user: str | None, *, dry_run: bool) -> int:
    user_id = owner(settings, user)
    exported, profile = _read(path)  # validated as a whole before anything is written
    say(f"{path}: {len(exported):,} conversations, {sum(len(one.messages) for one in exported):,} messages.")
    target = f"the history of {user_id} in {describe_store(settings)}"
    if dry_run:
        say(f"Nothing was changed. Without --dry-run, they are added to {target}.")
        return ALL
    added, skipped = Added(), 0
    try:
        async with history(settings) as store:
            if profile:
                added.personas = await add_profile(store, user_id, profile)
            for conversation, messages in exported:
                try:
                    await add(store, user_id, conversation, messages, added, oldest_ms=settings.oldest_ms)
                except IdTaken as error:
                    skipped += 1
                    say(f"{conversation.id}: {error}")
    except StoreUnavailable as error:
        say(f"The import failed: {error}\nImported so far: {added}. Run the same command again to continue.")
        return FAILED
    say(f"Added to {target}: {added}.")
    return PART if skipped else ALL


def _read(path: Path) -> tuple[list[ExportedConversation], Profile | None]:
    try:
        text = path.read_text(encoding="utf-8")
        return json_export.read(text), json_export.read_profile(text)
    except OSError as error:
        raise InvalidExport(f"{path} cannot be read: {error.strerror}. Nothing was imported.") from error
    except UnicodeDecodeError as error:
        raise InvalidExport(f"{path} is not text. Nothing was imported.") from error
    except InvalidExport as error:
        raise InvalidExport(f"{path}: {error} Nothing was imported.") from error


if __name__ == "__main__":
    configure_logs("text")
    sys.exit(main())
