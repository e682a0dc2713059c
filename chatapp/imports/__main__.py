"""Import an export of another chat, or of this one: ``python -m chatapp.imports FILE``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.config.logs import configure_logs
from chatapp.domain.errors import StoreUnavailable
from chatapp.images.decoder import ImageDecoder
from chatapp.imports.importer import Importer, Step
from chatapp.imports.refusals import InvalidImport
from chatapp.store.opening import describe_store
from chatapp.store.temporary.memory import MemoryStore
from chatapp.userdata.cli import ALL, FAILED, history, owner, run, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatapp.config.settings import Settings
    from chatapp.imports.report import Report


def main(arguments: Sequence[str] | None = None) -> int:
    """Import a file into the history that the chat's settings name, and return the exit status.

    0: it is imported, and what was left out is listed; 2: the import failed.
    """
    parser = argparse.ArgumentParser(prog="python -m chatapp.imports", description=__doc__)
    parser.add_argument("file", type=Path, help="the file as it was downloaded: a ZIP archive, or JSON")
    parser.add_argument("--user", help="the user who gets the history; not needed with CHAT_IDENTITY=local")
    parser.add_argument("--dry-run", action="store_true", help="check the file, change nothing")
    options = parser.parse_args(arguments)
    if not options.file.name:
        parser.error("Name the file, as in: make import FILE=export.zip")
    return run(lambda settings: _import(settings, options.file, options.user, dry_run=options.dry_run))


async def _import(settings: Settings, path: Path, user: str | None, *, dry_run: bool) -> int:
    user_id = owner(settings, user)
    target = f"the history of {user_id} in {describe_store(settings)}"
    images = ImageDecoder()
    try:
        with path.open("rb") as file:
            if dry_run:
                importer = Importer(MemoryStore(), images)
                report = await importer.run(user_id, file, path.name, on_step=_show, dry_run=True)
                _clear()
                _say(report)
                say(f"Nothing was changed. Without --dry-run, this is added to {target}.")
                return ALL
            async with history(settings) as store:
                importer = Importer(store, images, oldest_ms=lambda: settings.oldest_ms)
                report = await importer.run(user_id, file, path.name, on_step=_show)
    except OSError as error:
        raise InvalidImport(f"{path} cannot be read: {error.strerror}. Nothing was imported.") from error
    except InvalidImport as error:
        _clear()
        raise InvalidImport(f"{path}: {error}") from error
    except StoreUnavailable as error:
        _clear()
        say(f"The import failed: {error}\nRun the same command again to continue.")
        return FAILED
    _clear()
    _say(report)
    say(f"Added to {target}.")
    return ALL


def _say(report: Report) -> None:
    for line in report.sentences():
        say(line)
    if left_out := list(report.left_out()):
        say("Left out:")
        for line in left_out:
            say(f"  {line}")


def _show(step: Step) -> None:
    """Show how far the import is, in a terminal."""
    if sys.stdout.isatty():
        what = "Checking" if step.is_checking else "Importing"
        sys.stdout.write(f"\r{what}: {step.share:.0%}, {step.conversations:,} conversations ")
        sys.stdout.flush()


def _clear() -> None:
    if sys.stdout.isatty():
        sys.stdout.write("\r\033[K")


if __name__ == "__main__":
    configure_logs("text")
    sys.exit(main())
