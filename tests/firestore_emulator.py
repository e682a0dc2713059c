"""Runs the Firestore emulator as a Java process.

The tests use the first of these: a running one (``FIRESTORE_EMULATOR_HOST``), ``FIRESTORE_EMULATOR_JAR``, Google's SDK.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.cloud import firestore

from tests.serving import free_port

PROJECT = "demo-chat"  # projects named demo-... never reach Google

JAR = Path("platform", "cloud-firestore-emulator", "cloud-firestore-emulator.jar")
SDK_FOLDERS = (
    Path("/usr/lib/google-cloud-sdk"),
    Path("/usr/share/google-cloud-sdk"),
    Path("/snap/google-cloud-cli/current"),
    Path.home() / "google-cloud-sdk",
    Path("/opt/homebrew/share/google-cloud-sdk"),
    Path("/usr/local/share/google-cloud-sdk"),
)
MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
# Less compilation halves the CPU time of a short run: 7 s instead of 17 s for the tests (2 cores).
JAVA_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx1g", "-Duser.language=en")
START_SECONDS = 240  # one second on an idle machine
HOW_TO_GET_IT = "sudo apt-get install google-cloud-cli-firestore-emulator default-jre-headless"
HOW_TO_GET_IT_ELSEWHERE = "gcloud components install cloud-firestore-emulator"


@dataclass(frozen=True)
class Emulator:
    """A running emulator.

    Attributes:
        host: ``host:port``, as ``FIRESTORE_EMULATOR_HOST`` takes it.
    """

    host: str


def found_jar():
    """Return the path of the emulator's jar, None if it is not installed."""
    if named := os.environ.get("FIRESTORE_EMULATOR_JAR"):
        return Path(named)
    gcloud = shutil.which("gcloud")
    sdk = [Path(gcloud).resolve().parents[1]] if gcloud else []
    return next((folder / JAR for folder in [*sdk, *SDK_FOLDERS] if (folder / JAR).is_file()), None)


@contextlib.contextmanager
def running_emulator(*arguments, port=None):
    """Run a separate emulator; its data are lost at the end."""
    jar, java = found_jar(), shutil.which("java")
    if jar is None or java is None:
        missing = "Java" if jar else "The Firestore emulator"
        pytest.skip(f"{missing} is not here; install it with: {HOW_TO_GET_IT} (or: {HOW_TO_GET_IT_ELSEWHERE})")
    port = port or free_port()
    host, address = f"127.0.0.1:{port}", ["--host", "127.0.0.1", "--port", str(port)]
    # Not gcloud's wrapper, which leaves its Java process running.
    command = [java, *JAVA_OPTIONS, "-cp", str(jar), MAIN, *address, *arguments]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait_until_ready(process, host, output)
            _warm_up(host)
            yield Emulator(host)
        finally:
            process.kill()  # its data are not needed
            process.wait()


@contextlib.contextmanager
def shared_emulator(folder):
    """Share one emulator among the processes of a test run; the first that needs it starts it, and stops it last.

    One takes 200 MB and, while it starts, a core. (Groups of pytest-xdist 3.8 have no effect with pytest 9.2.)
    """
    address = folder / "firestore-emulator"
    with address.with_suffix(".users").open("w") as users, contextlib.ExitStack() as ends:
        fcntl.flock(users, fcntl.LOCK_SH)
        with address.with_suffix(".lock").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            if not address.exists():
                emulator = ends.enter_context(running_emulator())
                address.write_text(emulator.host)
                ends.callback(address.unlink)
                ends.callback(fcntl.flock, users, fcntl.LOCK_EX)  # waits until the other processes have ended
        yield Emulator(address.read_text())


@pytest.fixture(scope="session")
def firestore_emulator(tmp_path_factory):
    """One emulator for all tests; Google's library finds it in the environment."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with contextlib.ExitStack() as ends:
        host = os.environ.get("FIRESTORE_EMULATOR_HOST")
        emulator = Emulator(host) if host else ends.enter_context(shared_emulator(folder))
        environment = ends.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("FIRESTORE_EMULATOR_HOST", emulator.host)
        yield emulator


def _wait_until_ready(process, host, output):
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{host}/", timeout=1) as response:
            if response.status == 200:
                return
        time.sleep(0.05)
    output.seek(0)
    raise AssertionError(f"the emulator did not start:\n{output.read().decode()}")


def _warm_up(host):
    """Send the first requests, which load its code: on a busy machine that exceeds the timeout of the store."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FIRESTORE_EMULATOR_HOST", host)
        client = firestore.Client(project="demo-warm-up")
    batch, document = client.batch(), client.document("some/document")
    batch.set(document, {"number": 1})
    batch.update(document, {"number": firestore.Maximum(2)})
    batch.commit(retry=None, timeout=START_SECONDS)
    document.get(retry=None, timeout=START_SECONDS)
    client.collection("some").order_by("number").get(retry=None, timeout=START_SECONDS)
    client.close()
