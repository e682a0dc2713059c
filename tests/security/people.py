"""Who asks, for each way of knowing people: those who are known, and those who pretend."""

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
from tests.security.asking import Caller, Reply

Ask = Callable[[str, str, Caller], Awaitable[Reply]]
SECRET = secrets.token_urlsafe(32)
IAP = "https://cloud.google.com/iap"
ISSUER = "http://127.0.0.1:9"  # where nothing listens: nobody signs in here
OTHER = "ana@x.example"
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


class People(Protocol):
    """A way of knowing people.

    Attributes:
        settings: of the chat.
        guests: whether everybody is let in, as somebody new.
    """

    settings: dict[str, Any]
    guests: bool

    def known(self) -> AbstractAsyncContextManager[None]:
        """Have what the chat needs to know people, while it runs; completes `settings`."""

    def user(self, name: str) -> str:
        """Return the id of a person's user."""

    def caller(self, name: str) -> Caller:
        """Return one who asks as this person in truth, and has only just signed in."""

    def pretending(self, name: str) -> list[Caller]:
        """Return those who ask as a person without being that person."""

    async def gone(self, name: str, ask: Ask) -> list[Caller]:
        """Have a person sign out, and return those who still have what the person asked with."""


class AnonymousPeople:
    """Known by a signed cookie; whoever has none is somebody new."""

    settings: ClassVar = {"identity": "anonymous", "session_secret": SECRET}
    guests = True
    known = nullcontext

    def user(self, name: str) -> str:
        return f"anonymous-{hashlib.sha256(name.encode()).hexdigest()[:32]}"

    def caller(self, name: str) -> Caller:
        return Caller(name, _cookie("chat_user", _signed(self.user(name), SECRET)))

    async def gone(self, name: str, ask: Ask) -> list[Caller]:
        return []  # nobody signs out who never signed in

    def pretending(self, name: str) -> list[Caller]:
        user = self.user(name)
        signed = _signed(user, SECRET)
        cookies = {
            "an id that is not signed": user,
            "an id and an empty signature": f"{user}.",
            "an id signed with another secret": _signed(user, "another"),
            "an id signed with no secret": _signed(user, ""),
            "an id signed for another purpose": Signer(SECRET, salt="chat.session", digest_method=hashlib.sha256)
            .sign(user)
            .decode(),
            "a signature of SHA-1": Signer(SECRET, salt="chat.identity.anonymous").sign(user).decode(),
            "another id under a true signature": user[:-1] + "x." + signed.rpartition(".")[2],
            "a signature that lacks its end": signed[:-2],
        }
        return [
            *(Caller(what, _cookie("chat_user", value)) for what, value in cookies.items()),
            *headers_alone(user),
        ]


class Guests(AnonymousPeople):
    """Known by a signed cookie, in a chat at which one can sign in, and take along what one wrote before."""

    settings: ClassVar = SIGN_IN | {"guests": True}

    def pretending(self, name: str) -> list[Caller]:
        session = _sealed(_session("bela"))["cookie"]
        forgers = super().pretending(name)
        others = [
            Caller(f"somebody signed in, with {one.name}", {"cookie": f"{session}; {one.headers['cookie']}"})
            for one in forgers
            if "cookie" in one.headers
        ]
        return forgers + others


class GooglePeople:
    """Known by the session that they got for signing in at a provider."""

    settings: ClassVar = SIGN_IN
    guests = False
    known = nullcontext

    def user(self, name: str) -> str:
        return user_id(ISSUER, name)

    def caller(self, name: str) -> Caller:
        return Caller(name, _sealed(_session(name)))

    def pretending(self, name: str) -> list[Caller]:
        true = _session(name)
        sealed = _sealed(true)["cookie"]
        facts = asdict(true)
        week = 7 * 24 * 3600
        cookies = {
            "no session": "chat_session=",
            "a session sealed with another secret": _sealed(true, secret="x" * 32)["cookie"],
            "a session sealed for another purpose": f"chat_session={CookieCipher(SECRET, 'sign-in').encrypt(facts)}",
            "a session that nobody sealed": f"chat_session={_base64(facts)}",
            "a session with another letter": sealed[:-9] + ("A" if sealed[-9] != "A" else "B") + sealed[-8:],
            "half a session": sealed[: len(sealed) // 2],
            "a session of last week": _sealed(replace(true, began_ms=now_ms() - (week + 60) * 1000))["cookie"],
            "a session of another issuer": _sealed(replace(true, issuer="http://127.0.0.1:8"))["cookie"],
            "a session under the name that it has over HTTPS": sealed.replace("chat_session", "__Host-chat_session"),
            "a session under another name": sealed.replace("chat_session", "chat_sign_in"),
            "somebody who is not on the list any more": _sealed(replace(true, email=OTHER, domain="x.example"))[
                "cookie"
            ],
            "an address that nobody verified": _sealed(replace(true, email="", domain=""))["cookie"],
            "the domain beneath": _sealed(replace(true, email="a@b.example.org", domain="b.example.org"))["cookie"],
            "a token of no algorithm": f"chat_session={_token(name, None, 'none')}",
            "a token of the provider": f"chat_session={_token(name, _KEY, 'ES256')}",
            "a guest, where there are none": _cookie("chat_user", _signed(self.user(name), SECRET))["cookie"],
            "two sessions, of which none is one": "chat_session=a; chat_session=b",
        }
        bearers = {
            f"a bearer's token ({algorithm})": {"authorization": f"Bearer {_token(name, key, algorithm)}"}
            for algorithm, key in (("none", None), ("HS256", SECRET), ("ES256", _KEY))
        }
        return [
            *(Caller(what, {"cookie": cookie}) for what, cookie in cookies.items()),
            *(Caller(what, headers) for what, headers in bearers.items()),
            Caller(
                "an assertion of IAP, where there is none", {"x-goog-iap-jwt-assertion": _token(name, _KEY, "ES256")}
            ),
            *headers_alone(self.user(name)),
        ]

    async def gone(self, name: str, ask: Ask) -> list[Caller]:
        left, thief = self.caller(name), self.caller(name)
        assert (await ask("POST", "/sign-out", left, {})).status == 200
        assert (await ask("POST", "/sign-out-everywhere", self.caller(name), {})).status == 200
        return [
            Caller("a copied cookie of a session that was ended", left.headers),
            Caller("a session on another device, from before everything was ended", thief.headers),
        ]


def _session(name: str) -> Session:
    address = f"{name}@example.org"
    return Session.create(ISSUER, name, name=name, email=address, domain="example.org")


def _sealed(session: Session, *, secret: str = SECRET) -> dict[str, str]:
    header = SessionCookies(secret, secure=False, days=7).set_cookie(session)
    return {"cookie": header.partition(";")[0]}


def _base64(facts: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(facts).encode()).decode()


def _token(name: str, key: Any, algorithm: str) -> str:
    """Return what the provider might say in an ID token, or somebody else in its name."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "chat", "sub": name, "email": f"{name}@example.org", "email_verified": True}
    return jwt.encode(claims | {"iat": now, "exp": now + 600}, key, algorithm=algorithm)


class IapPeople:
    """Known by what Google's proxy in front says of them, signed by it."""

    guests = False
    AUDIENCE = "/projects/123456789012/global/backendServices/4567890123456789012"

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {"identity": "iap", "session_secret": SECRET, "iap_audience": self.AUDIENCE}
        self._key, self._other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    @asynccontextmanager
    async def known(self) -> AsyncIterator[None]:
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

    def caller(self, name: str) -> Caller:
        return Caller(name, _asserted(self._assertion(name)))

    async def gone(self, name: str, ask: Ask) -> list[Caller]:
        return []  # people sign out at Google, whose proxy then lets nobody through

    def pretending(self, name: str) -> list[Caller]:
        now = int(time.time())
        public = _public(self._key)
        true = self._assertion(name)
        head, claims, signature = true.split(".")
        swapped = self._assertion("somebody").split(".")[1]
        assertions = {
            "no assertion": "",
            "no token": "ana",
            "a token without its signature": f"{head}.{claims}.",
            "another person's claims under a true signature": f"{head}.{swapped}.{signature}",
            "a token of no algorithm": jwt.encode(self._claims(name), None, algorithm="none", headers={"kid": "one"}),
            "a token signed with Google's public key as a secret": _by_hand("HS256", self._claims(name), public),
            "a token of another's key": self._assertion(name, key=self._other),
            "a token of a key that nobody knows": self._assertion(name, kid="two"),
            "a token that names a file as its key": self._assertion(name, kid="../../keys"),
            "a token that brings its key along": self._assertion(name, key=self._other, jwk=_jwk(self._other)),
            "a token that says where its key is": self._assertion(name, key=self._other, jku="http://127.0.0.1:9/keys"),
            "a token of an hour ago": self._assertion(name, iat=now - 3600, exp=now - 60),
            "a token of tomorrow": self._assertion(name, iat=now + 86_400, exp=now + 90_000),
            "a token without an end": self._assertion(name, exp=None),
            "a token for another project": self._assertion(name, aud=self.AUDIENCE.replace("123456789012", "9")),
            "a token for another service": self._assertion(name, aud=self.AUDIENCE + "1"),
            "a token for nobody": self._assertion(name, aud=None),
            "a token of another issuer": self._assertion(name, iss="https://accounts.google.com"),
            "a token of no issuer": self._assertion(name, iss=None),
        }
        return [
            *(Caller(what, _asserted(token)) for what, token in assertions.items()),
            Caller("a true token in another header", {"authorization": f"Bearer {true}"}),
            Caller(
                "a true token in a cookie", {"cookie": f"x-goog-iap-jwt-assertion={true}; GCP_IAAP_AUTH_TOKEN={true}"}
            ),
            Caller("a session, where there are none", _sealed(_session(name))),
            Caller("a guest, where there are none", _cookie("chat_user", _signed(self.user(name), SECRET))),
            *headers_alone(self.user(name)),
        ]

    def _assertion(self, name: str, *, key: Any = None, kid: str = "one", **changes: Any) -> str:
        heads = {head: changes.pop(head) for head in ("jwk", "jku") if head in changes}
        claims = {claim: value for claim, value in (self._claims(name) | changes).items() if value is not None}
        return jwt.encode(claims, key or self._key, algorithm="ES256", headers={"kid": kid, **heads})

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


def _by_hand(algorithm: str, claims: dict[str, Any], secret: bytes) -> str:
    """Return a token that libraries refuse to make."""
    parts = [json.dumps(part).encode() for part in ({"alg": algorithm, "kid": "one", "typ": "JWT"}, claims)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"=")
    return (signed + b"." + signature).decode()


def headers_alone(user: str) -> list[Caller]:
    """Return those who only say who they are, as a proxy in front might."""
    said = {
        "Google's bare header for an address": {"x-goog-authenticated-user-email": f"accounts.google.com:{ADDRESS}"},
        "Google's bare header for an id": {"x-goog-authenticated-user-id": f"accounts.google.com:{user}"},
        "headers of other proxies": dict.fromkeys(
            ("x-forwarded-user", "x-forwarded-email", "x-auth-request-user", "x-remote-user", "remote-user", "x-user"),
            user,
        ),
        "another way in": {"x-original-url": "/healthz", "x-rewrite-url": "/healthz", "x-http-method-override": "GET"},
        "an address within": {
            "x-forwarded-for": "127.0.0.1",
            "x-real-ip": "127.0.0.1",
            "forwarded": "for=127.0.0.1;host=localhost",
            "x-forwarded-host": "localhost",
        },
        "a name and a password": {"authorization": "Basic YW5hOmFuYQ=="},
        "the id as a token": {"authorization": f"Bearer {user}"},
    }
    return [Caller(what, headers) for what, headers in said.items()]


def _signed(user: str, secret: str) -> str:
    return Signer(secret, salt="chat.identity.anonymous", digest_method=hashlib.sha256).sign(user).decode()


def _cookie(name: str, value: str) -> dict[str, str]:
    return {"cookie": f"{name}={value}"}


PEOPLE: dict[str, type[People]] = {
    "anonymous": AnonymousPeople,
    "google": GooglePeople,
    "google, guests": Guests,
    "iap": IapPeople,
}
