"""All rules as policies: mandatory ones stop an update, advisory ones only warn."""

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
    """Yields one message per violation: what, why, and what to do."""

MANDATORY: tuple[Rule, ...] = (
    cloud.no_broad_role,
    cloud.no_public_member,
    cloud.destroy_removes_it,
    containers.fixed_image,
    containers.requests_equal_limits,
    containers.restricted,
    containers.probed,
    containers.no_service_account_token,
    plain_text.no_plain_variable,
    plain_text.no_secret_in_config_map,
)
ADVISORY: tuple[Rule, ...] = (services.not_public,)


def policy(rule: Rule, level: EnforcementLevel) -> ResourceValidationPolicy:
    """Return a rule as a policy of Pulumi; its description is the docstring."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        for message in rule(Resource.of(args)):
            report(message, None)

    name = rule.__name__.replace("_", "-")
    return ResourceValidationPolicy(name, inspect.getdoc(rule) or name, validate, level)


POLICIES: list[Policy] = [
    *(policy(rule, EnforcementLevel.MANDATORY) for rule in MANDATORY),
    *(policy(rule, EnforcementLevel.ADVISORY) for rule in ADVISORY),
]
