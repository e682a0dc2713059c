"""All settings of the chat: environment variables, or lines of ``.env``, become one typed and validated object.

Names start with ``CHAT_``, except those that Google's tools define already and the codelab's ``THEME``.
docs/settings.md lists them; ``python -m chatapp.config.settings_doc`` writes that file.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from typing import TYPE_CHECKING

from pydantic import AliasChoices, ValidationError
from pydantic_settings import SettingsConfigDict

from chatapp.config.auth_settings import AuthSettings
from chatapp.config.env_file import read_env_file
from chatapp.config.limit_settings import (
    ALL_STORAGE_MEGABYTES,
    IMPORT_MEGABYTES,
    LOCAL_IMPORT_MEGABYTES,
    STORAGE_MEGABYTES,
    LimitSettings,
)
from chatapp.config.local_settings import LocalModelSettings
from chatapp.config.model_settings import ModelSettings
from chatapp.config.server_settings import ServerSettings
from chatapp.config.store_settings import StoreSettings
from chatapp.domain.conversation import now_ms
from chatapp.domain.errors import ChatError
from chatapp.limits import SHARED_QUOTA, USER_QUOTA, Quota
from chatapp.store.quota import StorageLimits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

DAY_MS = 24 * 3600 * 1000
_RESEMBLANCE = 0.75  # of a name and a setting that is probably meant, as difflib measures it


class InvalidSettings(ChatError):
    """One or more settings are invalid; the sentence names each one, its value and what is allowed."""


class Settings(ServerSettings, AuthSettings, LimitSettings, ModelSettings, LocalModelSettings, StoreSettings):
    """The chat's settings, by subject in the base classes. Use `load_settings` to make one."""

    model_config = SettingsConfigDict(
        env_prefix="CHAT_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True
    )

    @property
    def user_quota(self) -> Quota:
        """The quota of each user."""
        return self._quota("", USER_QUOTA)

    @property
    def shared_quota(self) -> Quota:
        """The quota of all users of this replica together."""
        return self._quota("all_", SHARED_QUOTA)

    @property
    def storage_limits(self) -> StorageLimits:
        """How much one user, and all users together, may store."""
        has_limits = self.identity != "local"  # as for the quotas
        own, total = self.storage_megabytes, self.all_storage_megabytes
        own = STORAGE_MEGABYTES * has_limits if own is None else own
        total = ALL_STORAGE_MEGABYTES * has_limits if total is None else total
        return StorageLimits(per_user=own * 1_000_000, in_total=total * 1_000_000)

    @property
    def import_bytes(self) -> int:
        """The largest file that is imported in the page, in bytes; 0: none."""
        default = LOCAL_IMPORT_MEGABYTES if self.identity == "local" else IMPORT_MEGABYTES
        return 1_000_000 * (default if self.import_megabytes is None else self.import_megabytes)

    @property
    def collection_documents(self) -> int:
        """The most documents of a collection; 0: there are no collections."""
        return self.max_collection_documents if self.max_documents else 0

    @property
    def keeps_files(self) -> bool:
        """Whether the files of documents are kept besides their texts."""
        return self.store == "sqlite" if self.keep_document_files is None else self.keep_document_files

    @property
    def oldest_ms(self) -> int:
        """When the oldest messages that the retention period allows now were created; 0: all are kept."""
        return 0 if self.retention_days is None else now_ms() - self.retention_days * DAY_MS

    @property
    def secret_file(self) -> Path:
        """The file of the secret that signs cookies, where `session_secret` is not set."""
        return self.data_dir / "session-secret"

    @property
    def models_folder(self) -> Path:
        """The folder of downloaded models."""
        return self.models_dir or self.data_dir / "models"

    @property
    def downloads_models(self) -> bool:
        """Whether models can be downloaded: by the one person of a chat at home."""
        return self.identity == "local" and self.embedded_model

    @property
    def finds_servers(self) -> bool:
        """Whether the models of servers on this computer are offered: to the one person of a chat at home."""
        return self.identity == "local" and self.find_servers

    def _quota(self, prefix: str, default: Quota) -> Quota:
        # Someone who runs the chat for themselves has no quota, unless they set one.
        base = Quota() if self.identity == "local" else default
        values = {field.name: getattr(self, f"{prefix}{field.name}") for field in dataclasses.fields(Quota)}
        return dataclasses.replace(base, **{name: value for name, value in values.items() if value is not None})


def load_settings() -> Settings:
    """Read the settings from the environment and ``.env``.

    Raises:
        InvalidSettings: with every invalid setting and every line of ``.env`` that cannot be read, not only the first.
    """
    try:
        file = read_env_file()
    except ValueError as error:
        raise InvalidSettings(str(error)) from error
    problems = list(file.problems)
    try:
        settings = Settings(_env_file_encoding=file.encoding)  # type: ignore[call-arg]  # pydantic's plugin lacks it
    except ValidationError as error:
        problems += [_sentence(problem) for problem in error.errors()]
        # What is missing may be there under a wrong name.
        problems += unknown_settings()
        raise InvalidSettings("\n".join(problems)) from error
    if problems:
        raise InvalidSettings("\n".join(problems))
    return settings


def unknown_settings(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return a warning for each variable that is no setting: most often a typing mistake.

    In the environment, those that begin with ``CHAT_``. In ``.env``, also those that resemble a setting.
    """
    names = sorted(name for field in Settings.model_fields for name in variables(field))
    try:
        in_file = read_env_file().names
    except ValueError:
        in_file = ()
    return [
        f"{name} is not a setting of the chat and does nothing{_did_you_mean(name, names)}."
        for name in sorted({*environment, *in_file})
        if name.upper() not in names
        and (name.upper().startswith("CHAT_") or (name in in_file and _nearest(name, names)))
    ]


def variables(field: str) -> list[str]:
    """Return the environment variables that set a field; the first one is the documented name."""
    alias = Settings.model_fields[field].validation_alias
    if alias is None:
        return [f"CHAT_{field.upper()}"]
    return [str(name) for name in (alias.choices if isinstance(alias, AliasChoices) else [alias])]


def _did_you_mean(name: str, names: Iterable[str]) -> str:
    nearest = _nearest(name, names)
    return f" (did you mean {nearest}?)" if nearest else ""


def _nearest(name: str, names: Iterable[str]) -> str:
    """Return the setting that a name resembles, "" for none."""
    name = name.upper()
    if f"CHAT_{name}" in names:
        return f"CHAT_{name}"
    return "".join(difflib.get_close_matches(name, list(names), n=1, cutoff=_RESEMBLANCE))


def _sentence(problem: ErrorDetails) -> str:
    first, *rest = (str(part) for part in problem["loc"])
    name = variables(first)[0] if first in Settings.model_fields else first
    where = f"{name} ({'.'.join(rest)})" if rest else name
    no_value = problem["input"] in ("", ()) or isinstance(problem["input"], (dict, list))
    secret = any(word in name for word in ("KEY", "SECRET")) or "api_key" in rest
    value = "" if secret or no_value else f" is {_without_secrets(str(problem['input']))[:80]!r}:"
    wanted = problem["msg"].removeprefix("Value error, ").replace("Input should be", "it must be")
    return f"{where}{value} {wanted[:1].lower()}{wanted[1:]}."


def _without_secrets(value: str) -> str:
    """Return a value without what may be a password or a key in an address."""
    value = re.sub(r"(?<=//)[^/@\s]*@", "…@", value)
    return re.sub(r"\?.*", "?…", value, flags=re.DOTALL) if "://" in value else value
