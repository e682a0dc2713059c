"""Restore the whole history from a backup: ``python -m chatapp.backup.restore FILE``. Stop the chat first."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.backup import firestore, sqlite
from chatapp.backup.__main__ import SECRET
from chatapp.backup.package import InvalidBackup, Reader, reading
from chatapp.config.logs import configure_logs
from chatapp.store.opening import describe_store, history_file
from chatapp.userdata.cli import ALL, run, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatapp.config.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Restore a backup into the history that the chat's settings name; return 0, or 2 if it failed."""
    parser = argparse.ArgumentParser(prog="python -m chatapp.backup.restore", description=__doc__)
    parser.add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    if not options.file.name:
        parser.error("Name the file, as in: make restore FILE=backup.zip")
    return run(lambda settings: _restore(settings, options.file))


async def _restore(settings: Settings, path: Path) -> int:
    with reading(path) as reader:
        if reader.manifest.store != settings.store:
            raise InvalidBackup(
                f"This is a backup of a {reader.manifest.store} history, and CHAT_STORE is {settings.store}. Nothing "
                "was changed. To move a history to another store, export it and import it (docs/move.md)."
            )
        if settings.store == "sqlite":
            kept = sqlite.restore(reader, history_file(settings))
            if kept:
                say(f"The history from before is kept as {kept}. Delete it when you do not need it any more.")
        else:
            await firestore.restore(reader, settings.google_cloud_project, settings.firestore_database)
        if SECRET in reader.manifest.files:
            _write_secret(reader, settings.secret_file)
        say(f"Restored {describe_store(settings)} from {path}, as it was on {reader.manifest.created}.")
    return ALL


def _write_secret(reader: Reader, path: Path) -> None:
    secret = b"".join(reader.chunks(SECRET))
    new = path.with_name(f"{path.name}.restoring")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(secret)
    new.replace(path)


if __name__ == "__main__":
    configure_logs("text")
    sys.exit(main())
