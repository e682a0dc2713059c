"""The verbs of the Makefile, with programs that only print their arguments."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]

# Prints its arguments, and fails where they match $FAIL.
PYTHON = """#!/bin/sh
case "$*" in
"-m chatapp")
    echo "CHAT_PORT=$CHAT_PORT"
    if [ -n "$WAIT" ]; then trap 'sleep 0.3; echo bye; exit 0' INT; touch started; while :; do sleep 0.05; done; fi ;;
*"${FAIL:-nothing}"*) echo "failed: $*"; exit 1 ;;
"-m stacks.preflight"*) echo "preflight $3 $STACK" ;;
*) echo "python $*" ;;
esac
"""


@pytest.fixture
def project(tmp_path):
    """Return a project whose packages are installed, as far as the Makefile can tell."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    write_program(tmp_path / ".venv/bin/python", PYTHON)
    write_program(tmp_path / ".venv/bin/lint-imports", "#!/bin/sh\necho lint-imports\n")
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/install.sh").write_text("echo install $1\n")
    return tmp_path


def write_program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)


@pytest.fixture
def pulumi(project):
    """Return an environment whose Pulumi prints its arguments, and then the first line that it reads."""
    write_program(project / "bin/pulumi", '#!/bin/sh\necho pulumi "$@"\nread -r line && echo "answer: $line"\nexit 0\n')
    return {"PATH": f"{project / 'bin'}:{os.environ['PATH']}"}


def start(
    project: Path, *arguments: str, before: Callable[[], object] | None = None, **environment: str
) -> subprocess.Popen[str]:
    """Start make; `before` is called in its process, for which this one, with all its memory, is forked."""
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
        preexec_fn=before,  # noqa: PLW1509 - this test has no threads
    )


def make(project: Path, *arguments: str, status: int = 0, typed: str = "", **environment: str) -> str:
    process = start(project, *arguments, **environment)
    output, _ = process.communicate(typed, timeout=30)
    assert process.returncode == status, output
    return output


def test_make_without_a_verb_lists_every_verb_with_a_line(project):
    listed = re.findall(r"^  (\w+) +\w.*$", make(project), re.MULTILINE)
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert set(listed) == set(phony) - {"help", "chat", "dev", "stack"}


def test_settings_reach_the_chat_from_both_sides_of_the_verb(project):
    assert make(project, "run", "CHAT_PORT=8000") == "install chat\nCHAT_PORT=8000\n"
    assert make(project, "run", CHAT_PORT="8001") == "install chat\nCHAT_PORT=8001\n"


def test_ctrl_c_ends_the_chat_without_an_error_from_make(project):
    # The fake takes a moment to end, as the chat does: make 4.3 can stumble over a child that ends at once.
    # A background job of a shell ignores Ctrl-C, and so would its children.
    process = start(project, "run", WAIT="1", before=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    while not (project / "started").exists():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert output.splitlines()[1:] == ["CHAT_PORT=", "bye"]


def test_a_failing_install_starts_nothing(project):
    (project / "requirements/install.sh").write_text("echo 'no network'; exit 1\n")
    assert "CHAT_PORT" not in make(project, "run", status=2)


def test_pulumi_runs_after_the_packages_are_installed_and_checked(project, pulumi):
    assert make(project, "up", **pulumi) == "install stack\npreflight up dev\npulumi up --stack dev\n"
    assert make(project, "preview", **pulumi) == "install stack\npreflight preview dev\npulumi preview --stack dev\n"


def test_destroy_ends_with_what_remains_also_where_pulumi_failed(project, pulumi):
    steps = "install stack\npreflight destroy dev\npulumi destroy --stack dev\npreflight remains dev\n"
    assert make(project, "destroy", **pulumi) == steps
    assert "failed: -m stacks.preflight remains" in make(project, "destroy", FAIL="remains", **pulumi)
    write_program(project / "bin/pulumi", "#!/bin/sh\nexit 3\n")
    assert "preflight remains dev" in make(project, "destroy", status=2, **pulumi), "a failed destroy leaves most"


def test_the_stack_and_pulumis_own_settings_pass_through(project, pulumi):
    expected = ["install stack", "preflight up test", "pulumi up --stack test --yes --target a b"]
    assert make(project, "up", "STACK=test", "ARGS=--yes --target 'a b'", **pulumi).splitlines() == expected
    assert "pulumi up --stack test\n" in make(project, "up", STACK="test", **pulumi)


def test_the_answer_to_pulumis_prompt_reaches_it(project, pulumi):
    assert make(project, "up", typed="yes\n", **pulumi).endswith("answer: yes\n")


@pytest.mark.parametrize("verb", ["up", "preview", "destroy"])
def test_failing_preflight_keeps_pulumi_from_running(project, pulumi, verb):
    output = make(project, verb, status=2, FAIL="preflight", **pulumi)
    assert f"failed: -m stacks.preflight {verb}" in output
    assert "\npulumi" not in output


@pytest.mark.parametrize("verb", ["url", "doctor", "cost"])
def test_url_doctor_and_cost_only_run_the_preflight(project, pulumi, verb):
    assert make(project, verb, **pulumi) == f"install stack\npreflight {verb} dev\n"


CHECKS = ["python -m ruff check", "python -m ruff format --check", "python -m mypy", "lint-imports"]


@pytest.mark.parametrize("verb", ["test", "quick"])
def test_checks_run_with_the_tests_and_take_one_line_if_they_pass(project, verb):
    lines = make(project, verb).splitlines()
    assert lines[-1] == "make check passed."
    assert any(line.startswith("python -m pytest") for line in lines)
    assert not any(line.startswith(check) for line in lines for check in CHECKS)


@pytest.mark.parametrize("verb", ["test", "quick"])
def test_failing_checks_print_after_the_tests(project, verb):
    output = make(project, verb, status=2, FAIL="mypy")
    lines = [line for line in output.splitlines() if line.startswith(("python", "lint"))]
    assert lines[0].startswith("python -m pytest")
    assert lines[1:] == CHECKS[:2]  # the third failed


@pytest.mark.parametrize("verb", ["test", "quick"])
@pytest.mark.parametrize("failing", ["ruff format", "mypy", "pytest"])
def test_failing_check_or_failing_tests_fail_and_the_others_still_run(project, verb, failing):
    output = make(project, verb, status=2, FAIL=failing)
    assert f"failed: -m {failing}" in output
    assert "-m pytest" in output
    assert ("make check failed" in output) == (failing != "pytest")


def test_import_against_the_layers_fails_the_check(project):
    write_program(project / ".venv/bin/lint-imports", "#!/bin/sh\nexit 1\n")
    make(project, "check", status=2)


@pytest.mark.parametrize(
    ("verb", "markers"),
    [("long", "not vllm and not engine and long"), ("quick", "not vllm and not engine and not browser and not slow")],
)
def test_verb_selects_its_tests_by_their_markers(project, verb, markers):
    assert f" -m {markers}" in make(project, verb)


def test_audit_covers_every_pin_and_is_strict(project):
    command, _, materials = make(project, "audit", "ARGS=--vulnerability-service osv").splitlines()[-3:]
    assert materials == "python requirements/sbom.py --audit"
    assert command.startswith("python -m pip_audit --strict ")
    assert command.endswith(" --vulnerability-service osv")
    included = (ROOT / "requirements/dev.in").read_text()
    for pins in ("chat", "stack", "uv"):
        assert f"-r {pins}.in" in included
    assert set(re.findall(r"requirements/(\w+)\.txt", command)) == {"dev", "embedded"}


def test_every_benchmark_is_run(project):
    (project / "benchmarks").mkdir()
    for name in ("__init__", "start", "store"):
        (project / f"benchmarks/{name}.py").touch()
    benchmarks = re.findall(r"python -m (benchmarks.*)", make(project, "bench"))
    assert benchmarks == ["benchmarks.start", "benchmarks.store"]


def test_image_without_docker_or_its_engine_says_what_is_missing(project):
    (project / "bin").mkdir()
    for tool in ("make", "sh"):
        (project / "bin" / tool).symlink_to(shutil.which(tool))
    path = str(project / "bin")
    assert "needs Docker, which is not installed" in make(project, "image", "SHELL=sh", status=2, PATH=path)
    docker = project / "bin/docker"
    docker.write_text("#!/bin/sh\n[ $1 != version ] && echo docker $*\n")
    docker.chmod(0o755)
    assert "its engine is not running" in make(project, "image", "SHELL=sh", status=2, PATH=path)
    docker.write_text("#!/bin/sh\necho docker $*\n")
    assert "docker build --file chatapp/Dockerfile --tag hybrid-chat .\n" in make(project, "image", PATH=path)


def test_clean_removes_the_venv_and_the_caches_only(project):
    for folder in ("chatapp", "gemma", "requirements", "stacks", "tests/chatapp", "benchmarks"):
        (project / folder / "__pycache__").mkdir(parents=True)
    (project / "chatapp/app.py").touch()
    make(project, "clean")
    assert not (project / ".venv").exists()
    assert not list(project.rglob("__pycache__"))
    assert (project / "chatapp/app.py").exists()
