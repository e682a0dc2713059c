"""The library: collections with their documents, and folders."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from chatapp.domain.conversation import GenerationParameters
from chatapp.domain.errors import InvalidParameters
from chatapp.domain.library import MAX_NAME_CHARS
from chatapp.domain.sentences import Sentence
from chatapp.http.api.schemas.base import EntryId, RequestBody, ResponseBody, Text
from chatapp.http.api.schemas.messages import DocumentInfo
from chatapp.http.api.schemas.turns import NewId


class LibraryDocumentInfo(DocumentInfo):
    """A document of a collection, whose text has an address of its own."""

    added_ms: int = Field(description="when it was added, in milliseconds since the epoch")


class CollectionName(ResponseBody):
    """A collection by its name."""

    id: str
    name: str


class FolderName(ResponseBody):
    """A folder by its name."""

    id: str
    name: str
    collection: str = Field(description='id of the collection of its conversations that choose none, "" for none')


class LibraryNames(ResponseBody):
    """The collections and folders, in the order in which they were made."""

    collections: list[CollectionName]
    folders: list[FolderName]


class CollectionBody(CollectionName):
    """A collection with its documents, by name."""

    documents: list[LibraryDocumentInfo]


class FolderBody(FolderName):
    """A folder."""

    instructions: str


class LibraryBody(ResponseBody):
    """The whole library."""

    collections: list[CollectionBody]
    folders: list[FolderBody]


def _name(value: str, missing: Sentence, too_long: Sentence) -> str:
    name = " ".join(value.split())
    if not name:
        raise InvalidParameters(missing)
    if len(name) > MAX_NAME_CHARS:
        raise InvalidParameters(too_long.filled(most=MAX_NAME_CHARS))
    return name


def _collection_name(value: str) -> str:
    return _name(
        value,
        Sentence("A collection needs a name. Enter one first."),
        Sentence("A collection's name can have {most} characters at most."),
    )


def _folder_name(value: str) -> str:
    return _name(
        value,
        Sentence("A folder needs a name. Enter one first."),
        Sentence("A folder's name can have {most} characters at most."),
    )


def _instructions(value: str) -> str:
    longest = GenerationParameters.LONGEST_SYSTEM_PROMPT
    if len(value) > longest:
        raise InvalidParameters(Sentence("A folder's instructions can have {most} characters at most.", most=longest))
    return value


FolderLabel = Annotated[Text, AfterValidator(_folder_name)]
Instructions = Annotated[Text, AfterValidator(_instructions)]


class CollectionChange(RequestBody):
    """The name of a collection.

    Raises:
        InvalidParameters: it is blank or too long.
    """

    name: Annotated[Text, AfterValidator(_collection_name)]


class NewCollection(CollectionChange):
    """A new collection."""

    id: NewId | None = Field(default=None, description="of the new collection; the same one for a retry")


class NewFolder(RequestBody):
    """A new folder.

    Raises:
        InvalidParameters: the name is blank, or a text is too long.
    """

    id: NewId | None = Field(default=None, description="of the new folder; the same one for a retry")
    name: FolderLabel
    instructions: Instructions = ""
    collection: EntryId = ""


class FolderChange(RequestBody):
    """Changes of a folder, at least one.

    Raises:
        InvalidParameters: the name is blank, or a text is too long.
    """

    name: FolderLabel = ""
    instructions: Instructions = ""
    collection: EntryId = ""

    @model_validator(mode="after")
    def _is_a_change(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("no change")
        return self
