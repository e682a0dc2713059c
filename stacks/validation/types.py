"""Types of single settings that need more than a pattern or a list of choices."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator

from chatapp.domain.hosts import ascii_host
from chatapp.domain.office_hours import OfficeHours

IngressKind = Literal["https", "public-http", "private"]
SignIn = Literal["google", "iap", "anonymous"]
GpuProfileName = Literal["auto", "none", "l4x1", "l4x2", "l4x4", "rtx6000", "a100", "h100", "h100x16"]

ALL_PEOPLE = "*"
GROUP_PREFIX = "group:"
"""Marks a Google Group, whose address looks like that of a person."""

_DOMAIN = r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]"
_PERSON = re.compile(rf"\*|({GROUP_PREFIX})?[^\s@,:*]+@{_DOMAIN}|{_DOMAIN}")
# registry/path:tag@digest. The registry may have a port, so only a colon after the last slash begins a tag.
_IMAGE = re.compile(
    r"(?:[\w.-]+(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?:(?::[\w][\w.-]{0,127})(?:@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})"
)


def _check_image(value: str) -> str:
    if not _IMAGE.fullmatch(value):
        raise ValueError("a container image with a tag or a digest is needed, such as example.org/chat:1.0")
    if value.endswith(":latest"):
        raise ValueError("the content of the tag 'latest' changes: use a version tag or a digest")
    return value


def _check_chat_image(value: str) -> str:
    if value in {"auto", "cloud-build", "docker"}:
        return value
    try:
        return _check_image(value)
    except ValueError as error:
        raise ValueError(f"auto, cloud-build, docker or an image is needed ({error})") from error


def _check_person(value: object) -> str:
    local, at, domain = str(value).strip().lower().rpartition("@")
    person = local + at + _in_ascii(domain)
    if not _PERSON.fullmatch(person):
        raise ValueError("an email address (ann@example.org), a domain (example.org) or * is needed")
    return person


def _in_ascii(name: object) -> str:
    """Return a host name as DNS has it, also where it is typed in Hebrew or Arabic; unchanged if it cannot be one."""
    try:
        return ascii_host(str(name))
    except ValueError:
        return str(name)


def _parse_people(value: object) -> object:
    """Split a list: JSON, as Pulumi passes a list on, or words separated by commas or spaces."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return [part for part in re.split(r"[\s,]+", value) if part]


def _check_network(value: str) -> str:
    if value:
        try:
            network = ipaddress.IPv4Network(value)
        except ValueError as error:
            raise ValueError("a range of addresses is needed, such as 10.129.0.0/23") from error
        return str(network)
    return value


def _check_hours(value: str) -> str:
    value = value.strip()
    if value:
        OfficeHours.parse(value)
    return value


def _parse_arguments(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError('a JSON list is needed, such as ["--max-num-seqs=8"]') from error


Domain = Annotated[str, BeforeValidator(_in_ascii)]
Network = Annotated[str, AfterValidator(_check_network)]
"""A range of IPv4 addresses; empty: none."""
Hours = Annotated[str, AfterValidator(_check_hours)]
Image = Annotated[str, BeforeValidator(_check_image)]
ChatImage = Annotated[str, BeforeValidator(_check_chat_image)]
People = Annotated[tuple[Annotated[str, BeforeValidator(_check_person)], ...], BeforeValidator(_parse_people)]
Arguments = Annotated[tuple[str, ...], BeforeValidator(_parse_arguments)]
