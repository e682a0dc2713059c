"""A bucket of Cloud Storage, by its JSON API: list objects, and send one in pieces.

https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from chatapp.weights.errors import CopyFailed, Interrupted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ENDPOINT: Final = "https://storage.googleapis.com"
METADATA_SERVER: Final = "http://metadata.google.internal"
UNIT: Final = 256 * 1024
"""Pieces but the last one must be multiples of it."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object: its size in bytes, and the checksum that it was stored with."""

    size: int
    checksum: str


class ServiceAccountToken:
    """Tokens of the pod's service account, from the metadata server (Workload Identity)."""

    def __init__(self, session: aiohttp.ClientSession, server: str = METADATA_SERVER) -> None:
        self._session = session
        self._url = f"{server}/computeMetadata/v1/instance/service-accounts/default/token"
        self._token = ""
        self._valid_until = 0.0

    async def __call__(self) -> str:
        """Return a token that is valid for two more minutes.

        Raises:
            Interrupted: the metadata server does not answer, as in the first seconds of a pod.
        """
        if time.monotonic() >= self._valid_until:
            try:
                async with self._session.get(self._url, headers={"Metadata-Flavor": "Google"}) as response:
                    response.raise_for_status()
                    answer = await response.json()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise Interrupted(f"The metadata server does not answer: {error!r}") from error
            self._token = str(answer["access_token"])
            self._valid_until = time.monotonic() + float(answer["expires_in"]) - 120
        return self._token


async def no_token() -> str:
    """Return no token, for an emulator."""
    return ""


class Bucket:
    """A bucket.

    Args:
        session: without headers of its own.
        name: of the bucket.
        token: returns an access token; empty: none is sent.
        endpoint: address of the API.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        name: str,
        token: Callable[[], Awaitable[str]],
        endpoint: str = ENDPOINT,
    ) -> None:
        self._session = session
        self.name = name
        self._token = token
        self._endpoint = endpoint.rstrip("/")

    async def objects(self, prefix: str) -> dict[str, StoredObject]:
        """Return the objects whose names begin with a prefix, by name.

        Raises:
            CopyFailed: the bucket cannot be read.
            Interrupted: it does not answer now.
        """
        found: dict[str, StoredObject] = {}
        page = ""
        while True:
            query = f"prefix={quote(prefix, safe='')}" + (f"&pageToken={quote(page, safe='')}" if page else "")
            answer = await self._request("GET", f"{self._endpoint}/storage/v1/b/{self.name}/o?{query}")
            for item in answer.body.get("items") or []:
                checksum = (item.get("metadata") or {}).get("checksum", "")
                found[str(item["name"])] = StoredObject(int(item["size"]), str(checksum))
            page = str(answer.body.get("nextPageToken") or "")
            if not page:
                return found

    async def start(self, name: str, size: int, checksum: str) -> Upload:
        """Begin to send an object. It exists once its last byte has arrived, and not before.

        Raises:
            CopyFailed: the bucket refuses it.
            Interrupted: it does not answer now.
        """
        url = f"{self._endpoint}/upload/storage/v1/b/{self.name}/o?uploadType=resumable&name={quote(name, safe='')}"
        body = {"name": name, "metadata": {"checksum": checksum}}
        answer = await self._request("POST", url, json=body, headers={"X-Upload-Content-Length": str(size)})
        return Upload(self, answer.headers["Location"], size)

    async def _request(self, method: str, url: str, **options: Any) -> _Answer:  # noqa: ANN401 - aiohttp's options
        token = await self._token()
        headers = {**options.pop("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        try:
            # A redirect would be to another program: a resumable upload answers 308 for "go on".
            async with self._session.request(
                method, URL(url, encoded=True), headers=headers, allow_redirects=False, **options
            ) as response:
                text = await response.text()
                is_json = "json" in response.headers.get("Content-Type", "")
                body = await response.json() if is_json and text else {}
                self._check(response.status, text)
                return _Answer(response.status, dict(response.headers), body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Interrupted(f"{self._endpoint} was lost: {error!r}") from error

    def _check(self, status: int, text: str) -> None:
        if status in {200, 201, 204, 308, 499}:
            return
        reason = re.sub(r"\s+", " ", text)[:300]
        if status == 507 or "quotaExceeded" in text or "storageQuota" in text:
            raise CopyFailed(f"The bucket {self.name} has no space left for the weights (HTTP {status}): {reason}")
        if status in {408, 429} or status >= 500:
            raise Interrupted(f"{self._endpoint} is busy: HTTP {status}")
        if status in {401, 403}:
            # Permanent only for a person: a new binding takes up to two minutes to propagate.
            raise CopyFailed(f"The service account may not use the bucket {self.name} (HTTP {status}): {reason}")
        raise CopyFailed(f"The bucket {self.name} refuses a request (HTTP {status}): {reason}")


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: dict[str, Any]


class Upload:
    """An object that is being sent.

    Attributes:
        stored: how many bytes have arrived.
    """

    def __init__(self, bucket: Bucket, url: str, size: int) -> None:
        self._bucket = bucket
        self._url = url
        self._size = size
        self.stored = 0

    async def send(self, piece: bytes) -> None:
        """Send the bytes from `stored` on; all but the last piece of an object are multiples of `UNIT`.

        Raises:
            CopyFailed: the bucket refuses them.
            Interrupted: the connection was lost; `look` says how much has arrived.
        """
        end = self.stored + len(piece)
        place = f"{self.stored}-{end - 1}" if piece else "*"
        answer = await self._put(piece, f"bytes {place}/{self._size}")
        self.stored = self._arrived(answer)

    async def look(self) -> None:
        """Update `stored` after a lost connection."""
        self.stored = self._arrived(await self._put(b"", f"bytes */{self._size}"))

    async def cancel(self) -> None:
        """Forget what has arrived."""
        await self._bucket._request("DELETE", self._url)  # noqa: SLF001 - one class in two parts

    def _arrived(self, answer: _Answer) -> int:
        if answer.status != 308:
            return self._size
        match = re.fullmatch(r"bytes=0-(\d+)", answer.headers.get("Range", ""))
        return int(match[1]) + 1 if match else 0

    async def _put(self, piece: bytes, content_range: str) -> _Answer:
        headers = {"Content-Range": content_range, "Content-Type": "application/octet-stream"}
        return await self._bucket._request("PUT", self._url, data=piece, headers=headers)  # noqa: SLF001 - as above
