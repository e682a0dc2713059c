"""Backup and restore of a SQLite history, with the files of its documents."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from chatapp.backup.package import CHUNK_BYTES, InvalidBackup, Reader, Writer, refuse_newer
from chatapp.store.sqlite.file import HISTORY, only_chat_at
from chatapp.store.sqlite.file_folder import folder_of, sync_folder
from chatapp.store.sqlite.files import all_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATABASE = "chat.db"  # in the backup
KEPT = ".before-restore"  # the name of the history that a restore replaced ends with it
FILE = re.compile(r"files/([0-9a-f]{32})")  # a document's file in the backup
SPARE_BYTES = 50_000_000


def schema_of(database: Path) -> int:
    """Return the version of a history's schema.

    Raises:
        InvalidBackup: there is no history, or it is not of this program.
    """
    if not database.exists():
        raise InvalidBackup(f"There is no history at {database}. There is no backup.")
    with closing(_read_only(database)) as connection:
        return _checked_schema(connection, f"The history at {database}")


def back_up(database: Path, writer: Writer) -> None:
    """Write a history as it is at one moment, while a chat may write it.

    All pages are copied in one step, which is one snapshot: in several, each write of the chat would begin the copy
    anew (https://www.sqlite.org/c3ref/backup_finish.html). Writes go on meanwhile; the write-ahead log grows.

    Raises:
        InvalidBackup: it cannot be read.
    """
    copy = database.with_name(f"{database.name}.backup-partial")
    try:
        _refuse_without_room(database.parent, database.stat().st_size)
        with suppress(FileNotFoundError):
            copy.unlink()
        os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(_read_only(database)) as source, closing(sqlite3.connect(copy)) as target:
            target.execute("PRAGMA journal_mode = OFF")
            target.execute("PRAGMA synchronous = OFF")  # it is read back at once, and deleted
            source.backup(target)
            _refuse_damaged(target, f"The history at {database}")
            files = _files_of(target)
        with copy.open("rb") as file, writer.file(DATABASE) as stream:
            shutil.copyfileobj(file, stream, CHUNK_BYTES)
        for one in files:
            with (
                suppress(FileNotFoundError),  # its document was deleted after the snapshot
                (folder_of(database) / one).open("rb") as file,
                writer.file(f"files/{one}") as stream,
            ):
                shutil.copyfileobj(file, stream, CHUNK_BYTES)
    except sqlite3.Error as error:
        raise InvalidBackup(f"The history at {database} cannot be read: {error}. There is no backup.") from error
    finally:
        for name in (copy, copy.with_name(f"{copy.name}-journal")):
            with suppress(OSError):
                name.unlink()


def restore(reader: Reader, database: Path) -> Path | None:
    """Replace a history by that of a backup; return where the old one is kept, None if there was none.

    The new history is written beside the old one and checked. It takes the place of the old one in one step, and before
    that the old one is whole, whenever the process is killed. The files of documents are written before that step, and
    those of the old history are moved after it.

    Raises:
        InvalidBackup: the backup is damaged or newer.
        StoreUnavailable: a chat is running.
    """
    refuse_newer("This backup", reader.manifest.schema, len(HISTORY.migrations))
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with only_chat_at(database):
        new = database.with_name(f"{database.name}.restoring")
        try:
            _write(new, reader.chunks(DATABASE), reader.manifest.files.get(DATABASE, (0, ""))[0])
            with closing(_read_only(new, immutable=True)) as connection:
                _checked_schema(connection, "This backup")
                _refuse_damaged(connection, "This backup")
            files = _restored_files(reader, folder_of(database))
            kept = _put_aside(database)
            new.replace(database)
            sync_folder(database.parent)
            if kept:
                _keep_files(folder_of(database), folder_of(kept), files)
        except sqlite3.Error as error:
            raise InvalidBackup(f"This backup is damaged: {error}. Nothing was changed.") from error
        finally:
            with suppress(OSError):
                new.unlink()
    return kept


def _files_of(connection: sqlite3.Connection) -> list[str]:
    """Return the ids of a history's files; one of an earlier schema has none."""
    has_files = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'files'").fetchone()
    return all_files(connection) if has_files else []


def _restored_files(reader: Reader, folder: Path) -> set[str]:
    """Write the files of documents of a backup into the folder, each whole or not at all; return their ids."""
    names = {name: match[1] for name in reader.manifest.files if (match := FILE.fullmatch(name))}
    if names:
        folder.mkdir(mode=0o700, exist_ok=True)
    for name, file in names.items():
        new = folder / f"{file}.restoring"
        _write(new, reader.chunks(name), reader.manifest.files[name][0])
        new.replace(folder / file)
    if names:
        sync_folder(folder)
    return set(names.values())


def _keep_files(folder: Path, kept: Path, used: set[str]) -> None:
    """Keep the files of the old history, some of which the new one may use, too."""
    shutil.rmtree(kept, ignore_errors=True)
    if not folder.is_dir():
        return
    kept.mkdir(mode=0o700)
    for file in folder.iterdir():
        if file.name in used:
            shutil.copy2(file, kept / file.name)
        else:
            file.replace(kept / file.name)


def _put_aside(database: Path) -> Path | None:
    """Give the old history a second name, as one file; its own name stays until it is replaced."""
    if not database.exists():
        return None
    kept = database.with_name(f"{database.name}{KEPT}")
    log, index = (database.with_name(f"{database.name}{ending}") for ending in ("-wal", "-shm"))
    try:
        # Else the new file would meet the old one's write-ahead log.
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.DatabaseError:  # a damaged history, which may be why it is replaced: keep all that there is
        if log.exists():
            log.replace(log.with_name(f"{kept.name}-wal"))
    for leftover in (log, index):
        with suppress(FileNotFoundError):
            leftover.unlink()
    with suppress(FileNotFoundError):
        kept.unlink()
    try:
        os.link(database, kept)
    except OSError:  # a disk without links
        shutil.copy2(database, kept)
    return kept


def _write(path: Path, chunks: Iterator[bytes], size: int) -> None:
    _refuse_without_room(path.parent, size)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _read_only(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?{'immutable=1' if immutable else 'mode=ro'}"
    return sqlite3.connect(address, uri=True, isolation_level=None)


def _checked_schema(connection: sqlite3.Connection, what: str) -> int:
    application_id, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if application_id != HISTORY.application_id:
        raise InvalidBackup(f"{what} is not a history of this chat. Nothing was changed.")
    refuse_newer(what, version, len(HISTORY.migrations))
    return int(version)


def _refuse_damaged(connection: sqlite3.Connection, what: str) -> None:
    (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if result != "ok":
        raise InvalidBackup(f"{what} is damaged: {result}. Nothing was changed.")


def _refuse_without_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + SPARE_BYTES:
        raise InvalidBackup(
            f"The disk with {folder} has {free / 1e6:,.0f} MB free, and {(size + SPARE_BYTES) / 1e6:,.0f} MB are "
            "needed for a moment. Nothing was changed. Free some space."
        )
