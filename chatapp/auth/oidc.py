"""Signing in at an OpenID Connect provider, by the code flow with PKCE (Authlib)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2  # what Authlib talks with
import structlog
from authlib.integrations.starlette_client import OAuth, OAuthError  # type: ignore[import-untyped]  # it has no types
from joserfc.errors import JoseError

from chatapp.domain.errors import ChatError
from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

GOOGLE = "https://accounts.google.com"
LEEWAY_SECONDS = 60  # for clocks that differ
PROVIDER_SECONDS = 10.0  # for one request to the provider
LONGEST_SUBJECT = 255  # characters: OpenID Connect Core, 2
LONGEST_NAME = 200
LONGEST_ADDRESS = 254
# Signed with a key of which the provider alone has the private half.
_ALGORITHMS = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}

_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")

log = structlog.get_logger(__name__)


class SignInRefused(ChatError):
    """Nobody was signed in; the sentence says why.

    Attributes:
        status: of the page that says it.
        user: who was refused; "" where nobody knows.
    """

    def __init__(self, status: int, sentence: Sentence, *, detail: str = "", user: str = "") -> None:
        super().__init__(sentence, detail=detail)
        self.status = status
        self.user = user


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What the provider says of somebody, checked.

    Attributes:
        address: the e-mail address; "" where the provider has not verified it.
        domain: which the person belongs to; "" for none.
    """

    subject: str
    name: str
    address: str
    domain: str


class Provider:
    """An OpenID Connect provider; what it is like is asked for at the first sign-in.

    Args:
        issuer: its address, of which ``/.well-known/openid-configuration`` says all else.
        client_id: as whom the chat is registered there.
        client_secret: and by what it is recognised.
    """

    def __init__(self, issuer: str, client_id: str, client_secret: str) -> None:
        self.issuer = issuer
        self._client_id = client_id
        self._app = OAuth().register(
            "provider",
            client_id=client_id,
            client_secret=client_secret,
            server_metadata_url=f"{issuer}/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid email profile",
                "code_challenge_method": "S256",
                "timeout": PROVIDER_SECONDS,
                "verify": httpx2.create_ssl_context(),  # once: each request is a client of its own to Authlib
            },
        )

    async def begin(self, request: Request, redirect_uri: str, *, choose: bool) -> str:
        """Return the address at which the person signs in; what has to be known afterwards is in the session.

        ``choose``: the person is to choose an account, even if there is only one.

        Raises:
            SignInRefused: the provider cannot be reached, or is another one.
        """
        await self._known()
        options = {"prompt": "select_account"} if choose else {}
        answer = await self._app.authorize_redirect(request, redirect_uri, **options)
        return str(answer.headers["location"])

    async def finish(self, request: Request) -> Claims:
        """Return who came back from signing in.

        Raises:
            SignInRefused: nobody did, or it cannot be proved.
        """
        metadata = await self._known()
        try:
            token = await self._app.authorize_access_token(
                request,
                leeway=LEEWAY_SECONDS,
                claims_options={
                    "iss": {"essential": True, "value": metadata["issuer"]},
                    "aud": {"essential": True, "value": self._client_id},
                    "exp": {"essential": True},
                },
            )
            said = token.get("userinfo")  # of the ID token, once that is verified
            if said is None:
                raise _unproved("no ID token")
            if "email" not in said and "userinfo_endpoint" in metadata:
                more = await self._app.userinfo(token=token)
                if more.get("sub") != said["sub"]:
                    raise _unproved("userinfo of somebody else")
                said = {**more, **said}
        except OAuthError as error:
            raise _refused(error) from error
        except httpx2.HTTPError as error:
            raise _unreachable(error) from error
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise _unproved(type(error).__name__) from error
        return self._claims(said)

    async def _known(self) -> Mapping[str, Any]:
        """Return what the provider says of itself."""
        try:
            metadata: dict[str, Any] = await self._app.load_server_metadata()
        except (httpx2.HTTPError, ValueError) as error:
            raise _unreachable(error) from error
        if str(metadata.get("issuer")).rstrip("/") != self.issuer:
            metadata.clear()  # it may be put right while the chat runs
            raise _unproved("the issuer is another one: CHAT_OIDC_ISSUER")
        said = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        metadata["id_token_signing_alg_values_supported"] = [name for name in said if name in _ALGORITHMS]
        return metadata

    def _claims(self, said: Mapping[str, Any]) -> Claims:
        subject, name, address = said["sub"], said.get("name") or "", said.get("email") or ""
        if not (isinstance(subject, str) and isinstance(name, str) and isinstance(address, str)):
            raise _unproved("claims of other types")
        if not 0 < len(subject) <= LONGEST_SUBJECT or len(address) > LONGEST_ADDRESS:
            raise _unproved("claims that are too long")
        verified = said.get("email_verified")
        if not (verified is True or verified == "true") or not _ADDRESS.fullmatch(address):  # some say it as text
            address = ""
        # Of an address at Google, the part behind the @ says nothing: anybody can have an account under one that they
        # once had. Whose organisation it is, is in "hd".
        domain = said.get("hd", "") if self.issuer == GOOGLE else address.rpartition("@")[2]
        return Claims(
            subject=subject,
            name=name[:LONGEST_NAME],
            address=address,
            domain=domain if address and isinstance(domain, str) else "",
        )


def _refused(error: OAuthError) -> SignInRefused:
    code = error.error if re.fullmatch(r"[a-z_]{1,60}", str(error.error)) else "unknown"
    match code:
        case "mismatching_state":
            return SignInRefused(
                400,
                Sentence(
                    "This sign-in was begun in another browser, more than ten minutes ago, or was finished already. "
                    "Sign in again."
                ),
                detail=code,
            )
        case "access_denied":
            return SignInRefused(
                403, Sentence("Signing in was cancelled, so nobody was signed in. Sign in again."), detail=code
            )
    return _unproved(code)


def _unproved(detail: str) -> SignInRefused:
    return SignInRefused(
        400,
        Sentence(
            "Who you are could not be proved, so nobody was signed in. Sign in again; if that does not help, tell "
            "whoever runs the chat (its log says why)."
        ),
        detail=detail,
    )


def _unreachable(error: Exception) -> SignInRefused:
    return SignInRefused(
        503,
        Sentence("The service that you sign in at cannot be reached right now. Sign in again in a moment."),
        detail=type(error).__name__,
    )
