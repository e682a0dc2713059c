"""``stacks.preflight``: what each verb needs, on a computer with only the programs that a test puts there."""

import json
import subprocess
import sys

import pytest

from tests.stacks.preflight.conftest import PROGRAM, PROGRAMS, ROOT

MISSING = {
    "pulumi": "Pulumi is not installed: curl -fsSL https://get.pulumi.com | sh (or brew install pulumi/tap/pulumi)",
    "gcloud": "gcloud is not installed: see https://cloud.google.com/sdk/docs/install",
    "gke-gcloud-auth-plugin": "is not installed: gcloud components install gke-gcloud-auth-plugin",
}


@pytest.mark.parametrize("verb", ["up", "preview", "destroy"])
@pytest.mark.parametrize("program", ["pulumi", "gke-gcloud-auth-plugin"])
def test_missing_program_is_one_sentence_with_how_to_install_it(computer, program, verb):
    computer.lacks(program)
    computer.write_stack_file("gcp:project: my-project")
    (sentence,) = computer.missing(verb)
    assert MISSING[program] in sentence


def test_everything_missing_is_reported_at_once(computer):
    computer.lacks("pulumi", "gcloud", "gke-gcloud-auth-plugin")
    sentences = computer.missing("up")
    assert len(sentences) == 5
    for program, sentence in zip(MISSING, sentences, strict=False):
        assert MISSING[program] in sentence
    assert "gcloud auth application-default login" in sentences[3]
    # Each command can be pasted as it is: no setting can be set before the stack is created.
    project = "pulumi stack select --create dev && pulumi config set gcp:project YOUR_PROJECT_ID --stack dev"
    assert f"gcp:project is not set: {project} (" in sentences[4]


def test_plugin_comes_from_apt_where_apt_has_it(computer, monkeypatch):
    computer.lacks("gke-gcloud-auth-plugin")
    computer.has("apt-get")
    computer.has("apt-cache")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    (sentence,) = computer.missing("up")
    assert sentence.endswith("not installed: sudo apt-get install google-cloud-cli-gke-gcloud-auth-plugin")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert "sudo" not in computer.missing("up")[0]
    computer.answer("apt-cache", status=100)
    assert MISSING["gke-gcloud-auth-plugin"] in computer.missing("up")[0]


def test_pulumi_that_is_not_on_the_path_yet_is_reported_as_such(computer):
    computer.lacks("pulumi")
    computer.write_stack_file("gcp:project: my-project")
    (computer.home / ".pulumi/bin").mkdir(parents=True)
    (computer.home / ".pulumi/bin/pulumi").touch()
    assert "this terminal does not find it yet: open a new one" in computer.missing("up")[0]


@pytest.mark.parametrize("version", ["v3.243.9", "v3.99.0", "v2.300.0"])
def test_engine_without_error_hooks_for_every_error_is_too_old(computer, version):
    computer.answer("pulumi version", version)
    (sentence,) = computer.missing("up")
    assert sentence.startswith(f"Pulumi {version[1:]} is too old, 3.244 or newer is needed: curl ")


@pytest.mark.parametrize("version", ["v3.244.0", "3.260.0-alpha.1", "v4.0.0"])
def test_newer_engine_is_accepted(computer, version):
    computer.answer("pulumi version", version)
    computer.run("up")


def test_pulumi_that_does_not_run_is_reported(computer):
    computer.answer("pulumi version", status=127)
    assert "may be broken; install it again" in computer.missing("up")[0]


@pytest.mark.parametrize("verb", ["up", "preview", "destroy", "url"])
def test_missing_login_is_reported_with_both_ways_to_log_in(computer, verb):
    computer.answer("pulumi whoami", status=3)
    (sentence,) = computer.missing(verb)
    assert "You are not logged in to Pulumi" in sentence
    assert "pulumi login (" in sentence
    assert "pulumi login --local (" in sentence
    assert not any(call.startswith("pulumi stack") for call in computer.calls())


def test_stack_that_cannot_be_created_fails(computer):
    computer.answer("pulumi stack select", status=1)
    computer.run("up", status=1)


@pytest.mark.parametrize(
    ("command", "sentence"),
    {
        "gcloud auth print-access-token": "gcloud is not logged in",
        "gcloud auth application-default": "missing or expired: gcloud auth application-default login",
    }.items(),
)
def test_missing_credentials_of_google_cloud_are_reported(computer, command, sentence):
    computer.answer(command, status=1)
    assert sentence in computer.missing("up")[0]


def test_missing_project_is_reported_once(computer):
    computer.configuration = {}
    (sentence,) = computer.missing("up")
    assert sentence.startswith("gcp:project is not set: pulumi config set gcp:project YOUR_PROJECT_ID --stack dev")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GOOGLE_CREDENTIALS", "GOOGLE_OAUTH_ACCESS_TOKEN"])
def test_credentials_in_the_environment_are_enough(computer, monkeypatch, name):
    computer.answer("gcloud auth application-default", status=1)
    monkeypatch.setenv(name, "value")
    computer.run("up")


def test_every_wrong_setting_is_reported_before_pulumi_runs(computer):
    computer.configure(theme="red", gemmaModle="a/b", geminiModel="Gemini!", huggingFaceToken="hf_abcdefghij")
    sentences = "\n".join(computer.missing("up"))
    assert "theme is 'red': allowed: blue, green" in sentences
    assert "gemmaModle is not a setting of this stack; did you mean gemmaModel?" in sentences
    assert "geminiModel is 'Gemini!': a model ID is needed" in sentences
    assert "hybrid-chat:huggingFaceToken is stored in plain text" in sentences
    assert "hf_abcdefghij" not in sentences
    assert "  missing  theme is 'red'" in computer.run("doctor", status=1)[0]


def test_wrong_setting_does_not_keep_a_stack_from_being_destroyed(computer):
    computer.configure(theme="red")
    computer.run("destroy")


def test_secrets_that_pulumi_does_not_show_count_as_set(computer):
    computer.configure(huggingFaceToken=None, gemmaModel="google/gemma-3-4b-it", oauthClientSecret=None)
    computer.configure(oauthClientId="1-a.apps.googleusercontent.com", allowedPeople='["ann@example.org"]')
    computer.run("up")
    assert "--show-secrets=false" in next(call for call in computer.calls() if "config" in call)


@pytest.mark.slow
def test_kubernetes_needs_nothing_of_google_and_names_its_cluster(computer):
    computer.configuration = {}
    computer.configure(platform="kubernetes")
    computer.lacks("gcloud", "gke-gcloud-auth-plugin")
    for verb in ("up", "preview", "destroy"):
        output, _ = computer.run(verb)
        assert "Stack dev: Kubernetes context kind-chat.\n" in output
        assert "Google" not in output
    assert "oogle" not in computer.run("doctor")[0]


def test_another_cluster_must_have_the_controller_for_several_machines(computer):
    computer.configure(platform="kubernetes")
    assert "LeaderWorkerSet" not in computer.run("doctor")[0]
    computer.configure(platform="kubernetes", gemma="h100x16", gemmaModel="owner/model")
    output, _ = computer.run("doctor")
    assert "helm install lws oci://registry.k8s.io/lws/charts/lws --version 0.10.0 --namespace lws-system" in output


def test_configured_context_wins_over_the_current_one(computer):
    computer.configure(platform="kubernetes")
    computer.configuration["kubernetes:context"] = "other"
    assert "context other." in computer.run("up")[0]


@pytest.mark.parametrize("from_file", [False, True])
def test_kubeconfig_among_the_settings_is_a_secret_and_only_mentioned(computer, from_file):
    computer.configure(platform="kubernetes")
    computer.configuration["kubernetes:kubeconfig"] = None
    if from_file:
        computer.answer("pulumi config", status=6)
        computer.write_stack_file("platform: kubernetes", "kubernetes:kubeconfig:", "  secure: v1:abc")
    assert "cluster of the setting kubernetes:kubeconfig" in computer.run("up")[0]


def test_the_context_is_that_of_the_first_kubeconfig_which_has_one(computer, monkeypatch):
    computer.configure(platform="kubernetes")
    computer.lacks("kubectl")
    (computer.fake / "empty").write_text("apiVersion: v1\n")
    (computer.fake / "kubeconfig").write_text('apiVersion: v1\ncurrent-context: "here"\n')
    monkeypatch.setenv("KUBECONFIG", f"missing:{computer.fake}/empty:{computer.fake}/kubeconfig:other")
    output, _ = computer.run("up")
    assert "kubectl is not installed; it is not needed now" in output
    assert "context here." in output


def test_missing_cluster_is_reported(computer, monkeypatch):
    computer.configure(platform="kubernetes")
    computer.kubeconfig("")
    assert "No Kubernetes cluster is chosen" in computer.missing("up")[0]
    monkeypatch.setenv("STACK", "test")
    assert "kubernetes:context NAME --stack test" in computer.missing("up")[0]
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    computer.run("up")


@pytest.mark.slow
def test_docker_is_needed_where_it_builds_the_image(computer):
    computer.configure(image="docker")
    computer.answer("docker version", status=1)
    assert "its engine does not answer: start it" in computer.missing("up")[0]
    computer.lacks("docker")
    assert "Docker, which builds the chat's image, is not installed" in computer.missing("up")[0]
    computer.configure(image="auto")
    computer.run("up")
    computer.configure(platform="kubernetes")
    assert "Docker, which builds" in computer.missing("up")[0]
    computer.configure(image="example.org/chat:1")
    computer.run("up")


@pytest.mark.parametrize("line", ["hybrid-chat:platform: kubernetes", "platform: 'kubernetes' # mine"])
def test_settings_come_from_the_stacks_file_while_pulumi_has_none(computer, monkeypatch, line):
    computer.write_stack_file(line, "chatReplicas: 1", stack="test")
    computer.answer("pulumi config", status=6)
    computer.lacks("gcloud")
    monkeypatch.setenv("STACK", "my-team/test")
    assert "Kubernetes context" in computer.run("up")[0]


@pytest.mark.slow
def test_no_check_reads_what_a_person_types(computer):
    for program in PROGRAMS:
        reads = PROGRAM.replace("while", 'case $command in *--create*) ;; *) cat >>"$FAKE/read" ;; esac\nwhile')
        (computer.bin / program).write_text(reads)
    computer.write_answers()
    command = [sys.executable, "-m", "stacks.preflight", "up"]
    environment = {"PATH": str(computer.bin), "FAKE": str(computer.fake), "PYTHONPATH": str(ROOT)}
    subprocess.run(command, env=environment, input="yes\n", text=True, check=True)
    assert (computer.fake / "read").read_text() == ""


def test_destroy_says_what_is_deleted_and_what_remains(computer):
    output, _ = computer.run("destroy")
    assert "Destroying the stack dev deletes all its chats. What stays: the project's Google APIs" in output
    assert "pulumi stack rm --preserve-config dev" in output
    assert not any("--create" in call for call in computer.calls())


def test_stack_that_does_not_exist_is_not_destroyed(computer, monkeypatch):
    computer.lacks("gcloud")
    computer.answer("pulumi stack --stack tset", status=6)
    monkeypatch.setenv("STACK", "tset")
    assert computer.missing("destroy") == ["There is no stack tset: pulumi stack ls shows those that exist"]


def test_url_prints_only_the_address(computer):
    assert computer.run("url") == ("http://192.0.2.7:7860\n", "")
    assert not any(call.startswith(("gcloud", "docker", "kubectl")) for call in computer.calls())


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ({"openWith": "kubectl port-forward service/chat 7860"}, "It answers while this runs: kubectl port-forward"),
        ({"firstMinutes": "Google issues the certificate later."}, "Google issues the certificate later."),
    ],
)
def test_url_comes_with_what_else_a_person_needs_to_open_it(computer, output, sentence):
    computer.answer("pulumi stack output", json.dumps({"url": "https://chat", **output}))
    address, errors = computer.run("url")
    assert address == "https://chat\n"
    assert errors.startswith(sentence)


@pytest.mark.parametrize("answer", [{"status": 6}, {"output": "{}"}])
def test_url_before_the_first_up_is_reported(computer, monkeypatch, answer):
    computer.answer("pulumi stack output", **answer)
    assert computer.missing("url") == ["The stack dev has no address yet. Run this first: make up"]
    monkeypatch.setenv("STACK", "test")
    assert "make up STACK=test" in computer.missing("url")[0]


@pytest.mark.slow
def test_doctor_reports_what_is_in_order_and_changes_nothing(computer):
    assert computer.run("doctor")[0].splitlines() == [
        "The chat on this computer (make run)",
        "  ok       Python 3.12 and the packages in .venv",
        "The stack dev (make up)",
        "  ok       Pulumi 3.272.0",
        "  ok       logged in to Pulumi",
        "  ok       stack dev",
        "  ok       gcloud",
        "  ok       gcloud is logged in",
        "  ok       gke-gcloud-auth-plugin",
        "  ok       Application Default Credentials",
        "  note     Stack dev: Google Cloud project my-project.",
        "  later    the project my-project: without Google's credentials it cannot be checked",
    ]
    assert not any("--create" in call for call in computer.calls())


@pytest.mark.slow
def test_doctor_has_the_same_results_for_a_program(computer):
    computer.lacks("kubectl", "gke-gcloud-auth-plugin")
    computer.configure(databaseLocation="wrong place")
    lines = computer.run("doctor", status=1)[0].splitlines()
    document = json.loads(computer.run("doctor", "--json", status=1)[0])
    words = {"pass": "ok", "later": "later", "note": "note", "fail": "missing"}
    assert document["complete"] is False
    assert [f"  {words[check['status']]:8} {check['text']}" for check in document["checks"]] == [
        line for line in lines if line.startswith("  ")
    ]
    assert {check["part"] for check in document["checks"]} == {line for line in lines if not line.startswith("  ")}
    failed = [check["text"] for check in document["checks"] if check["status"] == "fail"]
    assert any("gcloud components install gke-gcloud-auth-plugin" in text for text in failed)
    assert any("databaseLocation is 'wrong place'" in text for text in failed)


def test_doctor_tells_a_program_that_nothing_is_missing(computer):
    document = json.loads(computer.run("doctor", "--json")[0])
    assert document["complete"] is True
    assert {check["status"] for check in document["checks"]} == {"pass", "note", "later"}


def test_doctor_does_not_count_what_a_verb_does_by_itself_as_missing(computer):
    computer.answer("pulumi stack --stack dev", status=6)
    (computer.project / "chat-installed").unlink()
    output, _ = computer.run("doctor")
    assert "  later    packages: make run installs them\n" in output
    assert "  later    stack dev: make up makes it\n" in output


@pytest.mark.slow
def test_doctor_offers_to_create_a_stack_only_where_there_is_none(computer):
    computer.configuration = {}
    assert "gcp:project is not set: pulumi config set" in computer.run("doctor", status=1)[0]
    computer.answer("pulumi stack --stack dev", status=6)
    output, _ = computer.run("doctor", status=1)
    assert "gcp:project is not set: pulumi stack select --create dev && pulumi config set" in output


def test_doctor_continues_after_what_is_missing(computer):
    computer.lacks("pulumi", "gcloud")
    output, _ = computer.run("doctor", status=1)
    assert "  missing  Pulumi is not installed: " in output
    assert "  missing  gcloud is not installed: " in output
    assert "  ok       gke-gcloud-auth-plugin\n" in output


def test_unknown_verb_is_refused(computer):
    assert "Usage: " in computer.run("rm", status=2)[1]
    assert "Usage: " in computer.run("up", "--json", status=2)[1]
    assert "Usage: " in computer.run("cost", "--jason", status=2)[1]


@pytest.mark.parametrize("verb", ["up", "preview"])
def test_the_cost_is_told_before_anything_is_created(computer, verb):
    assert "Estimated cost: $1.14 an hour, $844 a month without questions" in computer.run(verb)[0]
    computer.configure(gemma="none")
    assert "Estimated cost: $0.18 an hour" in computer.run(verb)[0]
    computer.configure(gemma="wrong")
    assert "Estimated cost" not in computer.run(verb, status=1)[0]


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["up", "preview"])
def test_the_default_location_of_gemini_is_said_to_give_no_residency(computer, verb):
    sentence = "location global, which gives no data residency"
    assert sentence in computer.run(verb)[0]
    computer.configuration["gcp:region"] = "europe-west4"
    computer.configure(residency="eu")
    assert sentence not in computer.run(verb)[0]
    computer.configure(databaseLocation="nam5")
    assert "databaseLocation is nam5, which lies outside of the European Union" in computer.missing(verb)[0]


def test_the_cost_by_part_needs_no_program_and_no_right(computer):
    computer.lacks("gcloud", "kubectl", "docker")
    lines = computer.run("cost")[0].splitlines()
    assert any(line.startswith("Gemma: 1 nvidia-l4") for line in lines)
    assert json.loads(computer.run("cost", "--json")[0])["currency"] == "USD"
    computer.configure(gemma="wrong")
    assert "gemma is 'wrong'" in computer.missing("cost")[0]
    assert "gemma is 'wrong'" in computer.run("cost", "--json", status=1)[1]
