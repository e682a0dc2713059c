"""Conflicts between ingress and sign-in, and warnings about a chat that is open to the public.

The configuration keys are older than these names: key ``exposure`` chooses the ingress (`Settings.ingress`), key
``identity`` the sign-in (`Settings.sign_in`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stacks.validation.types import ALL_PEOPLE, GROUP_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stacks.settings import Settings
    from stacks.validation.conflicts import Conflict

NO_ORGANIZATION = (
    "The project {project} belongs to no organization, so Google's own sign-in for Identity-Aware Proxy would admit no "
    "one to the chat. Choose one of three ways. (1) Only for you, with port forwarding: pulumi config set exposure "
    "private. (2) For the people you name: create an OAuth client (docs/deploy.md, Who gets in), and set "
    "oauthClientId, oauthClientSecret and allowedPeople. (3) For anyone who finds the address, at your cost: pulumi "
    "config set identity anonymous."
)
"""About the sign-in that is the default with https (`Settings.sign_in`), in a project of a person."""
_SIGN_IN_KEYS = ("identity", "exposure", "oauthClientId")


def ingress_conflicts(settings: Settings) -> Iterator[Conflict]:
    """Yield every conflict between settings of ingress and sign-in."""
    yield from _ingress(settings)
    if settings.sign_in == "iap" and settings.ingress != "https":
        fix = "set exposure to https" if settings.on_gcp else "set identity to google (with exposure private)"
        yield (
            (*_SIGN_IN_KEYS, "platform"),
            f"identity is 'iap' and exposure is '{settings.exposure}': Identity-Aware Proxy is part of Google's HTTPS "
            f"load balancer, which only exposure https on platform gcp has; {fix}, or remove identity",
        )
    elif settings.sign_in == "google" and settings.ingress == "public-http":
        yield (
            (*_SIGN_IN_KEYS, "platform"),
            "identity is 'google' and exposure is 'public-http': a sign-in needs an encrypted connection, and Google "
            "refuses it without; set exposure to https (gcp) or private, or remove identity",
        )
    elif settings.sign_in == "google":
        yield from _google(settings)
    else:
        if settings.guests:
            yield (
                ("guests", *_SIGN_IN_KEYS),
                "guests is true, which needs identity google: guests are people who have not signed in; remove it",
            )
        yield from _iap(settings) if settings.sign_in == "iap" else _anonymous(settings)


def public_access_warnings(settings: Settings) -> Iterator[str]:
    """Yield a warning for each setting that opens the chat to the public over HTTPS."""
    if settings.ingress == "https" and settings.sign_in == "anonymous":
        yield (
            "Anyone who finds the chat's address can use it, at your cost: there is no sign-in (identity anonymous). "
            "allCostPerDay limits that cost."
        )
    if settings.guests:
        yield (
            "Anyone who finds the chat's address can use it without signing in, at your cost (guests). "
            "allCostPerDay limits that cost."
        )
    if ALL_PEOPLE in settings.allowed_people:
        yield "Anyone with a Google account can use the chat, at your cost (allowedPeople *)."


def _ingress(settings: Settings) -> Iterator[Conflict]:
    if settings.ingress == "https":
        if not settings.on_gcp:
            yield (
                ("exposure", "platform"),
                "exposure is 'https', which is Google's load balancer and needs platform gcp; allowed on platform "
                "kubernetes: private, public-http",
            )
        elif re.search(r"[.:]", settings.project) and not settings.domain:
            yield (
                ("domain", "gcp:project"),
                f"domain is not set, and Google has no free domain name for the project {settings.project}, whose ID "
                "contains a domain: set domain to a name that you own, or exposure to private",
            )
    elif settings.on_gcp:
        for key, is_set in (("domain", settings.domain), ("cloudArmor", settings.cloud_armor)):
            if is_set:
                yield (
                    (key, "exposure"),
                    f"{key} has no effect while exposure is '{settings.exposure}': it is part of exposure https; "
                    "remove one of the two",
                )


def _google(settings: Settings) -> Iterator[Conflict]:
    required = {
        "oauthClientId": settings.oauth_client_id,
        "oauthClientSecret": settings.oauth_client_secret.get_secret_value(),
    }
    for key in (key for key, value in required.items() if not value):
        option = "--secret " if key == "oauthClientSecret" else ""
        yield (
            (key, "identity"),
            f"{key} is not set, which identity google needs: create an OAuth client (docs/deploy.md says how), and "
            f"run: pulumi config set {option}{key}",
        )
    if not settings.allowed_people:
        yield (
            ("allowedPeople", "identity"),
            "allowedPeople is not set, and identity google admits only people it names: add addresses or domains, such "
            "as: pulumi config set --path 'allowedPeople[0]' YOUR_ADDRESS ('*' admits all Google accounts)",
        )
    if any(person.startswith(GROUP_PREFIX) for person in settings.allowed_people):
        yield (
            ("allowedPeople", "identity"),
            "allowedPeople has a group, whose members only identity iap can look up: name addresses or domains, or set "
            "identity to iap",
        )


def _iap(settings: Settings) -> Iterator[Conflict]:
    has_id = bool(settings.oauth_client_id)
    if has_id != bool(settings.oauth_client_secret.get_secret_value()):
        present, missing = ("oauthClientId", "oauthClientSecret") if has_id else ("oauthClientSecret", "oauthClientId")
        yield (
            (missing, present, "identity"),
            f"{present} is set and {missing} is not: identity iap takes both, or neither to use Google's own client",
        )


def _anonymous(settings: Settings) -> Iterator[Conflict]:
    unused = {
        "oauthClientId": settings.oauth_client_id,
        "oauthClientSecret": settings.oauth_client_secret.get_secret_value(),
        "allowedPeople": settings.allowed_people,
    }
    reason = "identity is anonymous" if settings.identity == "anonymous" else f"exposure is '{settings.ingress}'"
    for key in (key for key, value in unused.items() if value):
        yield (
            (key, "identity", "exposure"),
            f"{key} has no effect without a sign-in ({reason}): set identity to google, or remove {key}",
        )
