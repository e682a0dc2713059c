"""Settings of authentication: who may use the chat."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from chatapp.config.field_types import AllowListItems, Issuer, SecureUrl  # noqa: TC001  # pydantic reads the annotations

MAX_SESSION_DAYS = 90
MIN_SECRET_CHARS = 16  # a secret that can be guessed lets anyone forge cookies


class AuthSettings(BaseSettings):
    """How users are authenticated, and which of them may use the chat.

    See [who may use it](operate.md#who-may-use-it).
    """

    identity: Literal["local", "anonymous", "google", "iap"] = Field(
        default="local",
        description="How users are authenticated. `local`: not at all; one history, on this computer only. "
        "`anonymous`: a signed cookie gives each browser its own history. `google`: users sign in with Google or "
        "another OpenID Connect provider. `iap`: Google's Identity-Aware Proxy in front of the chat.",
    )
    local_anywhere: bool = Field(
        default=False,
        description="With `local`: accept other computers, because something in front of the chat authenticates its "
        "one user.",
    )
    session_secret: SecretStr = Field(
        default=SecretStr(""),
        description=f"Signs and encrypts all cookies; {MIN_SECRET_CHARS} random characters or more, the same for all "
        "replicas. If not set: generated and kept in the data folder.",
    )
    oidc_issuer: Issuer = Field(
        default="https://accounts.google.com", description="With `google`: the OpenID Connect provider."
    )
    oidc_client_id: str = Field(
        default="", validate_default=True, description="With `google`: id of the chat's OAuth client. Required."
    )
    oidc_client_secret: SecretStr = Field(
        default=SecretStr(""),
        validate_default=True,
        description="With `google`: secret of the chat's OAuth client. Required.",
    )
    allowed_people: AllowListItems = Field(
        default=(),
        validate_default=True,
        description="The accounts that may use the chat: `ana@example.org`, all of `example.org`, or `*` for every "
        "account of the provider. `google` needs it; with `iap` it is checked in addition to the proxy's own policy.",
    )
    guests: bool = Field(default=False, description="With `google`: users may also chat without signing in.")
    share_links: Literal["off", "users", "anyone"] = Field(
        default="off",
        description="Whether people can make links to a copy of a conversation, and who can open them. `users`: people "
        "who may use this chat. `anyone`: everybody who has the link, without signing in; with `iap` this is the same "
        "as `users`, because the proxy lets nobody else in. Links expire after 30 days at most.",
    )
    session_days: int = Field(
        default=7, ge=1, le=MAX_SESSION_DAYS, description="With `google`: days until users must sign in again."
    )
    session_idle_hours: int = Field(
        default=72,
        ge=0,
        le=MAX_SESSION_DAYS * 24,
        description="With `google`: hours without a request after which users must sign in again. `0`: no limit but "
        "`CHAT_SESSION_DAYS`. The default outlasts a weekend.",
    )
    iap_audience: str = Field(
        default="",
        validate_default=True,
        pattern=r"^(/projects/[0-9]+/(?:[A-Za-z0-9_.-]+/)*(?:[A-Za-z0-9_.-]+|\*))?$",
        description="With `iap`: the audience of its assertions, `/projects/NUMBER/global/backendServices/ID`, or `*` "
        "in place of the id. Required.",
    )
    iap_keys_url: SecureUrl = Field(
        default="https://www.gstatic.com/iap/verify/public_key",
        description="With `iap`: where the proxy's public keys are.",
    )

    @property
    def has_public_links(self) -> bool:
        """Whether share links open without authentication."""
        return self.share_links == "anyone" and self.identity != "iap"

    @field_validator("session_secret")
    @classmethod
    def _secret_is_long_enough(cls, secret: SecretStr) -> SecretStr:
        if 0 < len(secret.get_secret_value()) < MIN_SECRET_CHARS:
            raise ValueError(f"is too short: it must be {MIN_SECRET_CHARS} random characters or more")
        return secret

    @field_validator("oidc_client_id", "oidc_client_secret", "allowed_people")
    @classmethod
    def _google_is_complete(cls, value: object, info: ValidationInfo) -> object:
        content = value.get_secret_value() if isinstance(value, SecretStr) else value
        if info.data.get("identity") == "google" and not content:
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
    "oidc_client_id": "the id of an OAuth client (docs/operate.md says how to create one)",
    "oidc_client_secret": "the secret of that client",
    "allowed_people": "the accounts that may use the chat: addresses, domains, or * for every account of the provider",
}
