"""``stacks/tools.sh``: what each verb needs, on a computer that has only what a test gives it."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # a shell for each

ROOT = Path(__file__).parents[2]
REAL = ["cat", "dirname", "grep", "make", "sed", "sh"]

# Every tool: logs what it was asked, and answers with the first line of $FAKE/answers that begins the question; else it
# succeeds without a word.
FAKE_TOOL = """#!/bin/sh
asked="${0##*/} $*"
echo "$asked" >>"$FAKE/calls"
while IFS='|' read -r begins status says; do
    case $asked in "$begins"*) [ -z "$says" ] || echo "$says"; exit "$status" ;; esac
done <"$FAKE/answers"
"""
INSTALL = """[ "${2:-}" = --check ] || { echo "install $1"; exit; }
cat "$FAKE/python" >&2
[ -e "$FAKE/$1-installed" ]
"""


class Computer:
    """A project with the stack `dev`, and a computer on which everything is well."""

    def __init__(self, folder: Path):
        self.project = folder / "my chat"
        self.fake = folder / "fake"
        self.bin = folder / "bin"
        for made in (self.project / "stacks", self.project / "requirements", self.fake, self.bin):
            made.mkdir(parents=True)
        shutil.copy(ROOT / "Makefile", self.project)
        shutil.copy(ROOT / "stacks/tools.sh", self.project / "stacks")
        (self.project / "requirements/install.sh").write_text(INSTALL)
        self.configured("gcp:region: us-central1")
        for tool in REAL:
            (self.bin / tool).symlink_to(shutil.which(tool))
        for tool in ("pulumi", "gcloud", "gke-gcloud-auth-plugin", "kubectl", "docker"):
            self.has(tool)
        self.python("3.12")
        for what in ("chat", "stack"):
            (self.fake / f"{what}-installed").touch()
        self.answers = {
            "pulumi version": (0, "v3.272.0"),
            "pulumi config get gcp:project": (0, "my-project"),
            "pulumi config get platform": (0, "gcp"),
            "pulumi config get image": (0, "auto"),
            "pulumi config get": (1, ""),
            "pulumi stack output url": (0, "http://192.0.2.7:7860"),
            "pulumi stack output": (1, ""),
            "kubectl config current-context": (0, "kind-chat"),
        }
        self.environment = {"PATH": str(self.bin), "FAKE": str(self.fake), "HOME": str(folder / "home")}

    def has(self, tool: str) -> None:
        (self.bin / tool).write_text(FAKE_TOOL)
        (self.bin / tool).chmod(0o755)

    def lacks(self, *tools: str) -> None:
        for tool in tools:
            (self.bin / tool).unlink()

    def answer(self, question: str, says: str = "", *, status: int = 0) -> None:
        self.answers = {question: (status, says)} | {
            key: value for key, value in self.answers.items() if key != question
        }

    def configured(self, *lines: str, stack: str = "dev") -> None:
        (self.project / f"Pulumi.{stack}.yaml").write_text("\n".join(["config:", *(f"  {line}" for line in lines)]))

    def is_on_kubernetes(self) -> None:
        self.answer("pulumi config get platform", "kubernetes")

    def python(self, says: str) -> None:
        (self.fake / "python").write_text(f"{says}\n")

    def run(self, *command: str, status: int = 0, **settings: str) -> subprocess.CompletedProcess[str]:
        lines = [f"{question}|{code}|{says}\n" for question, (code, says) in self.answers.items()]
        (self.fake / "answers").write_text("".join(lines))
        (self.fake / "calls").write_text("")
        result = subprocess.run(
            command,
            cwd=self.project,
            env=self.environment | settings,
            stdin=subprocess.DEVNULL,
            text=True,
            capture_output=True,
            check=False,
        )
        assert result.returncode == status, result
        return result

    def check(self, verb: str, *, missing: int = 0, **settings: str) -> list[str]:
        """Return the sentences of a verb that lacks `missing` things."""
        result = self.run("sh", "stacks/tools.sh", verb, status=1 if missing else 0, **settings)
        sentences = result.stderr.splitlines()
        assert len(sentences) == missing, result
        return sentences

    def doctor(self, *, status: int = 0) -> str:
        return self.run("sh", "stacks/tools.sh", "doctor", status=status).stdout

    def calls(self) -> list[str]:
        return (self.fake / "calls").read_text().splitlines()


@pytest.fixture
def computer(tmp_path):
    return Computer(tmp_path)


def test_where_nothing_is_missing_pulumi_is_asked(computer):
    result = computer.run("make", "up", "ARGS=--yes")
    assert result.stdout == "Stack dev: Google Cloud project my-project.\ninstall stack\n"
    assert "pulumi stack select --create dev" in computer.calls()
    assert computer.calls()[-1] == "pulumi up --stack dev --yes"


def test_another_stack_is_made_and_asked_about(computer):
    computer.run("make", "preview", "STACK=test")
    assert "pulumi stack select --create test" in (calls := computer.calls())
    assert calls[-1] == "pulumi preview --stack test"
    assert not any("--stack dev" in call for call in calls)


MISSING = {
    "pulumi": "Pulumi is not installed: curl -fsSL https://get.pulumi.com | sh (or brew install pulumi/tap/pulumi)",
    "gcloud": "gcloud is not installed: see https://cloud.google.com/sdk/docs/install",
    "gke-gcloud-auth-plugin": "is not installed: gcloud components install gke-gcloud-auth-plugin",
}


@pytest.mark.parametrize("verb", ["up", "preview", "destroy"])
@pytest.mark.parametrize("tool", ["pulumi", "gke-gcloud-auth-plugin"])
def test_a_missing_tool_is_one_sentence_with_how_to_get_it(computer, tool, verb):
    computer.lacks(tool)
    computer.configured("gcp:project: my-project")
    (sentence,) = computer.check(verb, missing=1)
    assert MISSING[tool] in sentence


def test_everything_that_is_missing_is_said_at_once(computer):
    computer.lacks("pulumi", "gcloud", "gke-gcloud-auth-plugin")
    sentences = computer.check("up", missing=5)
    for tool, sentence in zip(MISSING, sentences, strict=False):
        assert MISSING[tool] in sentence
    assert "gcloud auth application-default login" in sentences[3]
    # Each can be pasted as it stands: before the stack is made, no setting of it can be set.
    project = "pulumi stack select --create dev && pulumi config set gcp:project YOUR_PROJECT_ID --stack dev"
    assert f"gcp:project is not set: {project} (" in sentences[4]


def test_the_plugin_comes_from_apt_where_apt_has_it(computer):
    computer.lacks("gke-gcloud-auth-plugin")
    for tool in ("apt-get", "apt-cache", "id"):
        computer.has(tool)
    computer.answer("id", "1000")
    (sentence,) = computer.check("up", missing=1)
    assert sentence.endswith("not installed: sudo apt-get install google-cloud-cli-gke-gcloud-auth-plugin")
    computer.answer("id", "0")
    assert "sudo" not in computer.check("up", missing=1)[0]
    computer.answer("apt-cache", status=100)
    assert MISSING["gke-gcloud-auth-plugin"] in computer.check("up", missing=1)[0]


def test_a_pulumi_that_only_this_terminal_does_not_know_is_told_apart(computer):
    computer.lacks("pulumi")
    computer.configured("gcp:project: my-project")
    installed = Path(computer.environment["HOME"]) / ".pulumi/bin/pulumi"
    installed.parent.mkdir(parents=True)
    installed.write_text(FAKE_TOOL)
    installed.chmod(0o755)
    assert "this terminal does not know it yet: open a new one" in computer.check("up", missing=1)[0]


@pytest.mark.parametrize("version", ["v3.243.9", "v3.99.0", "v2.300.0"])
def test_an_engine_that_hides_errors_from_error_hooks_is_too_old(computer, version):
    computer.answer("pulumi version", version)
    (sentence,) = computer.check("up", missing=1)
    assert sentence.startswith(f"Pulumi {version[1:]} is too old, 3.244 or newer is needed: curl ")


@pytest.mark.parametrize("version", ["v3.244.0", "3.260.0-alpha.1", "v4.0.0"])
def test_a_newer_engine_is_fine(computer, version):
    computer.answer("pulumi version", version)
    computer.check("up")


def test_a_pulumi_that_does_not_run_is_told(computer):
    computer.answer("pulumi version", status=127)
    assert "may be broken; install it again" in computer.check("up", missing=1)[0]


@pytest.mark.parametrize("verb", ["up", "preview", "destroy", "url"])
def test_who_is_not_logged_in_is_told_both_ways(computer, verb):
    computer.answer("pulumi whoami", status=3)
    (sentence,) = computer.check(verb, missing=1)
    assert "Nobody is logged in to Pulumi" in sentence
    assert "pulumi login (" in sentence
    assert "pulumi login --local (" in sentence
    assert not any(call.startswith("pulumi stack") for call in computer.calls())


def test_a_stack_that_cannot_be_made_stops(computer):
    computer.answer("pulumi stack select", status=1)
    assert "pulumi up --stack dev" not in computer.run("make", "up", status=2).stdout


@pytest.mark.parametrize(
    ("question", "sentence"),
    {
        "gcloud auth print-access-token": "gcloud is not logged in",
        "gcloud auth application-default": "missing or expired: gcloud auth application-default login",
        "pulumi config get gcp:project": "gcp:project is not set: pulumi config set gcp:project YOUR_PROJECT_ID",
    }.items(),
)
def test_what_google_cloud_needs_is_asked_for(computer, question, sentence):
    computer.answer(question, status=1)
    assert sentence in computer.check("up", missing=1)[0]


def test_credentials_in_the_environment_are_enough(computer):
    computer.answer("gcloud auth application-default", status=1)
    computer.check("up", GOOGLE_CREDENTIALS="key.json")
    computer.check("up", GOOGLE_OAUTH_ACCESS_TOKEN="token")


def test_kubernetes_never_needs_google_and_names_where_it_goes(computer):
    computer.is_on_kubernetes()
    computer.lacks("gcloud", "gke-gcloud-auth-plugin")
    for verb in ("up", "preview", "destroy"):
        output = computer.run("sh", "stacks/tools.sh", verb).stdout
        assert "Stack dev: Kubernetes context kind-chat.\n" in output
        assert "Google" not in output
    assert "oogle" not in computer.doctor()
    assert not any("gcp:" in call for call in computer.calls())


def test_the_context_of_the_settings_comes_before_the_current_one(computer):
    computer.is_on_kubernetes()
    computer.answer("pulumi config get kubernetes:context", "other")
    assert "context other." in computer.run("sh", "stacks/tools.sh", "up").stdout


def test_a_kubeconfig_of_the_settings_is_a_secret_and_only_mentioned(computer):
    computer.is_on_kubernetes()
    computer.configured("kubernetes:kubeconfig:", "  secure: v1:abc")
    assert "cluster of the setting kubernetes:kubeconfig" in computer.run("sh", "stacks/tools.sh", "up").stdout


def test_without_kubectl_the_context_is_read_from_the_kubeconfig(computer):
    computer.is_on_kubernetes()
    computer.lacks("kubectl")
    kubeconfig = computer.fake / "kubeconfig"
    kubeconfig.write_text('apiVersion: v1\ncurrent-context: "here"\n')
    output = computer.run("sh", "stacks/tools.sh", "up", KUBECONFIG=f"{kubeconfig}:other").stdout
    assert "kubectl is not installed; it is not needed now" in output
    assert "context here." in output


def test_without_any_cluster_kubernetes_is_told_so(computer):
    computer.is_on_kubernetes()
    computer.answer("kubectl config current-context", status=1)
    assert "No Kubernetes cluster is chosen" in computer.check("up", missing=1)[0]
    assert "kubernetes:context NAME --stack test" in computer.check("up", missing=1, STACK="test")[0]
    computer.check("up", KUBERNETES_SERVICE_HOST="10.0.0.1")


def test_docker_is_needed_where_it_builds_the_image(computer):
    computer.answer("pulumi config get image", "docker")
    computer.answer("docker version", status=1)
    assert "its engine does not answer: start it" in computer.check("up", missing=1)[0]
    computer.lacks("docker")
    assert "Docker, which builds the chat's image, is not installed" in computer.check("up", missing=1)[0]
    computer.answer("pulumi config get image", "auto")
    computer.check("up")
    computer.is_on_kubernetes()
    assert "Docker, which builds" in computer.check("up", missing=1)[0]
    computer.answer("pulumi config get image", "example.org/chat:1")
    computer.check("up")


@pytest.mark.parametrize("line", ["hybrid-chat:platform: kubernetes", "platform: 'kubernetes' # mine"])
def test_before_pulumi_can_tell_the_settings_are_read_from_the_file(computer, line):
    computer.configured(line, stack="test")
    computer.answer("pulumi config get", status=6)
    computer.lacks("gcloud")
    assert "Kubernetes context" in computer.run("sh", "stacks/tools.sh", "up", STACK="my-team/test").stdout


def test_no_check_reads_what_a_person_types(computer):
    for tool in ("pulumi", "gcloud", "docker", "kubectl"):
        path = computer.bin / tool
        path.write_text(
            FAKE_TOOL.replace("while", 'case $asked in *--create*) ;; *) cat >>"$FAKE/read" ;; esac\nwhile')
        )
    (computer.fake / "answers").write_text("pulumi version|0|v3.272.0\n")
    command = ["sh", "stacks/tools.sh", "up"]
    subprocess.run(command, cwd=computer.project, env=computer.environment, input="yes\n", text=True, check=False)
    assert (computer.fake / "read").read_text() == ""


def test_destroy_says_what_goes_and_what_stays(computer):
    output = computer.run("make", "destroy").stdout
    assert "Destroying the stack dev deletes all its chats. What stays: the project's Google APIs" in output
    assert "pulumi stack rm --preserve-config dev" in output
    assert computer.calls()[-1] == "pulumi destroy --stack dev"
    assert not any("--create" in call for call in computer.calls())


def test_a_stack_that_never_was_is_not_destroyed(computer):
    computer.lacks("gcloud")
    computer.answer("pulumi stack --stack tset", status=6)
    assert "There is no stack tset: pulumi stack ls" in computer.check("destroy", missing=1, STACK="tset")[0]


def test_url_prints_only_the_address(computer):
    result = computer.run("make", "url")
    assert result.stdout == "http://192.0.2.7:7860\n"
    assert result.stderr == ""
    assert not any(call.startswith(("gcloud", "docker", "kubectl")) for call in computer.calls())


def test_url_of_a_private_chat_comes_with_the_command_that_opens_it(computer):
    computer.answer("pulumi stack output url", "http://127.0.0.1:7860")
    computer.answer("pulumi stack output openWith", "kubectl port-forward service/chat 7860:7860")
    result = computer.run("make", "url")
    assert result.stdout == "http://127.0.0.1:7860\n"
    assert result.stderr == "It answers while this runs: kubectl port-forward service/chat 7860:7860\n"


def test_url_of_an_encrypted_chat_comes_with_what_the_first_minutes_need(computer):
    computer.answer("pulumi stack output firstMinutes", "Google issues the certificate 15 to 60 minutes later.")
    result = computer.run("make", "url")
    assert result.stdout == "http://192.0.2.7:7860\n"
    assert result.stderr == "Google issues the certificate 15 to 60 minutes later.\n"


LONE = "The project my-project belongs to no organization, where Google's own sign-in (identity iap) lets nobody in:"


@pytest.mark.parametrize("verb", ["up", "preview", "doctor"])
def test_a_sign_in_that_would_let_nobody_in_is_said_before_anything_is_made(computer, verb):
    computer.answer("gcloud projects describe my-project", "no")
    assert LONE in computer.run("sh", "stacks/tools.sh", verb).stdout
    computer.answer("gcloud projects describe my-project", "yes")
    assert LONE not in computer.run("sh", "stacks/tools.sh", verb).stdout


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("exposure", "private"),
        ("exposure", "public-http"),
        ("identity", "google"),
        ("identity", "anonymous"),
        ("oauthClientId", "1-a.apps.googleusercontent.com"),
    ],
)
def test_another_sign_in_needs_no_organization(computer, key, value):
    computer.answer("gcloud projects describe my-project", "no")
    computer.answer(f"pulumi config get {key}", value)
    assert LONE not in computer.run("sh", "stacks/tools.sh", "up").stdout


def test_url_before_the_first_up_says_so(computer):
    computer.answer("pulumi stack output url", status=6)
    assert computer.check("url", missing=1) == ["The stack dev has no address yet. Run this first: make up"]
    assert "make up STACK=test" in computer.check("url", missing=1, STACK="test")[0]


def test_doctor_says_what_is_well_and_changes_nothing(computer):
    assert computer.doctor().splitlines() == [
        "The chat on this computer (make run)",
        "  ok       Python 3.12 and the packages in .venv",
        "The stack dev (make up)",
        "  ok       Pulumi 3.272.0",
        "  ok       logged in to Pulumi",
        "  ok       stack dev",
        "  ok       gcloud",
        "  ok       gcloud is logged in",
        "  ok       gke-gcloud-auth-plugin",
        "  ok       Google's credentials for applications",
        "  note     Stack dev: Google Cloud project my-project.",
        "  ok       Python 3.12 and the packages in .venv",
    ]
    assert not any("--create" in call for call in computer.calls())


def test_doctor_does_not_count_what_a_verb_does_by_itself(computer):
    computer.answer("pulumi stack --stack dev", status=6)
    (computer.fake / "chat-installed").unlink()
    output = computer.doctor()
    assert "  later    packages: make run installs them\n" in output
    assert "  later    stack dev: make up makes it\n" in output


def test_doctor_offers_to_make_a_stack_only_where_there_is_none(computer):
    computer.answer("pulumi config get gcp:project", status=1)
    assert "gcp:project is not set: pulumi config set" in computer.doctor(status=1)
    computer.answer("pulumi stack --stack dev", status=6)
    assert "gcp:project is not set: pulumi stack select --create dev && pulumi config set" in computer.doctor(status=1)


def test_doctor_goes_on_after_what_is_missing(computer):
    computer.lacks("pulumi", "gcloud")
    (computer.fake / "chat-installed").unlink()
    computer.python("The chat needs Python 3.11 to 3.14, and none was found.")
    output = computer.doctor(status=1)
    assert "  missing  The chat needs Python 3.11 to 3.14, and none was found.\n" in output
    assert "  missing  Pulumi is not installed: " in output
    assert "  missing  gcloud is not installed: " in output
    assert "  ok       gke-gcloud-auth-plugin\n" in output


def test_an_unknown_verb_is_refused(computer):
    assert "Usage: " in computer.run("sh", "stacks/tools.sh", "rm", status=2).stderr
