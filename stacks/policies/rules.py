"""All rules as policies: which stop an update, and which only warn."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from pulumi_policy import EnforcementLevel, ResourceValidationPolicy

from . import cloud, containers, plain_text, services
from .properties import Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pulumi_policy import Policy, ReportViolation, ResourceValidationArgs

    Rule = Callable[[Resource], Iterator[str]]
    """Yields one sentence for each thing that is wrong: what, why, and what to do."""

MANDATORY: tuple[Rule, ...] = (
    cloud.no_broad_role,
    cloud.no_public_member,
    cloud.destroy_removes_it,
    containers.fixed_image,
    containers.requests_equal_limits,
    containers.confined,
    containers.probed,
    containers.no_service_account_token,
    plain_text.no_plain_variable,
    plain_text.no_secret_in_config_map,
)
ADVISORY: tuple[Rule, ...] = (services.not_public,)


def policy(rule: Rule, level: EnforcementLevel) -> ResourceValidationPolicy:
    """Return a rule as Pulumi wants it, described by its docstring."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        for sentence in rule(Resource.of(args)):
            report(sentence, None)

    name = rule.__name__.replace("_", "-")
    return ResourceValidationPolicy(name, inspect.getdoc(rule) or name, validate, level)


POLICIES: list[Policy] = [
    *(policy(rule, EnforcementLevel.MANDATORY) for rule in MANDATORY),
    *(policy(rule, EnforcementLevel.ADVISORY) for rule in ADVISORY),
]
