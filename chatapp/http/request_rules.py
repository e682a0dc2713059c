"""The rules for requests, route by route: what in a browser may send one, in which lane it runs, and its size.

The table is one place for decisions that must not be forgotten for a new route; a test compares it with the app's
routes. The middleware reads it, before a request reaches any route.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from chatapp.domain.conversation import GenerationParameters
from chatapp.domain.errors import DocumentTooLarge, ImageTooLarge, ImportTooLarge, TooLong
from chatapp.images.decoder import MAX_FILE_BYTES
from chatapp.limits.lanes import LaneName

if TYPE_CHECKING:
    from chatapp.config.settings import Settings
    from chatapp.domain.errors import InvalidMessage

# The largest JSON body: texts of about 100,000 characters in any alphabet, escaped.
MAX_JSON_BYTES = 1 << 20
# Bodies of all requests that are in memory at the same time, as they arrive. Parsing takes about four times as much for
# a moment: the bytes, their text, and the values.
BODY_BYTES_IN_TOTAL = 64_000_000
BODY_BYTES_PER_USER = 16_000_000
_UTF8_BYTES = 4  # of one character, at most


class Source(Enum):
    """What in a browser may send a request that changes nothing (GET, HEAD), by its Fetch Metadata.

    Any other request comes from a script of the chat's own page: see `chatapp.http.middleware.csrf`.
    """

    ANY = "anything"
    DOCUMENT = "a person who opens a page at top level, and scripts of the page"
    NAVIGATION = "a person who opens a page at top level, and nothing else: it leads to another site"
    SCRIPT = "scripts of the page, and a person who enters the address"
    IMAGE = "pictures and scripts of the page, and a person who opens the picture"
    DOWNLOAD = "scripts of the page, and a person who opens the file from there"
    FILE = "the page, for its parts"
    FRAME = "the page, for a frame of its own"
    WORKER = "the browser, for the page's service worker"


class Body(Enum):
    """What the body of a request is."""

    JSON = "JSON"
    IMAGE = "an image file"
    DOCUMENT = "the file of a document"
    IMPORT = "a file that is written to the disk as it arrives"


@dataclass(frozen=True, slots=True)
class RouteRule:
    """The rule of the routes whose paths match.

    Attributes:
        path: matches the whole path.
        source: what in a browser may send a request.
        lane: in which requests wait for each other; None: in none.
        body: what the body of a request is.
    """

    path: re.Pattern[str]
    source: Source
    lane: LaneName | None = None
    body: Body = Body.JSON


def _rule(path: str, source: Source, lane: LaneName | None = None, body: Body = Body.JSON) -> RouteRule:
    return RouteRule(re.compile(path, re.DOTALL), source, lane, body)


# The first that matches applies. ``[^/]*`` is a path parameter.
RULES = (
    _rule(r"/healthz|/robots\.txt", Source.ANY),
    _rule(r"/shared/[^/]*/images/[^/]*", Source.IMAGE),
    _rule(r"/shared/[^/]*", Source.DOCUMENT),
    _rule(r"/service-worker\.js", Source.WORKER),
    _rule(r"/page/[^/]*/frames/.*", Source.FRAME),
    _rule(r"/(?:page|assets)/.*|/theme\.css|/manifest\.webmanifest", Source.FILE),
    _rule(r"/sign-in(?:/start|/callback)?", Source.NAVIGATION),
    _rule(r"/search", Source.SCRIPT, LaneName.SEARCH),
    _rule(r"/export/.*", Source.SCRIPT, LaneName.EXPORT),
    _rule(r"/conversations", Source.SCRIPT, LaneName.LIST),
    _rule(r"/conversations/[^/]*/(?:turns|events|answers|continuations)", Source.SCRIPT, LaneName.STREAM),
    _rule(r"/conversations/[^/]*/images/[^/]*", Source.IMAGE, LaneName.IMAGE),
    _rule(r"/(?:conversations|collections)/[^/]*/documents/[^/]*/file", Source.DOWNLOAD, LaneName.DOCUMENT),
    _rule(r"/conversations/[^/]*/documents/[^/]*", Source.SCRIPT, LaneName.DOCUMENT),
    _rule(r"/conversations/.*", Source.SCRIPT, LaneName.LIST),
    _rule(r"/images", Source.SCRIPT, body=Body.IMAGE),
    _rule(r"/documents", Source.SCRIPT, body=Body.DOCUMENT),
    _rule(r"/collections/[^/]*/documents", Source.SCRIPT, body=Body.DOCUMENT),
    _rule(r"/collections/[^/]*/documents/[^/]*", Source.SCRIPT, LaneName.DOCUMENT),
    _rule(r"/library|/(?:collections|folders)(?:/[^/]*)?", Source.SCRIPT, LaneName.LIST),
    _rule(r"/imports", Source.SCRIPT, body=Body.IMPORT),
    _rule(r"/state|/me|/profile|/take-along|/shares(?:/[^/]*)?|/sign-ins(?:/[^/]*)?", Source.SCRIPT, LaneName.LIST),
    _rule(r"/local-models(?:/[^/]*(?:/download|/cancel)?)?", Source.SCRIPT),
    _rule(r"/models|/delete-everything|/sign-out(?:-everywhere|-elsewhere)?", Source.SCRIPT),
    _rule(r"/(?:c/.*)?", Source.DOCUMENT),
)
# For an address without a route: a person gets a page that says so.
UNKNOWN = _rule(r".*", Source.DOCUMENT)


def rule_of(path: str) -> RouteRule:
    """Return the rule of a path."""
    return next((rule for rule in RULES if rule.path.fullmatch(path)), UNKNOWN)


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """The largest bodies of requests, in bytes.

    Attributes:
        json: of any request but an upload.
        file: of an uploaded image.
        document: of an uploaded document.
        imported: of a file that is imported, which is not in memory.
        per_user: of all requests of a user together, while they are in memory.
        in_total: of all users together.
    """

    json: int = MAX_JSON_BYTES
    file: int = MAX_FILE_BYTES
    document: int = MAX_FILE_BYTES
    imported: int = MAX_FILE_BYTES
    per_user: int = BODY_BYTES_PER_USER
    in_total: int = BODY_BYTES_IN_TOTAL

    @classmethod
    def of(cls, settings: Settings) -> BodyLimits:
        """Return the limits with room for the longest message that the settings allow."""
        text = _UTF8_BYTES * (settings.max_message_chars + GenerationParameters.LONGEST_SYSTEM_PROMPT)
        json = max(MAX_JSON_BYTES, text + text // 4)  # with some escapes
        document = settings.document_megabytes * 1_000_000
        per_user = max(BODY_BYTES_PER_USER, document + BODY_BYTES_PER_USER // 4)  # and a message meanwhile
        return cls(json, document=document, imported=settings.import_bytes, per_user=per_user)

    def most(self, path: str) -> int:
        """Return the largest body of a request to a path."""
        return {Body.JSON: self.json, Body.IMAGE: self.file, Body.DOCUMENT: self.document, Body.IMPORT: self.imported}[
            rule_of(path).body
        ]

    def too_large(self, path: str) -> InvalidMessage:
        """Return the refusal of a larger body."""
        match rule_of(path).body:
            case Body.IMPORT:
                return ImportTooLarge(self.imported // 1_000_000)
            case Body.DOCUMENT:
                return DocumentTooLarge(self.document // 1_000_000)
            case Body.IMAGE:
                return ImageTooLarge()
            case _:
                return TooLong()
