"""A computer with only the programs that a test puts there, for `stacks.preflight`."""

import json
import shutil
from pathlib import Path

import pytest

from stacks.preflight.__main__ import main
from tests.fakes.google_cloud.cloud import PERSON, Cloud
from tests.fakes.google_cloud.server import serving

ROOT = Path(__file__).parents[3]

# Every program: logs its arguments, and answers with the first line of $FAKE/answers that begins with its command; else
# it succeeds without output.
PROGRAM = """#!/bin/sh
command="${0##*/} $*"
echo "$command" >>"$FAKE/calls"
while IFS='|' read -r begin status output; do
    case $command in "$begin"*) [ -z "$output" ] || printf '%s\\n' "$output"; exit "$status" ;; esac
done <"$FAKE/answers"
"""
INSTALL = """
import pathlib, sys
print("3.12")
sys.exit(not pathlib.Path("chat-installed").exists())
"""
PROGRAMS = ("pulumi", "gcloud", "gke-gcloud-auth-plugin", "kubectl", "docker")


class Computer:
    """A project with the stack `dev`, and a computer on which nothing is missing."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
        self.project = folder / "my chat"
        self.fake = folder / "fake"
        self.bin = folder / "bin"
        self.home = folder / "home"
        for made in (self.project / "requirements", self.fake, self.bin):
            made.mkdir(parents=True)
        shutil.copy(ROOT / "Pulumi.yaml", self.project)
        (self.project / "requirements/install.py").write_text(INSTALL)
        (self.project / "chat-installed").touch()
        for tool in ("cat", "sh"):
            (self.bin / tool).symlink_to(shutil.which(tool))
        for program in PROGRAMS:
            self.has(program)
        self.configuration: dict[str, str | None] = {"gcp:project": "my-project"}  # None: a secret
        self.answers = {
            "pulumi version": (0, "v3.272.0"),
            "pulumi stack output": (0, '{"url": "http://192.0.2.7:7860"}'),
            "pulumi stack export": (0, '{"deployment": {}}'),
        }
        monkeypatch.chdir(self.project)
        for name in ("GOOGLE_CREDENTIALS", "GOOGLE_OAUTH_ACCESS_TOKEN", "KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
            monkeypatch.delenv(name, raising=False)
        # Nothing listens there: no test leaves this computer.
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        for name, value in {"PATH": self.bin, "FAKE": self.fake, "HOME": self.home, "STACK": "dev"}.items():
            monkeypatch.setenv(name, str(value))
        self.capfd = capfd
        self.kubeconfig("current-context: kind-chat")

    def kubeconfig(self, content: str) -> None:
        (self.home / ".kube").mkdir(parents=True, exist_ok=True)
        (self.home / ".kube/config").write_text(f"apiVersion: v1\n{content}\n")

    def has(self, program: str) -> None:
        (self.bin / program).write_text(PROGRAM)
        (self.bin / program).chmod(0o755)

    def lacks(self, *programs: str) -> None:
        for program in programs:
            (self.bin / program).unlink()

    def answer(self, command: str, output: str = "", *, status: int = 0) -> None:
        """Answer a command so, whatever was to be answered before."""
        self.answers = {
            command: (status, output),
            **{key: value for key, value in self.answers.items() if key != command},
        }

    def write_stack_file(self, *lines: str, stack: str = "dev") -> None:
        (self.project / f"Pulumi.{stack}.yaml").write_text("\n".join(["config:", *(f"  {line}" for line in lines)]))

    def configure(self, **settings: str | None) -> None:
        self.configuration |= {f"hybrid-chat:{name}": value for name, value in settings.items()}

    def write_answers(self) -> None:
        entries = {
            key: {"secret": True} if value is None else {"value": value, "secret": False}
            for key, value in self.configuration.items()
        }
        answers = {**self.answers, "pulumi config --json": (0, json.dumps(entries))} | self.answers
        lines = [f"{command}|{status}|{output}\n" for command, (status, output) in answers.items()]
        (self.fake / "answers").write_text("".join(lines))
        (self.fake / "calls").write_text("")

    def run(self, verb: str, *options: str, status: int = 0) -> tuple[str, str]:
        """Run a verb's checks and return its output and its errors."""
        self.write_answers()
        self.capfd.readouterr()
        result = main([verb, *options])
        output, errors = self.capfd.readouterr()
        assert result == status, output + errors
        return output, errors

    def missing(self, verb: str) -> list[str]:
        """Return the sentences of a verb that something is missing for."""
        return self.run(verb, status=1)[1].splitlines()

    def calls(self) -> list[str]:
        return (self.fake / "calls").read_text().splitlines()


@pytest.fixture
def computer(tmp_path, monkeypatch, capfd):
    return Computer(tmp_path, monkeypatch, capfd)


@pytest.fixture
def cloud():
    """A Google Cloud project in which nothing is enabled yet."""
    return Cloud("my-project")


@pytest.fixture
def google(cloud, tmp_path, monkeypatch):
    """Serve `cloud` to this process, and return it."""
    with serving(cloud, tmp_path) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield cloud


@pytest.fixture
def online(computer, google):
    """A computer with a person's credentials for `google`; the fake replaces the proxy that refuses everything."""
    computer.answer("gcloud auth application-default print-access-token", PERSON)
    return computer
