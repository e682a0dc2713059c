"""Field types of the settings: how the text of an environment variable is parsed and checked."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode
from yarl import URL

from chatapp.domain.hosts import ascii_host, is_loopback
from chatapp.domain.office_hours import OfficeHours
from chatapp.models import Price

if TYPE_CHECKING:
    from collections.abc import Callable

ANYONE = "*"  # an item of CHAT_ALLOWED_PEOPLE
_EMAIL = re.compile(r"[^@\s,]+@[^@\s,]+")
_DOMAIN = re.compile(r"(?:[a-z0-9-]{1,63}\.)+[a-z0-9-]{2,63}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Format:
    """Describes the values of a field type in docs/settings.md."""

    text: str


def _parsed_by(parse: Callable[[str], object]) -> BeforeValidator:
    """Return a validator that parses text; other values are unchanged."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def _parse_url(value: str) -> str:
    value = value.strip()
    if value and not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", value, re.IGNORECASE):
        raise ValueError("it must be an address like http://localhost:8000/v1")
    return value.rstrip("/")


def _parse_server_url(value: str) -> str:
    """Return the address of a model server, which may have a query (Azure's ``?api-version=``) or no scheme."""
    value = value.strip()
    if value and "://" not in value:
        value = f"{'http' if is_in_own_network(value) else 'https'}://{value}"
    if value and not re.fullmatch(r"https?://[^\s/?#]+[^\s#]*", value, re.IGNORECASE):
        raise ValueError("it must be an address like http://localhost:8000/v1")
    return value if "?" in value else value.rstrip("/")


def is_in_own_network(address: str) -> bool:
    """Return whether the host of an address without a scheme has no public name: people type "localhost:11434"."""
    host = urlsplit(f"//{address}").hostname or ""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".localhost", ".internal", ".lan"))


def _parse_root_url(value: str) -> str:
    """Return the address as browsers send it: a name in ASCII (IDNA), in lower case, without the usual port."""
    value = _parse_url(value.strip())
    if not value:
        return value
    try:
        return str(_with_ascii_host(value)).rstrip("/")
    except ValueError as error:
        raise ValueError("it must be an address like https://chat.example.org") from error


def _with_ascii_host(value: str) -> URL:
    """Return an address with its host name as `ascii_host`.

    Raises:
        ValueError: it is none, or has a user or a password.
    """
    url = URL(value)
    if not url.host or url.user or url.password:
        raise ValueError("it has no host, or a user")
    return url.with_host(ascii_host(url.host))


def shown_url(url: str) -> str:
    """Return an address for a person, with the letters of its language."""
    return URL(url).human_repr().rstrip("/") if url else url


def _parse_secure_url(value: str) -> str:
    value = value.strip()
    parts = urlsplit(value)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    if not (is_safe and parts.hostname) or parts.query or parts.fragment or parts.username:
        raise ValueError("it must be an address like https://accounts.google.com")
    if not parts.netloc.isascii():  # else unchanged: an issuer is compared letter by letter
        value = str(_with_ascii_host(value))
    return value.rstrip("/")


def _parse_issuer(value: str) -> str:
    """Return the issuer, also where the address of its metadata is given."""
    return _parse_secure_url(value.strip().rstrip("/").removesuffix("/.well-known/openid-configuration"))


def _parse_folder(value: str) -> object:
    """Return the path with ``~`` and ``$NAME`` as a shell would read them; in ``.env`` no shell does."""
    try:
        return Path(os.path.expandvars(value)).expanduser()
    except RuntimeError as error:
        raise ValueError("the home folder that it names is unknown") from error


def _parse_price(value: str) -> object:
    numbers = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)\s*", value)
    if numbers is None:
        raise ValueError("it must be US dollars per million tokens that are read and written, like 0.30/2.50")
    return Price(float(numbers[1]), float(numbers[2]))


def _checked_hours(value: str) -> str:
    if value := value.strip():
        OfficeHours.parse(value)
    return value


def _parse_networks(value: str) -> object:
    try:
        return tuple(ip_network(part) for part in re.split(r"[\s,]+", value) if part)
    except ValueError as error:
        raise ValueError(f"it must be networks like 10.0.0.0/8, separated by commas ({error})") from error


def _parse_allow_list(value: str) -> object:
    items = tuple(part for part in re.split(r"[\s,]+", value) if part)
    for item in items:
        if not (item == ANYONE or _is_address_or_domain(item)):
            raise ValueError(
                f"{item!r} is neither an address (ana@example.org) nor a domain (example.org) nor {ANYONE} for all"
            )
    return items


def _is_address_or_domain(item: str) -> bool:
    local, at, domain = item.rpartition("@")
    try:
        domain = ascii_host(domain)
    except ValueError:
        return False
    # The domain of an address may be a name without dots, in a company's own network.
    return bool(_EMAIL.fullmatch(f"{local}@{domain}")) if at else _DOMAIN.fullmatch(domain) is not None


def _parse_json_list(value: str) -> object:
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"it must be a JSON list of models ({error})") from error


Url = Annotated[str, BeforeValidator(_parse_url), Format("URL")]
ServerUrl = Annotated[str, BeforeValidator(_parse_server_url), Format("URL")]
RootUrl = Annotated[str, BeforeValidator(_parse_root_url), Format("URL")]
Issuer = Annotated[str, BeforeValidator(_parse_issuer), Format("https URL; http on this computer only")]
Folder = Annotated[Path, _parsed_by(_parse_folder), Format("path")]
SecureUrl = Annotated[str, BeforeValidator(_parse_secure_url), Format("https URL; http on this computer only")]
ModelId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
TokenPrice = Annotated[Price | None, NoDecode, _parsed_by(_parse_price), Format("INPUT/OUTPUT, as in `0.10/0.40`")]
Hours = Annotated[str, BeforeValidator(_checked_hours), Format("days, hours and a time zone")]
Networks = Annotated[
    tuple[IPv4Network | IPv6Network, ...],
    NoDecode,
    _parsed_by(_parse_networks),
    Format("networks or addresses, separated by commas"),
]
AllowListItems = Annotated[
    tuple[str, ...],
    NoDecode,
    _parsed_by(_parse_allow_list),
    Format("e-mail addresses, domains or `*`, separated by commas"),
]
JSON_LIST = _parsed_by(_parse_json_list)
Quantity = Annotated[int | None, Field(ge=0, le=10**12)]
Cost = Annotated[float | None, Field(ge=0, le=10**6, allow_inf_nan=False)]
