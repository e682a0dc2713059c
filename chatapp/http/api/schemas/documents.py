"""The text of a document."""

from chatapp.http.api.schemas.base import ResponseBody


class PageText(ResponseBody):
    """A page of a document; the name is that of a sheet, else empty."""

    number: int
    name: str
    text: str


class DocumentText(ResponseBody):
    """A document with all its pages."""

    name: str
    kind: str
    pages: list[PageText]
