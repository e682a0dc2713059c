"""Write docs/settings.md, the table of all settings, from the settings classes.

``python -m chatapp.config.settings_doc`` (or ``make settings``) writes the file; ``--check`` only compares it.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from chatapp.config.auth_settings import AuthSettings
from chatapp.config.field_types import Format
from chatapp.config.limit_settings import LimitSettings
from chatapp.config.local_settings import LocalModelSettings
from chatapp.config.model_settings import ModelSettings
from chatapp.config.server_settings import ServerSettings
from chatapp.config.settings import Settings, variables
from chatapp.config.store_settings import GoogleCloudSettings, StoreSettings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_settings import BaseSettings

PATH = Path(__file__).parents[2] / "docs" / "settings.md"
SECTIONS: dict[str, type[BaseSettings]] = {
    "Models": ModelSettings,
    "Models inside of the chat": LocalModelSettings,
    "Google Cloud": GoogleCloudSettings,
    "Server and page": ServerSettings,
    "Users and sign-in": AuthSettings,
    "Limits": LimitSettings,
    "Storage": StoreSettings,
}
_INTRODUCTION = """\
# Settings

<!-- Made from chatapp/config by `make settings`; a test compares it. -->

Settings are environment variables (`CHAT_PORT=8000 make run`) or lines of a file `.env` in the folder where the chat
starts. The environment takes precedence; an empty variable counts as not set. An invalid setting stops the start with a
message that names it. In the cloud, the Pulumi program sets them: see [deploy.md](deploy.md).
"""


def render() -> str:
    """Return the content of docs/settings.md."""
    parts = [_INTRODUCTION]
    for title, section in SECTIONS.items():
        rows = [_row(name) for name in section.__annotations__ if name in Settings.model_fields]
        table = "\n".join(["| Variable | Default | Values | Meaning |", "|---|---|---|---|", *rows])
        parts.append(f"## {title}\n\n{inspect.getdoc(section)}\n\n{table}\n")
    return "\n".join(parts)


def _row(name: str) -> str:
    field = Settings.model_fields[name]
    first, *others = variables(name)
    shown = f"`{first}`" + (f" (or `{others[0]}`)" if others and others[0] != "CHAT_THEME" else "")
    cells = (shown, _default(field), _values(field), field.description or "")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(field: FieldInfo) -> str:
    value = field.default
    if value in (PydanticUndefined, None, "", ()) or isinstance(value, SecretStr):
        return "not set"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _values(field: FieldInfo) -> str:
    """Return what a setting may be: its type, its choices or its range."""
    for item in field.metadata:
        if isinstance(item, Format):
            return item.text
    kind = _without_none(field.annotation)
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{choice.value}`" for choice in kind if choice.value)
    if kind is bool:
        return "`true`, `false`"
    if kind in (int, float):
        return ("integer" if kind is int else "number") + _range(field)
    return {SecretStr: "text (secret)", Path: "path"}.get(kind, "text")


def _range(field: FieldInfo) -> str:
    bounds = {
        name: getattr(item, name) for item in field.metadata for name in ("ge", "gt", "le") if hasattr(item, name)
    }
    lower = f"above {bounds['gt']}" if "gt" in bounds else str(bounds["ge"])
    return f", {lower} or more" if bounds["le"] >= 10**12 else f", {lower} to {bounds['le']:,}"


def _without_none(annotation: Any) -> Any:  # noqa: ANN401  # a type expression can be anything
    while get_origin(annotation) in (Union, types.UnionType, typing.Annotated):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    return annotation


def main(arguments: list[str]) -> int:
    """Write the file, or compare it; return the exit status."""
    content = render()
    if "--check" not in arguments:
        PATH.write_text(content, encoding="utf-8")
        return 0
    if PATH.read_text(encoding="utf-8") == content:
        return 0
    sys.stderr.write("docs/settings.md is out of date. Run: make settings\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
