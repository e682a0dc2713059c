"""The source of the image, and the script that builds it with Cloud Build."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from stacks.components.image import gcloud_environment
from stacks.components.image_source import DOCKERFILE, Source
from tests.stacks.deployments import GCP
from tests.stacks.recording import ROOT, run, seen

SCRIPT = ROOT / "stacks/components/cloud_build.sh"
DIGEST = "sha256:" + "d" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".dockerignore").write_text(
        "# only these\n*\n!chatapp\n!requirements/chat.txt\nchatapp/Dockerfile\n**/__pycache__\n**/*.py[cod]\n**/.*\n"
    )
    for name in (
        DOCKERFILE,
        "chatapp/__main__.py",
        "chatapp/ui/page.css",
        "chatapp/__pycache__/x.pyc",
        "chatapp/ui/.secret",
        "chatapp/.cache/y",
        "requirements/chat.txt",
        "requirements/dev.txt",
        ".env",
        "Pulumi.dev.yaml",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


class TestSource:
    def test_is_what_dockerignore_includes_and_the_dockerfile(self, folder: Path) -> None:
        assert Source.of(folder).files == (
            DOCKERFILE,
            "chatapp/__main__.py",
            "chatapp/ui/page.css",
            "requirements/chat.txt",
        )

    def test_of_this_repository_is_the_chat_and_nothing_else(self) -> None:
        tracked = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "chatapp"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        assert set(Source.of(ROOT).files) == {*tracked, "requirements/chat.txt"}

    @pytest.mark.parametrize("name", ["chatapp/__main__.py", DOCKERFILE, "requirements/chat.txt"])
    def test_tag_changes_with_a_file(self, folder: Path, name: str) -> None:
        before = Source.of(folder).tag
        (folder / name).write_text("other")
        assert Source.of(folder).tag != before

    @pytest.mark.parametrize("name", ["requirements/dev.txt", ".env", "chatapp/__pycache__/z.pyc", "README.md"])
    def test_tag_does_not_change_with_other_files(self, folder: Path, name: str) -> None:
        before = Source.of(folder).tag
        (folder / name).write_text("other")
        assert Source.of(folder).tag == before

    def test_tag_changes_with_the_name_of_a_file(self, folder: Path) -> None:
        before = Source.of(folder).tag
        (folder / "chatapp/ui/page.css").rename(folder / "chatapp/ui/sheet.css")
        assert Source.of(folder).tag != before

    def test_tag_does_not_depend_on_the_folder(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder)
        assert Source.of(Path()).tag == Source.of(folder).tag


# A fake of gcloud that records builds, and fails with the lines of $STATE/failures.
GCLOUD = """#!/bin/sh
echo "$*" >>"$STATE/calls"
case "$*" in
"artifacts docker images describe"*)
    [ -e "$STATE/image" ] && echo "$DIGEST" || { echo "ERROR: not found" >&2; exit 1; } ;;
"builds submit"*)
    cp "$3" "$STATE/source.tgz"
    for argument; do case $argument in --config=*) cp "${argument#--config=}" "$STATE/build.json" ;; esac; done
    echo "Step #0: FROM python"
    if [ -s "$STATE/failures" ]; then
        head -n 1 "$STATE/failures"; sed -i.old 1d "$STATE/failures"; exit 7
    fi
    [ -e "$STATE/no-push" ] || touch "$STATE/image"
    echo DONE ;;
esac
"""


class CloudBuild:
    """Runs the script with a fake of gcloud."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder, self.state = folder, state
        state.mkdir()
        (state / "calls").touch()
        gcloud = state / "gcloud"
        gcloud.write_text(GCLOUD)
        gcloud.chmod(0o755)

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", SCRIPT.read_text()],
            cwd=self.folder,
            input="\n".join(Source.of(self.folder).files) + "\n",
            env={
                "PATH": f"{self.state}:{os.environ['PATH']}",
                "STATE": str(self.state),
                "DIGEST": DIGEST,
                "IMAGE": "example.org/p/chat:tag",
                "SOURCE": ".",
                "PROJECT": "my-proj-1",
                "REGION": "europe-west4",
                "BUCKET": "my-proj-1-chat-build",
                "BUILD": '{"steps": []}',
                "RETRY_SECONDS": "0",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def fail_with(self, *lines: str) -> None:
        (self.state / "failures").write_text("".join(f"{line}\n" for line in lines))

    @property
    def submitted(self) -> int:
        return sum(line.startswith("builds submit") for line in (self.state / "calls").read_text().splitlines())


@pytest.fixture
def cloud_build(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> CloudBuild:
    return CloudBuild(folder, tmp_path_factory.mktemp("gcloud") / "state")


class TestCloudBuild:
    def test_prints_only_the_digest_and_streams_the_log(self, cloud_build: CloudBuild) -> None:
        done = cloud_build.run()
        assert (done.returncode, done.stdout) == (0, DIGEST)
        assert "Step #0: FROM python" in done.stderr

    def test_uploads_only_the_source(self, cloud_build: CloudBuild) -> None:
        cloud_build.run()
        with tarfile.open(cloud_build.state / "source.tgz") as archive:
            assert tuple(sorted(archive.getnames())) == Source.of(cloud_build.folder).files
        calls = (cloud_build.state / "calls").read_text()
        assert "--project=my-proj-1 --region=europe-west4" in calls
        assert "--gcs-source-staging-dir=gs://my-proj-1-chat-build/source" in calls
        assert (cloud_build.state / "build.json").read_text() == '{"steps": []}'

    def test_builds_the_same_source_once(self, cloud_build: CloudBuild) -> None:
        cloud_build.run()
        again = cloud_build.run()
        assert (again.returncode, again.stdout) == (0, DIGEST)
        assert cloud_build.submitted == 1

    def test_failure_shows_the_end_of_the_log_and_that_nothing_changed(self, cloud_build: CloudBuild) -> None:
        cloud_build.fail_with("ERROR: hashes do not match")
        done = cloud_build.run()
        assert (done.returncode, done.stdout) == (7, "")
        *log, last = done.stderr.splitlines()
        assert log[-1] == "ERROR: hashes do not match"
        assert "the running chat was not changed" in last
        assert cloud_build.submitted == 1

    def test_retries_until_the_new_account_has_propagated(self, cloud_build: CloudBuild) -> None:
        cloud_build.fail_with(*["ERROR: PERMISSION_DENIED: caller does not have permission"] * 2)
        done = cloud_build.run()
        assert (done.returncode, done.stdout, cloud_build.submitted) == (0, DIGEST, 3)
        assert "retrying" in done.stderr

    def test_stops_after_four_retries(self, cloud_build: CloudBuild) -> None:
        cloud_build.fail_with(*["ERROR: PERMISSION_DENIED"] * 9)
        done = cloud_build.run()
        assert (done.returncode, cloud_build.submitted) == (7, 5)

    def test_a_build_without_a_pushed_image_is_an_error(self, cloud_build: CloudBuild) -> None:
        (cloud_build.state / "no-push").touch()
        done = cloud_build.run()
        assert done.returncode == 1
        assert "is not in the registry" in done.stderr

    def test_deletes_its_temporary_files(self, cloud_build: CloudBuild, tmp_path: Path, monkeypatch) -> None:
        temporary = cloud_build.state / "tmp"
        temporary.mkdir()
        monkeypatch.setitem(os.environ, "PATH", os.environ["PATH"])
        environment = os.environ | {"TMPDIR": str(temporary)}
        monkeypatch.setattr(os, "environ", environment)
        cloud_build.run()
        assert list(temporary.iterdir()) == []


def test_a_failed_build_does_not_change_the_running_chat() -> None:
    run_ = seen(GCP)
    chat = run_.one("Deployment", "gradio-chat-deployment")
    assert run_.needs(chat, run_.one("Command", "build")), "the engine stops before what depends on it"


def test_gcloud_uses_the_providers_credentials_and_endpoints() -> None:
    environment: dict = {}
    config = {
        "gcp:impersonateServiceAccount": "deployer@p.iam.gserviceaccount.com",
        "gcp:cloudBuildCustomEndpoint": "http://127.0.0.1:1/",
    }
    run(lambda: environment.update(gcloud_environment()), config)
    assert environment == {
        "CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT": "deployer@p.iam.gserviceaccount.com",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBUILD": "http://127.0.0.1:1/",
    }
    run(lambda: environment.clear() or environment.update(gcloud_environment()), {})
    assert environment == {}
