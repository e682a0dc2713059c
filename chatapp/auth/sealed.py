"""Facts in a cookie that its holder can neither read nor change."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST = 4096  # bytes; browsers keep no longer cookie


class Seal:
    """Encrypts and signs facts (Fernet: AES-128-CBC, HMAC-SHA256), with a key of its own for each purpose.

    Args:
        secret: replicas of one chat share it.
        purpose: what was sealed for another one cannot be opened.
    """

    def __init__(self, secret: str, purpose: str) -> None:
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"chat.{purpose}".encode()).derive(secret.encode())
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def closed(self, facts: Mapping[str, Any]) -> str:
        """Return the facts as text that a cookie can hold."""
        said = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
        return self._fernet.encrypt(said.encode("utf-8", "replace")).decode()

    def opened(self, text: str, seconds: float) -> dict[str, Any] | None:
        """Return the facts; None if this is not what `closed` returned within the last ``seconds``."""
        if not text or len(text) > LONGEST:
            return None
        try:
            facts = json.loads(self._fernet.decrypt(text.encode(), ttl=int(seconds)))
        except (InvalidToken, ValueError):
            return None
        return facts if isinstance(facts, dict) else None
