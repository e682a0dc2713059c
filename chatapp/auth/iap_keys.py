"""The public keys that Google's Identity-Aware Proxy signs with: fetched on demand and cached."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import aiohttp
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

if TYPE_CHECKING:
    from collections.abc import Mapping

CACHE_SECONDS = 3600.0
MIN_FETCH_INTERVAL_SECONDS = 30.0  # however many unknown key ids clients send
MAX_AGE_SECONDS = 24 * 3600.0  # how long old keys are valid if they cannot be fetched again
FETCH_TIMEOUT_SECONDS = 5.0
MAX_RESPONSE_BYTES = 256_000

log = structlog.get_logger(__name__)


class KeysUnavailable(Exception):
    """There are no keys, or only old ones, and fetching them failed."""


class SigningKeys:
    """Public keys by id, fetched from a URL that serves ``{"id": "PEM"}``."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: Mapping[str, EllipticCurvePublicKey] = {}
        self._fetched_at: float | None = None  # by the monotonic clock, as `_tried_at`
        self._tried_at: float | None = None
        self._fetching = asyncio.Lock()

    async def key(self, key_id: str) -> EllipticCurvePublicKey | None:
        """Return the key with this id; None if there is none.

        Raises:
            KeysUnavailable: the keys could not be fetched.
        """
        if self._age(self._fetched_at) > CACHE_SECONDS or key_id not in self._keys:
            async with self._fetching:
                # Another request may have fetched them meanwhile.
                is_old = self._age(self._fetched_at) > CACHE_SECONDS
                if (is_old or key_id not in self._keys) and self._age(self._tried_at) > MIN_FETCH_INTERVAL_SECONDS:
                    await self._fetch()
        if self._age(self._fetched_at) > MAX_AGE_SECONDS:
            raise KeysUnavailable
        return self._keys.get(key_id)

    async def _fetch(self) -> None:
        self._tried_at = time.monotonic()
        try:
            self._keys = await _fetch_keys(self._url)
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
            log.warning("iap_keys_not_fetched", detail=type(error).__name__)
        else:
            self._fetched_at = time.monotonic()

    @staticmethod
    def _age(since: float | None) -> float:
        return float("inf") if since is None else time.monotonic() - since


async def _fetch_keys(url: str) -> dict[str, EllipticCurvePublicKey]:
    """Fetch the keys.

    Raises:
        ClientError, TimeoutError: the request failed.
        ValueError, RecursionError: the response is no valid set of keys.
    """
    timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=True, raise_for_status=True) as http,
        http.get(url, allow_redirects=False) as response,
    ):
        text = await response.content.read(MAX_RESPONSE_BYTES)
        while len(text) < MAX_RESPONSE_BYTES and (more := await response.content.read(MAX_RESPONSE_BYTES)):
            text += more
    keys = json.loads(text)
    if response.status != 200 or not isinstance(keys, dict) or not keys:
        raise ValueError("no keys")
    return {key_id: _parse_key(pem) for key_id, pem in keys.items()}


def _parse_key(pem: object) -> EllipticCurvePublicKey:
    key = load_pem_public_key(str(pem).encode())
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("not an ES256 key")  # noqa: TRY004  # the fetched data is wrong, not an argument
    return key
