"""The settings of who gets in: which of them fit together, and the sentence for those that do not."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stacks.settings import Settings

WayIn = Literal["https", "public-http", "private"]
SignIn = Literal["google", "iap", "anonymous"]

EVERYBODY = "*"
GROUP = "group:"
"""What a Google Group is written with, which looks like a person's address otherwise."""

_DOMAIN = r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]"
_PERSON = re.compile(rf"\*|({GROUP})?[^\s@,:*]+@{_DOMAIN}|{_DOMAIN}")


def _checked_person(value: object) -> str:
    person = str(value).strip().lower()
    if not _PERSON.fullmatch(person):
        raise ValueError("an address (ann@example.org), a domain (example.org) or * is needed")
    return person


AllowedPerson = Annotated[str, BeforeValidator(_checked_person)]


def parsed_people(value: object) -> object:
    """Return a list: of JSON, which is how Pulumi hands a list on, or of what commas and spaces part."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return [part for part in re.split(r"[\s,]+", value) if part]


def access_conflicts(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield (keys, sentence) for each thing about getting in that does not fit together, or is missing."""
    yield from _way_in_conflicts(settings)
    keys = ("identity", "exposure", "oauthClientId")
    if settings.sign_in == "iap" and settings.way_in != "https":
        fix = "set exposure to https" if settings.on_gcp else "set identity to google (with exposure private)"
        yield (
            (*keys, "platform"),
            f"identity is 'iap' and exposure is '{settings.exposure}': Identity-Aware Proxy is a part of Google's "
            f"encrypted load balancer, which only exposure https on platform gcp has; {fix}, or remove identity",
        )
        return
    if settings.sign_in == "google" and settings.way_in == "public-http":
        yield (
            (*keys, "platform"),
            "identity is 'google' and exposure is 'public-http': a sign-in must not travel unencrypted, and Google "
            "refuses it; set exposure to https (gcp) or private, or remove identity",
        )
        return
    if settings.sign_in == "google":
        yield from _google_conflicts(settings)
    else:
        if settings.guests:
            yield (
                ("guests", *keys),
                "guests is true, which is for identity google: guests are those who have not signed in yet; remove it",
            )
        yield from _iap_conflicts(settings) if settings.sign_in == "iap" else _anonymous_conflicts(settings)


def access_warnings(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each thing that is allowed, and that nobody should choose without knowing it."""
    if settings.way_in == "https" and settings.sign_in == "anonymous":
        yield (
            "Everybody who finds the chat's address can use it, at your cost: nobody signs in (identity anonymous). "
            "allCostPerDay bounds that cost."
        )
    if settings.guests:
        yield (
            "Everybody who finds the chat's address can use it before they sign in, at your cost (guests). "
            "allCostPerDay bounds that cost."
        )
    if EVERYBODY in settings.allowed_people:
        yield "Everybody with a Google account can use the chat, at your cost (allowedPeople *)."


def _way_in_conflicts(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    if settings.way_in == "https":
        if not settings.on_gcp:
            yield (
                ("exposure", "platform"),
                "exposure is 'https', which is made of Google's load balancer and needs platform gcp; allowed on "
                "platform kubernetes: private, public-http",
            )
        elif re.search(r"[.:]", settings.project) and not settings.domain:
            yield (
                ("domain", "gcp:project"),
                f"domain is not set, and Google has no free name for the project {settings.project}, whose ID has a "
                "domain in it: set domain to a name of your own, or exposure to private",
            )
    elif settings.on_gcp:
        for key, is_set in (("domain", settings.domain), ("cloudArmor", settings.cloud_armor)):
            if is_set:
                yield (
                    (key, "exposure"),
                    f"{key} does nothing while exposure is '{settings.exposure}': it is a part of exposure https; "
                    "remove one of the two",
                )


def _google_conflicts(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    missing = {
        "oauthClientId": settings.oauth_client_id,
        "oauthClientSecret": settings.oauth_client_secret.get_secret_value(),
    }
    for key in (key for key, value in missing.items() if not value):
        option = "--secret " if key == "oauthClientSecret" else ""
        yield (
            (key, "identity"),
            f"{key} is not set, which identity google needs: make an OAuth client (docs/deploy.md says how), and run: "
            f"pulumi config set {option}{key}",
        )
    if not settings.allowed_people:
        yield (
            ("allowedPeople", "identity"),
            "allowedPeople is not set, and identity google lets in nobody without it: name addresses or domains, such "
            "as: pulumi config set --path 'allowedPeople[0]' YOUR_ADDRESS ('*' is everybody with a Google account)",
        )
    if any(person.startswith(GROUP) for person in settings.allowed_people):
        yield (
            ("allowedPeople", "identity"),
            "allowedPeople has a group, which only identity iap can look into: name addresses or domains, or set "
            "identity to iap",
        )


def _iap_conflicts(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    has_id = bool(settings.oauth_client_id)
    if has_id != bool(settings.oauth_client_secret.get_secret_value()):
        missing, there = ("oauthClientSecret", "oauthClientId") if has_id else ("oauthClientId", "oauthClientSecret")
        yield (
            (missing, there, "identity"),
            f"{there} is set and {missing} is not: identity iap takes both, or neither and then Google's own client",
        )


def _anonymous_conflicts(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    unused = {
        "oauthClientId": settings.oauth_client_id,
        "oauthClientSecret": settings.oauth_client_secret.get_secret_value(),
        "allowedPeople": settings.allowed_people,
    }
    why = "identity is anonymous" if settings.identity == "anonymous" else f"exposure is '{settings.way_in}'"
    for key in (key for key, value in unused.items() if value):
        yield (
            (key, "identity", "exposure"),
            f"{key} does nothing while nobody signs in ({why}): set identity to google, or remove {key}",
        )
