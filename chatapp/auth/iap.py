"""Users of Google's Identity-Aware Proxy (IAP), authenticated by the signed assertion (JWT) in each request.

The checks follow https://cloud.google.com/iap/docs/signed-headers-howto.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import jwt
import structlog

from chatapp.auth import AuthResult, User
from chatapp.auth.iap_keys import KeysUnavailable
from chatapp.auth.sessions import NOT_ALLOWED, user_id
from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from chatapp.auth.allow_list import AllowList
    from chatapp.auth.iap_keys import SigningKeys

HEADER = "x-goog-iap-jwt-assertion"
ISSUER = "https://cloud.google.com/iap"
LEEWAY_SECONDS = 30  # for clock skew
MAX_ASSERTION_BYTES = 8_192
SIGN_OUT_URL = "/?gcp-iap-mode=CLEAR_LOGIN_COOKIE"  # handled by IAP itself

NO_ASSERTION = Sentence(
    "This request did not come through Google's Identity-Aware Proxy, which signs you in. Open the "
    "chat at the address that its operator gave you."
)
INVALID_ASSERTION = Sentence(
    "Google's Identity-Aware Proxy could not verify your sign-in. Reload the page; if that does not "
    "help, tell the operator of this chat (the reason is in the log)."
)
KEYS_UNAVAILABLE = Sentence(
    "Your sign-in cannot be verified because Google's keys cannot be loaded. Reload the page in a moment."
)

log = structlog.get_logger(__name__)


class IapAuthenticator:
    """Authenticates users by IAP's signed assertion, and by no other header.

    Args:
        keys: IAP's public keys.
        audience: the required audience, ``/projects/NUMBER/global/backendServices/ID``. ``*`` in place of a part
            matches any number, because the id exists only after the load balancer is created.
        allow_list: who may use the chat; None: everyone whom IAP lets through.
    """

    def __init__(self, keys: SigningKeys, *, audience: str, allow_list: AllowList | None) -> None:
        self._keys = keys
        self._audience = re.compile(re.escape(audience).replace(r"\*", "[0-9]+"))
        self._allow_list = allow_list

    async def authenticate(self, request: HTTPConnection) -> AuthResult:
        """Return the user whom the request's assertion names."""
        assertions = request.headers.getlist(HEADER)
        if not assertions:
            return AuthResult(user=None, problem=NO_ASSERTION)
        try:
            claims = await self._claims(",".join(assertions))  # two headers make one invalid assertion
        except KeysUnavailable:
            return AuthResult(user=None, problem=KEYS_UNAVAILABLE, status=503)
        except (jwt.PyJWTError, RecursionError) as error:  # RecursionError: deeply nested JSON
            log.warning("iap_assertion_refused", detail=type(error).__name__)
            return AuthResult(user=None, problem=INVALID_ASSERTION)
        email, domain = (claim if isinstance(claim := claims.get(name), str) else "" for name in ("email", "hd"))
        if self._allow_list is not None and not self._allow_list.allows(email, domain):
            return AuthResult(user=None, problem=NOT_ALLOWED, status=403)
        return AuthResult(user=User(id=user_id(ISSUER, claims["sub"]), kind="iap", email=email))

    async def _claims(self, assertion: str) -> dict[str, Any]:
        """Return the claims of a verified assertion.

        Raises:
            PyJWTError: the signature, issuer, audience or time is wrong.
            KeysUnavailable: the signature cannot be checked.
        """
        if len(assertion) > MAX_ASSERTION_BYTES:
            raise jwt.InvalidTokenError("too long")
        header = jwt.get_unverified_header(assertion)
        key_id = header.get("kid")
        if header.get("alg") != "ES256" or not isinstance(key_id, str):  # before a key is fetched for it
            raise jwt.InvalidAlgorithmError
        key = await self._keys.key(key_id)
        if key is None:
            raise jwt.InvalidKeyError
        claims: dict[str, Any] = jwt.decode(
            assertion,
            key,
            algorithms=["ES256"],
            issuer=ISSUER,
            leeway=LEEWAY_SECONDS,
            options={
                "require": ["exp", "iat", "iss", "aud", "sub"],
                "verify_aud": False,
            },  # see below
        )
        audience = claims["aud"]
        if not isinstance(audience, str) or not self._audience.fullmatch(audience):
            log.warning("iap_audience_mismatch", audience=str(audience)[:200])  # signed by Google, and names no user
            raise jwt.InvalidAudienceError
        if not isinstance(claims["sub"], str) or not claims["sub"]:
            raise jwt.InvalidTokenError("no subject")
        return claims
