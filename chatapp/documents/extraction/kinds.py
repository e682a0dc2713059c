"""What a file is, by its content. Its name only chooses between kinds of text, and must not contradict the content."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .decoding import decoded
from .shape import Kind, Reason, Refused

if TYPE_CHECKING:
    import zipfile

_NAMES = {
    **dict.fromkeys(("pdf",), Kind.PDF),
    **dict.fromkeys(("docx", "docm", "dotx"), Kind.WORD),
    **dict.fromkeys(("xlsx", "xlsm", "xlsb", "xls", "ods"), Kind.SHEET),
    **dict.fromkeys(("pptx", "pptm", "ppsx"), Kind.SLIDES),
    **dict.fromkeys(("txt", "text", "log", "rst", "tex"), Kind.TEXT),
    **dict.fromkeys(("md", "markdown"), Kind.MARKDOWN),
    **dict.fromkeys(("html", "htm", "xhtml"), Kind.HTML),
    **dict.fromkeys(("csv", "tsv"), Kind.CSV),
    **dict.fromkeys(("eml",), Kind.MAIL),
}
_CODE = frozenset(
    (
        *("py", "pyi", "ipynb", "js", "mjs", "ts", "tsx", "jsx", "vue", "css", "scss", "java", "kt", "scala", "clj"),
        *("c", "h", "cc", "cpp", "hpp", "cs", "go", "rs", "swift", "m", "dart", "hs", "ex", "rb", "php", "pl", "lua"),
        *("sh", "bash", "ps1", "sql", "r", "jl", "json", "jsonl", "yaml", "yml", "toml", "ini", "cfg", "xml", "svg"),
        *("proto", "tf"),
    )
)
BINARY = (Kind.PDF, Kind.WORD, Kind.SHEET, Kind.SLIDES)

# How files begin that people try, and that are not read.
_OTHERS = (
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"{\\rtf", "RTF"),
    (b"%!PS", "PostScript"),
    (b"Rar!", "RAR"),
    (b"7z\xbc\xaf", "7-Zip"),
    (b"\x1f\x8b", "gzip"),
    (b"MZ", "Windows program"),
    (b"\x7fELF", "Linux program"),
    (b"SQLite format 3\0", "SQLite"),
    (b"ID3", "MP3"),
    (b"RIFF", "RIFF"),
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # what Office wrote before 2007, and writes around encrypted files
_HTML = re.compile(r"\s*(?:<!--[^>]{0,500}-->\s*)?<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_MAIL_HEADERS = re.compile(r"^(?:From|To|Subject|Date|Received|MIME-Version|Message-ID|Return-Path):", re.MULTILINE)


def kind_of(file: bytes, name: str) -> Kind:
    """Return the kind of a file.

    Args:
        file: its bytes.
        name: as the person's computer calls it.

    Raises:
        Refused: it is empty, encrypted, of a kind that is not read, or of another kind than its name says.
    """
    if not file.strip(b"\0 \t\r\n"):
        raise Refused(Reason.EMPTY)
    ending = name.rpartition(".")[2].lower()
    named = _NAMES.get(ending, Kind.CODE if ending in _CODE else None)
    kind = _binary_kind(file, named)
    if kind is None:
        return _text_kind(file, named)
    if named is not None and named != kind:
        raise Refused(Reason.OTHER_KIND, kind=kind)
    return kind


def _binary_kind(file: bytes, named: Kind | None) -> Kind | None:
    """Return the kind by how the file begins, None for text."""
    if b"%PDF-" in file[:1024]:  # readers accept other bytes before it
        return Kind.PDF
    if file.startswith(_OLE):
        return _ole_kind(file)
    if file.startswith((b"PK\3\4", b"PK\5\6")):
        from .archive import opened  # noqa: PLC0415  # with zipfile, a seventh of the start; most files are no archives

        return _zip_kind(opened(file), named)
    for beginning, kind in _OTHERS:
        if file.startswith(beginning):
            raise _unsupported(kind, named)
    return None


def _ole_kind(file: bytes) -> Kind:
    def has(stream: str) -> bool:
        return stream.encode("utf-16-le") in file

    if has("EncryptedPackage"):
        raise Refused(Reason.ENCRYPTED)
    if has("WordDocument"):
        raise Refused(Reason.UNSUPPORTED, kind="Word 97 (.doc)")
    if has("PowerPoint Document"):
        raise Refused(Reason.UNSUPPORTED, kind="PowerPoint 97 (.ppt)")
    if has("Workbook") or has("Book"):
        return Kind.SHEET
    raise Refused(Reason.UNSUPPORTED, kind="OLE")


def _zip_kind(archive: zipfile.ZipFile, named: Kind | None) -> Kind:
    names = set(archive.namelist())
    for part, kind in (
        ("word/document.xml", Kind.WORD),
        ("xl/workbook.xml", Kind.SHEET),
        ("xl/workbook.bin", Kind.SHEET),
        ("ppt/presentation.xml", Kind.SLIDES),
    ):
        if part in names:
            return kind
    if "mimetype" in names and archive.getinfo("mimetype").file_size < 200:  # noqa: SIM102  # reads better in two
        if b"opendocument.spreadsheet" in archive.read("mimetype"):
            return Kind.SHEET
    if named in BINARY:
        raise Refused(Reason.DAMAGED, detail="parts are missing")
    raise Refused(Reason.UNSUPPORTED, kind="ZIP")


def _text_kind(file: bytes, named: Kind | None) -> Kind:
    if named in BINARY:
        raise Refused(Reason.DAMAGED, detail="no signature")
    beginning = decoded(file[:4096])
    if beginning is None:
        raise _unsupported("", named)
    if named in {Kind.CODE, Kind.MARKDOWN, Kind.CSV}:
        return named
    if _HTML.match(beginning):
        return Kind.HTML
    if len(set(_MAIL_HEADERS.findall(beginning.partition("\n\n")[0]))) >= 3:
        return Kind.MAIL
    return Kind.TEXT if named in {None, Kind.HTML, Kind.MAIL} else named


def _unsupported(kind: str, named: Kind | None) -> Refused:
    if named is not None and kind:
        return Refused(Reason.OTHER_KIND, kind=kind)
    return Refused(Reason.UNSUPPORTED, kind=kind)
