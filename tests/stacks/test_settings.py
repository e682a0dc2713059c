"""Wrong settings are rejected before any resource is registered, with a message for each."""

from __future__ import annotations

import subprocess
import sys
from types import MappingProxyType

import pytest
import yaml

from stacks.settings import SECRET_KEYS, InvalidSettings, Settings
from tests.stacks.deployments import GCP, INFERENCE_GATEWAY, of_profile
from tests.stacks.recording import ROOT, Deployed, deploy, run

KUBERNETES = {"platform": "kubernetes"}

WRONG = {
    "no project": ({}, "gcp:project is not set. Run: pulumi config set gcp:project YOUR_PROJECT_ID"),
    "a project's number": (
        {"gcp:project": "123456789012"},
        "gcp:project is '123456789012': the project's ID is needed",
    ),
    "a project's name": ({"gcp:project": "My Project"}, "gcp:project is 'My Project': the project's ID is needed"),
    "a zone": (GCP | {"gcp:region": "us-central1-a"}, "a region is needed, such as us-central1 (not a zone)"),
    "an unknown platform": (GCP | {"platform": "aws"}, "platform is 'aws': allowed: gcp, kubernetes"),
    "an unknown theme": (GCP | {"theme": "red"}, "theme is 'red': allowed: blue, green"),
    "an unknown exposure": (
        GCP | {"exposure": "http"},
        "exposure is 'http': allowed: auto, https, public-http, private",
    ),
    "an unknown identity": (GCP | {"identity": "me"}, "identity is 'me': allowed: auto, google, iap, anonymous"),
    "replicas that are not a number": (
        GCP | {"chatReplicas": "two"},
        "chatReplicas is 'two': it must be a valid integer",
    ),
    "a negative number of replicas": (GCP | {"chatReplicas": "-1"}, "chatReplicas is '-1': it must be greater than"),
    "too many replicas": (GCP | {"chatReplicas": "21"}, "chatReplicas is '21': it must be less than or equal to 20"),
    "replicas with SQLite": (
        KUBERNETES | {"chatReplicas": "2"},
        "chatReplicas is 2: on platform kubernetes the history",
    ),
    "an image with the tag latest": (GCP | {"image": "example.org/chat:latest"}, "the tag 'latest' changes"),
    "an image without a tag": (
        GCP | {"image": "example.org/chat"},
        "a container image with a tag or a digest is needed",
    ),
    "an image with a short digest": (
        GCP | {"image": "chat@sha256:12ab"},
        "image is 'chat@sha256:12ab': auto, cloud-build,",
    ),
    "Cloud Build without Google Cloud": (KUBERNETES | {"image": "cloud-build"}, "image is 'cloud-build', which needs"),
    "a registry for an image that is not built": (
        KUBERNETES | {"image": "example.org/chat:1", "imageRegistry": "localhost:5001"},
        "imageRegistry has no effect unless image is docker",
    ),
    "a registry that is a URL": (KUBERNETES | {"imageRegistry": "http://x"}, "a registry is needed, such as"),
    "a size without a unit": (KUBERNETES | {"volumeSize": "5"}, "volumeSize is '5': a size is needed, such as 5Gi"),
    "a storage class with spaces": (KUBERNETES | {"storageClass": "my class"}, "the name of a storage class is needed"),
    "a volume on Google Cloud": (GCP | {"volumeSize": "9Gi"}, "volumeSize has no effect on platform gcp: it is for"),
    "a database location on Kubernetes": (
        KUBERNETES | {"databaseLocation": "eur3"},
        "databaseLocation has no effect on platform",
    ),
    "an unknown GPU": (
        GCP | {"gemma": "l4x3"},
        "gemma is 'l4x3': allowed: auto, none, l4x1, l4x2, l4x4, rtx6000, a100",
    ),
    "gated weights without a token": (
        GCP | {"gemma": "l4x4"},
        "accept the terms at huggingface.co/google/gemma-3-12b-it",
    ),
    "another gated model without a token": (
        GCP | {"gemmaModel": "google/gemma-3-4b-it"},
        "google/gemma-3-4b-it are gated",
    ),
    "a token of another site": (GCP | {"huggingFaceToken": "ghp_abcdefghij"}, "which begins with hf_"),
    "a model without its owner": (GCP | {"gemmaModel": "gemma"}, "an owner and a name on Hugging Face are needed"),
    "a model without Gemma": (GCP | {"gemma": "none", "gemmaModel": "a/b"}, "gemmaModel has no effect without Gemma"),
    "two servers of Gemma": (GCP | {"gemma": "l4x1", "gemmaUrl": "http://x:1"}, "gemma is 'l4x1' and gemmaUrl is set"),
    "a URL without http": (GCP | {"gemmaUrl": "ollama:11434"}, "an address like http://ollama.example.org:11434"),
    "embeddings of no server": (GCP | {"embeddings": "server"}, "embeddings is server, and embeddingsUrl is not set"),
    "embeddings of Gemini with an address": (
        GCP | {"embeddings": "gemini", "embeddingsUrl": "http://x:1"},
        "embeddingsUrl has no effect while embeddings is gemini",
    ),
    "embeddings elsewhere, and none": (
        GCP | {"embeddingsElsewhere": "true"},
        "embeddingsElsewhere has no effect while embeddings is off",
    ),
    "embeddings of Gemini without a key": (
        {"platform": "kubernetes", "embeddings": "gemini"},
        "embeddings is gemini, which needs a key on platform kubernetes",
    ),
    "embeddings at an unknown place, with residency": (
        GCP | {"embeddings": "server", "embeddingsUrl": "http://x:1", "residency": "us"},
        "set embeddings to gemini, whose location is us, or remove residency",
    ),
    "an address of embeddings without http": (
        GCP | {"embeddings": "server", "embeddingsUrl": "tei:8080"},
        "an address like http://embeddings.example.org:8080 is needed",
    ),
    "a key without a server": (GCP | {"gemmaApiKey": "k"}, "gemmaApiKey has no effect without gemmaUrl"),
    "a vLLM image with the tag latest": (
        GCP | {"gemmaImage": "vllm/vllm-openai:latest"},
        "gemmaImage is 'vllm/vllm-openai:latest'",
    ),
    "arguments that are not a list": (
        GCP | {"gemmaArgs": "--seed=1"},
        'a JSON list is needed, such as ["--max-num-seqs=8"]',
    ),
    "a reserved argument": (GCP | {"gemmaArgs": '["--port=1"]'}, "gemmaArgs has '--port=1': allowed are flags"),
    "another reserved argument": (GCP | {"gemmaArgs": '["--revision=main"]'}, "gemmaArgs has '--revision=main'"),
    "a revision that is none": (GCP | {"gemmaRevision": "a b"}, "a commit, tag or branch of the weights"),
    "a revision without GPUs": (GCP | {"gemma": "none", "gemmaRevision": "main"}, "gemmaRevision has no effect"),
    "arguments without Gemma": (GCP | {"gemma": "none", "gemmaArgs": '["--seed=1"]'}, "gemmaArgs has no effect while"),
    "a fallback without GPUs": (
        GCP | {"gemma": "none", "gpuFallback": "true"},
        "gpuFallback has no effect without GPUs of this stack: gemma is none",
    ),
    "a subnetwork of the stack's own network": (GCP | {"subnetwork": "a"}, "subnetwork has no effect without network"),
    "a sleep without GPUs": (
        GCP | {"gemma": "none", "gemmaIdleMinutes": "30"},
        "gemmaIdleMinutes has no effect without GPUs of this stack: gemma is none",
    ),
    "more servers without GPUs": (
        GCP | {"gemma": "none", "gemmaMaxReplicas": "2", "releaseChannel": "RAPID"},
        "gemmaMaxReplicas has no effect without GPUs of this stack: gemma is none",
    ),
    "more servers without the metric": (
        GCP | {"gemmaMaxReplicas": "2"},
        "gemmaMaxReplicas is 2: GKE reads the length of Gemma's queue only in clusters of the channel RAPID",
    ),
    "no server at all": (GCP | {"gemmaMaxReplicas": "0"}, "gemmaMaxReplicas is '0': it must be greater than or equal"),
    "more servers in another cluster": (
        KUBERNETES | {"gemma": "l4x1", "gemmaMaxReplicas": "2"},
        "gemmaMaxReplicas has no effect on platform kubernetes",
    ),
    "a choice between servers with one server": (
        GCP | {"gemmaRouting": "inference-gateway"},
        "gemmaRouting is inference-gateway, which chooses between several servers of Gemma, and gemmaMaxReplicas is 1",
    ),
    "a choice between servers without GPUs": (
        INFERENCE_GATEWAY | {"gemma": "none", "gemmaIdleMinutes": "0"},
        "gemmaMaxReplicas has no effect without GPUs of this stack",
    ),
    "a choice between servers in another cluster": (
        KUBERNETES | {"gemma": "l4x1", "gemmaRouting": "inference-gateway"},
        "gemmaRouting has no effect on platform kubernetes: it is for gcp",
    ),
    "a choice between servers of another kind": (
        INFERENCE_GATEWAY | {"gemmaRouting": "gateway"},
        "gemmaRouting is 'gateway': allowed: service, inference-gateway",
    ),
    "a load balancer in a network without proxies": (
        INFERENCE_GATEWAY | {"network": "lan"},
        "gemmaRouting is inference-gateway, which needs a proxy-only subnetwork in lan: set proxyRange",
    ),
    "proxies of the stack's own network": (
        INFERENCE_GATEWAY | {"proxyRange": "10.1.0.0/23"},
        "proxyRange has no effect: it is for gemmaRouting inference-gateway in a network of your own",
    ),
    "proxies without a load balancer": (
        GCP | {"network": "lan", "proxyRange": "10.1.0.0/23"},
        "proxyRange has no effect: it is for",
    ),
    "a range with an address in it": (
        INFERENCE_GATEWAY | {"network": "lan", "proxyRange": "10.1.0.1/23"},
        "a range of addresses is needed, such as 10.129.0.0/23",
    ),
    "a picker that does not run": (
        GCP | {"gemmaPickerImage": "example.org/picker:1"},
        "gemmaPickerImage has no effect while gemmaRouting is service",
    ),
    "a picker with the tag latest": (
        INFERENCE_GATEWAY | {"gemmaPickerImage": "example.org/picker:latest"},
        "gemmaPickerImage is 'example.org/picker:latest'",
    ),
    "several machines without a model for them": (
        GCP | {"gemma": "h100x16"},
        "gemma is h100x16, 2 machines with 8 GPUs each for a model that no single one holds, and gemmaModel is not set",
    ),
    "several machines behind a load balancer of pods": (
        INFERENCE_GATEWAY | of_profile("h100x16"),
        "gemmaRouting is inference-gateway, which asks each pod of Gemma, and of the 2 pods of a server of h100x16",
    ),
    "a flag that the stack sets on several machines": (
        GCP | of_profile("h100x16") | {"gemmaArgs": '["--nnodes=4"]'},
        "gemmaArgs has '--nnodes=4': allowed are flags of vLLM, except those that the stack sets",
    ),
    "office hours without a sleep": (
        GCP | {"gemmaOfficeHours": "Mon-Fri 08:00-18:00 Europe/Berlin"},
        "gemmaOfficeHours has no effect while gemmaIdleMinutes is 0",
    ),
    "office hours without a zone": (
        GCP | {"gemmaIdleMinutes": "30", "gemmaOfficeHours": "Mon-Fri 08:00-18:00"},
        "gemmaOfficeHours is 'Mon-Fri 08:00-18:00': days, hours and a time zone are needed, such as",
    ),
    "a sleep after a minute": (GCP | {"gemmaIdleMinutes": "1"}, "gemmaIdleMinutes is 1: allowed are 0 (never), and 5"),
    "a fallback that is not a boolean": (
        GCP | {"gpuFallback": "perhaps"},
        "gpuFallback is 'perhaps': it must be a valid",
    ),
    "a key on Vertex AI": (
        GCP | {"geminiApiKey": "AIza"},
        "geminiApiKey has no effect on platform gcp: it is for kubernetes",
    ),
    "a model ID with a space": (
        GCP | {"geminiModel": "Gemini 3"},
        "a model ID is needed, such as gemini-3.5-flash-lite",
    ),
    "a negative retention": (GCP | {"retentionDays": "-3"}, "retentionDays is '-3': it must be greater than or equal"),
    "a location in words": (
        GCP | {"vertexLocation": "Europe"},
        "vertexLocation is 'Europe': global, eu, us or a region is needed",
    ),
    "a channel in lower case": (
        GCP | {"releaseChannel": "rapid"},
        "releaseChannel is 'rapid': allowed: RAPID, REGULAR,",
    ),
    "a network with a slash": (GCP | {"network": "a/b"}, "network is 'a/b': the name of a VPC network is needed"),
    "a misspelled setting": (
        GCP | {"gema": "none"},
        "gema is not a setting of this stack; did you mean gemma?",
    ),
    "an unknown setting": (GCP | {"xyzzy": "1"}, "xyzzy is not a setting of this stack; the settings are: "),
}


@pytest.mark.parametrize(("config", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_setting_is_rejected_with_one_message(config: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidSettings) as error:
        deploy(config)
    assert message in str(error.value)
    assert str(error.value).startswith("One setting is wrong; nothing was changed."), "no other message"


def patterned() -> list[str]:
    fields = Settings.model_fields.values()
    return [str(field.alias) for field in fields if any(getattr(it, "pattern", None) for it in field.metadata)]


@pytest.mark.parametrize("key", patterned())
def test_a_value_that_a_pattern_refuses_is_reported_in_words(key: str) -> None:
    with pytest.raises(InvalidSettings, match=f"{key} is '!wrong value!': .* (is|are) needed"):
        Settings.checked(GCP | {key: "!wrong value!"})


def test_all_errors_are_reported_in_one_run() -> None:
    with pytest.raises(InvalidSettings) as error:
        deploy(
            {
                "theme": "red",
                "gemma": "l4x9",
                "exposure": "open",
                "chatReplicas": "-1",
                "gema": "x",
                "geminiApiKey": "k",
            }
        )
    message = str(error.value)
    assert message.startswith("7 settings are wrong"), message
    for key in ("theme", "gemma", "exposure", "chatReplicas", "gema", "geminiApiKey", "gcp:project"):
        assert f"- {key} " in message


def test_a_wrong_setting_registers_nothing() -> None:
    deployed = Deployed()
    with pytest.raises(InvalidSettings):
        deploy(GCP | {"theme": "red"}, into=deployed)
    assert deployed.resources == []


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_a_secret_in_plain_text_is_rejected_and_not_repeated(key: str) -> None:
    config = {"gcp:project": "my-proj-1", f"hybrid-chat:{key}": "hf_abcdefghij"}
    with pytest.raises(InvalidSettings, match=f"pulumi config set --secret {key}") as error:
        run(Settings.load, config)
    assert "hf_abcdefghij" not in str(error.value)


def test_a_wrong_secret_is_not_repeated() -> None:
    with pytest.raises(InvalidSettings) as error:
        deploy(GCP | {"huggingFaceToken": "my-password"})
    assert "my-password" not in str(error.value)


@pytest.mark.parametrize(
    "image",
    [
        "chat:1",
        "localhost:5001/team/chat:1.0",
        "example.org/chat:v1@sha256:" + "0" * 64,
        "example.org/chat@sha256:" + "f" * 64,
    ],
)
def test_an_image_may_have_a_registry_with_a_port_and_a_tag_and_a_digest(image: str) -> None:
    assert Settings.checked(GCP | {"image": image}).image_source == image


def test_only_the_project_is_required_on_gcp() -> None:
    settings = Settings.checked(GCP)
    assert (settings.region, settings.image_source, settings.replicas) == ("us-central1", "cloud-build", 2)
    assert (settings.ingress, settings.sign_in) == ("https", "iap")
    assert settings.gpu_profile is not None
    assert settings.gpu_profile.gpus == 1


def test_only_the_platform_is_required_on_kubernetes() -> None:
    settings = Settings.checked(KUBERNETES)
    assert (settings.image_source, settings.replicas) == ("docker", 1)
    assert (settings.ingress, settings.sign_in) == ("private", "anonymous")
    assert settings.gpu_profile is None


def test_an_empty_value_means_not_set() -> None:
    loaded: list[Settings] = []
    run(lambda: loaded.append(Settings.load()), GCP | {"hybrid-chat:gemmaUrl": "", "gcp:region": ""})
    assert loaded[0] == Settings.checked(GCP)


@pytest.mark.slow
def test_the_settings_import_no_sdk_of_a_provider() -> None:
    program = "import sys, stacks.settings; print(*(name for name in sys.modules if name.startswith('pulumi_')))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "", "make doctor reads the settings, and importing the SDKs takes seconds"


class TestPulumiYaml:
    """Pulumi.yaml and the settings class have the same keys and defaults."""

    schema = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]
    fields = MappingProxyType({f.alias: (name, f) for name, f in Settings.model_fields.items() if ":" not in f.alias})

    def test_has_each_setting_and_no_other(self) -> None:
        assert list(self.schema) == list(self.fields)

    @pytest.mark.parametrize("key", fields)
    def test_each_is_typed_and_described_and_has_the_same_default(self, key: str) -> None:
        declared, (name, field) = self.schema[key], self.fields[key]
        kinds = {"string": str, "integer": int, "boolean": bool, "array": list}
        assert type(declared["default"]) is kinds[declared["type"]]
        assert len(declared["description"]) > 10
        assert "secret" not in declared, "Pulumi would refuse the empty default"
        if declared["default"] not in ("", []):
            assert declared["default"] == field.default
        assert getattr(Settings.checked(GCP), name) == field.default

    @pytest.mark.slow
    def test_its_defaults_are_accepted(self) -> None:
        defaults = {
            key: "[]" if value["default"] == [] else str(value["default"]) for key, value in self.schema.items()
        }
        deployed = deploy(
            {key: value.lower() if value in {"True", "False"} else value for key, value in defaults.items()} | GCP
        )
        assert deployed.one("Cluster")
