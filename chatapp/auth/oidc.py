"""Sign-in with an OpenID Connect provider: the authorization code flow with PKCE, by Authlib."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx2  # Authlib's HTTP client
import structlog
from authlib.integrations.starlette_client import OAuth, OAuthError  # type: ignore[import-untyped]  # it has no types
from joserfc.errors import JoseError

from chatapp.auth.authlib_compat import are_loaded, forget_metadata, has_state, restrict_algorithms
from chatapp.domain.errors import ChatError
from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

GOOGLE = "https://accounts.google.com"
LEEWAY_SECONDS = 60  # for clock skew
PROVIDER_TIMEOUT_SECONDS = 10.0  # for one request to the provider
LOAD_SECONDS = 2.0  # that signing out waits for the provider
MAX_SUBJECT_CHARS = 255  # OpenID Connect Core, section 2
MAX_NAME_CHARS = 200
MAX_EMAIL_CHARS = 254
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_TEMPORARY_STATUSES = frozenset({408, 425, 429})
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")

log = structlog.get_logger(__name__)


class SignInError(ChatError):
    """The sign-in failed; the sentence says why.

    Attributes:
        status: the HTTP status of the error page.
        user: the id of the refused user; "" if unknown.
        retry_after: seconds until a retry may succeed; 0 if waiting does not help.
    """

    def __init__(
        self, status: int, sentence: Sentence, *, detail: str = "", user: str = "", retry_after: int = 0
    ) -> None:
        super().__init__(sentence, detail=detail)
        self.status = status
        self.user = user
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The verified claims about a user.

    Attributes:
        subject: the provider's id of the account.
        name: the display name; "" if the provider gives none.
        email: the e-mail address; "" if the provider has not verified it.
        domain: the domain that the account belongs to; "" for none.
    """

    subject: str
    name: str
    email: str
    domain: str


class OidcProvider:
    """An OpenID Connect provider. Its metadata is fetched at the first sign-in.

    The methods call ``before_request`` once before they send anything to the provider: it may raise a `SignInError`.

    Args:
        issuer: its address; the metadata is at ``/.well-known/openid-configuration`` below it.
        client_id: the id of the chat's OAuth client.
        client_secret: the secret of that client.
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
                "timeout": PROVIDER_TIMEOUT_SECONDS,
                "verify": httpx2.create_ssl_context(),  # shared: Authlib makes a client for each request
            },
        )

    async def start_sign_in(
        self,
        request: Request,
        redirect_uri: str,
        *,
        choose_account: bool,
        again: bool = False,
        before_request: Callable[[], None],
    ) -> str:
        """Return the provider's URL to redirect the user to; state and nonce go into ``request.session``.

        Args:
            request: the request that starts the sign-in.
            redirect_uri: where the provider sends the user back to.
            choose_account: show the account chooser, even if there is only one account.
            again: have the provider authenticate users who are signed in there already.
            before_request: see the class.

        Raises:
            SignInError: the provider is unreachable, or its metadata name another issuer.
        """
        if not are_loaded(self._app.server_metadata):
            before_request()
        await self._metadata()
        options: dict[str, str] = {}
        if again and self.issuer != GOOGLE:
            options = {"prompt": "login", "max_age": "0"}
        elif again or choose_account:
            # Google knows no other prompt that involves the user:
            # https://developers.google.com/identity/openid-connect/openid-connect#authenticationuriparameters
            options = {"prompt": "select_account"}
        answer = await self._app.authorize_redirect(request, redirect_uri, **options)
        return str(answer.headers["location"])

    async def finish_sign_in(
        self, request: Request, *, not_before: float = 0, before_request: Callable[[], None]
    ) -> Claims:
        """Return the claims about the user whom the provider sent back.

        Args:
            request: the request that the provider redirected the user to.
            not_before: when the user must have authenticated at the earliest, in seconds since the epoch, if the
                provider says when that was (``auth_time``).
            before_request: see the class.

        Raises:
            SignInError: the user cancelled, or the response cannot be verified.
        """
        if code := request.query_params.get("error"):
            raise _refused(code)
        if not has_state(request.session, request.query_params.get("state", "")):
            raise _refused("mismatching_state")
        before_request()
        metadata = await self._metadata()
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
            claims = token.get("userinfo")  # the claims of the verified ID token
            if claims is None:
                raise _unverified("no ID token")
            if not {"email", "email_verified"} <= claims.keys() and "userinfo_endpoint" in metadata:
                claims = _merged(claims, await self._app.userinfo(token=token))
        except OAuthError as error:
            raise _refused(error.error) from error
        except httpx2.HTTPError as error:
            raise _unreachable(error) from error
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise _unverified(type(error).__name__) from error
        authenticated = claims.get("auth_time")
        if isinstance(authenticated, int | float) and authenticated < not_before - LEEWAY_SECONDS:
            raise _unverified("the provider did not ask the user again")
        return self._checked(claims)

    @property
    def sign_out_url(self) -> str:
        """Where users sign out of the provider (OpenID Connect RP-Initiated Logout); "" if that is unknown."""
        address = self._app.server_metadata.get("end_session_endpoint")
        schemes = ("https://", "http://") if self.issuer.startswith("http://") else ("https://",)  # on this computer
        if not isinstance(address, str) or not address.startswith(schemes):
            return ""
        # Without a hint and an address to return to, which every provider accepts: it asks the user to confirm.
        return f"{address}{'&' if '?' in address else '?'}{urlencode({'client_id': self._client_id})}"

    async def load(self) -> None:
        """Fetch the provider's metadata, if that has not happened and takes no longer than a moment."""
        with suppress(SignInError, TimeoutError):
            async with asyncio.timeout(LOAD_SECONDS):
                await self._metadata()

    async def _metadata(self) -> Mapping[str, Any]:
        """Return the provider's metadata (OpenID Connect Discovery)."""
        try:
            metadata: dict[str, Any] = await self._app.load_server_metadata()
        except httpx2.HTTPStatusError as error:
            status = error.response.status_code
            if status in _TEMPORARY_STATUSES or status >= 500:  # HTTP's class of the server's own failures
                raise _unreachable(error) from error
            raise _misconfigured(f"the metadata of CHAT_OIDC_ISSUER: status={status}") from error
        except httpx2.HTTPError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise _misconfigured("the certificate of CHAT_OIDC_ISSUER is not valid") from error
            raise _unreachable(error) from error
        except (ValueError, TypeError) as error:
            raise _misconfigured("the metadata of CHAT_OIDC_ISSUER are not a JSON object") from error
        if missing := [name for name in _ENDPOINTS if not isinstance(metadata.get(name), str)]:
            forget_metadata(metadata)
            raise _misconfigured(f"the metadata of CHAT_OIDC_ISSUER lack {', '.join(missing)}")
        if str(metadata.get("issuer")).rstrip("/") != self.issuer:
            forget_metadata(metadata)  # the provider may be corrected while the chat runs
            raise _unverified("the issuer is not CHAT_OIDC_ISSUER")
        restrict_algorithms(metadata)
        return metadata

    def _checked(self, claims: Mapping[str, Any]) -> Claims:
        subject, name, email = claims["sub"], claims.get("name") or "", claims.get("email") or ""
        if not (isinstance(subject, str) and isinstance(name, str) and isinstance(email, str)):
            raise _unverified("claims of the wrong type")
        if not 0 < len(subject) <= MAX_SUBJECT_CHARS or len(email) > MAX_EMAIL_CHARS:
            raise _unverified("claims that are too long")
        verified = claims.get("email_verified")
        if not (verified is True or verified == "true") or not _EMAIL.fullmatch(email):  # some send it as text
            email = ""
        # Google accounts can keep an address of a domain that their owner has left, so its domain proves nothing. The
        # organisation is in "hd": https://developers.google.com/identity/openid-connect/openid-connect#hd-param
        domain = claims.get("hd", "") if self.issuer == GOOGLE else email.rpartition("@")[2]
        return Claims(
            subject=subject,
            name=name[:MAX_NAME_CHARS],
            email=email,
            domain=domain if email and isinstance(domain, str) else "",
        )


def _merged(claims: Mapping[str, Any], userinfo: dict[str, Any]) -> Mapping[str, Any]:
    """Return the claims of the ID token with what only the userinfo endpoint says.

    Raises:
        SignInError: the endpoint speaks of someone else.
    """
    if userinfo.get("sub") != claims["sub"]:
        raise _unverified("userinfo of another subject")
    is_other = {"email"} <= userinfo.keys() & claims.keys() and userinfo["email"] != claims["email"]
    missing = {name: value for name, value in userinfo.items() if name != "email_verified" or not is_other}
    return {**missing, **claims}


def _refused(error: str) -> SignInError:
    code = error if re.fullmatch(r"[a-z_]{1,60}", str(error)) else "unknown"
    match code:
        case "mismatching_state":
            return SignInError(
                400,
                Sentence(
                    "This sign-in was started in another browser or more than ten minutes ago, or it "
                    "is already finished. Sign in again."
                ),
                detail=code,
            )
        case "access_denied":
            return SignInError(403, Sentence("Sign-in was cancelled. Sign in again."), detail=code)
    return _unverified(code)


def _unverified(detail: str) -> SignInError:
    return SignInError(
        400,
        Sentence(
            "Your sign-in could not be verified. Sign in again; if that does not help, tell the "
            "operator of this chat (the reason is in the log)."
        ),
        detail=detail,
    )


def _misconfigured(detail: str) -> SignInError:
    return SignInError(
        502,
        Sentence(
            "Sign-in is not set up correctly on this chat, and trying again does not help. Tell the operator of this "
            "chat (the reason is in the log)."
        ),
        detail=detail,
    )


def _unreachable(error: Exception) -> SignInError:
    return SignInError(
        503,
        Sentence("The sign-in service is unreachable. Sign in again in a moment."),
        detail=type(error).__name__,
    )
