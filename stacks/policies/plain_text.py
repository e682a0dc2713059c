"""Rules against secrets in plain text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .containers import in_pod
from .properties import at, items, keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .properties import Resource

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SECRET = {"apikey", "apikeys", "key", "keys", "passphrase", "password", "passwords", "secret", "secrets", "token"}
_LOCATION = {"file", "path"}


def no_plain_variable(resource: Resource) -> Iterator[str]:
    """A secret variable refers to a Secret, because anyone who may read the pod can read its plain variables."""
    for container in in_pod(resource):
        for variable in items(container.inputs, "env"):
            name = at(variable, "name")
            if _names_secret(name) and at(variable, "valueFrom", "secretKeyRef") is None:
                yield (
                    f"{resource}: {container.title} has the variable {name} in plain text, readable for anyone who "
                    "may read the pod: put its value into a Secret, and refer to it with valueFrom.secretKeyRef."
                )


def no_secret_in_config_map(resource: Resource) -> Iterator[str]:
    """No ConfigMap contains a secret, because more people and programs may read ConfigMaps than Secrets."""
    if resource.package != "kubernetes" or resource.kind != "ConfigMap":
        return
    for key in (*keys(resource.inputs, "data"), *keys(resource.inputs, "binaryData")):
        if _names_secret(key):
            yield f"{resource} has the key {key}, and a ConfigMap must not contain a secret: put it into a Secret."


def _names_secret(name: object) -> bool:
    """Whether a name means a secret: API_KEY or hfToken, but neither MAX_TOKENS nor TOKEN_FILE."""
    words = [word.lower() for word in _WORD.findall(name)] if isinstance(name, str) else []
    return bool(_SECRET.intersection(words)) and words[-1] not in _LOCATION
