"""The verbs of the Makefile, with a Python that only says what it was asked."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PYTHON = """#!/bin/sh
case "$*" in
"-m chatapp")
    echo "CHAT_PORT=$CHAT_PORT"
    if [ -n "$WAIT" ]; then trap 'sleep 0.3; echo bye; exit 0' INT; touch started; while :; do sleep 0.05; done; fi ;;
*) echo "python $*" ;;
esac
"""


@pytest.fixture
def project(tmp_path):
    """Return a project that is installed, as far as the Makefile can tell."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    python = tmp_path / ".venv/bin/python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/install.sh").write_text("echo install $1\n")
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks/tools.sh").write_text("echo tools $1 $STACK\n")
    return tmp_path


@pytest.fixture
def pulumi(project):
    """Return the environment of a computer whose Pulumi says what it was asked, and repeats the first line it reads."""
    (project / "bin").mkdir()
    (project / "bin/pulumi").write_text('#!/bin/sh\necho pulumi "$@"\nread -r line && echo "answer: $line"\nexit 0\n')
    (project / "bin/pulumi").chmod(0o755)
    return {"PATH": f"{project / 'bin'}:{os.environ['PATH']}"}


def make(project: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    own = ("MAKE", "MFLAGS", "CHAT_", "STACK", "ARGS")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return subprocess.Popen(
        ["make", *arguments],
        cwd=project,
        env=inherited | environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def said(project: Path, *arguments: str, status: int = 0, typed: str = "", **environment: str) -> str:
    process = make(project, *arguments, **environment)
    output, _ = process.communicate(typed, timeout=30)
    assert process.returncode == status, output
    return output


def test_make_alone_lists_every_verb_with_a_line(project):
    listed = re.findall(r"^  (\w+) +\w.*$", said(project), re.MULTILINE)
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert set(listed) == set(phony) - {"help", "chat", "dev", "stack"}


def test_settings_reach_the_chat_from_both_sides_of_the_verb(project):
    assert said(project, "run", "CHAT_PORT=8000") == "install chat\nCHAT_PORT=8000\n"
    assert said(project, "run", CHAT_PORT="8001") == "install chat\nCHAT_PORT=8001\n"


def test_ctrl_c_ends_the_chat_without_a_word_from_make(project):
    # The fake takes a moment to end, as the chat does: make 4.3 can stumble over a child that ends at once.
    process = make(project, "run", WAIT="1")
    while not (project / "started").exists():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=10)
    assert output.splitlines()[1:] == ["CHAT_PORT=", "bye"]


def test_a_failing_install_starts_nothing(project):
    (project / "requirements/install.sh").write_text("echo 'no network'; exit 1\n")
    assert "CHAT_PORT" not in said(project, "run", status=2)


def test_pulumi_is_asked_when_its_needs_are_met(project, pulumi):
    assert said(project, "up", **pulumi) == "tools up dev\ninstall stack\npulumi up --stack dev\n"
    assert said(project, "preview", **pulumi) == "tools preview dev\ninstall stack\npulumi preview --stack dev\n"
    assert said(project, "destroy", **pulumi) == "tools destroy dev\npulumi destroy --stack dev\n"


def test_the_stack_and_pulumis_own_settings_pass_through(project, pulumi):
    asked = ["tools up test", "install stack", "pulumi up --stack test --yes --target a b"]
    assert said(project, "up", "STACK=test", "ARGS=--yes --target 'a b'", **pulumi).splitlines() == asked
    assert "pulumi up --stack test\n" in said(project, "up", STACK="test", **pulumi)


def test_the_answer_to_pulumis_question_reaches_it(project, pulumi):
    assert said(project, "up", typed="yes\n", **pulumi).endswith("answer: yes\n")


@pytest.mark.parametrize("verb", ["up", "preview", "destroy"])
def test_what_is_missing_stops_before_anything_is_installed_or_made(project, pulumi, verb):
    (project / "stacks/tools.sh").write_text("echo 'no pulumi'; exit 1\n")
    output = said(project, verb, status=2, **pulumi)
    assert output.startswith("no pulumi\n")
    assert "install" not in output
    assert "pulumi up" not in output


@pytest.mark.parametrize("verb", ["url", "doctor"])
def test_what_only_looks_installs_nothing(project, verb):
    assert said(project, verb) == f"tools {verb} dev\n"


def test_the_checks_come_before_the_tests(project):
    asked = [line for line in said(project, "test").splitlines() if line.startswith(("install", "python"))]
    checks = ["python -m ruff check", "python -m ruff format --check", "python -m mypy"]
    assert asked[:-1] == ["install dev", *checks]
    assert asked[-1].startswith("python -m pytest")


def test_an_audit_asks_about_every_pin_and_takes_no_silence_for_an_answer(project):
    asked = said(project, "audit", "ARGS=--vulnerability-service osv").splitlines()[-1]
    assert asked.startswith("python -m pip_audit --strict ")
    assert asked.endswith(" --vulnerability-service osv")
    contained = (ROOT / "requirements/dev.in").read_text()
    for pins in ("chat", "stack"):
        assert f"-r {pins}.in" in contained
    assert set(re.findall(r"requirements/(\w+)\.txt", asked)) == {"dev", "embedded"}


def test_every_benchmark_is_run(project):
    (project / "benchmarks").mkdir()
    for name in ("__init__", "start", "store"):
        (project / f"benchmarks/{name}.py").touch()
    asked = re.findall(r"python -m (benchmarks.*)", said(project, "bench"))
    assert asked == ["benchmarks.start", "benchmarks.store"]


def test_without_docker_or_its_engine_the_image_is_refused_in_words(project):
    (project / "bin").mkdir()
    for tool in ("make", "sh"):
        (project / "bin" / tool).symlink_to(shutil.which(tool))
    path = str(project / "bin")
    assert "needs Docker, which is not installed" in said(project, "image", "SHELL=sh", status=2, PATH=path)
    docker = project / "bin/docker"
    docker.write_text("#!/bin/sh\n[ $1 != version ] && echo docker $*\n")
    docker.chmod(0o755)
    assert "its engine does not answer" in said(project, "image", "SHELL=sh", status=2, PATH=path)
    docker.write_text("#!/bin/sh\necho docker $*\n")
    assert "docker build --file chatapp/Dockerfile --tag hybrid-chat .\n" in said(project, "image", PATH=path)


def test_clean_removes_what_was_installed_and_keeps_the_rest(project):
    for folder in ("chatapp", "tests/chatapp", "benchmarks"):
        (project / folder / "__pycache__").mkdir(parents=True)
    (project / "chatapp/app.py").touch()
    said(project, "clean")
    assert not (project / ".venv").exists()
    assert not list(project.rglob("__pycache__"))
    assert (project / "chatapp/app.py").exists()
