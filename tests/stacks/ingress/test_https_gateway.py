"""The HTTPS load balancer as a Gateway: fields that GKE's controller reads, references, and changes."""

from __future__ import annotations

from typing import Any

import pytest

from chatapp.http import health
from stacks.names import Names
from tests.stacks.deployments import GCP, GOOGLE_SIGN_IN, OWN_IAP_CLIENT
from tests.stacks.recording import Deployed, deploy, seen

WAYS = {"default": GCP, "own sign-in": GOOGLE_SIGN_IN, "own client of IAP": OWN_IAP_CLIENT}

# Fields that GKE's controller reads: its types (github.com/GoogleCloudPlatform/gke-gateway-api, apis/networking/v1) and
# those of the Gateway API. It drops unknown fields silently. `str`, `int`, `bool`: a value; a list: each of its items;
# `...`: any keys with text values.
TARGET = {"group": str, "kind": str, "name": str}
PARENT = {"name": str, "sectionName": str}
SHAPES: dict[str, dict[str, Any]] = {
    "GCPBackendPolicy": {
        "default": {
            "timeoutSec": int,
            "sessionAffinity": {"type": str, "cookieTtlSec": int},
            "connectionDraining": {"drainingTimeoutSec": int},
            "logging": {"enabled": bool, "sampleRate": int},
            "securityPolicy": str,
            "iap": {"enabled": bool, "clientID": str, "oauth2ClientSecret": {"name": str}},
        },
        "targetRef": TARGET,
    },
    "GCPGatewayPolicy": {"default": {"sslPolicy": str, "allowGlobalAccess": bool}, "targetRef": TARGET},
    "HealthCheckPolicy": {
        "default": {
            "checkIntervalSec": int,
            "config": {"type": str, "httpHealthCheck": {"portSpecification": str, "port": int, "requestPath": str}},
        },
        "targetRef": TARGET,
    },
    "Gateway": {
        "gatewayClassName": str,
        "addresses": [{"type": str, "value": str}],
        "listeners": [
            {
                "name": str,
                "protocol": str,
                "port": int,
                "tls": {"mode": str, "options": ...},
                "allowedRoutes": {"namespaces": {"from": str}, "kinds": [{"group": str, "kind": str}]},
            }
        ],
    },
    "HTTPRoute": {
        "parentRefs": [PARENT],
        "hostnames": [str],
        "rules": [
            {
                "backendRefs": [{"name": str, "port": int}],
                "filters": [{"type": str, "requestRedirect": {"scheme": str, "statusCode": int}}],
            }
        ],
    },
}


def check(value: Any, shape: Any, where: str) -> None:
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        assert not value.keys() - shape.keys(), f"{where} has {value.keys() - shape.keys()}"
        for name, item in value.items():
            check(item, shape[name], f"{where}.{name}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for number, item in enumerate(value):
            check(item, shape[0], f"{where}.{number}")
    elif shape is ...:
        assert all(isinstance(item, str) for item in value.values()), where
    else:
        assert type(value) is shape, f"{where} is {value!r}"


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def run(request: pytest.FixtureRequest) -> Deployed:
    return seen(request.param)


def test_every_object_has_only_fields_that_gke_reads(run: Deployed) -> None:
    groups = {"Gateway": "gateway.networking.k8s.io", "HTTPRoute": "gateway.networking.k8s.io"}
    for kind, shape in SHAPES.items():
        for resource in run.of_type(kind):
            assert resource["apiVersion"] == f"{groups.get(kind, 'networking.gke.io')}/v1"
            assert resource["metadata.labels"]["app.kubernetes.io/part-of"] == "hybrid-chat"
            check(resource["spec"], shape, kind)
    assert len(run.of_type("HTTPRoute")) == 2


def test_the_check_finds_fields_that_gke_would_drop() -> None:
    with pytest.raises(AssertionError, match=r"has {'clientId'}"):
        check({"default": {"iap": {"clientId": "x"}}}, SHAPES["GCPBackendPolicy"], "policy")
    with pytest.raises(AssertionError, match=r"timeoutSec is '3600'"):
        check({"default": {"timeoutSec": "3600"}}, SHAPES["GCPBackendPolicy"], "policy")


def test_all_references_exist(run: Deployed) -> None:
    gateway, service = run.one("Gateway"), run.one("kubernetes:core/v1:Service", "gradio-chat-service")
    listeners = {listener["name"]: listener for listener in gateway["spec.listeners"]}
    address, certificate = run.one("GlobalAddress"), run.one("ManagedSslCertificate")
    assert gateway["spec.addresses"] == [{"type": "NamedAddress", "value": address["name"]}]
    assert listeners["https"]["tls"]["options"] == {"networking.gke.io/pre-shared-certs": certificate["name"]}
    for kind in ("GCPBackendPolicy", "HealthCheckPolicy"):
        assert run.one(kind)["spec.targetRef"] == {"group": "", "kind": "Service", "name": service["metadata.name"]}
    assert run.one("GCPGatewayPolicy")["spec.targetRef"]["name"] == gateway["metadata.name"]
    assert run.one("GCPGatewayPolicy")["spec.default.sslPolicy"] == run.one("SSLPolicy")["name"]
    for route in run.of_type("HTTPRoute"):
        (parent,) = route["spec.parentRefs"]
        assert parent["name"] == gateway["metadata.name"]
        assert parent["sectionName"] in listeners
        assert route["spec.hostnames"] == certificate["managed.domains"]
        for backend in route["spec.rules.0"].get("backendRefs", []):
            assert backend == {"name": service["metadata.name"], "port": service["spec.ports.0.port"]}
    namespaces = {r["metadata.namespace"] for r in [gateway, service, *run.of_type("HTTPRoute")]}
    assert namespaces == {"hybrid-chat"}, "the Gateway ignores routes of other namespaces"


def test_http_is_redirected_to_https_and_never_reaches_the_chat(run: Deployed) -> None:
    routes = {route["spec.parentRefs.0.sectionName"]: route["spec.rules"] for route in run.of_type("HTTPRoute")}
    redirect = {"scheme": "https", "statusCode": 301}
    assert routes["http"] == [{"filters": [{"type": "RequestRedirect", "requestRedirect": redirect}]}]
    assert "backendRefs" in routes["https"][0]


def test_tls_is_1_2_or_newer(run: Deployed) -> None:
    assert (run.one("SSLPolicy")["profile"], run.one("SSLPolicy")["minTlsVersion"]) == ("MODERN", "TLS_1_2")


def test_the_chat_has_no_other_public_address(run: Deployed) -> None:
    assert {service["spec.type"] for service in run.of_type("kubernetes:core/v1:Service")} == {"ClusterIP"}


def test_long_answers_are_not_cut_off_and_a_page_stays_with_its_replica(run: Deployed) -> None:
    settings = run.one("GCPBackendPolicy")["spec.default"]
    pod = run.one("Deployment", "gradio-chat-deployment")["spec.template.spec"]
    assert settings["timeoutSec"] >= 3600
    assert settings["sessionAffinity"]["type"] == "GENERATED_COOKIE"
    assert settings["connectionDraining"]["drainingTimeoutSec"] < pod["terminationGracePeriodSeconds"]


def test_the_health_check_uses_the_chats_port_and_path(run: Deployed) -> None:
    checked = run.one("HealthCheckPolicy")["spec.default.config.httpHealthCheck"]
    ports = run.one("Deployment", "gradio-chat-deployment")["spec.template.spec.containers.0.ports"]
    assert checked["requestPath"] in {route.path for route in health.router.routes}
    assert checked["port"] == next(port["containerPort"] for port in ports if port["name"] == "http")


def test_iap_is_enabled_only_for_its_own_sign_in() -> None:
    assert seen(GCP).one("GCPBackendPolicy")["spec.default.iap"] == {"enabled": True}
    assert "iap" not in seen(GOOGLE_SIGN_IN).one("GCPBackendPolicy")["spec.default"]


class TestCloudArmor:
    def test_is_created_only_if_configured(self) -> None:
        run = seen(GOOGLE_SIGN_IN)
        assert run.one("GCPBackendPolicy")["spec.default.securityPolicy"] == run.one("SecurityPolicy")["name"]
        assert not seen(GCP).of_type("SecurityPolicy")

    def test_bans_by_rate_and_only_logs_known_attacks(self) -> None:
        rules = seen(GOOGLE_SIGN_IN).one("SecurityPolicy")["rules"]
        assert [rule["priority"] for rule in rules] == sorted({rule["priority"] for rule in rules})
        *preview, rate, default = rules
        assert all(rule["preview"] and "evaluatePreconfiguredWaf" in str(rule["match"]) for rule in preview)
        assert (rate["action"], rate["rateLimitOptions"]["enforceOnKey"]) == ("rate_based_ban", "IP")
        assert (default["action"], default["priority"]) == ("allow", 2_147_483_647)


class TestChanges:
    def changed(self, before: dict[str, str], after: dict[str, str]) -> set[str]:
        first, second = seen(before), seen(after)
        inputs = {resource.urn: resource.inputs for resource in first.resources}
        return {r.type.rpartition(":")[2] for r in second.resources if inputs.get(r.urn, r.inputs) != r.inputs}

    @pytest.mark.slow
    def test_of_the_domain_creates_the_new_certificate_before_the_old_one_is_deleted(self) -> None:
        before, after = OWN_IAP_CLIENT, OWN_IAP_CLIENT | {"domain": "b.example.org"}
        names = [seen(config).one("ManagedSslCertificate")["name"] for config in (before, after)]
        assert names[0] != names[1], "the new one is created before the old one is deleted"
        assert not seen(after).one("ManagedSslCertificate").request.deleteBeforeReplace
        assert "GlobalAddress" not in self.changed(before, after), "the DNS record still points to it"

    @pytest.mark.slow
    def test_of_allowed_people_changes_only_the_binding_and_the_chat(self) -> None:
        assert self.changed(GCP, GCP | {"allowedPeople": "ann@example.org bob@example.org"}) == {
            "WebIamBinding",
            "Deployment",
        }

    @pytest.mark.slow
    def test_same_settings_give_no_difference(self) -> None:
        config = OWN_IAP_CLIENT
        assert {r.urn: r.inputs for r in deploy(config).resources} == {r.urn: r.inputs for r in seen(config).resources}


@pytest.mark.slow
def test_two_stacks_of_a_project_have_different_addresses_names_and_bindings() -> None:
    dev, test = Names("dev"), Names("test")
    assert dev.free_name != test.free_name
    assert dev.certificate("x.example.org") != test.certificate("x.example.org")
    assert seen(GCP, stack="test").one("GlobalAddress")["name"] == "gradio-chat-address-test"
    bindings = [seen(GCP, stack=stack).one("WebIamBinding")["condition.expression"] for stack in ("dev", "test")]
    assert bindings[0] != bindings[1], "bindings with equal conditions would conflict"
