"""Opens the file of an export: a document (JSON, a page), or a ZIP archive with documents and pictures.

Nothing is unpacked to the disk, and names are only compared: a name cannot lead anywhere. An archive that no chat makes
(links, names that lead out of it, names twice, encryption, bombs) is refused as a whole all the same.
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from chatapp.images.decoder import MAX_FILE_BYTES
from chatapp.imports import refusals
from chatapp.imports.parsed import PICTURE_NAMES
from chatapp.imports.refusals import InvalidImport, damaged, unsafe
from chatapp.userdata.zip_errors import DAMAGED_ZIP

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ENTRIES = 50_000
MAX_DIRECTORY_BYTES = 20_000_000  # zipfile makes an object of about 600 bytes for each entry of 46 or more
MAX_DOCUMENT_BYTES = 4_000_000_000  # of all documents together, unpacked
# JSON with repeated text packs to a fiftieth; deflate reaches a thousandth for zeros.
MAX_RATIO, RATIO_BYTES = 200, 10_000_000

_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_END, _END64 = b"PK\5\6", b"PK\6\6"
_END_BYTES = 22 + 65_535 + 20 + 56  # with the longest comment, and the records of a large archive
# The id that the name of a file of ChatGPT begins with: file-AbC123-photo.png, file_00ff-1234.dat.
_FILE_ID = re.compile(r"file-[A-Za-z0-9]+|file_[0-9a-f]+")
_DOCUMENT_NAMES = (".json", ".jsonl", ".txt", ".html", ".htm")
_ARCHIVE_NAMES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
# Of ChatGPT: shows the conversations of the same archive, and has as many bytes as they.
_VIEWER = "chat.html"
_PICTURES = (*PICTURE_NAMES, ".dat")


@dataclass(slots=True)
class Progress:
    """How much of the documents is read, in bytes."""

    done: int = 0
    total: int = 0


@dataclass(slots=True)
class Archive:
    """An opened file.

    Attributes:
        documents: names of what may be documents, in order.
        archives: names of archives in it, which are not read.
        others: names of further files, such as recordings.
        progress: counts what is read.
    """

    file: BinaryIO
    name: str
    documents: list[str] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)
    _zip: zipfile.ZipFile | None = None
    _pictures: dict[str, zipfile.ZipInfo] = field(default_factory=dict)

    @classmethod
    def open(cls, file: BinaryIO, name: str) -> Archive:
        """Look at a file, whose ``name`` is for errors.

        Raises:
            InvalidImport: it is an archive that is damaged, or is not safe to read.
        """
        archive = cls(file, name)
        file.seek(0)
        if file.read(4) not in {b"PK\3\4", _END}:
            archive.documents = [name]
            archive.progress.total = file.seek(0, 2)
            return archive
        with _errors_explained(name):
            _check_directory(file, name)
            archive._zip = zipfile.ZipFile(file)
            archive._sort_entries(archive._zip.infolist())
        return archive

    @property
    def is_zip(self) -> bool:
        """Whether there may be more than one document."""
        return self._zip is not None

    @contextmanager
    def document(self, name: str) -> Iterator[BinaryIO]:
        """Open a document.

        Raises:
            InvalidImport: it is damaged; also within the block.
        """
        with _errors_explained(name):
            if self._zip is None:
                self.file.seek(0)
                yield cast("BinaryIO", _Counted(self.file, self.progress))
            else:
                with self._zip.open(name) as stream:
                    yield cast("BinaryIO", _Counted(stream, self.progress))

    def picture(self, names: tuple[str, ...]) -> bytes | None:
        """Return the file of a picture that has one of these names or ids; b"" if it is too large or damaged."""
        entry = next((self._pictures[name] for name in names if name in self._pictures), None)
        if entry is None or self._zip is None:
            return None
        if entry.file_size > MAX_FILE_BYTES:
            return b""
        try:
            with _errors_explained(entry.filename):
                return self._zip.read(entry)
        except InvalidImport:
            return b""

    def _sort_entries(self, entries: list[zipfile.ZipInfo]) -> None:
        names: set[str] = set()
        for entry in entries:
            _check_entry(entry)
            if entry.filename in names:
                raise unsafe(refusals.TWICE.filled(name=_shown(entry.filename)))
            names.add(entry.filename)
            base = entry.filename.rpartition("/")[2]
            if entry.is_dir() or "__MACOSX/" in entry.filename or base.startswith("."):
                continue
            lower = base.lower()
            if lower.endswith(_DOCUMENT_NAMES) and lower != _VIEWER:
                self.documents.append(entry.filename)
                self.progress.total += entry.file_size
            elif lower.endswith(_ARCHIVE_NAMES):
                self.archives.append(entry.filename)
            elif not lower.endswith(_PICTURES) and not _FILE_ID.match(base):
                self.others.append(entry.filename)
            self._index_picture(base, entry)
        self.documents.sort()
        if self.progress.total > MAX_DOCUMENT_BYTES:
            most, size = MAX_DOCUMENT_BYTES // 10**9, -(-self.progress.total // 10**9)
            raise InvalidImport(refusals.TOO_LARGE_UNPACKED.filled(size=size, most=most))

    def _index_picture(self, base: str, entry: zipfile.ZipInfo) -> None:
        self._pictures.setdefault(base, entry)
        self._pictures.setdefault(base.rpartition(".")[0] or base, entry)
        if match := _FILE_ID.match(base):
            self._pictures.setdefault(match[0], entry)


class _Counted:
    """A stream that counts what is read."""

    def __init__(self, stream: IO[bytes], progress: Progress) -> None:
        self._stream = stream
        self._progress = progress

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._progress.done += len(data)
        return data


def _check_directory(file: BinaryIO, name: str) -> None:
    """Refuse an archive with a directory that takes much memory, before zipfile reads it."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END_BYTES))
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or at + 22 > len(tail):
        raise damaged(name, "no end record")
    entries, directory = struct.unpack_from("<HI", tail, at + 10)
    if (at64 := tail.rfind(_END64)) >= 0 and at64 + 56 <= len(tail):
        entries, directory = max((entries, directory), struct.unpack_from("<QQ", tail, at64 + 32))
    if entries > MAX_ENTRIES or directory > min(MAX_DIRECTORY_BYTES, size):
        raise unsafe(refusals.TOO_MANY_ENTRIES.filled(most=MAX_ENTRIES))


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = _shown(entry.filename)
    # zipfile cuts a name at NUL, and makes "/" of the system's separator.
    written = entry.orig_filename
    parts = re.split(r"[/\\]", written)
    if "\0" in written or ".." in parts or written.startswith(("/", "\\")) or re.match("[A-Za-z]:", written):
        raise unsafe(refusals.PATH.filled(name=name))
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise unsafe(refusals.LINK.filled(name=name))
    if entry.flag_bits & 0x1:
        raise unsafe(refusals.ENCRYPTED)
    if entry.compress_type not in _METHODS:
        raise unsafe(refusals.METHOD)
    if entry.file_size > RATIO_BYTES and entry.file_size > MAX_RATIO * entry.compress_size:
        raise unsafe(refusals.BOMB.filled(name=name))


def _shown(name: str) -> str:
    return repr(name[:80])


@contextmanager
def _errors_explained(name: str) -> Iterator[None]:
    try:
        yield
    except (*DAMAGED_ZIP, OSError, ValueError, struct.error, OverflowError) as error:
        raise damaged(name, f"{type(error).__name__}: {error}"[:200]) from error
