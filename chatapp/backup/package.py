"""The file of a backup: a ZIP archive with a manifest, the history, and secrets if they were asked for.

    manifest.json   {"format": "hybrid-chat-backup", "version": 1, "store": "sqlite", "schema": 6, "created": ...,
                     "files": {"chat.db": {"bytes": ..., "sha256": ...}, ...}}
    chat.db         SQLite: the history as one file
    files/ID        SQLite: the file of a document
    documents.jsonl Firestore: a document each line
    session-secret  only with --with-secrets

A reader must reject a higher ``version``. The file is written under another name, synced, and renamed at the end: one
that has its name is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from chatapp.domain.conversation import now_ms
from chatapp.domain.errors import ChatError
from chatapp.store.sqlite.file_folder import sync_folder
from chatapp.userdata.json_export import iso
from chatapp.userdata.zip_errors import DAMAGED_ZIP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT, VERSION = "hybrid-chat-backup", 1
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1_000_000
CHUNK_BYTES = 1 << 20
# Level 1 packs text to a third at three times the speed of the default.
LEVEL = 1


class InvalidBackup(ChatError):
    """The file is no backup, is damaged, or does not fit; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup has.

    Attributes:
        store: ``sqlite`` or ``firestore``.
        schema: the version of the history's schema.
        files: size and SHA-256 of each file by name.
    """

    store: str
    schema: int
    created: str
    files: dict[str, tuple[int, str]] = field(default_factory=dict)


class Writer:
    """Adds files to a backup that is being written."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.files: dict[str, tuple[int, str]] = {}

    @contextmanager
    def file(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file of the backup for writing; its size and checksum are noted at the end."""
        with self._archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as stream:
            hashed = _Hashed(stream)
            yield hashed  # type: ignore[misc]  # it has ``write``, which is all that is used
        self.files[name] = hashed.size, hashed.digest.hexdigest()


class _Hashed:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.size += len(data)
        self.digest.update(data)
        return self._stream.write(data)


@contextmanager
def writing(path: Path, store: str, schema: int) -> Iterator[Writer]:
    """Write a backup: whole under its name at the end of the block, or not at all.

    Raises:
        InvalidBackup: there is such a file already, or it cannot be written.
    """
    if path.exists():
        raise InvalidBackup(f"{path} exists already. Nothing was written. Choose another name.")
    partial = path.with_name(f"{path.name}.partial")
    try:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive:
                writer = Writer(archive)
                yield writer
                files = {name: {"bytes": size, "sha256": digest} for name, (size, digest) in writer.files.items()}
                manifest = {"format": FORMAT, "version": VERSION, "store": store, "schema": schema}
                archive.writestr(MANIFEST, json.dumps(manifest | {"created": iso(now_ms()), "files": files}, indent=1))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise InvalidBackup(f"{path} cannot be written: {error.strerror}. There is no backup.") from error
    finally:
        with suppress(OSError):
            partial.unlink()


class Reader:
    """Reads a backup.

    Attributes:
        manifest: what it has.
    """

    def __init__(self, archive: zipfile.ZipFile, manifest: Manifest) -> None:
        self._archive = archive
        self.manifest = manifest

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield a file's content, and compare it with the manifest.

        Raises:
            InvalidBackup: it is missing, or is not what was written; only at the end.
        """
        if name not in self.manifest.files:
            raise InvalidBackup(f"This backup has no {name}. Nothing was changed.")
        size, expected = self.manifest.files[name]
        digest, read = hashlib.sha256(), 0
        with self._archive.open(name) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
                read += len(chunk)
                yield chunk
        if (read, digest.hexdigest()) != (size, expected):
            raise InvalidBackup(f"This backup is damaged: {name} has another checksum. Nothing was changed.")


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """Open a backup, and check its manifest.

    Raises:
        InvalidBackup: it is no backup, is damaged, or was made by a newer version; also within the block.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield Reader(archive, _manifest(archive))
    except DAMAGED_ZIP as error:
        raise InvalidBackup(
            f"{path} is no backup of this chat, or it is damaged. Nothing was changed.", detail=str(error)[:200]
        ) from error
    except OSError as error:
        raise InvalidBackup(f"{path} cannot be read: {error.strerror or error}. Nothing was changed.") from error


def _manifest(archive: zipfile.ZipFile) -> Manifest:
    damaged = InvalidBackup("This file is no backup of this chat, or it is damaged. Nothing was changed.")
    if archive.getinfo(MANIFEST).file_size > MAX_MANIFEST_BYTES:
        raise damaged
    try:
        value: dict[str, Any] = json.loads(archive.read(MANIFEST))
        is_backup = value["format"] == FORMAT
        if is_backup and value["version"] > VERSION:
            raise InvalidBackup(
                f"This backup was made by a newer version of this chat (format {value['version']}; this one reads "
                f"{VERSION}). Nothing was changed. Update this chat first."
            )
        files = {str(name): (int(one["bytes"]), str(one["sha256"])) for name, one in value["files"].items()}
        manifest = Manifest(str(value["store"]), int(value["schema"]), str(value["created"]), files)
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise damaged from error
    if not is_backup:
        raise damaged
    return manifest


def refuse_newer(what: str, schema: int, known: int) -> None:
    """Refuse a history, or a backup of one, of a newer schema than this program knows.

    Raises:
        InvalidBackup: it is newer.
    """
    if schema > known:
        raise InvalidBackup(
            f"{what} was made by a newer version of this chat (schema {schema}; this one knows {known}). Nothing was "
            "changed. Update this chat first."
        )
