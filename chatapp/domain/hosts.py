"""Host names as DNS and browsers write them: in ASCII, also where a person types Hebrew or Arabic."""

from __future__ import annotations

import unicodedata
from ipaddress import ip_address

import idna


def ascii_host(name: str) -> str:
    """Return a host name in ASCII (IDNA 2008 with the mapping of UTS 46), in lower case, without a final dot.

    Raises:
        ValueError: it cannot be one.
    """
    name = name.strip().rstrip(".")
    if name.isascii():
        return name.lower()
    try:
        return idna.encode(name, uts46=True).decode().lower()
    except idna.IDNAError as error:
        raise ValueError(f"{name!r} cannot be a host name ({error})") from error


def is_loopback(host: str) -> bool:
    """Return whether a host name (without a port) can only mean this computer."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def comparable_address(text: str) -> str:
    """Return an e-mail address, or a domain, as it is compared: case does not matter, nor how a letter is encoded.

    A letter of another script never becomes an ASCII letter: the Kelvin sign's lower case is "k", and an account with
    it in its name is somebody else's. A text with such a letter is returned as it is.
    """
    if text.isascii():
        return text.lower()
    if any(_looks_ascii(character) for character in text):
        return text
    local, at, domain = text.rpartition("@")
    try:
        domain = ascii_host(domain)
    except ValueError:
        return text
    return "".join(map(_folded, unicodedata.normalize("NFC", local))) + at + domain


def _looks_ascii(character: str) -> bool:
    return not character.isascii() and any(
        one.isascii() and one.isalnum() for one in unicodedata.normalize("NFKC", character)
    )


def _folded(character: str) -> str:
    folded = character.casefold()
    return character if folded.isascii() and not character.isascii() else folded
