"""Settings of the web server and the page."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from chatapp.config.field_types import Networks, RootUrl, Url  # noqa: TC001  # pydantic reads the annotations


class ServerSettings(BaseSettings):
    """Where the chat listens, what stands in front of it, and how it logs."""

    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address to listen on. `0.0.0.0` accepts connections from other computers.",
    )
    port: int = Field(default=7860, ge=1, le=65535, description="Port to listen on.")
    root_url: RootUrl = Field(
        default="",
        description="The public address of the chat if a proxy stands in front, such as `https://chat.example.org`. "
        "With https, cookies are sent over HTTPS only. A name in Hebrew or Arabic may be typed as it is.",
    )
    hsts_subdomains: bool = Field(
        default=False,
        description="With https: browsers use https for all subdomains of the chat's host name, too (HSTS, "
        "`includeSubDomains`). Off by default, because the chat may have the name of a whole domain, whose other hosts "
        "would then be unreachable over http for a year.",
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="The proxies in front of the chat, such as `10.0.0.0/8, 192.0.2.7`. Only their `X-Forwarded-For` "
        "is used to find the client's address. See [limits](operate.md#limits).",
    )
    connections: int = Field(
        default=4096,
        ge=16,
        le=60_000,
        description="Maximum number of open connections; fewer if the system allows fewer open files.",
    )
    shutdown_seconds: float = Field(
        default=3,
        ge=0,
        le=600,
        description="On shutdown, how many seconds running answers get to finish before they are interrupted.",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port of the Prometheus metrics endpoint (`/metrics`). No endpoint if not set. "
        "See [metrics](operate.md#metrics).",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Format of the log. `json` has the fields of Google Cloud Logging."
    )
    otel_endpoint: Url = Field(
        default="",
        validation_alias=AliasChoices("CHAT_OTEL_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        description="Address of an OpenTelemetry collector (OTLP over HTTP), such as `http://localhost:4318`, which "
        "gets a trace of each turn. No traces if not set. See [traces](operate.md#traces).",
    )
    installable: bool = Field(
        default=False,
        description="Browsers can install the page as an app (a web app manifest, icons, and a service worker that "
        "says when the chat is unavailable). `false` removes the worker from browsers that have it.",
    )
    theme: Literal["blue", "green"] = Field(
        default="blue", validation_alias=AliasChoices("THEME", "CHAT_THEME"), description="Accent colour of the page."
    )

    @field_validator("metrics_port")
    @classmethod
    def _metrics_port_is_separate(cls, port: int | None, info: ValidationInfo) -> int | None:
        if port is not None and port == info.data.get("port"):
            raise ValueError("it must be another port than CHAT_PORT, which is public")
        return port
