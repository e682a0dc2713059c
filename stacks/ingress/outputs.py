"""Outputs of an HTTPS deployment: what to wait for, what to do next, and who may sign in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

from stacks.ingress.iap import CALLBACK

if TYPE_CHECKING:
    from stacks.ingress.static_address import PublicAddress
    from stacks.settings import Settings

SIGN_IN_CALLBACK = "/sign-in/callback"
"""The path of the chat's own redirect URI."""


def https_outputs(
    settings: Settings, address: PublicAddress, people: pulumi.Output[list[str]] | None
) -> dict[str, pulumi.Input[str]]:
    """Return outputs, name -> sentence, record or command; `people`: who is admitted by IAP."""
    outputs: dict[str, pulumi.Input[str]] = {
        "firstMinutes": _next_steps(settings, address),
        "watchCertificate": pulumi.Output.concat(
            "gcloud compute ssl-certificates describe ",
            address.certificate_name,
            f" --global --project {settings.project} --format='value(managed.status, managed.domainStatus)'",
        ),
        "whoGetsIn": _allowed_people(settings, people),
    }
    if settings.domain:
        outputs["dnsRecord"] = pulumi.Output.concat(f"{settings.domain}. A ", address.address)
    if settings.sign_in == "google":
        outputs["oauthRedirect"] = pulumi.Output.concat("https://", address.host, SIGN_IN_CALLBACK)
    elif settings.sign_in == "iap" and settings.oauth_client_id:
        outputs["oauthRedirect"] = CALLBACK.format(settings.oauth_client_id)
    return outputs


def _next_steps(settings: Settings, address: PublicAddress) -> pulumi.Output[str]:
    steps: list[pulumi.Input[str]] = []
    if settings.domain:
        steps.append("Create the DNS record of the output dnsRecord at your domain's DNS provider. ")
    if settings.sign_in != "anonymous" and settings.oauth_client_id:
        steps.append("Add the output oauthRedirect to the authorized redirect URIs of your OAuth client. ")
    start = "the name resolves to the address" if settings.domain else "the deployment"
    return pulumi.Output.concat(
        *steps,
        "Google issues the certificate for ",
        address.host,
        f" 15 to 60 minutes after {start}; until then browsers report that the connection failed or is not secure. The "
        "output watchCertificate is the command that shows its status: PROVISIONING, then ACTIVE.",
    )


def _allowed_people(settings: Settings, people: pulumi.Output[list[str]] | None) -> pulumi.Input[str]:
    if settings.sign_in == "anonymous":
        return "anyone who knows the address"
    admitted = people if people is not None else pulumi.Output.from_input(list(settings.allowed_people))
    note = "" if settings.allowed_people else " (the last account that ran Pulumi; set allowedPeople to name others)"
    note += "; anyone else as a guest" if settings.guests else ""
    return admitted.apply(lambda names: ", ".join(names) + note)
