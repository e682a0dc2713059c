"""The stack that a verb is for: its name, its file and its settings."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stacks.preflight.programs import output_of
from stacks.settings import SECRET_KEYS, Settings

# Stands for a secret that Pulumi does not show. It passes the checks of `Settings`, of which a Hugging Face token's
# prefix is the only one that looks into a secret.
_HIDDEN = "hf_hidden_by_pulumi"


@dataclass(frozen=True)
class Stack:
    """A stack of Pulumi, by its name."""

    name: str

    @property
    def make_argument(self) -> str:
        """What to append to `make VERB` for this stack."""
        return "" if self.name == "dev" else f" STACK={self.name}"

    def settings(self) -> tuple[Settings, list[str]]:
        """Return the stack's settings, and a sentence for each that is wrong or missing, except for the project."""
        project: str = yaml.safe_load(Path("Pulumi.yaml").read_text())["name"]
        values, secrets = self._configuration(project)
        is_set = bool(values.get("gcp:project"))
        settings, problems = Settings.parse(project, {"gcp:project": "not-set-yet", **values}, secrets)
        return settings if is_set else settings.model_copy(update={"project": ""}), problems

    def _configuration(self, project: str) -> tuple[dict[str, object], set[str]]:
        """Return the values of the stack by their full keys, and the keys of its secrets.

        From the stack's file while Pulumi cannot tell: it is not installed, or the stack was never made.
        """
        listed = output_of(
            "pulumi", "config", "--json", "--open", "--show-secrets=false", "--stack", self.name, "--non-interactive"
        )
        entries: dict[str, dict[str, Any]] = json.loads(listed) if listed else self._file(project)
        secrets = {key for key, entry in entries.items() if entry.get("secret")}
        values = {key: entry.get("value") for key, entry in entries.items() if key not in secrets}
        hidden = {key for key in secrets if key.rpartition(":")[2] in {*SECRET_KEYS, "kubeconfig"}}
        return values | dict.fromkeys(hidden, _HIDDEN), secrets

    def _file(self, project: str) -> dict[str, dict[str, Any]]:
        """Return the configuration in the stack's file, as `pulumi config --json` prints it."""
        file = Path(f"Pulumi.{self.name.rpartition('/')[2]}.yaml")  # the name may begin with an organization's
        try:
            configuration = (yaml.safe_load(file.read_text()) or {}).get("config") or {}
        except OSError:
            return {}
        return {
            key if ":" in key else f"{project}:{key}": {
                "value": str(value) if isinstance(value, int | float) else value,
                "secret": isinstance(value, dict) and "secure" in value,
            }
            for key, value in configuration.items()
        }
