"""The resources that the program registers: their inputs, order and options."""

from __future__ import annotations

import gc
import ipaddress
import itertools
import json
import re
import subprocess
import sys
from datetime import datetime

import pulumi
import pytest
from pulumi.runtime import rpc

from chatapp.models.kubernetes.api import ACCOUNT_FOLDER
from chatapp.store.firestore import schema
from gemma.profiles import GEMMA_3, GEMMA_4_QAT, PROFILES, REVISIONS
from stacks.components.workloads import TOKEN_DIR
from stacks.names import Names
from tests.stacks.deployments import (
    DEPLOYMENTS,
    GCP,
    GOOGLE_SIGN_IN,
    KUBERNETES,
    KUBERNETES_GPUS,
    OTHER_GEMMA,
    OWN_IAP_CLIENT,
    PRIVATE,
    PROJECT,
    PUBLIC_HTTP,
    TOKEN,
)
from tests.stacks.recording import CONTEXT, NUMBER, ROOT, Deployed, Registered, deploy, seen, walk

CLUSTER, DATABASE = "container/cluster:Cluster", "firestore/database:Database"


def deployed(**config: str) -> Deployed:
    return seen(GCP | config)


def on_kubernetes(**config: str) -> Deployed:
    return seen(KUBERNETES | config)


def container(resource: Registered) -> dict:
    return resource["spec.template.spec.containers.0"]


class TestOnGoogleCloud:
    def test_has_each_component_once(self) -> None:
        components = [r.type.rpartition(":")[2] for r in deployed().resources if not r.is_custom]
        assert sorted(components) == sorted(
            [
                "HybridChat",
                "ProjectServices",
                "FixedSettings",
                "ClusterNetwork",
                "AutopilotCluster",
                "ChatDatabase",
                "WorkloadIdentity",
                "ChatImage",
                "GemmaServer",
                "ChatApp",
                "NetworkIsolation",
                "PublicAddress",
                "IdentityAwareProxy",
                "HttpsGateway",
            ]
        )

    def test_the_codelabs_apis_are_enabled_and_stay_enabled(self) -> None:
        services = deployed().of_type("projects/service:Service")
        named = {service["service"].removesuffix(".googleapis.com") for service in services}
        assert named >= {"cloudbuild", "artifactregistry", "container", "firestore", "aiplatform", "storage"}
        assert all(service["disableOnDestroy"] is False for service in services)

    def test_the_cluster_is_autopilot_and_destroy_may_delete_it(self) -> None:
        cluster = deployed().one(CLUSTER)
        assert (cluster["name"], cluster["location"]) == ("gradio-chat-cluster", "us-central1")
        assert cluster["enableAutopilot"] is True
        assert cluster["deletionProtection"] is False
        assert "nodeConfig" not in cluster.inputs
        assert {"nodeConfig", "nodePools"} <= set(cluster.request.ignoreChanges)

    def test_the_nodes_have_their_own_account_which_may_pull_the_image(self) -> None:
        run = deployed()
        email = f"chat-nodes@{PROJECT}.iam.gserviceaccount.com"
        defaults = run.one(CLUSTER)["clusterAutoscaling.autoProvisioningDefaults"]
        assert defaults["serviceAccount"] == email
        assert run.one("RepositoryIamMember", "pull-nodes")["member"] == f"serviceAccount:{email}"

    def test_the_database_is_deleted_with_the_stack(self) -> None:
        database = deployed().one(DATABASE)
        assert (database["name"], database["locationId"], database["type"]) == (
            "chat-app-db",
            "nam5",
            "FIRESTORE_NATIVE",
        )
        assert database["deletionPolicy"] == "DELETE", "the provider's default is ABANDON"
        assert database["deleteProtectionState"] != "DELETE_PROTECTION_ENABLED"

    @pytest.mark.slow
    def test_recovery_and_a_daily_backup_are_settings_and_off_by_default(self) -> None:
        assert deployed().of_type("firestore/backupSchedule:BackupSchedule") == []
        assert "pointInTimeRecoveryEnablement" not in deployed().one(DATABASE).inputs
        run = deploy(GCP | {"pointInTimeRecovery": "true", "backupDays": "14"})
        database, schedule = run.one(DATABASE), run.one("firestore/backupSchedule:BackupSchedule")
        assert database["pointInTimeRecoveryEnablement"] == "POINT_IN_TIME_RECOVERY_ENABLED"
        assert (schedule["database"], schedule["retention"]) == (database["name"], "1209600s")
        assert schedule.inputs["dailyRecurrence"] == {}
        assert run.needs(schedule, database)

    def test_documents_expire_and_only_queried_fields_have_an_index(self) -> None:
        fields = {(f["collection"], f["field"]): f for f in deployed().of_type("firestore/field:Field")}
        assert set(fields) == {
            (collection, name)
            for collection, indexed in schema.INDEXED_FIELDS.items()
            for name in ("*", *indexed, *([schema.EXPIRY_FIELD] if collection in schema.EXPIRING else []))
        }, "every indexed and every expiring field is configured"
        for (collection, name), field in fields.items():
            indexes = [(index["order"], index["queryScope"]) for index in field["indexConfig"].get("indexes", [])]
            expected = []
            if name in schema.INDEXED_FIELDS[collection]:
                expected = [("ASCENDING", "COLLECTION"), ("DESCENDING", "COLLECTION")]
            if name in schema.GROUP_FIELDS.get(collection, ()):
                expected.append(("ASCENDING", "COLLECTION_GROUP"))
            assert indexes == expected
            assert field.inputs.get("ttlConfig") == ({} if name == schema.EXPIRY_FIELD else None)

    def test_the_database_has_no_rules_whose_api_needs_a_quota_project(self) -> None:
        assert not [r for r in deployed().resources if "firebaserules" in json.dumps(r.inputs) + r.type]

    def test_fields_are_configured_one_after_the_other_and_no_ttl_is_awaited(self) -> None:
        run = deployed()
        fields = run.of_type("firestore/field:Field")
        for earlier, later in itertools.pairwise(fields):
            assert earlier.urn in later.dependencies, "Firestore answers 409 to changes at the same time"
        for field in fields:
            assert field.inputs.get("skipWait", False) is ("ttlConfig" in field.inputs)

    def test_the_chat_may_use_gemini_and_its_own_database_and_nothing_else(self) -> None:
        run = deployed()
        pool = f"principal://iam.googleapis.com/projects/{NUMBER}/locations/global/workloadIdentityPools/{PROJECT}.svc.id.goog"
        chat = f"{pool}/subject/ns/hybrid-chat/sa/gradio-chat-ksa"
        members = {m["role"]: m for m in run.of_type("iAMMember:IAMMember") if m["member"].startswith("principal")}
        gemini = run.one("IAMCustomRole")
        name = f"projects/{PROJECT}/roles/{gemini['roleId']}"
        assert set(members) == {name, "roles/datastore.user"}
        assert gemini["permissions"] == ["aiplatform.endpoints.predict"]
        assert {member["member"] for member in members.values()} == {chat}
        condition = members["roles/datastore.user"]["condition.expression"]
        assert condition == f'resource.name=="projects/{PROJECT}/databases/chat-app-db"'
        assert run.one("ServiceAccount", "gradio-chat-ksa")["metadata.namespace"] == "hybrid-chat"

    @pytest.mark.slow
    def test_the_role_for_gemini_can_be_created_again_after_a_destroy(self) -> None:
        run = deployed()
        ending = run.one("RandomString", "role-ending")
        role = run.one("IAMCustomRole")
        assert role["roleId"] == "gradio_chat_gemini_x7k2p9", "a deleted role's ID stays reserved for 7 to 37 days"
        assert run.needs(role, ending)
        assert "keepers" not in ending.inputs, "an update keeps the ID"
        other = seen(GCP, stack="Test-1").one("IAMCustomRole")["roleId"]
        assert other != role["roleId"]
        assert re.fullmatch(r"[A-Za-z0-9_.]{3,64}", other), "what Google allows"

    def test_no_role_allows_impersonation_and_gemma_has_no_role(self) -> None:
        for resource in deployed().resources:
            text = json.dumps(resource.inputs)
            assert "serviceAccountTokenCreator" not in text
            assert not ("gemma-ksa" in text and resource.type.startswith("gcp:"))

    def test_the_repository_deletes_old_images_but_keeps_the_newest(self) -> None:
        policies = {p["action"]: p for p in deployed().one("Repository")["cleanupPolicies"]}
        assert policies["KEEP"]["mostRecentVersions"]["keepCount"] == 10
        assert policies["DELETE"]["condition"]["olderThan"] == "2592000s"

    def test_outputs_have_the_url_and_commands(self) -> None:
        outputs = deployed().outputs
        assert outputs["url"] == "https://chat-x7k2p9.endpoints.my-proj-1.cloud.goog"
        assert outputs["credentials"] == (
            f"gcloud container clusters get-credentials gradio-chat-cluster --region us-central1 --project {PROJECT}"
        )
        assert outputs["watchGemma"] == "kubectl --namespace hybrid-chat get pods --selector app=gemma --watch"
        assert all(f"project={PROJECT}" in outputs[name] for name in outputs if name.startswith("console"))

    @pytest.mark.slow
    def test_locations_are_settings(self) -> None:
        for run, expected in (
            (deployed(), ("us-central1", "nam5")),
            (deploy(GCP | {"gcp:region": "europe-west4", "databaseLocation": "eur3"}), ("europe-west4", "eur3")),
        ):
            assert (run.one(CLUSTER)["location"], run.one(DATABASE)["locationId"]) == expected

    def test_the_cluster_has_a_maintenance_window_that_gke_accepts(self) -> None:
        window = deployed().one(CLUSTER)["maintenancePolicy.recurringWindow"]
        begin, end = (datetime.fromisoformat(window[key]) for key in ("startTime", "endTime"))
        nights = window["recurrence"].partition("BYDAY=")[2].split(",")
        assert (end - begin).total_seconds() >= 4 * 3600, "GKE's shortest window"
        assert (end - begin).total_seconds() / 3600 * len(nights) * 32 / 7 >= 48, "GKE's minimum in 32 days"

    def test_images_can_stream(self) -> None:
        run = deployed()
        assert run.one("projects/service:Service", "containerfilesystem")
        roles = {m["role"] for m in run.of_type("iAMMember:IAMMember") if "chat-nodes@" in m["member"]}
        assert "roles/serviceusage.serviceUsageConsumer" in roles

    def test_google_cloud_uses_only_the_default_provider(self) -> None:
        run = deployed()
        assert not run.of_type("providers:gcp")
        assert all(not r.provider for r in run.resources if r.type.startswith("gcp:"))
        assert sorted(run.calls) == [
            "gcp:organizations/getClientOpenIdUserInfo:getClientOpenIdUserInfo",
            *["gcp:organizations/getProject:getProject"] * 2,  # its parent before anything is made, its number later
        ], "no other lookup"


class TestNetwork:
    def test_the_cluster_has_a_network_of_its_own(self) -> None:
        run = deployed()
        network, subnetwork, cluster = run.one("Network"), run.one("Subnetwork"), run.one(CLUSTER)
        assert network["autoCreateSubnetworks"] is False
        assert (cluster["network"], cluster["subnetwork"]) == (network["name"], subnetwork["name"])
        assert subnetwork["privateIpGoogleAccess"] is True
        ranges = {each["rangeName"]: each["ipCidrRange"] for each in subnetwork["secondaryIpRanges"]}
        policy = cluster["ipAllocationPolicy"]
        assert {policy["clusterSecondaryRangeName"], policy["servicesSecondaryRangeName"]} == set(ranges)
        blocks = [ipaddress.ip_network(block) for block in (*ranges.values(), subnetwork["ipCidrRange"])]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(blocks, 2))
        assert not run.of_type("RouterNat")

    def test_it_is_deleted_after_the_cluster_and_what_gke_left_in_it(self) -> None:
        run = deployed()
        leftovers = run.one("Command", "leftovers")
        assert run.needs(run.one(CLUSTER), leftovers)
        assert run.needs(leftovers, run.one("Network"))
        assert leftovers["environment.NETWORK"] == run.one("Network")["name"]
        assert "create" not in leftovers.inputs, "it runs at destroy only"

    def test_private_nodes_reach_the_internet_through_nat(self) -> None:
        run = deployed(privateNodes="true")
        assert run.one(CLUSTER)["privateClusterConfig.enablePrivateNodes"] is True
        assert run.needs(run.one(CLUSTER), run.one("RouterNat")), "nodes pull their images through it"
        assert run.one("RouterNat")["subnetworks.0.sourceIpRangesToNats"] == ["ALL_IP_RANGES"]

    @pytest.mark.slow
    def test_it_can_be_an_existing_one(self) -> None:
        run = deployed(network="lan", subnetwork="lan-us")
        assert not run.of_type("ClusterNetwork")
        cluster = run.one(CLUSTER)
        assert (cluster["network"], cluster["subnetwork"]) == ("lan", "lan-us")
        assert "ipAllocationPolicy" not in cluster.inputs, "GKE creates the ranges"
        assert "subnetwork" not in deployed(network="default").one(CLUSTER).inputs, "of an auto-mode network"


# What each stack remembers (name of the value -> the setting, a later value, what would be lost).
FIXED = {
    "project": ("gcp:project", "other-proj-1", "delete the database"),
    "region": ("gcp:region", "europe-west4", "delete the cluster"),
    "network": ("network", "lan", "delete the cluster"),
    "database-location": ("databaseLocation", "eur3", "delete the database"),
}


class TestFixedSettings:
    @pytest.mark.slow
    @pytest.mark.parametrize("name", FIXED)
    @pytest.mark.parametrize("preview", [True, False])
    def test_a_change_that_would_delete_conversations_is_refused(self, name: str, preview: bool) -> None:
        key, value, loss = FIXED[name]
        remembered = {each.name: each["input"] for each in deployed().of_type("pulumi:index:Stash")}
        registered = Deployed()
        with pytest.raises(pulumi.RunError, match=loss) as refused:
            deploy(GCP | {key: value}, remembered=remembered, preview=preview, into=registered)
        assert key in str(refused.value)
        assert "Set it back: pulumi config" in str(refused.value)
        kinds = {r.type for r in registered.resources}
        assert not kinds & {f"gcp:{CLUSTER}", f"gcp:{DATABASE}"}, "neither is touched"

    @pytest.mark.slow
    def test_a_refusal_is_one_message_without_a_traceback(
        self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(pulumi.RunError):
            deploy(GCP, remembered={"database-location": "eur3"})
        gc.collect()
        assert "never retrieved" not in caplog.text + capfd.readouterr().err

    @pytest.mark.slow
    def test_the_same_settings_pass(self) -> None:
        remembered = {each.name: each["input"] for each in deployed().of_type("pulumi:index:Stash")}
        assert deploy(GCP, remembered=remembered).outputs["url"] == deployed().outputs["url"]

    @pytest.mark.slow
    def test_all_changes_are_reported_at_once(self) -> None:
        with pytest.raises(pulumi.RunError, match="gcp:region") as refused:
            deploy(GCP, remembered={"region": "europe-west4", "database-location": "eur3"})
        assert "databaseLocation" in str(refused.value)

    @pytest.mark.slow
    def test_the_first_preview_knows_no_earlier_value(self) -> None:
        assert deploy(GCP, preview=True).one(DATABASE)


class TestOnKubernetes:
    def test_the_state_remembers_the_context_that_destroy_goes_to(self) -> None:
        assert on_kubernetes().one("providers:kubernetes")["context"] == CONTEXT

    @pytest.mark.parametrize(
        ("remembered", "config", "words"),
        [
            ({"context": "first"}, {}, "kubernetes:context was 'first'"),
            ({"cluster": "other-id"}, {}, "The cluster .* was 'other-id'"),
            ({"storage-class": ""}, {"storageClass": "fast"}, "storageClass was 'not set' .* and is 'fast'"),
        ],
    )
    def test_another_cluster_or_storage_class_is_refused(
        self, remembered: dict[str, str], config: dict[str, str], words: str
    ) -> None:
        registered = Deployed()
        with pytest.raises(pulumi.RunError, match=words):
            deploy(KUBERNETES | config, remembered=remembered, into=registered)
        assert not registered.of_type("PersistentVolumeClaim"), "the volume is not touched"

    def test_in_a_cluster_without_a_kubeconfig_the_provider_finds_it_by_itself(self) -> None:
        assert "context" not in deploy(KUBERNETES, context="").one("providers:kubernetes").inputs

    def test_creates_nothing_on_google_cloud(self) -> None:
        kinds = {r.type.partition(":")[0] for r in on_kubernetes().resources}
        assert kinds == {"hybrid-chat", "kubernetes", "pulumi"}
        assert on_kubernetes().calls == []

    def test_the_history_is_on_a_volume_for_one_replica(self) -> None:
        run = on_kubernetes()
        assert run.one("PersistentVolumeClaim")["spec.resources.requests.storage"] == "5Gi"
        chat = run.one("Deployment", "gradio-chat-deployment")
        assert chat["spec.replicas"] == 1
        assert chat["spec.strategy.type"] == "Recreate"
        volumes = {volume["name"]: volume for volume in chat["spec.template.spec.volumes"]}
        assert volumes["data"]["persistentVolumeClaim"]["claimName"] == "gradio-chat-data"
        assert not run.of_type("PodDisruptionBudget")

    def test_gemma_can_be_another_server_and_its_key_is_secret(self) -> None:
        run = seen(OTHER_GEMMA)
        assert not run.of_type("GemmaServer")
        environment = {e["name"]: e for e in container(run.one("Deployment"))["env"]}
        assert environment["CHAT_GEMMA_URL"]["value"] == "http://ollama:11434"
        assert environment["CHAT_GEMMA_API_KEY"]["valueFrom"]["secretKeyRef"]["key"] == "CHAT_GEMMA_API_KEY"
        assert run.one("Secret")["stringData.CHAT_GEMMA_API_KEY"] == OTHER_GEMMA["gemmaApiKey"]
        assert run.one("Secret")["stringData.CHAT_EMBEDDINGS_API_KEY"] == OTHER_GEMMA["embeddingsApiKey"]

    def test_gemma_can_use_the_clusters_gpus(self) -> None:
        gemma = seen(KUBERNETES_GPUS).one("Deployment", "gemma-deployment")
        assert container(gemma)["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert "nodeSelector" not in gemma["spec.template.spec"] or not gemma["spec.template.spec"]["nodeSelector"]
        assert not seen(KUBERNETES_GPUS).of_type("PodMonitoring"), "only GKE has this kind"

    def test_has_no_public_address_by_default(self) -> None:
        assert {s["spec.type"] for s in on_kubernetes().of_type("Service")} == {"ClusterIP"}
        assert on_kubernetes().outputs["openWith"].endswith("port-forward service/gradio-chat-service 7860:7860")
        public = seen(KUBERNETES_GPUS)
        assert public.outputs["url"] == "http://203.0.113.7:7860"
        assert "openWith" not in public.outputs

    def test_context_and_kubeconfig_are_the_providers_settings(self) -> None:
        run = deploy(KUBERNETES | {"kubernetes:context": "kind-chat", "kubernetes:kubeconfig": "/k/config"})
        provider = run.one("providers:kubernetes")
        assert (provider["context"], provider["kubeconfig"]) == ("kind-chat", "/k/config")
        assert "deleteUnreachable" not in provider.inputs, "the cluster may only be unreachable for a while"

    def test_a_chat_without_any_model_gives_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        deploy(KUBERNETES)
        assert "The chat will have no model: set gemmaUrl" in caplog.text


# The GPU profiles of the default and of the codelab; `long`: all others.
@pytest.mark.parametrize(
    "profile",
    ["l4x1", "l4x4", *(pytest.param(p, marks=pytest.mark.long) for p in ("l4x2", "rtx6000", "a100", "h100"))],
)
class TestGemma:
    def gemma(self, profile: str) -> Registered:
        return deployed(gemma=profile, **TOKEN).one("Deployment", "gemma-deployment")

    @pytest.mark.slow
    def test_has_the_gpus_and_the_memory_of_its_profile(self, profile: str) -> None:
        resources = container(self.gemma(profile))["resources"]
        assert resources["requests"] == resources["limits"]
        assert resources["limits"]["nvidia.com/gpu"] == str(PROFILES[profile].gpus)
        assert {"cpu", "memory", "ephemeral-storage"} <= set(resources["limits"])
        selector = self.gemma(profile)["spec.template.spec.nodeSelector"]
        if not PROFILES[profile].on_demand:
            assert selector == {"cloud.google.com/compute-class": f"gemma-{profile}"}
            return
        assert selector["cloud.google.com/gke-accelerator"] == PROFILES[profile].accelerator
        assert selector["cloud.google.com/gke-gpu-driver-version"] == "latest", "vLLM's image needs a newer driver"

    def test_up_does_not_wait_for_it(self, profile: str) -> None:
        assert self.gemma(profile)["metadata.annotations"] == {
            "pulumi.com/skipAwait": "true",
            "pulumi.com/patchForce": "true",
        }

    def test_may_load_for_30_minutes(self, profile: str) -> None:
        vllm = container(self.gemma(profile))
        startup = vllm["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 1800
        assert {vllm[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")} == {
            "/health"
        }

    def test_serves_its_model_on_the_codelabs_ports(self, profile: str) -> None:
        vllm = container(self.gemma(profile))
        assert vllm["command"] == ["vllm", "serve"]
        assert vllm["args"][0] == PROFILES[profile].model
        assert f"--tensor-parallel-size={PROFILES[profile].gpus}" in vllm["args"]
        assert vllm["ports"][0]["containerPort"] == 8080
        service = deployed(gemma=profile, **TOKEN).one("Service", "gemma-service")
        assert service["spec.ports.0.port"] == 8000

    def test_its_volumes_fit_its_requests(self, profile: str) -> None:
        pod = self.gemma(profile)["spec.template.spec"]
        volumes = {volume["name"]: volume["emptyDir"] for volume in pod["volumes"]}
        assert volumes["shm"]["medium"] == "Memory"
        size = {name: int(volume["sizeLimit"].removesuffix("Gi")) for name, volume in volumes.items()}
        assert size["cache"] + size["tmp"] <= PROFILES[profile].ephemeral_storage
        assert size["shm"] < PROFILES[profile].memory


class TestGemmaOptions:
    def test_can_be_left_out(self) -> None:
        run = seen(PUBLIC_HTTP)
        assert not run.of_type("GemmaServer")
        assert "watchGemma" not in run.outputs
        names = {e["name"] for e in container(run.one("Deployment"))["env"]}
        assert "CHAT_GEMMA_URL" not in names

    def test_takes_the_token_from_a_secret(self) -> None:
        run = deployed(gemma="l4x4", **TOKEN)
        token = next(e for e in container(run.one("Deployment", "gemma-deployment"))["env"] if e["name"] == "HF_TOKEN")
        assert token["valueFrom"]["secretKeyRef"] == {"name": "hf-secret", "key": "hf_api_token"}

    def test_needs_no_token_for_open_weights(self) -> None:
        run = deployed()
        assert not [s for s in run.of_type("Secret") if s["metadata.name"] == "hf-secret"]

    @pytest.mark.parametrize("profile", ["l4x1", pytest.param("l4x2", marks=pytest.mark.long)])
    def test_can_fall_back_to_other_gpus(self, profile: str) -> None:
        run = seen(OWN_IAP_CLIENT) if profile == "l4x1" else deployed(gemma=profile, gpuFallback="true", **TOKEN)
        selector = run.one("Deployment", "gemma-deployment")["spec.template.spec.nodeSelector"]
        assert selector == {"cloud.google.com/compute-class": f"gemma-{profile}"}, (
            "GKE rejects it together with an accelerator"
        )
        first = run.one("ComputeClass")["spec.priorities.0"]
        assert (first["gpu"]["type"], first["gpu"]["count"]) == ("nvidia-l4", PROFILES[profile].gpus)

    def test_reports_nothing_to_its_makers(self) -> None:
        environment = {
            e["name"]: e.get("value") for e in container(deployed().one("Deployment", "gemma-deployment"))["env"]
        }
        for name in ("VLLM_NO_USAGE_STATS", "DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY"):
            assert environment[name] == "1"

    def test_reserves_no_memory_for_sound_and_video(self) -> None:
        def inputs(**config: str) -> str:
            arguments = container(deployed(**config).one("Deployment", "gemma-deployment"))["args"]
            return next(a for a in arguments if a.startswith("--limit-mm-per-prompt=")).partition("=")[2]

        assert json.loads(inputs()) == {"image": 2, "audio": 0, "video": 0}
        assert json.loads(inputs(gemma="l4x4", **TOKEN)) == {"image": 2}, "Gemma 3 knows only pictures"

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("config", "revision"),
        [
            ({}, REVISIONS[GEMMA_4_QAT]),
            ({"gemma": "l4x4"} | TOKEN, REVISIONS[GEMMA_3]),
            ({"gemmaModel": "team/tuned"}, None),
            ({"gemmaRevision": "refs/pr/1"}, "refs/pr/1"),
        ],
    )
    def test_loads_one_commit_of_the_weights(self, config: dict[str, str], revision: str | None) -> None:
        arguments = container(deployed(**config).one("Deployment", "gemma-deployment"))["args"]
        given = [argument for argument in arguments if argument.startswith("--revision")]
        assert given == ([f"--revision={revision}"] if revision else [])

    @pytest.mark.slow
    def test_accepts_additional_arguments(self) -> None:
        run = deployed(gemmaArgs='["--max-num-seqs=2", "--seed=1"]')
        assert container(run.one("Deployment", "gemma-deployment"))["args"][-2:] == ["--max-num-seqs=2", "--seed=1"]


class TestImage:
    def test_cloud_build_gives_the_deployment_a_digest(self) -> None:
        run = deployed()
        reference = container(run.one("Deployment", "gradio-chat-deployment"))["image"]
        assert reference == f"us-central1-docker.pkg.dev/{PROJECT}/chat-app-repo/chat@sha256:{'a' * 64}"
        assert run.outputs["image"] == reference

    def test_the_build_has_no_path_of_this_machine(self) -> None:
        command = deployed().one("Command", "build")
        assert command["environment.SOURCE"] == "."
        assert str(ROOT) not in json.dumps(command.inputs)

    def test_the_build_has_its_own_account_bucket_and_log(self) -> None:
        run = deployed()
        build = json.loads(run.one("Command", "build")["environment.BUILD"])
        assert build["serviceAccount"].startswith(f"projects/{PROJECT}/serviceAccounts/chat-build@")
        assert build["logsBucket"] == f"gs://{PROJECT}-chat-build/log"
        assert build["images"] == [run.one("Command", "build")["triggers.0"]]
        assert run.one("Bucket")["forceDestroy"] is True

    def test_docker_builds_for_gkes_platform_and_pushes(self) -> None:
        run = seen(PRIVATE)
        image = run.one("Image")
        assert (image["build.platform"], image["buildOnPreview"], image["skipPush"]) == ("linux/amd64", False, False)
        assert image["imageName"].startswith(f"us-central1-docker.pkg.dev/{PROJECT}/chat-app-repo/chat:")
        assert container(run.one("Deployment", "gradio-chat-deployment"))["image"].endswith("@sha256:" + "b" * 64)
        assert [command.name for command in run.of_type("Command")] == ["leftovers"], "no build"

    def test_docker_on_kubernetes_pushes_only_to_a_configured_registry(self) -> None:
        local = deploy({"platform": "kubernetes"})
        assert local.one("Image")["skipPush"] is True
        assert container(local.one("Deployment"))["image"] == local.one("Image")["imageName"]
        pushed = deploy({"platform": "kubernetes", "imageRegistry": "localhost:5001"})
        assert pushed.one("Image")["imageName"].startswith("localhost:5001/hybrid-chat:")
        assert container(pushed.one("Deployment"))["image"].endswith("@sha256:" + "b" * 64)

    @pytest.mark.slow
    def test_an_existing_image_needs_no_registry_and_no_build(self) -> None:
        run = deployed(image="example.org/chat:1.0")
        assert container(run.one("Deployment", "gradio-chat-deployment"))["image"] == "example.org/chat:1.0"
        assert not [r for r in run.resources if "artifactregistry" in r.type or r.name == "build"]


class TestChat:
    def test_has_two_replicas_on_different_nodes(self) -> None:
        run = deployed()
        chat = run.one("Deployment", "gradio-chat-deployment")
        assert chat["spec.replicas"] == 2
        assert run.one("PodDisruptionBudget")["spec.maxUnavailable"] == 1
        spread = {c["topologyKey"] for c in chat["spec.template.spec.topologySpreadConstraints"]}
        assert spread == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}

    def test_is_available_during_a_rollout_and_has_time_to_stop(self) -> None:
        from chatapp.config.settings import Settings

        journal = Settings.model_fields["drain_seconds"].default
        # The next pod can begin only after the end of the one that has the volume.
        for run, update, answers in (
            (deployed(), {"maxUnavailable": 0, "maxSurge": 1}, 110),
            (on_kubernetes(), None, 30),
        ):
            chat = run.one("Deployment", "gradio-chat-deployment")
            assert chat["spec.strategy"].get("rollingUpdate") == update
            pod = chat["spec.template.spec"]
            environment = {e["name"]: e.get("value") for e in pod["containers"][0]["env"]}
            assert environment["CHAT_SHUTDOWN_SECONDS"] == str(answers)
            leaving = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
            assert pod["terminationGracePeriodSeconds"] > leaving + answers + journal

    def test_no_service_exposes_the_metrics_port(self) -> None:
        for run in (deployed(), on_kubernetes()):
            chat = container(run.one("Deployment", "gradio-chat-deployment"))
            ports = {port["name"]: port["containerPort"] for port in chat["ports"]}
            assert ports == {"http": 7860, "metrics": 9090}
            services = [s for s in run.of_type("kubernetes:core/v1:Service") if s["spec.selector.app"] == "gradio-chat"]
            assert services
            assert {port["targetPort"] for service in services for port in service["spec.ports"]} == {"http"}

    def test_gke_collects_its_metrics(self) -> None:
        run = deployed()
        monitoring = run.one("PodMonitoring", "gradio-chat")
        assert monitoring["metadata.namespace"] == "hybrid-chat"
        labels = run.one("Deployment", "gradio-chat-deployment")["spec.template.metadata.labels"]
        assert monitoring["spec.selector.matchLabels"].items() <= labels.items()
        ports = {port["name"] for port in container(run.one("Deployment", "gradio-chat-deployment"))["ports"]}
        (endpoint,) = monitoring["spec.endpoints"]
        assert endpoint["port"] in ports
        assert endpoint["path"] == "/metrics"
        assert not on_kubernetes().of_type("PodMonitoring"), "only GKE has this kind"

    def test_services_have_session_affinity(self) -> None:
        run = seen(PUBLIC_HTTP)
        services = [s for s in run.of_type("kubernetes:core/v1:Service") if s["spec.selector.app"] == "gradio-chat"]
        assert {s["spec.sessionAffinity"] for s in services} == {"ClientIP"}
        public = next(s for s in services if s["spec.type"] == "LoadBalancer")
        assert public["spec.externalTrafficPolicy"] == "Local", "else the affinity would see the nodes' addresses"
        assert public["spec.ports.0.port"] == 7860

    def test_is_restricted(self) -> None:
        for run in (deployed(), on_kubernetes()):
            pod = run.one("Deployment", "gradio-chat-deployment")["spec.template.spec"]
            chat = pod["containers"][0]
            assert chat["securityContext"]["readOnlyRootFilesystem"] is True
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
            mounted = {mount["mountPath"] for mount in chat["volumeMounts"]} - {TOKEN_DIR}
            assert mounted == {"/data", "/tmp"}

    def test_may_only_read_why_gemma_is_not_ready_in_its_namespace(self) -> None:
        run = deployed()
        assert run.one("Role")["rules"] == [
            {"apiGroups": [""], "resources": ["pods", "events"], "verbs": ["list", "watch"]},
            {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
            {
                "apiGroups": ["apps"],
                "resources": ["deployments"],
                "verbs": ["get"],
                "resourceNames": ["gemma-deployment"],
            },
        ]
        binding = run.one("RoleBinding")
        assert binding["roleRef.name"] == run.one("Role")["metadata.name"]
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": "gradio-chat-ksa", "namespace": "hybrid-chat"}
        ]
        gemma = run.one("Deployment", "gemma-deployment")
        assert {run.one(kind)["metadata.namespace"] for kind in ("Role", "RoleBinding")} == {
            gemma["metadata.namespace"]
        }
        environment = {e["name"]: e.get("value") for e in container(self.chat(run))["env"]}
        namespace, _, selector = environment["CHAT_GEMMA_PODS"].partition("/")
        name, _, value = selector.partition("=")
        assert namespace == gemma["metadata.namespace"]
        assert gemma["spec.template.metadata.labels"][name] == value
        assert not run.of_type("ClusterRole")

    @pytest.mark.parametrize(("config", "minutes"), [(OWN_IAP_CLIENT, "30"), (KUBERNETES_GPUS, "60")])
    def test_of_a_gemma_that_sleeps_may_scale_it_and_nothing_else(self, config: dict[str, str], minutes: str) -> None:
        run = seen(config)
        assert {e["name"]: e.get("value") for e in container(self.chat(run))["env"]}[
            "CHAT_GEMMA_IDLE_MINUTES"
        ] == minutes
        changing = [rule for rule in run.one("Role")["rules"] if not set(rule["verbs"]) <= {"get", "list", "watch"}]
        assert changing == [
            {
                "apiGroups": ["apps"],
                "resources": ["deployments/scale"],
                "verbs": ["get", "patch"],
                "resourceNames": ["gemma-deployment"],
            },
            {
                "apiGroups": [""],
                "resources": ["configmaps"],
                "verbs": ["get", "patch"],
                "resourceNames": ["gemma-deployment-use"],
            },
        ]
        record = run.one("ConfigMap")
        assert record["metadata.name"] == "gemma-deployment-use"
        assert "data" not in record.inputs, "it is the chat's"

    def test_gemma_drains_before_it_is_killed_and_needs_no_second_gpu_to_be_replaced(self) -> None:
        spec = deployed().one("Deployment", "gemma-deployment")["spec"]
        assert spec["strategy"] == {"type": "Recreate"}
        pod = spec["template"]["spec"]
        (vllm,) = pod["containers"]
        pause = vllm["lifecycle"]["preStop"]["sleep"]["seconds"]
        (drain,) = (int(a.partition("=")[2]) for a in vllm["args"] if a.startswith("--shutdown-timeout="))
        assert (pause, drain) == (5, 110)
        assert pod["terminationGracePeriodSeconds"] >= pause + drain + 10
        assert vllm["terminationMessagePolicy"] == "FallbackToLogsOnError"

    def test_of_a_gemma_that_sleeps_leaves_its_replicas_to_the_chat(self) -> None:
        assert "replicas" not in seen(OWN_IAP_CLIENT).one("Deployment", "gemma-deployment")["spec"]
        for run in (deployed(), on_kubernetes()):
            assert not run.of_type("ConfigMap")
        assert deployed().one("Deployment", "gemma-deployment")["spec.replicas"] == 1

    def test_has_a_token_of_the_kubernetes_api_only_to_report_the_state_of_gemma(self) -> None:
        def tokens(pod: Registered) -> list[str]:
            volumes = pod["spec.template.spec.volumes"]
            sources = [source for volume in volumes for source in volume.get("projected", {}).get("sources", [])]
            return [source["serviceAccountToken"]["path"] for source in sources if "serviceAccountToken" in source]

        run = deployed()
        assert tokens(self.chat(run)) == ["token"]
        (mount,) = (m for m in container(self.chat(run))["volumeMounts"] if m["name"] == "account")
        assert (mount["mountPath"], mount["readOnly"]) == (str(ACCOUNT_FOLDER), True)
        assert tokens(run.one("Deployment", "gemma-deployment")) == []
        for other in (seen(PUBLIC_HTTP), on_kubernetes()):
            assert tokens(self.chat(other)) == []
            assert not other.of_type("Role")
            assert "CHAT_GEMMA_PODS" not in {e["name"] for e in container(self.chat(other))["env"]}

    @staticmethod
    def chat(run: Deployed) -> Registered:
        return run.one("Deployment", "gradio-chat-deployment")

    @pytest.mark.slow
    def test_restarts_when_a_secret_changes(self) -> None:
        def annotation(key: str) -> str:
            run = deploy(KUBERNETES | {"geminiApiKey": key})
            return run.one("Deployment")["spec.template.metadata.annotations"]["hybrid-chat/secrets"]

        assert annotation("AIza-1") != annotation("AIza-2")
        assert annotation("AIza-1") == annotation("AIza-1")

    def test_a_public_address_gives_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        deploy(KUBERNETES | {"exposure": "public-http"})
        assert "Anyone who finds the chat's address can use it, and the connection is not encrypted" in caplog.text


class TestOrder:
    """The first is created before the second, and deleted after it."""

    @pytest.mark.parametrize(
        ("earlier", "later"),
        [
            (("projects/service:Service", "cloudresourcemanager"), ("projects/service:Service", "container")),
            (("projects/service:Service", "container"), (CLUSTER, "")),
            (("projects/service:Service", "compute"), (CLUSTER, "")),
            (("projects/service:Service", "firestore"), (DATABASE, "")),
            (("projects/service:Service", "compute"), ("Network", "")),
            (("projects/service:Service", "containerfilesystem"), (CLUSTER, "")),
            (("projects/service:Service", "artifactregistry"), ("Repository", "")),
            (("projects/service:Service", "cloudbuild"), ("Command", "build")),
            (("projects/service:Service", "iam"), ("account:Account", "build-account")),
            (("projects/service:Service", "iam"), ("account:Account", "nodes")),
            (("projects/service:Service", "aiplatform"), ("Deployment", "gradio-chat-deployment")),
            (("RepositoryIamMember", "build-push"), ("Command", "build")),
            (("BucketIAMMember", "build-source-and-log"), ("Command", "build")),
            (("RepositoryIamMember", "pull-nodes"), ("Deployment", "gradio-chat-deployment")),
            ((CLUSTER, ""), ("iAMMember:IAMMember", "vertex-ai")),  # the cluster creates the workload identity pool
            ((CLUSTER, ""), ("iAMMember:IAMMember", "history")),
            ((CLUSTER, ""), ("Gateway", "")),  # its load balancer is deleted before the cluster
            (("Namespace", "hybrid-chat"), ("Gateway", "")),
            (("GlobalAddress", ""), ("Gateway", "")),
            (("ManagedSslCertificate", ""), ("Gateway", "")),
            (("SSLPolicy", ""), ("Gateway", "")),
            (("endpoints/service:Service", ""), ("Gateway", "")),
            (("endpoints/service:Service", ""), ("ManagedSslCertificate", "")),
            (("WebIamBinding", ""), ("Gateway", "")),
            (("projects/service:Service", "iap"), ("WebIamBinding", "")),
            (("projects/service:Service", "servicemanagement"), ("endpoints/service:Service", "")),
            (("Gateway", ""), ("HTTPRoute", "gradio-chat")),
            (("Gateway", ""), ("HTTPRoute", "gradio-chat-redirect")),
            (("GCPGatewayPolicy", ""), ("HTTPRoute", "gradio-chat")),
            (("kubernetes:core/v1:Service", "gradio-chat-service"), ("HTTPRoute", "gradio-chat")),
            # No pod runs before its traffic is restricted.
            (("NetworkPolicy", "default-deny"), ("Deployment", "gradio-chat-deployment")),
            (("NetworkPolicy", "default-deny"), ("Deployment", "gemma-deployment")),
            ((CLUSTER, ""), ("Namespace", "hybrid-chat")),
            (("Namespace", "hybrid-chat"), ("Deployment", "gemma-deployment")),
            ((DATABASE, ""), ("Deployment", "gradio-chat-deployment")),
            (("iAMMember:IAMMember", "history"), ("Deployment", "gradio-chat-deployment")),
            (("Command", "build"), ("Deployment", "gradio-chat-deployment")),
            (("RoleBinding", ""), ("Deployment", "gradio-chat-deployment")),
            (("Secret", "gradio-chat-secrets"), ("Deployment", "gradio-chat-deployment")),
        ],
    )
    def test_is_guaranteed(self, earlier: tuple[str, str], later: tuple[str, str]) -> None:
        run = deployed()
        assert run.needs(run.one(*later), run.one(*earlier))
        assert not run.needs(run.one(*earlier), run.one(*later))

    def test_a_plain_load_balancer_is_deleted_before_the_cluster(self) -> None:
        run = seen(PUBLIC_HTTP)
        assert run.needs(run.one("Service", "gradio-chat-public"), run.one(CLUSTER))

    def test_cloud_armor_and_the_iap_client_are_created_before_the_policy_that_refers_to_them(self) -> None:
        run = seen(OWN_IAP_CLIENT)
        policy = run.one("GCPBackendPolicy")
        assert run.needs(policy, run.one("SecurityPolicy"))
        assert run.needs(policy, run.one("Secret", "iap-client"))

    @pytest.mark.parametrize("config", [GCP, PUBLIC_HTTP, KUBERNETES, KUBERNETES_GPUS], ids=str)
    def test_a_service_that_pulumi_waits_for_is_created_after_its_pods(self, config: dict[str, str]) -> None:
        run = seen(config)
        for service in run.of_type("kubernetes:core/v1:Service"):
            if "pulumi.com/skipAwait" in service["metadata"].get("annotations", {}):
                continue
            app = service["spec.selector.app"]
            (pods,) = (d for d in run.of_type("Deployment") if d["spec.template.metadata.labels.app"] == app)
            assert run.needs(service, pods), f"{service.name}: Pulumi gives up after 10 minutes without ready pods"

    @pytest.mark.slow
    @pytest.mark.parametrize("config", [GCP, OWN_IAP_CLIENT, GOOGLE_SIGN_IN], ids=str)
    def test_a_policy_that_gke_rejects_fails_the_update_and_holds_up_nothing(self, config: dict[str, str]) -> None:
        run = seen(config)
        awaited = [r for r in run.resources if "pulumi.com/waitFor" in str(r.inputs.get("metadata"))]
        assert {r.type.rpartition(":")[2] for r in awaited} == {"GCPBackendPolicy", "HealthCheckPolicy"}
        for policy in awaited:
            assert "@.type=='Attached' && @.status=='True'" in policy["metadata.annotations"]["pulumi.com/waitFor"]
            # GKE may attach a policy only once a route uses its Service: neither may wait for the other. A route still
            # needs all that the policy needs, so that both are created at the same time.
            others = [r for r in run.resources if run.needs(r, policy)]
            assert others == []
            for route in run.of_type("HTTPRoute"):
                assert not policy.dependencies - route.dependencies

    def test_a_recreated_chat_is_ready_only_with_pods_of_the_new_revision(self) -> None:
        chat = on_kubernetes().one("Deployment", "gradio-chat-deployment")
        assert json.loads(chat["metadata.annotations"]["pulumi.com/waitFor"]) == [
            "jsonpath={.status.updatedReplicas}=1",
            "jsonpath={.status.readyReplicas}=1",
        ]
        # Pulumi's own waiting is right for rolling updates, and names what is wrong with a pod.
        assert "annotations" not in deployed().one("Deployment", "gradio-chat-deployment")["metadata"]

    def test_gemma_does_not_wait_for_the_image_build(self) -> None:
        run = deployed()
        assert not run.needs(run.one("Deployment", "gemma-deployment"), run.one("Command", "build"))


class TestOptions:
    def test_all_resources_have_a_parent_and_objects_in_the_cluster_its_provider(self) -> None:
        for run in (deployed(), on_kubernetes()):
            for resource in run.resources[1:]:
                assert resource.parent, resource.urn
                if resource.type.startswith("kubernetes:"):
                    assert resource.provider == "kubernetes", resource.urn

    def test_load_balancers_are_deleted_explicitly_with_long_timeouts(self) -> None:
        balancer = seen(PUBLIC_HTTP).one("Service", "gradio-chat-public")
        assert not balancer.request.deletedWith
        assert balancer.request.customTimeouts.delete == "15m"
        gateway, namespace = deployed().one("Gateway"), deployed().one("Namespace")
        assert not gateway.request.deletedWith
        assert (gateway.request.customTimeouts.delete, namespace.request.customTimeouts.delete) == ("20m", "20m")

    def test_fields_are_deleted_with_their_database(self) -> None:
        database = deployed().one(DATABASE)
        assert {f.request.deletedWith for f in deployed().of_type("firestore/field:Field")} == {database.urn}

    def test_no_resource_is_protected_or_retained(self) -> None:
        for resource in deployed().resources:
            assert not resource.request.protect
            assert not resource.request.retainOnDelete

    def test_the_cluster_has_30_minutes(self) -> None:
        timeouts = deployed().one(CLUSTER).request.customTimeouts
        assert (timeouts.create, timeouts.update, timeouts.delete) == ("30m", "30m", "30m")

    def test_the_provider_handles_a_deleted_cluster_and_a_changed_endpoint(self) -> None:
        provider = deployed().one("providers:kubernetes")
        assert provider["deleteUnreachable"] == "true"
        assert provider["clusterIdentifier"] == f"projects/{PROJECT}/locations/us-central1/clusters/gradio-chat-cluster"
        for name in ("enableSecretMutable", "upsertExistingObjects", "enablePatchForce", "enableServerSideApply"):
            assert provider[name] == "true"

    def test_each_google_resource_has_the_retry_hook(self) -> None:
        for resource in deployed().resources:
            if resource.type.startswith("gcp:"):
                assert list(resource.request.hooks.on_error) == ["services-patience"], resource.urn


class TestSecrets:
    run = staticmethod(lambda: deployed(gemma="l4x4", **TOKEN))

    def test_the_kubeconfig_is_secret(self) -> None:
        assert "kubeconfig" in self.run().one("providers:kubernetes").secrets

    def test_no_secret_is_in_plain_text(self) -> None:
        runs = [
            self.run(),
            seen(OTHER_GEMMA),
        ]
        for run in runs:
            for resource in run.resources:
                for path, value in walk(resource.inputs):
                    if any(secret in str(value) for secret in ("hf_abcdefghij", "AIza-12345678", "key-87654321")):
                        assert any(path.startswith(secret) for secret in resource.secrets), (resource.urn, path)
            assert not run.secret_outputs
            assert "hf_abcdefghij" not in json.dumps(run.outputs)

    def test_the_session_secret_is_secret(self) -> None:
        secret = self.run().one("Secret", "gradio-chat-secrets")
        assert any(path.startswith("stringData") for path in secret.secrets)


class TestTwoStacks:
    def test_share_no_name_in_the_project(self) -> None:
        dev, test = deployed(), seen(GCP, stack="test")

        def global_names(run: Deployed) -> set[tuple[str, str]]:
            named = [r for r in run.resources if r.type.startswith("gcp:") and "projects/service:Service" not in r.type]
            keys = ("name", "repositoryId", "accountId")
            return {(r.type, r.inputs[key]) for r in named for key in keys if key in r.inputs and "Field" not in r.type}

        assert len(global_names(dev)) >= 6
        assert not global_names(dev) & global_names(test)

    def test_share_no_namespace_and_no_workload_identity(self) -> None:
        dev, test = deployed(), seen(GCP, stack="test")
        assert (dev.outputs["namespace"], test.outputs["namespace"]) == ("hybrid-chat", "hybrid-chat-test")
        members = [{m["member"] for m in run.of_type("iAMMember:IAMMember")} for run in (dev, test)]
        assert not members[0] & members[1]

    @pytest.mark.slow
    def test_do_not_leak_into_each_other_in_one_process(self) -> None:
        assert "credentials" in deploy(GCP).outputs
        assert "credentials" not in deploy(KUBERNETES).outputs

    @pytest.mark.parametrize("stack", ["Prod", "feature_login.2", "a" * 90, "x--y"])
    def test_can_have_any_name_that_pulumi_allows(self, stack: str) -> None:
        names = Names(stack)
        assert len(names.nodes_account) <= 30
        assert len(names.cluster) <= 40
        free = f"{names.free_name}-x7k2p9"
        edge = (names.address, names.edge_policy, names.certificate("chat.example.org"), free)
        others = (names.nodes_account, names.build_account, names.cluster, names.database, names.namespace)
        for name in (*others, *edge):
            assert re.fullmatch(r"[a-z][a-z0-9-]*[a-z0-9]", name), name
            assert len(name) <= 63
        assert len(names.build_bucket("p" * 30)) <= 63

    def test_that_differ_only_in_case_have_different_names(self) -> None:
        assert len({Names(stack).cluster for stack in ("prod", "Prod", "PROD", "p-rod", "p_rod")}) == 5


class TestPreview:
    """Before the first `up`, most outputs of the cloud are unknown."""

    @pytest.mark.slow
    @pytest.mark.parametrize("config", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
    def test_registers_the_same_resources(self, config: dict[str, str]) -> None:
        assert sorted(r.urn for r in seen(config, preview=True).resources) == sorted(
            r.urn for r in seen(config).resources
        )

    def test_no_input_has_an_unknown_value_inside_a_text(self) -> None:
        run = seen(GCP, preview=True)
        for resource in run.resources:
            for path, value in walk(resource.inputs):
                assert value == rpc.UNKNOWN or rpc.UNKNOWN not in str(value), (resource.urn, path)

    @pytest.mark.slow
    @pytest.mark.parametrize("preview", [True, False])
    def test_no_input_is_the_repr_of_an_output(self, preview: bool) -> None:
        for config in DEPLOYMENTS.values():
            for resource in seen(config, preview=preview).resources:
                for path, value in walk(resource.inputs):
                    assert "Output" not in str(value), (resource.urn, path, value)

    def test_the_url_is_unknown(self) -> None:
        run = seen(GCP, preview=True)
        assert run.outputs["url"] == rpc.UNKNOWN
        assert run.outputs["namespace"] == "hybrid-chat"


class TestRunTwice:
    @pytest.mark.slow
    @pytest.mark.parametrize("config", [PRIVATE, OWN_IAP_CLIENT, KUBERNETES], ids=["private", "iap", "kubernetes"])
    def test_has_no_difference(self, config: dict[str, str]) -> None:
        first, second = seen(config), deploy(config)
        assert {r.urn: r.inputs for r in first.resources} == {r.urn: r.inputs for r in second.resources}

    @pytest.mark.slow
    def test_a_changed_theme_changes_only_the_chats_deployment(self) -> None:
        before, after = deployed(), deployed(theme="green")
        inputs = {r.urn: r.inputs for r in before.resources}
        assert [r.name for r in after.resources if r.inputs != inputs[r.urn]] == ["chat"]

    @pytest.mark.slow
    def test_a_changed_source_changes_only_the_image_and_the_chats_deployment(self, monkeypatch) -> None:
        from stacks.components.image_source import Source
        from tests.stacks import recording

        before = deployed()
        monkeypatch.setattr(Source, "tag", property(lambda self: "0123456789abcdef"))
        built = recording._COMPUTED | {"command:local:Command": lambda _: {"stdout": "sha256:" + "c" * 64}}
        monkeypatch.setattr(recording, "_COMPUTED", built)
        after = deploy(GCP)
        inputs = {r.urn: r.inputs for r in before.resources}
        assert sorted(r.type for r in after.resources if r.inputs != inputs[r.urn]) == [
            "command:local:Command",
            "kubernetes:apps/v1:Deployment",
        ]


def test_components_can_be_used_in_another_program() -> None:
    from stacks.components.model_server import GemmaServer, GemmaServerArgs
    from stacks.ingress.plain_http import PublicEndpoint, PublicEndpointArgs
    from tests.stacks.recording import run

    def program() -> None:
        server = GemmaServer(
            "mine",
            GemmaServerArgs(
                namespace="elsewhere",
                name="llm",
                service_name="llm",
                account="llm",
                secret_name="llm",
                profile=PROFILES["h100"],
                image="example.org/vllm:1",
                on_gke=False,
                node_selector={"gpu": "big"},
            ),
        )
        PublicEndpoint("out", PublicEndpointArgs("private", "elsewhere", "unused", "chat", server))
        pulumi.export("url", server.url)

    deployed = run(program)
    assert deployed.outputs == {"url": "http://llm.elsewhere.svc.cluster.local:8000"}
    assert deployed.one("Deployment", "llm")["spec.template.spec.nodeSelector"] == {"gpu": "big"}


def test_the_firestore_schema_imports_only_the_standard_library() -> None:
    program = "import sys, chatapp.store.firestore.schema; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    assert not {"google", "gradio", "fastapi", "pydantic", "aiohttp"} & set(done.stdout.split())
    assert "chatapp" in done.stdout.split()
