"""Encrypted cookies: the browser can neither read nor change their content."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_COOKIE_BYTES = 4096  # browsers store no longer cookie


class CookieCipher:
    """Encrypts and signs JSON objects (Fernet: AES-128-CBC, HMAC-SHA256) with a key derived for one purpose.

    Args:
        secret: all replicas share it.
        purpose: a cookie encrypted for one purpose cannot be decrypted for another.
    """

    def __init__(self, secret: str, purpose: str) -> None:
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"chat.{purpose}".encode()).derive(secret.encode())
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def encrypt(self, content: Mapping[str, Any]) -> str:
        """Return the value of a cookie with this content."""
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        return self._fernet.encrypt(text.encode("utf-8", "replace")).decode()

    def decrypt(self, value: str, max_age_seconds: float) -> dict[str, Any] | None:
        """Return the content of a cookie; None unless `encrypt` made it within the last ``max_age_seconds``."""
        if not value or len(value) > MAX_COOKIE_BYTES:
            return None
        try:
            # Fernet takes text after the padding, too.
            if base64.urlsafe_b64encode(base64.urlsafe_b64decode(value)).decode() != value:
                return None
            content = json.loads(self._fernet.decrypt(value.encode(), ttl=int(max_age_seconds)))
        except (InvalidToken, ValueError):
            return None
        return content if isinstance(content, dict) else None
