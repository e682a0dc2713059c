"""Settings that a running deployment cannot change, because what holds the conversations would be replaced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Fixed:
    """One value that stays as it was when the stack was created.

    Attributes:
        value: the current value.
        key: the setting's key, for the error message.
        consequence: what Pulumi would do with another value.
        restore: how to return to the first value, where it is not a setting.
    """

    value: pulumi.Input[str]
    key: str
    consequence: str
    restore: str = ""


class FixedSettings(pulumi.ComponentResource):
    """Remembers values in the stack's state (`pulumi.Stash`), and refuses other ones in every later preview and update.

    Pulumi itself would replace the database or the volume without a question; its own protection (`protect`) would
    refuse `pulumi destroy` too.
    """

    def __init__(self, name: str, values: Mapping[str, Fixed], opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:FixedSettings", name, {}, opts)
        names = sorted(values)
        first = [
            pulumi.Stash(each, input=values[each].value, opts=pulumi.ResourceOptions(parent=self)).output
            for each in names
        ]
        current = [values[each].value for each in names]

        def check(both: list[list[Any]]) -> None:
            changed = [
                _refusal(values[each], before, now)
                for each, before, now in zip(names, *both, strict=True)
                if before != now
            ]
            if changed:
                raise pulumi.RunError("\n".join(changed))

        self._checked = pulumi.Output.all(pulumi.Output.all(*first), pulumi.Output.all(*current)).apply(check)
        self.register_outputs({})

    def then(self, value: pulumi.Input[str]) -> pulumi.Output[str]:
        """Return `value` once no fixed setting has changed, so that what needs it is not touched before.

        Raises:
            pulumi.RunError: in the output, if one has changed.
        """
        return pulumi.Output.all(self._checked, value).apply(lambda values: str(values[1]))


def _refusal(fixed: Fixed, before: str, now: str) -> str:
    command = f"pulumi config set {fixed.key} {before}" if before else f"pulumi config rm {fixed.key}"
    restore = fixed.restore or f"Set it back: {command}"
    return (
        f"{fixed.key} was {before or 'not set'!r} when this stack was created, and is {now or 'not set'!r} now: "
        f"{fixed.consequence}. Nothing was changed. {restore}. To move, export the conversations, "
        "create a second stack (make up STACK=NAME), and import them there: docs/deploy.md, Move."
    )
