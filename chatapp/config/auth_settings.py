"""The settings that say who may use the chat: see `chatapp.config.settings`."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode

ANYONE = "*"  # as an item of CHAT_ALLOWED_PEOPLE
MAX_SESSION_DAYS = 90
SHORTEST_SECRET = 16  # characters; who guesses it is anybody
_ADDRESS = re.compile(r"[^@\s,]+@[^@\s,]+")
_DOMAIN = re.compile(r"(?:[a-z0-9-]{1,63}\.)+[a-z0-9-]{2,63}", re.IGNORECASE)


def _parsed_people(value: object) -> object:
    if not isinstance(value, str):
        return value
    people = tuple(part for part in re.split(r"[\s,]+", value) if part)
    for one in people:
        if not (one == ANYONE or _ADDRESS.fullmatch(one) or _DOMAIN.fullmatch(one)):
            raise ValueError(
                f"{one!r} is neither an address (ana@example.org) nor a domain (example.org) nor {ANYONE} for all"
            )
    return people


def _checked_issuer(value: str) -> str:
    parts = urlsplit(value)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or ""))
    if not (is_safe and parts.hostname) or parts.query or parts.fragment or parts.username:
        raise ValueError("it must be an address like https://accounts.google.com")
    return value.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


People = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parsed_people)]
Issuer = Annotated[str, BeforeValidator(_checked_issuer)]


class IdentitySettings(BaseSettings):
    """A part of `chatapp.config.settings.Settings`."""

    identity: Literal["local", "anonymous", "google", "iap"] = Field(
        default="local",
        description="local: one person, this computer only; anonymous: everyone has an own history, known by a cookie; "
        "google: people sign in, at Google or another OpenID Connect provider; iap: Google's proxy says who it is",
    )
    local_anywhere: bool = Field(
        default=False, description="local: let other computers in too, where something else sees to who they are"
    )
    session_secret: SecretStr = Field(
        default=SecretStr(""), description="seals all cookies; made and kept in the data folder if empty"
    )
    oidc_issuer: Issuer = Field(default="https://accounts.google.com", description="google: who knows people")
    oidc_client_id: str = Field(
        default="", validate_default=True, description="google: as which client the chat is registered there"
    )
    oidc_client_secret: SecretStr = Field(
        default=SecretStr(""), validate_default=True, description="google: and what that client is recognised by"
    )
    allowed_people: People = Field(
        default=(),
        validate_default=True,
        description="who may use the chat: ana@example.org, example.org, * for all",
    )
    guests: bool = Field(default=False, description="google: people may chat without signing in, too")
    session_days: int = Field(
        default=7, ge=1, le=MAX_SESSION_DAYS, description="google: days until people sign in again"
    )

    iap_audience: str = Field(
        default="",
        validate_default=True,
        pattern=r"^(/projects/[0-9]+/(?:[A-Za-z0-9_.-]+/)*(?:[A-Za-z0-9_.-]+|\*))?$",
        description="iap: /projects/NUMBER/global/backendServices/ID, or with * in the place of ID",
    )
    iap_keys_url: Issuer = Field(
        default="https://www.gstatic.com/iap/verify/public_key", description="iap: where the proxy's keys are"
    )

    @field_validator("session_secret")
    @classmethod
    def _secret_cannot_be_guessed(cls, secret: SecretStr) -> SecretStr:
        if 0 < len(secret.get_secret_value()) < SHORTEST_SECRET:
            raise ValueError(f"is too short: it must be {SHORTEST_SECRET} characters or more that nobody can guess")
        return secret

    @field_validator("oidc_client_id", "oidc_client_secret", "allowed_people")
    @classmethod
    def _google_has_what_it_needs(cls, value: object, info: ValidationInfo) -> object:
        given = value.get_secret_value() if isinstance(value, SecretStr) else value
        if info.data.get("identity") == "google" and not given:
            raise ValueError(f"is missing: CHAT_IDENTITY=google needs {_NEEDED[str(info.field_name)]}")
        return value

    @field_validator("iap_audience")
    @classmethod
    def _iap_has_an_audience(cls, audience: str, info: ValidationInfo) -> str:
        if info.data.get("identity") == "iap" and not audience:
            raise ValueError(
                "is missing: CHAT_IDENTITY=iap needs /projects/NUMBER/global/backendServices/ID (docs/operate.md)"
            )
        return audience


_NEEDED = {
    "oidc_client_id": "the id of an OAuth client (docs/operate.md says how to make one)",
    "oidc_client_secret": "the secret of that client",
    "allowed_people": "the people who may use the chat: addresses, domains, or * for everybody whom the provider knows",
}
