"""The Hugging Face hub, or a mirror of it: where a file is, and what it says about the file.

Its own package, huggingface_hub, is installed with Gradio, but does not fit: docs/decisions.md says why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urljoin, urlsplit

import aiohttp
from yarl import URL

from chatapp.domain.errors import ChatError
from chatapp.domain.hosts import is_loopback
from chatapp.domain.sentences import Sentence, Wait

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chatapp.models.local.catalogue import HubFile

DEFAULT_ENDPOINT: Final = "https://huggingface.co"
CONNECT_SECONDS = 15.0
STALL_SECONDS = 30.0
"""Without a single byte, after which a connection counts as lost."""

_MAX_REDIRECTS = 5
_SHA256 = re.compile(r"[0-9a-f]{64}")
LONGEST_WAIT_SECONDS = 60


class DownloadFailed(ChatError):
    """A file could not be downloaded. What has arrived is kept, where that is of use."""


class TryAgain(Exception):
    """The download may go on in a moment.

    Attributes:
        failure: what to report if it does not.
        wait_seconds: that the server asks for; 0 if it does not say.
    """

    def __init__(self, failure: DownloadFailed, wait_seconds: float = 0) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as it will be downloaded.

    Attributes:
        url: with the revision resolved to a commit, so that a download that goes on later gets the same file.
        size: in bytes.
        sha256: hexadecimal.
    """

    url: str
    size: int
    sha256: str


class Hub:
    """A hub.

    Args:
        endpoint: its address; "" for Hugging Face's own.
        token: of an account, for repositories that ask for one; "" for none.
    """

    def __init__(self, endpoint: str = "", token: str = "") -> None:
        self.endpoint = endpoint.rstrip("/") or DEFAULT_ENDPOINT
        self.host = urlsplit(self.endpoint).hostname or self.endpoint
        is_secret = self.endpoint.startswith("https:") or is_loopback(self.host)
        self._headers = {"User-Agent": "hybrid-chat", "Accept-Encoding": "identity"}
        if token and is_secret:  # aiohttp drops it where a redirect leads to another host
            self._headers["Authorization"] = f"Bearer {token}"
        self._has_token = bool(token)

    def session(self) -> aiohttp.ClientSession:
        """Return a client, with the proxy of the usual variables (HTTPS_PROXY, NO_PROXY)."""
        timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=STALL_SECONDS)
        return aiohttp.ClientSession(headers=self._headers, timeout=timeout, trust_env=True)

    async def describe(self, session: aiohttp.ClientSession, file: HubFile) -> RemoteFile:
        """Return what the hub says about a file, compared with what the catalogue says.

        Raises:
            DownloadFailed: it is not there, needs an account, or is another one than the pinned one.
            TryAgain: the hub does not answer now.
        """
        url = self._url(file, file.revision)
        try:
            for _ in range(_MAX_REDIRECTS):
                async with session.head(URL(url, encoded=True), allow_redirects=False) as response:
                    headers, status = response.headers, response.status
                location = headers.get("Location", "")
                # A repository that was renamed: the hub leads to the new name. Storage is at an address of its own.
                if status not in {301, 302, 303, 307, 308} or "X-Linked-Size" in headers or "://" in location:
                    break
                url = urljoin(url, location)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TryAgain(self.unreachable(error)) from error
        self.check_status(status, headers, file)
        size, sha256 = _stated_size(headers), _stated_sha256(headers)
        if file.sha256:
            if (size or file.size) != file.size or (sha256 or file.sha256) != file.sha256:
                raise DownloadFailed(
                    Sentence("{host} has another file under this name than the one that was checked.", host=self.host),
                    detail=f"{url}: {size} bytes, sha256 {sha256}",
                )
            size, sha256 = file.size, file.sha256
        if not size or not sha256:
            raise DownloadFailed(
                Sentence("{host} does not state the length of the file, or its checksum.", host=self.host),
                detail=url,
            )
        commit = headers.get("X-Repo-Commit", "")
        return RemoteFile(self._url(file, commit) if re.fullmatch(r"[0-9a-f]{40}", commit) else url, size, sha256)

    def check_status(self, status: int, headers: Mapping[str, str], file: HubFile) -> None:
        """Raise what a status means, unless it is one of success or a redirect.

        Raises:
            DownloadFailed: for good.
            TryAgain: for now.
        """
        detail = f"{file.repository}: HTTP {status}"
        if status < 400 or status == 416:
            return
        if status in {401, 403}:
            sentence = Sentence(
                "The account of HF_TOKEN may not download this model. Accept its licence at {page}, then try again."
                if self._has_token
                else "This model needs an account. Accept its licence at {page}, set HF_TOKEN to a token of that "
                "account, and restart the chat.",
                page=f"{self.endpoint}/{file.repository}",
            )
            raise DownloadFailed(sentence, detail=detail)
        if status == 404:
            raise DownloadFailed(Sentence("{host} does not have this file.", host=self.host), detail=detail)
        if status == 429 or status >= 500:
            wait = _retry_after(headers.get("Retry-After", ""))
            busy = Sentence("{host} is busy. Try again {when}.", host=self.host, when=Wait(wait or 60))
            raise TryAgain(DownloadFailed(busy, detail=detail), wait)
        raise DownloadFailed(
            Sentence("{host} refused the download ({status}).", host=self.host, status=str(status)), detail=detail
        )

    def unreachable(self, error: Exception) -> DownloadFailed:
        """Return the error of a connection that could not be made, or was lost."""
        return DownloadFailed(
            Sentence(
                "{host} cannot be reached. Check the connection, or set HTTPS_PROXY or HF_ENDPOINT; what has arrived "
                "is kept.",
                host=self.host,
            ),
            detail=f"{type(error).__name__}: {error}",
        )

    def _url(self, file: HubFile, revision: str) -> str:
        return f"{self.endpoint}/{file.repository}/resolve/{quote(revision, safe='')}/{quote(file.name)}"


def _stated_size(headers: Mapping[str, str]) -> int:
    size = headers.get("X-Linked-Size", "")
    return int(size) if size.isascii() and size.isdigit() else 0


def _stated_sha256(headers: Mapping[str, str]) -> str:
    """Return the checksum, which is the entity tag of a large file; "" where there is none."""
    tag = headers.get("X-Linked-ETag", "").removeprefix("W/").strip('"').lower()
    return tag if _SHA256.fullmatch(tag) else ""


def _retry_after(value: str) -> int:
    """Return how many seconds a server asks to wait, bounded; 0 if it does not say, or names a date."""
    return min(int(value), LONGEST_WAIT_SECONDS) if value.isascii() and value.isdigit() else 0
