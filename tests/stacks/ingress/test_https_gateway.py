"""The load balancer for https, as a Gateway: what GKE's controller reads, and what a change of it changes."""

from __future__ import annotations

from typing import Any

import pytest

from chatapp.http import health
from stacks.names import Names
from tests.stacks.recording import Deployed, deploy, seen

GCP = {"gcp:project": "my-proj-1"}
CLIENT = {"oauthClientId": "12-ab.apps.googleusercontent.com", "oauthClientSecret": "GOCSPX-secret"}
WAYS = {
    "default": GCP,
    "own name, Cloud Armor": GCP | {"domain": "chat.example.org", "cloudArmor": "true", "identity": "anonymous"},
    "own client of IAP": GCP | CLIENT | {"identity": "iap"},
}

# What GKE's controller takes, from its types (github.com/GoogleCloudPlatform/gke-gateway-api, apis/networking/v1) and
# those of the Gateway API: a name that it does not know would be dropped without a word. `str`, `int`, `bool`: a value;
# a list: each of its items; `...`: any names with texts.
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
            "config": {"type": str, "httpHealthCheck": {"port": int, "requestPath": str}},
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


def test_every_object_is_one_that_gke_reads(run: Deployed) -> None:
    groups = {"Gateway": "gateway.networking.k8s.io", "HTTPRoute": "gateway.networking.k8s.io"}
    for kind, shape in SHAPES.items():
        for resource in run.of_type(kind):
            assert resource["apiVersion"] == f"{groups.get(kind, 'networking.gke.io')}/v1"
            assert resource["metadata.labels"]["app.kubernetes.io/part-of"] == "hybrid-chat"
            check(resource["spec"], shape, kind)
    assert len(run.of_type("HTTPRoute")) == 2


def test_the_check_finds_what_gke_would_drop() -> None:
    with pytest.raises(AssertionError, match=r"has {'clientId'}"):
        check({"default": {"iap": {"clientId": "x"}}}, SHAPES["GCPBackendPolicy"], "policy")
    with pytest.raises(AssertionError, match=r"timeoutSec is '3600'"):
        check({"default": {"timeoutSec": "3600"}}, SHAPES["GCPBackendPolicy"], "policy")


def test_all_refer_to_what_there_is(run: Deployed) -> None:
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
    assert namespaces == {"hybrid-chat"}, "routes from another namespace are not taken"


def test_what_comes_unencrypted_is_sent_to_https_and_never_to_the_chat(run: Deployed) -> None:
    routes = {route["spec.parentRefs.0.sectionName"]: route["spec.rules"] for route in run.of_type("HTTPRoute")}
    redirect = {"scheme": "https", "statusCode": 301}
    assert routes["http"] == [{"filters": [{"type": "RequestRedirect", "requestRedirect": redirect}]}]
    assert "backendRefs" in routes["https"][0]


def test_old_tls_is_refused(run: Deployed) -> None:
    assert (run.one("SSLPolicy")["profile"], run.one("SSLPolicy")["minTlsVersion"]) == ("MODERN", "TLS_1_2")


def test_the_chat_has_no_other_address(run: Deployed) -> None:
    assert {service["spec.type"] for service in run.of_type("kubernetes:core/v1:Service")} == {"ClusterIP"}


def test_long_answers_stay_whole_and_a_page_stays_with_its_copy(run: Deployed) -> None:
    settings = run.one("GCPBackendPolicy")["spec.default"]
    pod = run.one("Deployment", "gradio-chat-deployment")["spec.template.spec"]
    assert settings["timeoutSec"] >= 3600
    assert settings["sessionAffinity"]["type"] == "GENERATED_COOKIE"
    assert settings["connectionDraining"]["drainingTimeoutSec"] < pod["terminationGracePeriodSeconds"]


def test_its_health_check_asks_what_the_chat_answers(run: Deployed) -> None:
    checked = run.one("HealthCheckPolicy")["spec.default.config.httpHealthCheck"]
    ports = run.one("Deployment", "gradio-chat-deployment")["spec.template.spec.containers.0.ports"]
    assert checked["requestPath"] in {route.path for route in health.router.routes}
    assert checked["port"] == next(port["containerPort"] for port in ports if port["name"] == "http")


def test_iap_stands_before_the_chat_only_where_it_signs_people_in() -> None:
    assert seen(WAYS["default"]).one("GCPBackendPolicy")["spec.default.iap"] == {"enabled": True}
    assert "iap" not in seen(WAYS["own name, Cloud Armor"]).one("GCPBackendPolicy")["spec.default"]


class TestCloudArmor:
    def test_is_there_where_it_is_asked_for(self) -> None:
        run = seen(WAYS["own name, Cloud Armor"])
        assert run.one("GCPBackendPolicy")["spec.default.securityPolicy"] == run.one("SecurityPolicy")["name"]
        assert not seen(GCP).of_type("SecurityPolicy")

    def test_bans_who_asks_too_often_and_only_watches_for_the_rest(self) -> None:
        rules = seen(WAYS["own name, Cloud Armor"]).one("SecurityPolicy")["rules"]
        assert [rule["priority"] for rule in rules] == sorted({rule["priority"] for rule in rules})
        *watching, rate, default = rules
        assert all(rule["preview"] and "evaluatePreconfiguredWaf" in str(rule["match"]) for rule in watching)
        assert (rate["action"], rate["rateLimitOptions"]["enforceOnKey"]) == ("rate_based_ban", "IP")
        assert (default["action"], default["priority"]) == ("allow", 2_147_483_647)


class TestAChange:
    def changed(self, before: dict[str, str], after: dict[str, str]) -> set[str]:
        first, second = seen(before), seen(after)
        inputs = {resource.urn: resource.inputs for resource in first.resources}
        return {r.type.rpartition(":")[2] for r in second.resources if inputs.get(r.urn, r.inputs) != r.inputs}

    def test_of_the_name_makes_a_certificate_beside_the_old_one(self) -> None:
        before, after = GCP | {"domain": "a.example.org"}, GCP | {"domain": "b.example.org"}
        names = [seen(config).one("ManagedSslCertificate")["name"] for config in (before, after)]
        assert names[0] != names[1], "the new one is made before the old one goes"
        assert not seen(after).one("ManagedSslCertificate").request.deleteBeforeReplace
        assert "GlobalAddress" not in self.changed(before, after), "DNS goes on leading to it"

    def test_of_who_may_come_in_changes_that_and_the_chat_alone(self) -> None:
        people = [GCP | {"allowedPeople": who} for who in ("ann@example.org", "ann@example.org bob@example.org")]
        assert self.changed(*people) == {"WebIamBinding", "Deployment"}

    def test_of_nothing_changes_nothing(self) -> None:
        config = WAYS["own client of IAP"]
        assert {r.urn: r.inputs for r in deploy(config).resources} == {r.urn: r.inputs for r in seen(config).resources}


def test_two_stacks_of_a_project_have_addresses_names_and_rights_of_their_own() -> None:
    dev, test = Names("dev"), Names("test")
    assert dev.free_name != test.free_name
    assert dev.certificate("x.example.org") != test.certificate("x.example.org")
    assert seen(GCP, stack="test").one("GlobalAddress")["name"] == "gradio-chat-address-test"
    bindings = [seen(GCP, stack=stack).one("WebIamBinding")["condition.expression"] for stack in ("dev", "test")]
    assert bindings[0] != bindings[1], "a binding is for its own condition alone"
