"""What a person reads after the first `make up` with https: what to wait for, to do, and who gets in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

from stacks.ingress.iap import CALLBACK

if TYPE_CHECKING:
    from stacks.ingress.static_address import PublicAddress
    from stacks.settings import Settings

SIGN_IN_CALLBACK = "/sign-in/callback"
"""The chat's own path, to which Google sends people back."""


def first_minutes(
    settings: Settings, address: PublicAddress, people: pulumi.Output[list[str]] | None
) -> dict[str, pulumi.Input[str]]:
    """Return outputs, name -> sentence, record or command; `people`: whom IAP lets in."""
    outputs: dict[str, pulumi.Input[str]] = {
        "firstMinutes": _waiting(settings, address),
        "watchCertificate": pulumi.Output.concat(
            "gcloud compute ssl-certificates describe ",
            address.certificate_name,
            f" --global --project {settings.project} --format='value(managed.status, managed.domainStatus)'",
        ),
        "whoGetsIn": _who(settings, people),
    }
    if settings.domain:
        outputs["dnsRecord"] = pulumi.Output.concat(f"{settings.domain}. A ", address.address)
    if settings.sign_in == "google":
        outputs["oauthRedirect"] = pulumi.Output.concat("https://", address.host, SIGN_IN_CALLBACK)
    elif settings.sign_in == "iap" and settings.oauth_client_id:
        outputs["oauthRedirect"] = CALLBACK.format(settings.oauth_client_id)
    return outputs


def _waiting(settings: Settings, address: PublicAddress) -> pulumi.Output[str]:
    steps: list[pulumi.Input[str]] = []
    if settings.domain:
        steps.append("Make the DNS record of the output dnsRecord, where your domain's names are kept. ")
    if settings.sign_in != "anonymous" and settings.oauth_client_id:
        steps.append("Add the output oauthRedirect to the authorized redirect URIs of your OAuth client. ")
    return pulumi.Output.concat(
        *steps,
        "Google issues the certificate for ",
        address.host,
        f" 15 to 60 minutes after the name leads to {'the address' if settings.domain else 'it, which is now'}; until "
        "then browsers say that the connection failed or is not secure. The output watchCertificate is the command "
        "that shows it: PROVISIONING, then ACTIVE.",
    )


def _who(settings: Settings, people: pulumi.Output[list[str]] | None) -> pulumi.Input[str]:
    if settings.sign_in == "anonymous":
        return "everybody who knows the address"
    named = people if people is not None else pulumi.Output.from_input(list(settings.allowed_people))
    ending = "" if settings.allowed_people else " (who ran Pulumi last; set allowedPeople to name who may come in)"
    ending += "; everybody else as a guest" if settings.guests else ""
    return named.apply(lambda known: ", ".join(known) + ending)
