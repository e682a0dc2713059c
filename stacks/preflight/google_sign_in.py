"""Checks of how people reach the chat: the organization, the OAuth client and the domain."""

from collections.abc import Iterable
from urllib.parse import quote

from stacks.preflight.checks import Check, Finding, Project
from stacks.preflight.google_api import AbsentError, UnreadableError
from stacks.validation.sign_in import NO_ORGANIZATION


def _organization(project: Project) -> Iterable[Finding]:
    """Report a sign-in that would admit no user: Google's own OAuth client works only within an organization."""
    parent = (project.record.get("parent") or {}).get("type", "")
    if parent:
        yield "pass", f"the project is in {'a folder' if parent == 'folder' else 'an organization'}"
    else:
        yield "fail", NO_ORGANIZATION.format(project=project.settings.project)


def _client(project: Project) -> Iterable[Finding]:
    """Compare the client's number, which is that of its project, with this one's."""
    number = str(project.record.get("projectNumber", ""))
    own = project.settings.oauth_client_id.partition("-")[0]
    if own == number:
        yield "pass", "OAuth client of this project"
    else:
        yield (
            "note",
            f"oauthClientId belongs to the project with the number {own}, and this one has {number}: the people who "
            "sign in see the name and the consent screen of that project. To have this one's, create a client at "
            f"https://console.cloud.google.com/auth/clients?project={project.settings.project}",
        )


def _domain(project: Project) -> Iterable[Finding]:
    domain = project.settings.domain
    answer = project.api.read_public(f"https://dns.google/resolve?type=A&name={quote(domain)}")
    records = sorted(each["data"] for each in answer.get("Answer") or [] if each.get("type") == 1)
    try:
        address = project.api.read(f"{project.compute}/global/addresses/{project.names.address}").get("address", "")
    except AbsentError:
        address = ""
    except UnreadableError as error:
        if "not enabled" not in str(error):
            raise
        address = ""
    if address and records == [address]:
        yield "pass", f"DNS record of {domain}"
    elif address and records:
        yield (
            "note",
            f"{domain} leads to {', '.join(records)}, and the chat's address is {address}: Google issues no "
            f"certificate until it leads there. Change the DNS record: {domain}. A {address}",
        )
    elif address:
        yield "note", f"{domain} has no DNS record yet. Create it: {domain}. A {address}"
    else:
        there = f" It leads to {', '.join(records)} now, and will have to be changed." if records else ""
        yield "later", f"DNS record of {domain}: make up prints the address for it (output dnsRecord).{there}"


SIGN_IN_CHECKS = (
    Check("organization", _organization, lambda it: it.uses_googles_client),
    Check("OAuth client", _client, lambda it: bool(it.oauth_client_id)),
    Check("DNS record", _domain, lambda it: bool(it.domain)),
)
