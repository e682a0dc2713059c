"""Ingress and sign-in: every combination on each platform, rejected settings, and the chat's environment."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import pulumi
import pytest

from stacks.ingress.iap import iap_member
from stacks.settings import InvalidSettings, Settings
from stacks.validation.sign_in import public_access_warnings
from tests.stacks.deployments import CLIENT, GCP, GOOGLE_SIGN_IN, OWN_IAP_CLIENT, PEOPLE
from tests.stacks.recording import ADDRESS, HIDDEN, RUNNER, Deployed, deploy, seen

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.slow  # many deployments

PLATFORMS: dict[str, dict[str, str]] = {
    "gcp": GCP,
    "kubernetes": {"platform": "kubernetes", "image": "example.org/c:1"},
}
SIGN_IN = CLIENT | PEOPLE
FREE_NAME = "chat-x7k2p9.endpoints.my-proj-1.cloud.goog"

# (platform, exposure, identity) -> (ingress, sign-in), or the error message; the sign-in has all that it needs.
NEEDS_GCP = "exposure is 'https', which is Google's load balancer and needs platform gcp; allowed on platform"
IAP_ALONE = "Identity-Aware Proxy is part of Google's HTTPS load balancer, which only exposure https on"
UNENCRYPTED = "identity is 'google' and exposure is 'public-http': a sign-in needs an encrypted connection"
TABLE: dict[tuple[str, str, str], tuple[str, str] | str] = {
    ("gcp", "auto", "auto"): ("https", "iap"),
    ("gcp", "auto", "google"): ("https", "google"),
    ("gcp", "auto", "iap"): ("https", "iap"),
    ("gcp", "auto", "anonymous"): ("https", "anonymous"),
    ("gcp", "https", "auto"): ("https", "iap"),
    ("gcp", "https", "google"): ("https", "google"),
    ("gcp", "https", "iap"): ("https", "iap"),
    ("gcp", "https", "anonymous"): ("https", "anonymous"),
    ("gcp", "public-http", "auto"): ("public-http", "anonymous"),
    ("gcp", "public-http", "google"): UNENCRYPTED,
    ("gcp", "public-http", "iap"): IAP_ALONE,
    ("gcp", "public-http", "anonymous"): ("public-http", "anonymous"),
    ("gcp", "private", "auto"): ("private", "anonymous"),
    ("gcp", "private", "google"): ("private", "google"),
    ("gcp", "private", "iap"): IAP_ALONE,
    ("gcp", "private", "anonymous"): ("private", "anonymous"),
    ("kubernetes", "auto", "auto"): ("private", "anonymous"),
    ("kubernetes", "auto", "google"): ("private", "google"),
    ("kubernetes", "auto", "iap"): IAP_ALONE,
    ("kubernetes", "auto", "anonymous"): ("private", "anonymous"),
    ("kubernetes", "https", "auto"): NEEDS_GCP,
    ("kubernetes", "https", "google"): NEEDS_GCP,
    ("kubernetes", "https", "iap"): NEEDS_GCP,
    ("kubernetes", "https", "anonymous"): NEEDS_GCP,
    ("kubernetes", "public-http", "auto"): ("public-http", "anonymous"),
    ("kubernetes", "public-http", "google"): UNENCRYPTED,
    ("kubernetes", "public-http", "iap"): IAP_ALONE,
    ("kubernetes", "public-http", "anonymous"): ("public-http", "anonymous"),
    ("kubernetes", "private", "auto"): ("private", "anonymous"),
    ("kubernetes", "private", "google"): ("private", "google"),
    ("kubernetes", "private", "iap"): IAP_ALONE,
    ("kubernetes", "private", "anonymous"): ("private", "anonymous"),
}


def config_of(case: tuple[str, str, str]) -> dict[str, str]:
    platform, exposure, identity = case
    return (
        PLATFORMS[platform] | {"exposure": exposure, "identity": identity} | (SIGN_IN if identity == "google" else {})
    )


def error_message(config: Mapping[str, str]) -> str:
    """Return the one message with which these settings are rejected."""
    with pytest.raises(InvalidSettings) as error:
        Settings.checked(dict(config))
    head, *messages = str(error.value).split("\n  - ")
    assert head == "One setting is wrong; nothing was changed.", messages
    return messages[0]


def environment(run: Deployed) -> dict[str, str]:
    variables = run.one("Deployment", "gradio-chat-deployment")["spec.template.spec.containers.0.env"]
    return {variable["name"]: variable.get("value", "(secret)") for variable in variables}


def test_the_table_is_complete() -> None:
    axes = (PLATFORMS, ("auto", "https", "public-http", "private"), ("auto", "google", "iap", "anonymous"))
    assert set(TABLE) == set(itertools.product(*axes))


@pytest.mark.parametrize("case", TABLE, ids=" ".join)
class TestEachCombination:
    def test_is_rejected_with_one_message_or_gives_what_the_table_says(self, case: tuple[str, str, str]) -> None:
        expected = TABLE[case]
        if isinstance(expected, str):
            assert expected in error_message(config_of(case))
        else:
            settings = Settings.checked(config_of(case))
            assert (settings.ingress, settings.sign_in) == expected

    def test_gives_a_warning_for_https_without_a_sign_in(self, case: tuple[str, str, str]) -> None:
        if isinstance(expected := TABLE[case], str):
            return
        warnings = list(public_access_warnings(Settings.checked(config_of(case))))
        assert [warning[:9] for warning in warnings] == (["Anyone wh"] if expected == ("https", "anonymous") else [])


# The table has the values of `auto`; from there on its deployments are the same as the explicit ones.
EXPLICIT = [case for case, expected in TABLE.items() if not isinstance(expected, str) and "auto" not in case]


@pytest.mark.parametrize("case", EXPLICIT, ids=" ".join)
def test_only_the_chosen_ingress_is_created(case: tuple[str, str, str]) -> None:
    ingress, sign_in = TABLE[case]
    run = seen(config_of(case))
    url, kinds = {
        "https": (f"https://{FREE_NAME}", {"Gateway"}),
        "public-http": ("http://203.0.113.7:7860", {"LoadBalancer"}),
        "private": ("http://127.0.0.1:7860", set()),
    }[ingress]
    balancers = {"LoadBalancer" for s in run.of_type("kubernetes:core/v1:Service") if s["spec.type"] != "ClusterIP"}
    assert run.outputs["url"] == url
    assert balancers | ({"Gateway"} if run.of_type("Gateway") else set()) == kinds
    assert ("openWith" in run.outputs) is (ingress == "private")
    variables = environment(run)
    assert variables["CHAT_IDENTITY"] == sign_in
    assert ("CHAT_OIDC_CLIENT_SECRET" in variables) is (sign_in == "google")
    assert ("CHAT_IAP_AUDIENCE" in variables) is bool(run.of_type("WebIamBinding")) is (sign_in == "iap")
    # Without a fixed URL, the chat uses the address of the request.
    assert variables.get("CHAT_ROOT_URL") == (url if ingress == "https" or sign_in == "google" else None)
    assert ("CHAT_TRUSTED_PROXIES" in variables) is (ingress == "https")


def test_the_program_logs_its_warnings(caplog: pytest.LogCaptureFixture) -> None:
    deploy(GCP | {"identity": "anonymous", "gemma": "none", "image": "example.org/c:1"})
    assert "Anyone who finds the chat's address can use it, at your cost" in caplog.text


def test_auto_with_an_oauth_client_is_google() -> None:
    assert Settings.checked(GCP | SIGN_IN).sign_in == "google"


def test_auto_with_https_is_never_anonymous() -> None:
    for more in ({}, PEOPLE, SIGN_IN, {"domain": "chat.example.org"}, {"exposure": "https"}):
        assert Settings.checked(GCP | more).sign_in != "anonymous"


GOOGLE = GCP | {"identity": "google"}
REJECTED = {
    "Google without a client": (
        GOOGLE | PEOPLE | {"oauthClientSecret": "s"},
        "oauthClientId is not set, which identity",
    ),
    "Google without the client's secret": (
        GCP | PEOPLE | {"oauthClientId": CLIENT["oauthClientId"]},
        "and run: pulumi config set --secret oauthClientSecret",
    ),
    "Google without people": (
        GCP | CLIENT,
        "allowedPeople is not set, and identity google admits only people it names",
    ),
    "Google for a group": (
        GCP | CLIENT | {"allowedPeople": "group:team@example.org"},
        "allowedPeople has a group, whose members only identity iap can look up",
    ),
    "IAP with half a client": (
        GCP | {"identity": "iap", "oauthClientId": CLIENT["oauthClientId"]},
        "oauthClientId is set and oauthClientSecret is not: identity iap takes both, or neither",
    ),
    "IAP with the other half": (GCP | {"oauthClientSecret": "s"}, "oauthClientSecret is set and oauthClientId is not"),
    "guests with IAP": (GCP | {"guests": "true"}, "guests is true, which needs identity google"),
    "guests without a sign-in": (
        GCP | {"identity": "anonymous", "guests": "true"},
        "guests is true, which needs identity",
    ),
    "people without a sign-in": (
        GCP | PEOPLE | {"identity": "anonymous"},
        "allowedPeople has no effect without a sign-in (identity is anonymous): set identity to google, or remove",
    ),
    "a client without a sign-in": (
        PLATFORMS["kubernetes"] | {"oauthClientId": CLIENT["oauthClientId"]},
        "oauthClientId has no effect without a sign-in (exposure is 'private')",
    ),
    "a domain without encryption": (
        GCP | {"exposure": "public-http", "domain": "chat.example.org"},
        "domain has no effect while exposure is 'public-http': it is part of exposure https",
    ),
    "Cloud Armor without a load balancer": (
        GCP | {"exposure": "private", "cloudArmor": "true"},
        "cloudArmor has no effect while exposure is 'private'",
    ),
    "a domain on another platform": (
        PLATFORMS["kubernetes"] | {"domain": "chat.example.org"},
        "domain has no effect on platform kubernetes: it is for gcp",
    ),
    "a project whose ID has a domain": (
        {"gcp:project": "example.com:chat"},
        "domain is not set, and Google has no free domain name for the project example.com:chat",
    ),
    "a domain that is a URL": (GCP | {"domain": "https://chat.example.org"}, "a name in small letters is needed"),
    "a domain without a dot": (GCP | {"domain": "chat"}, "domain is 'chat': a name in small letters is needed"),
    "a person without an address": (
        GCP | {"allowedPeople": '["ann"]'},
        "allowedPeople is 'ann': an email address (ann@example.org), a domain (example.org) or * is needed",
    ),
    "part of a domain": (
        GCP | {"allowedPeople": "*.example.org"},
        "allowedPeople is '*.example.org': an email address",
    ),
    "an invalid client ID": (GCP | {"oauthClientId": "my client"}, "which ends with .apps.googleusercontent.com"),
    "a cost in words": (GCP | {"costPerDay": "much"}, "costPerDay is 'much': it must be a valid number"),
    "an infinite cost": (GCP | {"allCostPerDay": "inf"}, "allCostPerDay is 'inf': it must be a finite number"),
    "a negative number of tokens": (
        GCP | {"tokensPerDay": "-1"},
        "tokensPerDay is '-1': it must be greater than or equal",
    ),
}


@pytest.mark.parametrize(("config", "message"), REJECTED.values(), ids=REJECTED)
def test_conflicting_settings_are_rejected_with_a_fix(config: dict[str, str], message: str) -> None:
    assert message in error_message(config)


@pytest.mark.parametrize(
    "written",
    ['["ann@example.org", "example.com"]', "ann@example.org example.com", "Ann@Example.org,example.com", "*"],
)
def test_people_are_a_json_list_or_words(written: str) -> None:
    people = Settings.checked(GCP | {"allowedPeople": written}).allowed_people
    assert people == (("*",) if written == "*" else ("ann@example.org", "example.com"))


class TestGoogle:
    config = GOOGLE_SIGN_IN

    def test_the_chat_gets_the_client_and_its_secret_stays_secret(self) -> None:
        run = seen(self.config)
        variables = environment(run)
        assert variables["CHAT_OIDC_CLIENT_ID"] == CLIENT["oauthClientId"]
        assert variables["CHAT_ALLOWED_PEOPLE"] == "ann@example.org,example.com"
        assert variables["CHAT_GUESTS"] == "true"
        secret = run.one("Secret", "gradio-chat-secrets")
        assert secret["stringData.CHAT_OIDC_CLIENT_SECRET"] == CLIENT["oauthClientSecret"]
        assert any(path.startswith("stringData") for path in secret.secrets)
        for resource in run.resources:
            if resource.urn != secret.urn:
                assert CLIENT["oauthClientSecret"] not in str(resource.inputs)

    def test_all_replicas_share_the_session_secret(self) -> None:
        run = seen(self.config)
        assert run.one("Deployment", "gradio-chat-deployment")["spec.replicas"] == 2
        assert run.one("Secret", "gradio-chat-secrets")["stringData.CHAT_SESSION_SECRET"]

    def test_nothing_of_iap_is_created(self) -> None:
        run = seen(self.config)
        assert not [r for r in run.resources if r.type.startswith("gcp:iap")]
        assert "iap.googleapis.com" not in {service["service"] for service in run.of_type("projects/service:Service")}
        assert "iap" not in run.one("GCPBackendPolicy")["spec.default"]
        assert run.calls == ["gcp:organizations/getProject:getProject"]

    def test_outputs_have_the_redirect_uri(self) -> None:
        outputs = seen(self.config).outputs
        assert outputs["oauthRedirect"] == f"https://{FREE_NAME}/sign-in/callback"
        assert "oauthRedirect" in outputs["firstMinutes"]
        assert outputs["whoGetsIn"] == "ann@example.org, example.com; anyone else as a guest"

    def test_a_forwarded_port_has_a_root_url(self) -> None:
        variables = environment(seen(config_of(("kubernetes", "private", "google"))))
        assert variables["CHAT_ROOT_URL"] == "http://127.0.0.1:7860"

    @pytest.mark.parametrize(
        ("more", "warning"),
        [({"guests": "true"}, "without signing in"), ({"allowedPeople": "*"}, "Anyone with a Google account")],
    )
    def test_gives_a_warning_when_it_admits_anyone(self, more: dict[str, str], warning: str) -> None:
        (logged,) = public_access_warnings(Settings.checked(GCP | SIGN_IN | more))
        assert warning in logged


class TestIdentityAwareProxy:
    def test_admits_the_account_that_runs_pulumi_by_default(self) -> None:
        run = seen(GCP)
        assert run.one("WebIamBinding")["members"] == [f"user:{RUNNER}"]
        assert environment(run)["CHAT_ALLOWED_PEOPLE"] == RUNNER
        assert run.outputs["whoGetsIn"].startswith(f"{RUNNER} (the last account that ran Pulumi; set allowedPeople")

    def test_admits_the_allowed_people(self) -> None:
        run = seen(OWN_IAP_CLIENT)
        assert run.one("WebIamBinding")["members"] == ["domain:example.com", "user:ann@example.org"]
        assert environment(run)["CHAT_ALLOWED_PEOPLE"] == "ann@example.org,example.com"
        assert run.calls == ["gcp:organizations/getProject:getProject"], "no lookup of the account that runs Pulumi"

    def test_admits_them_to_the_chat_and_nothing_else_of_the_project(self) -> None:
        binding = seen(GCP).one("WebIamBinding")
        assert binding["role"] == "roles/iap.httpsResourceAccessor"
        assert binding["condition.expression"] == f'request.host == "{FREE_NAME}"'
        assert len(binding["condition.title"]) <= 100

    def test_checks_groups_instead_of_the_chat(self) -> None:
        run = seen(GCP | {"allowedPeople": "group:team@example.org"})
        assert run.one("WebIamBinding")["members"] == ["group:team@example.org"]
        assert "CHAT_ALLOWED_PEOPLE" not in environment(run), "the chat cannot look up its members"

    def test_admits_all_accounts_with_a_role_without_a_condition(self) -> None:
        run = seen(GCP | {"allowedPeople": "*"})
        member = run.one("WebIamMember")
        assert (member["member"], "condition" in member.inputs) == ("allAuthenticatedUsers", False)
        assert not run.of_type("WebIamBinding")

    def test_audience_is_this_project(self) -> None:
        assert environment(seen(GCP))["CHAT_IAP_AUDIENCE"] == "/projects/123456789012/global/backendServices/*"

    @pytest.mark.parametrize(
        ("person", "member"),
        [
            ("ann@example.org", "user:ann@example.org"),
            ("ci@p.iam.gserviceaccount.com", "serviceAccount:ci@p.iam.gserviceaccount.com"),
            ("group:g@example.org", "group:g@example.org"),
            ("example.org", "domain:example.org"),
        ],
    )
    def test_people_become_iam_members(self, person: str, member: str) -> None:
        assert iap_member(person) == member

    def test_uses_the_users_own_client_from_a_secret(self) -> None:
        run = seen(OWN_IAP_CLIENT)
        policy = run.one("GCPBackendPolicy")["spec.default.iap"]
        secret = run.one("Secret", policy["oauth2ClientSecret"]["name"])
        assert (policy["enabled"], policy["clientID"]) == (True, CLIENT["oauthClientId"])
        assert secret["stringData"] == {"key": CLIENT["oauthClientSecret"]}
        assert secret.secrets
        assert "CHAT_OIDC_CLIENT_ID" not in environment(run), "the chat has no sign-in of its own"
        assert run.outputs["oauthRedirect"].endswith(f"{CLIENT['oauthClientId']}:handleRedirect")

    def test_without_an_organization_and_a_client_is_refused_with_the_ways_out(self) -> None:
        config = {"gemma": "none", "image": "example.org/c:1"}
        registered = Deployed()
        with pytest.raises(pulumi.RunError, match="The project lone-proj-1 belongs to no organization") as refused:
            deploy(config | {"gcp:project": "lone-proj-1"}, into=registered)
        for way in ("exposure private", "oauthClientId, oauthClientSecret and allowedPeople", "identity anonymous"):
            assert way in str(refused.value)
        assert not [resource for resource in registered.resources if resource.is_custom], "nothing is created"
        assert deploy(config | {"gcp:project": "foldered-1"}).outputs, "a folder belongs to an organization"
        assert deploy(config | CLIENT | {"gcp:project": "lone-proj-1", "identity": "iap"}).outputs

    def test_a_preview_without_make_is_refused_too_before_it_shows_a_resource(self) -> None:
        registered = Deployed()
        with pytest.raises(pulumi.RunError, match="The project lone-proj-1 belongs to no organization"):
            deploy(GCP | {"gcp:project": "lone-proj-1"}, preview=True, into=registered)
        assert not [resource for resource in registered.resources if resource.is_custom]

    @pytest.mark.parametrize("project", ["my-proj-1", "foldered-1"])
    def test_a_project_with_an_organization_passes_the_preview_without_a_warning(
        self, caplog: pytest.LogCaptureFixture, project: str
    ) -> None:
        run = deploy(GCP | {"gcp:project": project}, preview=True)
        assert run.of_type("WebIamBinding")
        assert "organization" not in caplog.text

    def test_a_project_that_cannot_be_read_is_a_warning_and_goes_on(self, caplog: pytest.LogCaptureFixture) -> None:
        run = deploy(GCP | {"gcp:project": "hidden-proj-1"})
        assert run.one("WebIamBinding")
        (warning,) = [record.message for record in caplog.records if "belongs to an organization" in record.message]
        assert HIDDEN in warning
        assert "docs/deploy.md, Who gets in" in warning

    @pytest.mark.parametrize("more", [CLIENT | {"identity": "iap"}, {"identity": "anonymous"}])
    def test_no_project_is_looked_up_early_for_another_sign_in(self, more: dict[str, str]) -> None:
        assert seen(GCP | more).calls.count("gcp:organizations/getProject:getProject") == 1


class TestAddress:
    def test_only_googles_load_balancer_is_a_trusted_proxy(self) -> None:
        proxies = environment(seen(GCP))["CHAT_TRUSTED_PROXIES"]
        assert proxies == f"35.191.0.0/16,130.211.0.0/22,{ADDRESS}/32"

    def test_a_free_name_resolves_to_the_address_and_needs_three_apis(self) -> None:
        run = seen(GCP)
        service = run.one("endpoints/service:Service")
        document = json.loads(service["openapiConfig"])
        assert service["serviceName"] == document["host"] == FREE_NAME
        assert document["x-google-endpoints"] == [{"name": FREE_NAME, "target": ADDRESS}]
        enabled = {s["service"].partition(".")[0] for s in run.of_type("projects/service:Service")}
        assert {"servicemanagement", "servicecontrol", "endpoints", "iap"} <= enabled

    def test_the_users_own_domain_needs_a_dns_record_from_the_outputs(self) -> None:
        run = seen(OWN_IAP_CLIENT)
        assert run.outputs["url"] == "https://chat.example.org"
        assert run.outputs["dnsRecord"] == f"chat.example.org. A {ADDRESS}"
        assert run.outputs["firstMinutes"].startswith("Create the DNS record of the output dnsRecord")
        assert not run.of_type("endpoints/service:Service")
        enabled = {s["service"].partition(".")[0] for s in run.of_type("projects/service:Service")}
        assert not {"servicemanagement", "servicecontrol", "endpoints"} & enabled

    def test_a_domain_in_hebrew_is_deployed_as_dns_has_it(self) -> None:
        run = seen(OWN_IAP_CLIENT | {"domain": "דוגמה.example"})
        host = "xn--6dbbec0c.example"
        assert run.outputs["url"] == f"https://{host}"
        assert run.outputs["dnsRecord"] == f"{host}. A {ADDRESS}"
        assert run.one("ManagedSslCertificate")["managed.domains"] == [host]
        assert environment(run)["CHAT_ROOT_URL"] == f"https://{host}"

    def test_outputs_explain_the_wait_for_the_certificate(self) -> None:
        outputs = seen(GCP).outputs
        certificate = seen(GCP).one("ManagedSslCertificate")["name"]
        assert "15 to 60 minutes" in outputs["firstMinutes"]
        assert outputs["watchCertificate"].startswith(f"gcloud compute ssl-certificates describe {certificate} ")

    def test_ingress_without_https_enables_none_of_these_apis(self) -> None:
        for exposure in ("private", "public-http"):
            run = seen(config_of(("gcp", exposure, "anonymous")))
            enabled = {s["service"].partition(".")[0] for s in run.of_type("projects/service:Service")}
            assert not {"servicemanagement", "servicecontrol", "endpoints", "iap"} & enabled
            kinds = {r.type.partition("/")[0] for r in run.resources}
            assert not {"gcp:endpoints", "gcp:iap"} & kinds
            assert not run.of_type("GlobalAddress")
