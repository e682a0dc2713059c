"""The address of an OpenAI-compatible server: what people paste, and where the API may be below it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from yarl import URL

# Routes that people paste with the address; the last group is Ollama's own API.
_ROUTE = re.compile(r"/(?:chat/completions|completions|responses|embeddings|models)$|/api/(?:chat|generate|tags)$")
_VERSION = re.compile(r"/v\d+[a-z0-9]*$")  # /v1, /v3 (Volcengine), /v4 (Zhipu), /v1beta (Gemini)
# Where providers have the API below the address that they advertise: most; Groq; OpenRouter; Azure; Open WebUI.
_USUAL = ("/v1", "/openai/v1", "/api/v1", "/openai", "/api")


@dataclass(frozen=True, slots=True)
class Address:
    """A valid address, without a trailing slash and without a route of the API.

    Attributes:
        typed: as set.
    """

    typed: str

    @classmethod
    def parse(cls, url: str, *, setting: str) -> Address:
        """Return the address that a setting holds.

        Raises:
            ValueError: it is invalid, or contains a password, which would show up in errors and logs.
        """
        address = _ROUTE.sub("", url.strip().rstrip("/")).rstrip("/")
        try:
            parsed = URL(address)
        except ValueError:
            parsed = URL()
        if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.query_string or parsed.fragment:
            raise ValueError(f"Check {setting}: it must be an address like http://localhost:8000/v1.")
        if parsed.user or parsed.password:
            raise ValueError(f"Check {setting}: it must not hold a user or a password; there is a setting for the key.")
        return cls(address)

    @property
    def bases(self) -> tuple[str, ...]:
        """Where the API may be, the likeliest first: as typed, then as usual. A bare host almost always means /v1."""
        usual = [self.typed + path for path in _USUAL]
        if URL(self.typed).path in {"", "/"}:
            return usual[0], self.typed, *usual[1:]
        if version := _VERSION.search(self.typed):
            above = self.typed[: version.start()]
            # Gemini's version is /v1beta, with its OpenAI-compatible API below it.
            beta = (self.typed + "/openai",) if "beta" in version[0] else ()
            return tuple(dict.fromkeys((self.typed, *beta, f"{above}/v1", above)))
        return self.typed, *usual

    @property
    def root(self) -> str:
        """Where the server's own API is, beside the OpenAI-compatible one."""
        without_version = _VERSION.sub("", self.typed)
        return re.sub(r"/(?:api|openai)$", "", without_version)

    def __str__(self) -> str:
        """Return what messages show: the address without a version, as people know their server."""
        return self.typed.removesuffix("/v1").rstrip("/")
