"""Office files are ZIP archives of XML: opens them within limits, and refuses XML that no office program writes.

Sizes are those that the archive states; zipfile reads no more of an entry than that. Documents of office programs have
no document type definition (ECMA-376 part 2, 7.1.4), so there are no entities to expand and nothing external to fetch.
"""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET
from xml.parsers import expat

from .shape import MAX_CHARACTERS, Reason, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ENTRIES = 20_000
MAX_UNPACKED_BYTES = 200_000_000
MAX_PART_BYTES = 40_000_000  # of one XML part: as a tree it takes about ten times as much memory
MAX_DEPTH = 200
MAX_ELEMENTS = 1_000_000
MAX_ATTRIBUTES = 200  # of an element


def opened(file: bytes) -> zipfile.ZipFile:
    """Open an archive.

    Raises:
        Refused: it is damaged, encrypted or a bomb.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(file))
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, UnicodeError) as error:
        raise Refused(Reason.DAMAGED, detail=f"zip: {type(error).__name__}") from None
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES or sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
        raise Refused(Reason.UNSAFE, detail=f"{len(entries)} entries")
    if any(entry.flag_bits & 1 for entry in entries):
        raise Refused(Reason.ENCRYPTED)
    return archive


def part(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return a part, b"" if there is none of this name.

    Raises:
        Refused: it is too large.
    """
    try:
        entry = archive.getinfo(name)
    except KeyError:
        return b""
    if entry.file_size > MAX_PART_BYTES:
        raise Refused(Reason.UNSAFE, detail="size of a part")
    return archive.read(entry)


def check_parts(archive: zipfile.ZipFile, *prefixes: str) -> None:
    """Check all XML parts whose names begin with a prefix, before a library parses them.

    Raises:
        Refused: one is not safe to parse, or is damaged.
    """
    for name in archive.namelist():
        if name.startswith(prefixes) and name.endswith((".xml", ".rels")):
            check_xml(part(archive, name))


def check_xml(data: bytes) -> None:
    """Parse XML without keeping anything of it.

    Raises:
        Refused: it has a document type definition, is nested too deeply, is too large, or is damaged.
    """
    parser = expat.ParserCreate()
    depth = elements = characters = 0

    def start(_name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, elements
        depth, elements = depth + 1, elements + 1
        if depth > MAX_DEPTH or elements > MAX_ELEMENTS or len(attributes) > MAX_ATTRIBUTES:
            raise Refused(Reason.UNSAFE, detail="nesting of XML")

    def text(characters_of_it: str) -> None:
        nonlocal characters
        characters += len(characters_of_it)
        if characters > 2 * MAX_CHARACTERS:
            raise Refused(Reason.TEXT, detail="characters of XML")

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    def doctype(*_declaration: object) -> None:
        raise Refused(Reason.UNSAFE, detail="document type definition")

    parser.StartElementHandler, parser.EndElementHandler, parser.StartDoctypeDeclHandler = start, end, doctype
    parser.CharacterDataHandler, parser.buffer_text = text, True
    try:
        parser.Parse(data, True)  # noqa: FBT003  # the C function takes no keyword
    except expat.ExpatError as error:
        raise Refused(Reason.DAMAGED, detail=f"XML: {error.code}") from None


def tree(archive: zipfile.ZipFile, name: str) -> ET.Element | None:
    """Return a part as a tree, None if there is no such part.

    Raises:
        Refused: it is not safe to parse, or is damaged.
    """
    if not (data := part(archive, name)):
        return None
    check_xml(data)
    return ET.fromstring(data)  # noqa: S314  # checked in the line before


def relations(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[str, str, str]]:
    """Yield the relations of a part to others within the archive: id, type and name."""
    folder, _, base = name.rpartition("/")
    root = tree(archive, f"{folder}/_rels/{base}.rels")
    for relation in root if root is not None else ():
        target = relation.get("Target", "")
        if relation.get("TargetMode") != "External":
            yield relation.get("Id", ""), relation.get("Type", "").rpartition("/")[2], _resolved(folder, target)


def _resolved(folder: str, target: str) -> str:
    parts = [] if target.startswith("/") else folder.split("/")
    for step in target.split("/"):
        if step == "..":
            parts = parts[:-1]
        elif step not in {"", "."}:
            parts.append(step)
    return "/".join(parts)
