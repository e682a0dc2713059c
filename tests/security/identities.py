"""Valid, forged, expired and revoked credentials for each identity mode of the chat."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import asdict, replace
from typing import Any, ClassVar, Protocol

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from itsdangerous import Signer
from jwt.algorithms import ECAlgorithm

from chatapp.auth.encrypted_cookies import CookieCipher
from chatapp.auth.sessions import Session, SessionCookies, user_id
from chatapp.domain.conversation import now_ms
from tests.security.http_client import Caller, Response

Request = Callable[[str, str, Caller, object], Awaitable[Response]]
SECRET = secrets.token_urlsafe(32)
IAP = "https://cloud.google.com/iap"
ISSUER = "http://127.0.0.1:9"  # nothing listens there: the tests seal the sessions themselves
NOT_ALLOWED = "ana@x.example"
SIGN_IN: dict[str, Any] = {
    "identity": "google",
    "session_secret": SECRET,
    "oidc_issuer": ISSUER,
    "oidc_client_id": "chat",
    "oidc_client_secret": "known to the provider",
    "allowed_people": ("example.org",),
}
_KEY = ec.generate_private_key(ec.SECP256R1())
ADDRESS = "ana@example.org"


class IdentityMode(Protocol):
    """An identity mode (``CHAT_IDENTITY``) with its credentials.

    Attributes:
        settings: of the chat.
        guests: whether an unauthenticated request gets a new guest session.
    """

    settings: dict[str, Any]
    guests: bool

    def provider(self) -> AbstractAsyncContextManager[None]:
        """Run the identity provider, and complete `settings`."""

    def user(self, name: str) -> str:
        """Return the id of a user."""

    def authenticated(self, name: str) -> Caller:
        """Return a caller with a new, valid session of the user."""

    def forged(self, name: str) -> list[Caller]:
        """Return callers with forged, expired or misplaced credentials of the user."""

    async def signed_out(self, name: str, request: Request) -> list[Caller]:
        """Sign the user out, and return callers with copies of the revoked credentials."""


class Anonymous:
    """A signed guest cookie; a request without one gets a new guest."""

    settings: ClassVar = {"identity": "anonymous", "session_secret": SECRET}
    guests = True
    provider = nullcontext

    def user(self, name: str) -> str:
        return f"anonymous-{hashlib.sha256(name.encode()).hexdigest()[:32]}"

    def authenticated(self, name: str) -> Caller:
        return Caller(name, _cookie("chat_user", _signed(self.user(name), SECRET)))

    async def signed_out(self, name: str, request: Request) -> list[Caller]:
        return []  # guests cannot sign out

    def forged(self, name: str) -> list[Caller]:
        user = self.user(name)
        signed = _signed(user, SECRET)
        cookies = {
            "unsigned id": user,
            "empty signature": f"{user}.",
            "signature by another secret": _signed(user, "another"),
            "signature by an empty secret": _signed(user, ""),
            "signature with the salt of sessions": Signer(SECRET, salt="chat.session", digest_method=hashlib.sha256)
            .sign(user)
            .decode(),
            "SHA-1 signature": Signer(SECRET, salt="chat.identity.anonymous").sign(user).decode(),
            "changed id with the original signature": user[:-1] + "x." + signed.rpartition(".")[2],
            "truncated signature": signed[:-2],
        }
        return [
            *(Caller(title, _cookie("chat_user", value)) for title, value in cookies.items()),
            *unsigned_headers(user),
        ]


class GuestsOfGoogle(Anonymous):
    """Guests of a chat where users can sign in, and move their guest conversations to the account."""

    settings: ClassVar = SIGN_IN | {"guests": True}

    def forged(self, name: str) -> list[Caller]:
        session = _sealed(_session("bela"))["cookie"]
        forged = super().forged(name)
        with_session = [
            Caller(f"session of another user with {caller.name}", {"cookie": f"{session}; {caller.headers['cookie']}"})
            for caller in forged
            if "cookie" in caller.headers
        ]
        return forged + with_session


class Google:
    """An encrypted session cookie, set after signing in at the OpenID Connect provider."""

    settings: ClassVar = SIGN_IN
    guests = False
    provider = nullcontext

    def user(self, name: str) -> str:
        return user_id(ISSUER, name)

    def authenticated(self, name: str) -> Caller:
        return Caller(name, _sealed(_session(name)))

    def forged(self, name: str) -> list[Caller]:
        valid = _session(name)
        sealed = _sealed(valid)["cookie"]
        fields = asdict(valid)
        week = 7 * 24 * 3600
        cookies = {
            "empty session cookie": "chat_session=",
            "session encrypted with another secret": _sealed(valid, secret="x" * 32)["cookie"],
            "session with the sign-in cookies' key": f"chat_session={CookieCipher(SECRET, 'sign-in').encrypt(fields)}",
            "unencrypted session": f"chat_session={_base64(fields)}",
            "session with a changed character": sealed[:-9] + ("A" if sealed[-9] != "A" else "B") + sealed[-8:],
            "truncated session": sealed[: len(sealed) // 2],
            "expired session": _sealed(replace(valid, began_ms=now_ms() - (week + 60) * 1000))["cookie"],
            "session of another issuer": _sealed(replace(valid, issuer="http://127.0.0.1:8"))["cookie"],
            "session under the cookie name of HTTPS": sealed.replace("chat_session", "__Host-chat_session"),
            "session under the name of the sign-in cookie": sealed.replace("chat_session", "chat_sign_in"),
            "user removed from the allow-list": _sealed(replace(valid, email=NOT_ALLOWED, domain="x.example"))[
                "cookie"
            ],
            "unverified email address": _sealed(replace(valid, email="", domain=""))["cookie"],
            "subdomain of an allowed domain": _sealed(replace(valid, email="a@b.example.org", domain="b.example.org"))[
                "cookie"
            ],
            "unsigned token as the session": f"chat_session={_token(name, None, 'none')}",
            "ID token as the session": f"chat_session={_token(name, _KEY, 'ES256')}",
            "guest cookie in a chat without guests": _cookie("chat_user", _signed(self.user(name), SECRET))["cookie"],
        }
        bearers = {
            f"bearer token ({algorithm})": {"authorization": f"Bearer {_token(name, key, algorithm)}"}
            for algorithm, key in (("none", None), ("HS256", SECRET), ("ES256", _KEY))
        }
        return [
            *(Caller(title, {"cookie": cookie}) for title, cookie in cookies.items()),
            *(Caller(title, headers) for title, headers in bearers.items()),
            Caller("IAP assertion in a chat without IAP", {"x-goog-iap-jwt-assertion": _token(name, _KEY, "ES256")}),
            *unsigned_headers(self.user(name)),
        ]

    async def signed_out(self, name: str, request: Request) -> list[Caller]:
        here, other_device = self.authenticated(name), self.authenticated(name)
        assert (await request("POST", "/sign-out", here, {})).status == 200
        assert (await request("POST", "/sign-out-everywhere", self.authenticated(name), {})).status == 200
        return [
            Caller("copied cookie of a revoked session", here.headers),
            Caller("session of another device, revoked by signing out everywhere", other_device.headers),
        ]


def _session(name: str) -> Session:
    address = f"{name}@example.org"
    return Session.create(ISSUER, name, name=name, email=address, domain="example.org")


def _sealed(session: Session, *, secret: str = SECRET) -> dict[str, str]:
    header = SessionCookies(secret, secure=False, days=7).set_cookie(session)
    return {"cookie": header.partition(";")[0]}


def _base64(fields: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()


def _token(name: str, key: Any, algorithm: str) -> str:
    """Return an ID token as the provider would issue it, signed with any key."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "chat", "sub": name, "email": f"{name}@example.org", "email_verified": True}
    return jwt.encode(claims | {"iat": now, "exp": now + 600}, key, algorithm=algorithm)


class Iap:
    """An assertion that Google's Identity-Aware Proxy signs."""

    guests = False
    AUDIENCE = "/projects/123456789012/global/backendServices/4567890123456789012"

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {"identity": "iap", "session_secret": SECRET, "iap_audience": self.AUDIENCE}
        self._key, self._other_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    @asynccontextmanager
    async def provider(self) -> AsyncIterator[None]:
        async def keys(_request: web.Request) -> web.Response:
            return web.json_response({"one": _public(self._key).decode()})

        app = web.Application()
        app.router.add_get("/keys", keys)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.settings["iap_keys_url"] = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
        yield
        await runner.cleanup()

    def user(self, name: str) -> str:
        return user_id(IAP, f"accounts.google.com:{name}")

    def authenticated(self, name: str) -> Caller:
        return Caller(name, _asserted(self._assertion(name)))

    async def signed_out(self, name: str, request: Request) -> list[Caller]:
        return []  # users sign out at Google, whose proxy then blocks their requests

    def forged(self, name: str) -> list[Caller]:
        now = int(time.time())
        public = _public(self._key)
        valid = self._assertion(name)
        head, claims, signature = valid.split(".")
        other_claims = self._assertion("other").split(".")[1]
        assertions = {
            "empty assertion": "",
            "not a token": "ana",
            "token without a signature": f"{head}.{claims}.",
            "claims of another user with a valid signature": f"{head}.{other_claims}.{signature}",
            "algorithm none": jwt.encode(self._claims(name), None, algorithm="none", headers={"kid": "one"}),
            "HMAC with Google's public key as the secret": _unchecked_jwt("HS256", self._claims(name), public),
            "signature by another key": self._assertion(name, key=self._other_key),
            "unknown key id": self._assertion(name, kid="two"),
            "path as the key id": self._assertion(name, kid="../../keys"),
            "own key in the header": self._assertion(name, key=self._other_key, jwk=_jwk(self._other_key)),
            "URL of its own key in the header": self._assertion(
                name, key=self._other_key, jku="http://127.0.0.1:9/keys"
            ),
            "expired token": self._assertion(name, iat=now - 3600, exp=now - 60),
            "token issued in the future": self._assertion(name, iat=now + 86_400, exp=now + 90_000),
            "token without expiry": self._assertion(name, exp=None),
            "audience of another project": self._assertion(name, aud=self.AUDIENCE.replace("123456789012", "9")),
            "audience of another service": self._assertion(name, aud=self.AUDIENCE + "1"),
            "token without audience": self._assertion(name, aud=None),
            "another issuer": self._assertion(name, iss="https://accounts.google.com"),
            "token without issuer": self._assertion(name, iss=None),
        }
        return [
            *(Caller(title, _asserted(token)) for title, token in assertions.items()),
            Caller("valid token in another header", {"authorization": f"Bearer {valid}"}),
            Caller(
                "valid token in a cookie", {"cookie": f"x-goog-iap-jwt-assertion={valid}; GCP_IAAP_AUTH_TOKEN={valid}"}
            ),
            Caller("session cookie in a chat with IAP", _sealed(_session(name))),
            Caller("guest cookie in a chat with IAP", _cookie("chat_user", _signed(self.user(name), SECRET))),
            *unsigned_headers(self.user(name)),
        ]

    def _assertion(self, name: str, *, key: Any = None, kid: str = "one", **changes: Any) -> str:
        headers = {header: changes.pop(header) for header in ("jwk", "jku") if header in changes}
        claims = {claim: value for claim, value in (self._claims(name) | changes).items() if value is not None}
        return jwt.encode(claims, key or self._key, algorithm="ES256", headers={"kid": kid, **headers})

    def _claims(self, name: str) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": IAP,
            "aud": self.AUDIENCE,
            "sub": f"accounts.google.com:{name}",
            "email": f"{name}@example.org",
            "hd": "example.org",
            "iat": now,
            "exp": now + 600,
        }


def _asserted(token: str) -> dict[str, str]:
    return {"x-goog-iap-jwt-assertion": token}


def _public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    return json.loads(ECAlgorithm.to_jwk(key.public_key()))


def _unchecked_jwt(algorithm: str, claims: dict[str, Any], secret: bytes) -> str:
    """Return a JWT that libraries refuse to create."""
    parts = [json.dumps(part).encode() for part in ({"alg": algorithm, "kid": "one", "typ": "JWT"}, claims)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"=")
    return (signed + b"." + signature).decode()


def unsigned_headers(user: str) -> list[Caller]:
    """Return callers with headers that a proxy in front might add, and that no chat may trust."""
    headers = {
        "unsigned email header of IAP": {"x-goog-authenticated-user-email": f"accounts.google.com:{ADDRESS}"},
        "unsigned id header of IAP": {"x-goog-authenticated-user-id": f"accounts.google.com:{user}"},
        "user headers of other proxies": dict.fromkeys(
            ("x-forwarded-user", "x-forwarded-email", "x-auth-request-user", "x-remote-user", "remote-user", "x-user"),
            user,
        ),
        "headers that rewrite the request": {
            "x-original-url": "/healthz",
            "x-rewrite-url": "/healthz",
            "x-http-method-override": "GET",
        },
        "forwarding headers with a loopback address": {
            "x-forwarded-for": "127.0.0.1",
            "x-real-ip": "127.0.0.1",
            "forwarded": "for=127.0.0.1;host=localhost",
            "x-forwarded-host": "localhost",
        },
        "basic authentication": {"authorization": "Basic YW5hOmFuYQ=="},
        "user id as a bearer token": {"authorization": f"Bearer {user}"},
    }
    return [Caller(title, values) for title, values in headers.items()]


def _signed(user: str, secret: str) -> str:
    return Signer(secret, salt="chat.identity.anonymous", digest_method=hashlib.sha256).sign(user).decode()


def _cookie(name: str, value: str) -> dict[str, str]:
    return {"cookie": f"{name}={value}"}


IDENTITY_MODES: dict[str, type[IdentityMode]] = {
    "anonymous": Anonymous,
    "google": Google,
    "google, guests": GuestsOfGoogle,
    "iap": Iap,
}
