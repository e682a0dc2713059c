"""Who gets in: each way in with each way to sign in, on each platform, what is refused, and what the chat is told."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from stacks.ingress.access import Limits
from stacks.ingress.iap import iap_member
from stacks.ingress.sign_in import access_warnings
from stacks.settings import InvalidSettings, Settings
from tests.stacks.recording import ADDRESS, RUNNER, Deployed, deploy, seen

if TYPE_CHECKING:
    from collections.abc import Mapping

GCP = {"gcp:project": "my-proj-1"}
PLATFORMS: dict[str, dict[str, str]] = {
    "gcp": GCP,
    "kubernetes": {"platform": "kubernetes", "image": "example.org/c:1"},
}
CLIENT = {"oauthClientId": "12-ab.apps.googleusercontent.com", "oauthClientSecret": "GOCSPX-secret"}
PEOPLE = {"allowedPeople": '["Ann@example.org", "example.com"]'}
SIGN_IN = CLIENT | PEOPLE
FREE_NAME = "chat-x7k2p9.endpoints.my-proj-1.cloud.goog"

# (platform, exposure, identity) -> (way in, sign-in), or what the refusal says; all that the identity takes is set.
NEEDS_GCP = "exposure is 'https', which is made of Google's load balancer and needs platform gcp; allowed on platform"
IAP_ALONE = "Identity-Aware Proxy is a part of Google's encrypted load balancer, which only exposure https on"
UNENCRYPTED = "identity is 'google' and exposure is 'public-http': a sign-in must not travel unencrypted"
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


def refusal(config: Mapping[str, str]) -> str:
    """Return the one sentence with which these settings are refused."""
    with pytest.raises(InvalidSettings) as refused:
        Settings.checked(dict(config))
    head, *sentences = str(refused.value).split("\n  - ")
    assert head == "One setting is wrong; nothing was changed.", sentences
    return sentences[0]


def environment(run: Deployed) -> dict[str, str]:
    variables = run.one("Deployment", "gradio-chat-deployment")["spec.template.spec.containers.0.env"]
    return {variable["name"]: variable.get("value", "(secret)") for variable in variables}


def test_the_table_is_complete() -> None:
    axes = (PLATFORMS, ("auto", "https", "public-http", "private"), ("auto", "google", "iap", "anonymous"))
    assert set(TABLE) == set(itertools.product(*axes))


@pytest.mark.parametrize("case", TABLE, ids=" ".join)
class TestEachCombination:
    def test_is_refused_in_one_sentence_or_becomes_what_the_table_says(self, case: tuple[str, str, str]) -> None:
        expected = TABLE[case]
        if isinstance(expected, str):
            assert expected in refusal(config_of(case))
        else:
            settings = Settings.checked(config_of(case))
            assert (settings.way_in, settings.sign_in) == expected

    def test_is_warned_of_where_everybody_can_come_in_by_https(self, case: tuple[str, str, str]) -> None:
        if isinstance(expected := TABLE[case], str):
            return
        warnings = list(access_warnings(Settings.checked(config_of(case))))
        assert [warning[:9] for warning in warnings] == (["Everybody"] if expected == ("https", "anonymous") else [])


# What `auto` becomes is in the table: the rest is the same as what is named.
NAMED = [case for case, expected in TABLE.items() if not isinstance(expected, str) and "auto" not in case]


@pytest.mark.parametrize("case", NAMED, ids=" ".join)
def test_a_way_in_is_made_and_no_other(case: tuple[str, str, str]) -> None:
    way_in, sign_in = TABLE[case]
    run = seen(config_of(case))
    url, kinds = {
        "https": (f"https://{FREE_NAME}", {"Gateway"}),
        "public-http": ("http://203.0.113.7:7860", {"LoadBalancer"}),
        "private": ("http://127.0.0.1:7860", set()),
    }[way_in]
    balancers = {"LoadBalancer" for s in run.of_type("kubernetes:core/v1:Service") if s["spec.type"] != "ClusterIP"}
    assert run.outputs["url"] == url
    assert balancers | ({"Gateway"} if run.of_type("Gateway") else set()) == kinds
    assert ("openWith" in run.outputs) is (way_in == "private")
    told = environment(run)
    assert told["CHAT_IDENTITY"] == sign_in
    assert ("CHAT_OIDC_CLIENT_SECRET" in told) is (sign_in == "google")
    assert ("CHAT_IAP_AUDIENCE" in told) is bool(run.of_type("WebIamBinding")) is (sign_in == "iap")
    # Where people come by one known name, the chat knows it; elsewhere they come by the address they typed.
    assert told.get("CHAT_ROOT_URL") == (url if way_in == "https" or sign_in == "google" else None)
    assert ("CHAT_TRUSTED_PROXIES" in told) is (way_in == "https")


def test_the_program_says_its_warnings(caplog: pytest.LogCaptureFixture) -> None:
    deploy(GCP | {"identity": "anonymous"})
    assert "Everybody who finds the chat's address can use it, at your cost" in caplog.text


def test_a_client_is_used_where_there_is_one() -> None:
    assert Settings.checked(GCP | SIGN_IN).sign_in == "google"


def test_https_without_a_sign_in_is_never_a_default() -> None:
    for more in ({}, PEOPLE, SIGN_IN, {"domain": "chat.example.org"}, {"exposure": "https"}):
        assert Settings.checked(GCP | more).sign_in != "anonymous"


GOOGLE = GCP | {"identity": "google"}
REFUSED = {
    "Google without a client": (
        GOOGLE | PEOPLE | {"oauthClientSecret": "s"},
        "oauthClientId is not set, which identity",
    ),
    "Google without the client's secret": (
        GCP | PEOPLE | {"oauthClientId": CLIENT["oauthClientId"]},
        "and run: pulumi config set --secret oauthClientSecret",
    ),
    "Google for nobody": (GCP | CLIENT, "allowedPeople is not set, and identity google lets in nobody without it"),
    "Google for a group": (
        GCP | CLIENT | {"allowedPeople": "group:team@example.org"},
        "allowedPeople has a group, which only identity iap can look into",
    ),
    "IAP with half a client": (
        GCP | {"identity": "iap", "oauthClientId": CLIENT["oauthClientId"]},
        "oauthClientId is set and oauthClientSecret is not: identity iap takes both, or neither",
    ),
    "IAP with the other half": (GCP | {"oauthClientSecret": "s"}, "oauthClientSecret is set and oauthClientId is not"),
    "guests of IAP": (GCP | {"guests": "true"}, "guests is true, which is for identity google"),
    "guests of nobody": (GCP | {"identity": "anonymous", "guests": "true"}, "guests is true, which is for identity"),
    "people without a sign-in": (
        GCP | PEOPLE | {"identity": "anonymous"},
        "allowedPeople does nothing while nobody signs in (identity is anonymous): set identity to google, or remove",
    ),
    "a client without a sign-in": (
        PLATFORMS["kubernetes"] | {"oauthClientId": CLIENT["oauthClientId"]},
        "oauthClientId does nothing while nobody signs in (exposure is 'private')",
    ),
    "a name without encryption": (
        GCP | {"exposure": "public-http", "domain": "chat.example.org"},
        "domain does nothing while exposure is 'public-http': it is a part of exposure https",
    ),
    "Cloud Armor without a load balancer": (
        GCP | {"exposure": "private", "cloudArmor": "true"},
        "cloudArmor does nothing while exposure is 'private'",
    ),
    "a name on another platform": (
        PLATFORMS["kubernetes"] | {"domain": "chat.example.org"},
        "domain does nothing on platform kubernetes: it is for gcp",
    ),
    "a project whose ID has a domain": (
        {"gcp:project": "example.com:chat"},
        "domain is not set, and Google has no free name for the project example.com:chat",
    ),
    "a name that is an address": (GCP | {"domain": "https://chat.example.org"}, "a name in small letters is needed"),
    "a name without a dot": (GCP | {"domain": "chat"}, "domain is 'chat': a name in small letters is needed"),
    "somebody without an address": (
        GCP | {"allowedPeople": '["ann"]'},
        "allowedPeople is 'ann': an address (ann@example.org), a domain (example.org) or * is needed",
    ),
    "part of a domain": (GCP | {"allowedPeople": "*.example.org"}, "allowedPeople is '*.example.org': an address"),
    "a client that is no ID": (GCP | {"oauthClientId": "my client"}, "which ends with .apps.googleusercontent.com"),
    "a cost in words": (GCP | {"costPerDay": "much"}, "costPerDay is 'much': it must be a valid number"),
    "a cost without end": (GCP | {"allCostPerDay": "inf"}, "allCostPerDay is 'inf': it must be a finite number"),
    "less than no tokens": (GCP | {"tokensPerDay": "-1"}, "tokensPerDay is '-1': it must be greater than or equal"),
}


@pytest.mark.parametrize(("config", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_together_is_refused_with_the_way_on(config: dict[str, str], sentence: str) -> None:
    assert sentence in refusal(config)


@pytest.mark.parametrize(
    "written",
    ['["ann@example.org", "example.com"]', "ann@example.org example.com", "Ann@Example.org,example.com", "*"],
)
def test_people_are_a_list_of_json_or_of_words(written: str) -> None:
    people = Settings.checked(GCP | {"allowedPeople": written}).allowed_people
    assert people == (("*",) if written == "*" else ("ann@example.org", "example.com"))


class TestGoogle:
    config = GCP | SIGN_IN | {"guests": "true"}

    def test_the_chat_gets_the_client_and_its_secret_stays_one(self) -> None:
        run = seen(self.config)
        told = environment(run)
        assert told["CHAT_OIDC_CLIENT_ID"] == CLIENT["oauthClientId"]
        assert told["CHAT_ALLOWED_PEOPLE"] == "ann@example.org,example.com"
        assert told["CHAT_GUESTS"] == "true"
        secret = run.one("Secret", "gradio-chat-secrets")
        assert secret["stringData.CHAT_OIDC_CLIENT_SECRET"] == CLIENT["oauthClientSecret"]
        assert any(path.startswith("stringData") for path in secret.secrets)
        for resource in run.resources:
            if resource.urn != secret.urn:
                assert CLIENT["oauthClientSecret"] not in str(resource.inputs)

    def test_all_copies_of_the_chat_read_each_others_cookies(self) -> None:
        run = seen(self.config)
        assert run.one("Deployment", "gradio-chat-deployment")["spec.replicas"] == 2
        assert run.one("Secret", "gradio-chat-secrets")["stringData.CHAT_SESSION_SECRET"]

    def test_nothing_of_iap_is_made(self) -> None:
        run = seen(self.config)
        assert not [r for r in run.resources if r.type.startswith("gcp:iap")]
        assert "iap.googleapis.com" not in {service["service"] for service in run.of_type("projects/service:Service")}
        assert "iap" not in run.one("GCPBackendPolicy")["spec.default"]
        assert run.calls == ["gcp:organizations/getProject:getProject"]

    def test_outputs_say_what_to_tell_google(self) -> None:
        outputs = seen(self.config).outputs
        assert outputs["oauthRedirect"] == f"https://{FREE_NAME}/sign-in/callback"
        assert "oauthRedirect" in outputs["firstMinutes"]
        assert outputs["whoGetsIn"] == "ann@example.org, example.com; everybody else as a guest"

    def test_a_forwarded_port_has_a_name_to_come_back_to(self) -> None:
        told = environment(seen(config_of(("kubernetes", "private", "google"))))
        assert told["CHAT_ROOT_URL"] == "http://127.0.0.1:7860"

    @pytest.mark.parametrize(
        ("more", "warning"),
        [({"guests": "true"}, "before they sign in"), ({"allowedPeople": "*"}, "Everybody with a Google account")],
    )
    def test_is_warned_of_where_it_lets_in_everybody(self, more: dict[str, str], warning: str) -> None:
        (said,) = access_warnings(Settings.checked(GCP | SIGN_IN | more))
        assert warning in said


class TestIdentityAwareProxy:
    def test_lets_in_whoever_runs_pulumi_where_nobody_is_named(self) -> None:
        run = seen(GCP)
        assert run.one("WebIamBinding")["members"] == [f"user:{RUNNER}"]
        assert environment(run)["CHAT_ALLOWED_PEOPLE"] == RUNNER
        assert run.outputs["whoGetsIn"].startswith(f"{RUNNER} (who ran Pulumi last; set allowedPeople")

    def test_lets_in_the_people_that_are_named(self) -> None:
        run = seen(GCP | CLIENT | PEOPLE | {"identity": "iap"})
        assert run.one("WebIamBinding")["members"] == ["domain:example.com", "user:ann@example.org"]
        assert environment(run)["CHAT_ALLOWED_PEOPLE"] == "ann@example.org,example.com"
        assert run.calls == ["gcp:organizations/getProject:getProject"], "nobody asks who runs Pulumi"

    def test_lets_them_into_the_chat_and_nothing_else_of_the_project(self) -> None:
        binding = seen(GCP).one("WebIamBinding")
        assert binding["role"] == "roles/iap.httpsResourceAccessor"
        assert binding["condition.expression"] == f'request.host == "{FREE_NAME}"'
        assert len(binding["condition.title"]) <= 100

    def test_alone_looks_into_groups(self) -> None:
        run = seen(GCP | {"allowedPeople": "group:team@example.org"})
        assert run.one("WebIamBinding")["members"] == ["group:team@example.org"]
        assert "CHAT_ALLOWED_PEOPLE" not in environment(run), "the chat would refuse the people in it"

    def test_everybody_takes_a_role_without_a_condition(self) -> None:
        run = seen(GCP | {"allowedPeople": "*"})
        member = run.one("WebIamMember")
        assert (member["member"], "condition" in member.inputs) == ("allAuthenticatedUsers", False)
        assert not run.of_type("WebIamBinding")

    def test_signs_for_this_project_alone(self) -> None:
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
    def test_calls_people_as_iam_does(self, person: str, member: str) -> None:
        assert iap_member(person) == member

    def test_takes_a_client_of_ones_own_from_a_secret(self) -> None:
        run = seen(GCP | CLIENT | PEOPLE | {"identity": "iap"})
        policy = run.one("GCPBackendPolicy")["spec.default.iap"]
        secret = run.one("Secret", policy["oauth2ClientSecret"]["name"])
        assert (policy["enabled"], policy["clientID"]) == (True, CLIENT["oauthClientId"])
        assert secret["stringData"] == {"key": CLIENT["oauthClientSecret"]}
        assert secret.secrets
        assert "CHAT_OIDC_CLIENT_ID" not in environment(run), "the chat signs nobody in"
        assert run.outputs["oauthRedirect"].endswith(f"{CLIENT['oauthClientId']}:handleRedirect")

    def test_without_an_organization_and_a_client_is_warned_of_with_both_ways_on(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        deploy({"gcp:project": "lone-proj-1", "gemma": "none", "image": "example.org/c:1"})
        assert "The project lone-proj-1 belongs to no organization" in caplog.text
        assert "oauthClientId, oauthClientSecret and allowedPeople" in caplog.text
        caplog.clear()
        deploy({"gcp:project": "lone-proj-1", "identity": "iap", "gemma": "none", "image": "example.org/c:1"} | CLIENT)
        assert "organization" not in caplog.text


class TestAddress:
    def test_google_is_believed_about_the_browsers_address_and_nobody_else(self) -> None:
        told = environment(seen(GCP))["CHAT_TRUSTED_PROXIES"]
        assert told == f"35.191.0.0/16,130.211.0.0/22,{ADDRESS}/32"

    def test_a_free_name_leads_to_the_address_and_takes_three_apis(self) -> None:
        run = seen(GCP)
        service = run.one("endpoints/service:Service")
        document = json.loads(service["openapiConfig"])
        assert service["serviceName"] == document["host"] == FREE_NAME
        assert document["x-google-endpoints"] == [{"name": FREE_NAME, "target": ADDRESS}]
        enabled = {s["service"].partition(".")[0] for s in run.of_type("projects/service:Service")}
        assert {"servicemanagement", "servicecontrol", "endpoints", "iap"} <= enabled

    def test_a_name_of_ones_own_takes_a_dns_record_that_the_outputs_name(self) -> None:
        run = seen(GCP | {"domain": "chat.example.org"})
        assert run.outputs["url"] == "https://chat.example.org"
        assert run.outputs["dnsRecord"] == f"chat.example.org. A {ADDRESS}"
        assert run.outputs["firstMinutes"].startswith("Make the DNS record of the output dnsRecord")
        assert not run.of_type("endpoints/service:Service")
        enabled = {s["service"].partition(".")[0] for s in run.of_type("projects/service:Service")}
        assert not {"servicemanagement", "servicecontrol", "endpoints"} & enabled

    def test_the_first_minutes_are_explained_with_the_command_that_shows_them(self) -> None:
        outputs = seen(GCP).outputs
        certificate = seen(GCP).one("ManagedSslCertificate")["name"]
        assert "15 to 60 minutes" in outputs["firstMinutes"]
        assert outputs["watchCertificate"].startswith(f"gcloud compute ssl-certificates describe {certificate} ")

    def test_plain_ways_in_enable_nothing_of_all_that(self) -> None:
        for exposure in ("private", "public-http"):
            run = seen(config_of(("gcp", exposure, "anonymous")))
            enabled = {s["service"].partition(".")[0] for s in run.of_type("projects/service:Service")}
            assert not {"servicemanagement", "servicecontrol", "endpoints", "iap"} & enabled
            kinds = {r.type.partition("/")[0] for r in run.resources}
            assert not {"gcp:compute", "gcp:endpoints", "gcp:iap"} & kinds


class TestLimits:
    def told(self, **config: Any) -> dict[str, str]:
        return {
            name: value for name, value in environment(seen(GCP | config)).items() if name.endswith(("DAY", "MINUTE"))
        }

    def test_the_chat_has_its_own_where_none_is_set(self) -> None:
        assert self.told() == {}

    def test_a_persons_are_passed_on_and_everybodys_are_shared_by_the_copies(self) -> None:
        assert self.told(
            messagesPerMinute="9", tokensPerDay="5000", costPerDay="0.50", allTokensPerDay="100001", allCostPerDay="5"
        ) == {
            "CHAT_MESSAGES_PER_MINUTE": "9",
            "CHAT_TOKENS_PER_DAY": "5000",
            "CHAT_COST_PER_DAY": "0.5",
            "CHAT_ALL_TOKENS_PER_DAY": "50000",
            "CHAT_ALL_COST_PER_DAY": "2.5",
        }

    def test_sharing_is_said(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO")
        deploy(GCP | {"allCostPerDay": "5", "gemma": "none", "image": "example.org/c:1", "exposure": "private"})
        assert "of allTokensPerDay and allCostPerDay each gets one part in 2." in caplog.text

    @pytest.mark.parametrize("replicas", [1, 2, 3, 7, 20])
    def test_the_copies_together_never_get_more_and_none_gets_no_limit(self, replicas: int) -> None:
        for tokens, cost in ((20, 0.01), (1_000_003, 9.99), (10**12, 1e6)):
            told = Limits(all_tokens_per_day=tokens, all_cost_per_day=cost).variables(replicas)
            assert 0 < int(str(told["CHAT_ALL_TOKENS_PER_DAY"])) * replicas <= tokens
            assert 0 < float(str(told["CHAT_ALL_COST_PER_DAY"])) * replicas <= cost + 1e-9
