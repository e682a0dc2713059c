"""`python -m chatapp.weights`: the Job of the stack. Its settings are environment variables that the stack sets."""

from __future__ import annotations

import asyncio
import sys

import aiohttp
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from chatapp.models.local.hub import Hub
from chatapp.weights.bucket import ENDPOINT, METADATA_SERVER, Bucket, ServiceAccountToken, no_token
from chatapp.weights.copy import Copier
from chatapp.weights.errors import EXIT_PERMANENT, CopyFailed
from chatapp.weights.hub import Repository

CONNECT_SECONDS = 15.0
STALL_SECONDS = 60.0  # of Cloud Storage; those of the hub are in `Hub`


class WeightsSettings(BaseSettings):
    """What to copy, and where to.

    Attributes:
        model: "owner/model".
        revision: a commit.
        bucket: its name.
        hf_token: for gated weights.
        hf_endpoint: the hub; empty for Hugging Face's own.
        storage_emulator_host: another storage, to which no token is sent.
        metadata_server: gives tokens of the pod's service account.
    """

    model_config = SettingsConfigDict(frozen=True)

    model: str = Field(validation_alias="WEIGHTS_MODEL", pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = Field(validation_alias="WEIGHTS_REVISION", pattern=r"^[0-9a-f]{40}$")
    bucket: str = Field(validation_alias="WEIGHTS_BUCKET", pattern=r"^[a-z0-9][a-z0-9._-]+$")
    hf_token: SecretStr = Field(default=SecretStr(""), validation_alias="HF_TOKEN")
    hf_endpoint: str = Field(default="", validation_alias="HF_ENDPOINT")
    storage_emulator_host: str = Field(default="", validation_alias="STORAGE_EMULATOR_HOST")
    metadata_server: str = Field(default=METADATA_SERVER, validation_alias="WEIGHTS_METADATA_SERVER")


async def run(settings: WeightsSettings) -> None:
    """Copy the weights.

    Raises:
        CopyFailed: they cannot be copied.
    """
    token = settings.hf_token.get_secret_value()
    hub = Hub(settings.hf_endpoint, token)
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=STALL_SECONDS)
    async with hub.session() as session, aiohttp.ClientSession(timeout=timeout) as google:
        emulator = settings.storage_emulator_host
        account = no_token if emulator else ServiceAccountToken(google, settings.metadata_server)
        repository = Repository(session, hub.endpoint, settings.model, settings.revision, has_token=bool(token))
        bucket = Bucket(google, settings.bucket, account, emulator or ENDPOINT)
        await Copier(repository, bucket, report=_report).copy()


def _report(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Return 0; 1 if another try may succeed; `EXIT_PERMANENT` if not."""
    try:
        asyncio.run(run(WeightsSettings()))  # type: ignore[call-arg]  # pydantic reads them from the environment
    except ValidationError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_PERMANENT
    except CopyFailed as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_PERMANENT if error.is_permanent else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
