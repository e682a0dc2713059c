"""The text of a document."""

from pydantic import Field

from chatapp.http.api.schemas.base import ResponseBody
from chatapp.http.api.schemas.messages import DocumentInfo


class UploadedDocument(DocumentInfo):
    """A document that waits for a message."""

    stored: int = Field(description="of its text as it will be stored, in bytes")


class PageText(ResponseBody):
    """A page of a document; the name is that of a sheet, else empty."""

    number: int
    name: str
    text: str


class DocumentText(ResponseBody):
    """A document with all its pages."""

    name: str
    kind: str
    has_file: bool = Field(description="whether its file is kept, too")
    pages: list[PageText]
