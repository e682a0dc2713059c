"""E-mail (.eml) -> one page: the subject, who wrote to whom and when, the text, and the names of attachments."""

from __future__ import annotations

import email
import email.policy
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from .blocks import markdown_blocks, text_blocks
from .decoding import decoded
from .html_text import markdown_of
from .shape import Block, BlockKind, Page, Reason, Refused

if TYPE_CHECKING:
    from email.message import EmailMessage

_NESTED = re.compile(rb"^content-type:\s*(?:multipart|message)/", re.IGNORECASE | re.MULTILINE)
_HEADERS = ("From", "To", "Cc", "Date")
MAX_PARTS = 1_000
MAX_NESTED = 100  # parts that have parts: the parser compares each line with the boundaries of all that are open


def pages_of(file: bytes) -> list[Page]:
    """Return an e-mail as one page; attachments are named, and not opened.

    Raises:
        Refused: its parts are nested too deeply.
    """
    if len(_NESTED.findall(file)) > MAX_NESTED:
        raise Refused(Reason.UNSAFE, detail="parts of an e-mail")
    message = email.message_from_bytes(file, policy=email.policy.default)
    blocks = []
    if subject := _header(message, "Subject"):
        blocks.append(Block(BlockKind.HEADING, subject, 1))
    blocks += [Block(BlockKind.TEXT, f"{name}: {value}") for name in _HEADERS if (value := _header(message, name))]
    texts, pages, names = [], [], []
    for number, part in enumerate(message.walk()):
        if number == MAX_PARTS:
            break
        if part.is_multipart():
            continue
        name = ""
        with suppress(Exception):  # of malformed headers, of any kind
            name = part.get_filename() or ""
        if name or part.get_content_disposition() == "attachment":
            names.append(name or "attachment")
        elif part.get_content_type() == "text/plain":
            texts.append(_text(part))
        elif part.get_content_type() == "text/html":
            pages.append(_text(part))
    if any(text.strip() for text in texts):
        blocks += [block for text in texts for block in text_blocks(text)]
    else:
        blocks += [block for page in pages for block in markdown_blocks(markdown_of(page))]
    blocks += [Block(BlockKind.TEXT, f"Attachment: {name}") for name in names]
    return [Page(1, tuple(blocks))]


def _header(message: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(message.get(name, "")).split())
    except Exception:  # noqa: BLE001  # the parser of structured headers raises what it meets
        return ""


def _text(part: EmailMessage) -> str:
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        return ""
    with suppress(LookupError, UnicodeDecodeError, ValueError):
        return data.decode(part.get_content_charset("utf-8")).replace("\r\n", "\n")
    return decoded(data) or ""
