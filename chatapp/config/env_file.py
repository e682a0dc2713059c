"""The file ``.env``: its encoding, the lines that cannot be read, and the names that it sets."""

from __future__ import annotations

import codecs
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dotenv.parser import parse_stream

PATH: Final = Path(".env")

_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_KEY = re.compile(r"[A-Za-z_][\w.-]*")  # that can be meant: PowerShell's $env:NAME is none
_NAME = re.compile(r"\s*(?:(?:export|set)\s+|\$env:)?([A-Za-z_][A-Za-z0-9_]{0,63})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class EnvFile:
    """What there is to know about the file besides its values.

    Attributes:
        encoding: with which Python reads it.
        names: that it sets, in order.
        problems: sentences about the lines that cannot be read; they never hold a value.
    """

    encoding: str = "utf-8"
    names: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def read_env_file(path: Path = PATH) -> EnvFile:
    """Read the file; one that does not exist is empty.

    Raises:
        ValueError: the file cannot be read, or is no text in Unicode; the message is for a person.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return EnvFile()  # a folder of this name is often a virtual environment of Python
    except OSError as error:
        raise ValueError(f"The file {path} cannot be read ({error.strerror}). Check its permissions.") from error
    encoding = _encoding(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"The file {path} is not in UTF-8: line {line} holds bytes of another encoding, such as Windows-1255. Save "
            "it as UTF-8."
        ) from error
    bindings = list(parse_stream(io.StringIO(text)))
    return EnvFile(
        encoding,
        tuple(binding.key for binding in bindings if binding.key),
        tuple(
            _problem(path, binding.original.line, binding.original.string)
            for binding in bindings
            if binding.error or (binding.key and (binding.value is None or not _KEY.fullmatch(binding.key)))
        ),
    )


def _encoding(content: bytes) -> str:
    """Return the encoding: PowerShell and Notepad write UTF-16 and byte order marks."""
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return encoding
    if content[1::2].count(0) > len(content) / 4:  # ASCII in UTF-16: every other byte is 0
        return "utf-16-le"
    return "utf-16-be" if content[::2].count(0) > len(content) / 4 else "utf-8"


def _problem(path: Path, line: int, text: str) -> str:
    start = len(text) - len(text.lstrip())
    number = line + text.count("\n", 0, start)
    name = _NAME.match(text)
    example = name[1] if name else "NAME"
    return (
        f"Line {number} of the file {path} cannot be read. Write it as {example}=value, with quotation marks on both "
        "sides of the value or on none."
    )
