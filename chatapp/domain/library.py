"""A user's library: collections of documents ("Knowledge"), and folders of conversations."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatapp.domain.conversation import Document

MAX_COLLECTIONS = 100
MAX_FOLDERS = 100
MAX_NAME_CHARS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A named set of documents, which conversations and folders choose."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder of conversations, each of which names its folder.

    Attributes:
        instructions: for the model, before those of a conversation.
        collection: id of the collection of the conversations that choose none, "" for none.
    """

    id: str
    name: str
    instructions: str = ""
    collection: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryDocument:
    """A document of a collection.

    Attributes:
        collection: id of the collection.
        document: its id is made by `library_document_id`; its data is empty in lists.
        added_ms: when it was added, in milliseconds since the epoch.
    """

    collection: str
    document: Document
    added_ms: int


def library_document_id(collection: str, content: str) -> str:
    """Return the id of a document of a collection: of the same content in the same collection, the same.

    Args:
        collection: id of the collection.
        content: digest of the file and its name.
    """
    return hashlib.sha256(f"{collection}\0{content}".encode()).hexdigest()[:32]
