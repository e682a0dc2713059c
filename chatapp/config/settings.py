"""All settings of the chat: environment variables, or lines of ``.env``, become one typed and validated object.

Names start with ``CHAT_``, except those that Google's tools define already and the codelab's ``THEME``.
docs/settings.md lists them; ``python -m chatapp.config.settings_doc`` writes that file.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from typing import TYPE_CHECKING

from pydantic import AliasChoices, ValidationError
from pydantic_settings import SettingsConfigDict

from chatapp.config.auth_settings import AuthSettings
from chatapp.config.limit_settings import ALL_STORAGE_MEGABYTES, STORAGE_MEGABYTES, LimitSettings
from chatapp.config.model_settings import ModelSettings
from chatapp.config.server_settings import ServerSettings
from chatapp.config.store_settings import StoreSettings
from chatapp.domain.errors import ChatError
from chatapp.limits import SHARED_QUOTA, USER_QUOTA, Quota
from chatapp.store.quota import StorageLimits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic_core import ErrorDetails


class InvalidSettings(ChatError):
    """One or more settings are invalid; the sentence names each one, its value and what is allowed."""


class Settings(ServerSettings, AuthSettings, LimitSettings, ModelSettings, StoreSettings):
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

    def _quota(self, prefix: str, default: Quota) -> Quota:
        # Someone who runs the chat for themselves has no quota, unless they set one.
        base = Quota() if self.identity == "local" else default
        values = {field.name: getattr(self, f"{prefix}{field.name}") for field in dataclasses.fields(Quota)}
        return dataclasses.replace(base, **{name: value for name, value in values.items() if value is not None})


def load_settings() -> Settings:
    """Read the settings from the environment and ``.env``.

    Raises:
        InvalidSettings: with every invalid setting, not only the first.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise InvalidSettings("\n".join(_sentence(problem) for problem in error.errors())) from error


def unknown_settings(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return a warning for each ``CHAT_`` variable that is no setting: most often a typing mistake."""
    names = sorted(name for field in Settings.model_fields for name in variables(field))
    return [
        f"{name} is not a setting of the chat and does nothing{_did_you_mean(name, names)}."
        for name in sorted(environment)
        if name.startswith("CHAT_") and name not in names
    ]


def variables(field: str) -> list[str]:
    """Return the environment variables that set a field; the first one is the documented name."""
    alias = Settings.model_fields[field].validation_alias
    if alias is None:
        return [f"CHAT_{field.upper()}"]
    return [str(name) for name in (alias.choices if isinstance(alias, AliasChoices) else [alias])]


def _did_you_mean(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _sentence(problem: ErrorDetails) -> str:
    first, *rest = (str(part) for part in problem["loc"])
    name = variables(first)[0] if first in Settings.model_fields else first
    where = f"{name} ({'.'.join(rest)})" if rest else name
    no_value = problem["input"] in ("", ()) or isinstance(problem["input"], (dict, list))
    secret = any(word in name for word in ("KEY", "SECRET")) or "api_key" in rest
    value = "" if secret or no_value else f" is {str(problem['input'])[:80]!r}:"
    wanted = problem["msg"].removeprefix("Value error, ").replace("Input should be", "it must be")
    return f"{where}{value} {wanted[:1].lower()}{wanted[1:]}."
