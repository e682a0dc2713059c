"""A repository of weights on Hugging Face, or a mirror of it."""

from __future__ import annotations

import fnmatch
import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from chatapp.weights.errors import CopyFailed, Interrupted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# What vLLM reads; a repository may have the same weights in other formats too.
WANTED: Final = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file.

    Attributes:
        path: inside the repository.
        size: in bytes.
        sha256: hexadecimal; empty for a small file, of which the hub states `git_sha1` only.
        git_sha1: of the file as Git stores it, with a header.
    """

    path: str
    size: int
    sha256: str
    git_sha1: str

    @property
    def checksum(self) -> str:
        """The checksum with its kind."""
        return f"sha256:{self.sha256}" if self.sha256 else f"git-sha1:{self.git_sha1}"

    def hasher(self) -> Any:  # noqa: ANN401 - hashlib's class has no public name
        """Return a hash object whose hexadecimal digest will be that of `checksum`."""
        if self.sha256:
            return hashlib.sha256()
        return hashlib.sha1(
            b"blob %d\0" % self.size, usedforsecurity=False
        )  # https://git-scm.com/book/en/v2/Git-Internals-Git-Objects

    def has_digest(self, digest: str) -> bool:
        """Return whether a digest of `hasher` is that of this file."""
        return digest == (self.sha256 or self.git_sha1)


class Repository:
    """One commit of a repository.

    Args:
        session: with the token's header.
        endpoint: address of the hub.
        name: "owner/model".
        revision: a commit.
        has_token: whether requests carry a token.
    """

    def __init__(
        self, session: aiohttp.ClientSession, endpoint: str, name: str, revision: str, *, has_token: bool
    ) -> None:
        self._session = session
        self._endpoint = endpoint.rstrip("/")
        self.name = name
        self.revision = revision
        self._has_token = has_token

    async def files(self) -> list[WeightsFile]:
        """Return the files that vLLM needs, sorted by path.

        Raises:
            CopyFailed: the repository cannot be read, or has no weights.
            Interrupted: the hub does not answer now.
        """
        url: str | None = f"{self._endpoint}/api/models/{self.name}/tree/{quote(self.revision, safe='')}?recursive=true"
        entries: list[dict[str, Any]] = []
        try:
            while url:
                async with self._session.get(URL(url, encoded=True)) as response:
                    self._check(response.status)
                    entries += await response.json()
                    following = response.links.get("next")
                    url = str(following["url"]) if following else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Interrupted(f"{self._endpoint} does not answer: {error!r}") from error
        files = [_file(entry) for entry in entries if entry.get("type") == "file"]
        wanted = [file for file in files if any(fnmatch.fnmatch(file.path, pattern) for pattern in WANTED)]
        if not any(file.path.endswith(".safetensors") for file in wanted):
            raise CopyFailed(f"{self.name} has no weights in the format safetensors.", is_permanent=True)
        return sorted(wanted, key=lambda file: file.path)

    @asynccontextmanager
    async def read(self, file: WeightsFile, start: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a file from a position on.

        Raises:
            CopyFailed: it cannot be read.
            Interrupted: the connection is lost.
        """
        path = quote(file.path)
        url = f"{self._endpoint}/{self.name}/resolve/{quote(self.revision, safe='')}/{path}"
        headers = {"Range": f"bytes={start}-"} if start else {}
        try:
            async with self._session.get(URL(url, encoded=True), headers=headers) as response:
                self._check(response.status)
                # A server may ignore the range, and send the file from its beginning.
                yield _after(response, 0 if response.status == 206 else start)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Interrupted(f"{self._endpoint} was lost: {error!r}") from error

    def _check(self, status: int) -> None:
        if status in {401, 403}:
            page = f"{self._endpoint}/{self.name}"
            if self._has_token:
                message = f"The token may not read {self.name}: accept the terms at {page} with the token's account."
            else:
                message = f"{self.name} needs a token: accept the terms at {page}, and set huggingFaceToken."
            raise CopyFailed(f"{message} (HTTP {status})", is_permanent=True)
        if status == 404:
            raise CopyFailed(f"There is no {self.name} at revision {self.revision}.", is_permanent=True)
        if status == 429 or status >= 500:
            raise Interrupted(f"{self._endpoint} is busy: HTTP {status}")
        if status >= 400:
            raise CopyFailed(f"{self._endpoint} refuses {self.name}: HTTP {status}.")


async def _after(response: aiohttp.ClientResponse, skipped: int) -> AsyncIterator[bytes]:
    async for piece in response.content.iter_chunked(PIECE):
        if skipped < len(piece):
            yield piece[skipped:]
        skipped = max(0, skipped - len(piece))


def _file(entry: dict[str, Any]) -> WeightsFile:
    lfs = entry.get("lfs") or {}
    return WeightsFile(
        path=str(entry["path"]),
        size=int(lfs.get("size", entry.get("size", 0))),
        sha256=str(lfs.get("oid", "")),
        git_sha1="" if lfs else str(entry.get("oid", "")),
    )
