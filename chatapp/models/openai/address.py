"""The address of an OpenAI-compatible server: what people paste, and where the API may be below it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

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
        typed: as set, without its query.
        query: what follows the question mark of each request: "api-version=2024-10-21" (Azure), or a key. Never shown.
    """

    typed: str
    query: str = ""

    @classmethod
    def parse(cls, url: str, *, setting: str) -> Address:
        """Return the address that a setting holds.

        Raises:
            ValueError: it is invalid, or contains a password, which would show up in errors and logs.
        """
        try:
            parsed = URL(url.strip())
        except ValueError:
            parsed = URL()
        if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.fragment:
            raise ValueError(f"Check {setting}: it must be an address like http://localhost:8000/v1.")
        if parsed.user or parsed.password:
            raise ValueError(f"Check {setting}: it must not hold a user or a password; there is a setting for the key.")
        typed = str(parsed.with_query(None)).rstrip("/")
        return cls(_ROUTE.sub("", typed).rstrip("/"), parsed.raw_query_string)

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

    def bases_of(self, model: str) -> tuple[str, ...]:
        """Return `bases`, for a model of Azure first the address of its deployment, which has the model's name."""
        if not (self.is_azure and self.query and model) or "/deployments/" in self.typed:
            return self.bases
        resource = re.sub(r"/openai(?:/v\d+)?$", "", self.typed)
        return f"{resource}/openai/deployments/{quote(model, safe='')}", *self.bases

    @property
    def is_azure(self) -> bool:
        """Whether it is Azure's, or of a gateway that speaks like it: the key has a header of its own there."""
        return (URL(self.typed).host or "").endswith(".azure.com") or "api-version=" in self.query

    @property
    def deployment(self) -> str:
        """The model that an address of Azure names; "" for none."""
        name = re.search(r"/deployments/([^/]+)", self.typed)
        return unquote(name[1]) if name else ""

    @property
    def root(self) -> str:
        """Where the server's own API is, beside the OpenAI-compatible one."""
        without_version = _VERSION.sub("", self.typed)
        return re.sub(r"/(?:api|openai)$", "", without_version)

    def url(self, address: str) -> str:
        """Return the address of a request, with the query."""
        return f"{address}?{self.query}" if self.query else address

    def __str__(self) -> str:
        """Return what messages show: the address without a version, as people know their server."""
        return URL(self.typed).human_repr().removesuffix("/v1").rstrip("/")
