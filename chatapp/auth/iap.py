"""People whom Google's Identity-Aware Proxy let through, by the signed assertion that it adds to each request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import jwt
import structlog

from chatapp.auth import Identified, Person
from chatapp.auth.iap_keys import NoKeys
from chatapp.auth.sessions import NOT_ALLOWED, user_id
from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from chatapp.auth.allowed import AllowedPeople
    from chatapp.auth.iap_keys import SigningKeys

HEADER = "x-goog-iap-jwt-assertion"
ISSUER = "https://cloud.google.com/iap"
LEEWAY_SECONDS = 30  # for clocks that differ
LONGEST = 8_192  # bytes
SIGN_OUT = "/?gcp-iap-mode=CLEAR_LOGIN_COOKIE"  # the proxy's own

NOT_BY_PROXY = Sentence(
    "This request did not come through Google's Identity-Aware Proxy, which says who you are. Open the chat at the "
    "address that whoever runs it gave you."
)
UNPROVED = Sentence(
    "Google's Identity-Aware Proxy did not prove who you are. Load the page again; if that does not help, tell whoever "
    "runs the chat (its log says why)."
)
NO_KEYS = Sentence(
    "Who you are cannot be checked right now, because Google's keys for that cannot be fetched. Load the page again in "
    "a moment."
)

log = structlog.get_logger(__name__)


class ProxyIdentity:
    """Knows people by the proxy's assertions, and by nothing else that a request says.

    Args:
        keys: the proxy's.
        audience: what its assertions are for: ``/projects/NUMBER/global/backendServices/ID``; ``*`` in the place of the
            id, or of another part, is any number: the id is known only once the load balancer is there.
        allowed: who may use the chat; None: whomever the proxy lets through.
    """

    def __init__(self, keys: SigningKeys, *, audience: str, allowed: AllowedPeople | None) -> None:
        self._keys = keys
        self._audience = re.compile(re.escape(audience).replace(r"\*", "[0-9]+"))
        self._allowed = allowed

    async def identify(self, request: HTTPConnection) -> Identified:
        """Return whom the request's assertion names."""
        assertions = request.headers.getlist(HEADER)
        if not assertions:
            return Identified(person=None, problem=NOT_BY_PROXY)
        try:
            claims = await self._claims(",".join(assertions))  # of two, none is believed
        except NoKeys:
            return Identified(person=None, problem=NO_KEYS, status=503)
        except (jwt.PyJWTError, RecursionError) as error:  # the second: of thousands of brackets
            log.warning("iap_assertion_refused", detail=type(error).__name__)
            return Identified(person=None, problem=UNPROVED)
        address, domain = (claim if isinstance(claim := claims.get(name), str) else "" for name in ("email", "hd"))
        if self._allowed is not None and not self._allowed.let_in(address, domain):
            return Identified(person=None, problem=NOT_ALLOWED, status=403)
        return Identified(person=Person(user=user_id(ISSUER, claims["sub"]), kind="iap", address=address))

    async def _claims(self, assertion: str) -> dict[str, Any]:
        """Return what an assertion says.

        Raises:
            PyJWTError: it is not the proxy's, not for this chat, or not for now.
            NoKeys: that cannot be found out.
        """
        if len(assertion) > LONGEST:
            raise jwt.InvalidTokenError("too long")
        header = jwt.get_unverified_header(assertion)
        key_id = header.get("kid")
        if header.get("alg") != "ES256" or not isinstance(key_id, str):  # before any key is fetched for it
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
            options={"require": ["exp", "iat", "iss", "aud", "sub"], "verify_aud": False},  # below
        )
        audience = claims["aud"]
        if not isinstance(audience, str) or not self._audience.fullmatch(audience):
            log.warning("iap_audience_is_another", audience=str(audience)[:200])  # it is signed, and names no person
            raise jwt.InvalidAudienceError
        if not isinstance(claims["sub"], str) or not claims["sub"]:
            raise jwt.InvalidTokenError("nobody")
        return claims
