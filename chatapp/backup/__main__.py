"""Back up the whole history: ``python -m chatapp.backup [FILE]``. The chat may run meanwhile."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.backup import firestore, sqlite
from chatapp.backup.package import writing
from chatapp.config.logs import configure_logs
from chatapp.store.opening import describe_store, history_file
from chatapp.userdata.cli import ALL, run, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatapp.config.settings import Settings

SECRET = "session-secret"  # noqa: S105  # the name of a file in the backup


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a backup of the history that the chat's settings name, and return the exit status: 0, or 2 if it failed."""
    parser = argparse.ArgumentParser(prog="python -m chatapp.backup", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", help="(default: backup-DATE-TIME.zip)")
    parser.add_argument(
        "--with-secrets",
        action="store_true",
        help="include the secret that signs cookies; who has the file can then sign in as anyone",
    )
    options = parser.parse_args(arguments)
    path = options.file if options.file and options.file.name else Path(time.strftime("backup-%Y-%m-%d-%H%M%S.zip"))
    return run(lambda settings: _back_up(settings, path, with_secrets=options.with_secrets))


async def _back_up(settings: Settings, path: Path, *, with_secrets: bool) -> int:
    began = time.monotonic()
    if settings.store == "sqlite":
        database = history_file(settings)
        schema = sqlite.schema_of(database)
    else:
        schema = firestore.SCHEMA
    with writing(path, settings.store, schema) as writer:
        if settings.store == "sqlite":
            sqlite.back_up(database, writer)
        else:
            await firestore.back_up(settings.google_cloud_project, settings.firestore_database, writer)
        secret = settings.secret_file
        if with_secrets and secret.exists():
            with writer.file(SECRET) as stream:
                stream.write(secret.read_bytes())
    say(f"Backed up {describe_store(settings)} to {path}: {_megabytes(path)} MB, {time.monotonic() - began:.0f} s.")
    if not with_secrets:
        say("It has all conversations, and no secrets and keys. Keep it where only you can read it.")
    return ALL


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:,.1f}"


if __name__ == "__main__":
    configure_logs("text")
    sys.exit(main())
