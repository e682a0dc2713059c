"""The keys that Google's Identity-Aware Proxy signs with: fetched when they are needed, and kept for a while."""

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

FRESH_S = 3600.0
ASK_AGAIN_S = 30.0  # between two requests, whatever tokens are sent here
STALE_S = 24 * 3600.0  # for which keys count that could not be fetched anew
FETCH_S = 5.0
MOST_BYTES = 256_000

log = structlog.get_logger(__name__)


class NoKeys(Exception):
    """There are no keys, or only old ones, and they cannot be fetched."""


class SigningKeys:
    """Public keys by their ids, at an address that gives them as ``{"id": "PEM"}``."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: Mapping[str, EllipticCurvePublicKey] = {}
        self._fetched_at: float | None = None  # by the monotonic clock, as the next one
        self._asked_at: float | None = None
        self._fetching = asyncio.Lock()

    async def key(self, key_id: str) -> EllipticCurvePublicKey | None:
        """Return a key; None if there is none with this id.

        Raises:
            NoKeys: it is not known whether there is.
        """
        if self._age(self._fetched_at) > FRESH_S or key_id not in self._keys:
            async with self._fetching:
                # Another request may have fetched them meanwhile.
                is_old = self._age(self._fetched_at) > FRESH_S
                if (is_old or key_id not in self._keys) and self._age(self._asked_at) > ASK_AGAIN_S:
                    await self._fetch()
        if self._age(self._fetched_at) > STALE_S:
            raise NoKeys
        return self._keys.get(key_id)

    async def _fetch(self) -> None:
        self._asked_at = time.monotonic()
        try:
            self._keys = await _fetched(self._url)
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
            log.warning("iap_keys_not_fetched", detail=type(error).__name__)
        else:
            self._fetched_at = time.monotonic()

    @staticmethod
    def _age(since: float | None) -> float:
        return float("inf") if since is None else time.monotonic() - since


async def _fetched(url: str) -> dict[str, EllipticCurvePublicKey]:
    """Return the keys at an address.

    Raises:
        ClientError, TimeoutError: it does not answer.
        ValueError, RecursionError: these are no keys.
    """
    timeout = aiohttp.ClientTimeout(total=FETCH_S)
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=True, raise_for_status=True) as http,
        http.get(url, allow_redirects=False) as response,
    ):
        text = await response.content.read(MOST_BYTES)
        while len(text) < MOST_BYTES and (more := await response.content.read(MOST_BYTES)):
            text += more
    found = json.loads(text)
    if response.status != 200 or not isinstance(found, dict) or not found:
        raise ValueError("no keys")
    return {key_id: _key(pem) for key_id, pem in found.items()}


def _key(pem: object) -> EllipticCurvePublicKey:
    key = load_pem_public_key(str(pem).encode())
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("no key for ES256")  # noqa: TRY004  # it is what was fetched that is wrong
    return key
