"""The software bill of materials lists every pin and what Gradio bundles, and is looked up at OSV."""

import http.server
import importlib.util
import json
from pathlib import Path

import pytest

from tests.http_server import serving_in_a_thread

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("sbom", ROOT / "requirements/sbom.py")
sbom = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(sbom)


@pytest.fixture(scope="module")
def bill():
    return sbom.bill()


@pytest.mark.slow
def test_every_pin_of_the_image_is_listed_with_its_hashes(bill):
    listed = {(part.name, part.version): {each.content for each in part.hashes} for part in bill.components}
    for file in sbom.PINS:
        pins = list(sbom.pinned((ROOT / "requirements" / file).read_text()))
        assert pins
        for name, version, hashes in pins:
            assert listed[name, version] == set(hashes) != set()


@pytest.mark.parametrize("name", ["dompurify", "katex", "mermaid"])
def test_versions_of_bundled_javascript_are_found(bill, name):
    (part,) = (part for part in bill.components if part.name == name and part.properties)
    assert part.purl.type == "npm"
    assert part.version


def test_vendored_javascript_is_listed_with_its_hash(bill):
    packages = json.loads(sbom.VENDORED.read_text(encoding="utf-8"))
    listed = {(part.name, part.version, each.content) for part in bill.components for each in part.hashes}
    assert packages
    assert {(package["name"], package["version"], package["sha256"]) for package in packages} <= listed


def test_a_gradio_that_moved_a_library_is_reported(tmp_path):
    with pytest.raises(LookupError, match="has no katex"):
        sbom.bundled_version(tmp_path, *sbom.BUNDLED["katex"])
    (tmp_path / "katex-1.js").write_text("no version")
    with pytest.raises(LookupError, match="no version in katex"):
        sbom.bundled_version(tmp_path, *sbom.BUNDLED["katex"])


class Osv(http.server.BaseHTTPRequestHandler):
    """Knows one vulnerability, of the package `vulnerable`."""

    vulnerable = ""

    def do_POST(self):
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        results = [
            {"vulns": [{"id": "GHSA-1"}]} if self.vulnerable and self.vulnerable in query["package"]["purl"] else {}
            for query in queries
        ]
        body = json.dumps({"results": results}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def osv(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with serving_in_a_thread(Osv) as address:
        monkeypatch.setenv("OSV_URL", f"http://{address}")
        yield


@pytest.mark.slow
@pytest.mark.parametrize(("vulnerable", "status"), [("", 0), ("pkg:npm/mermaid@", 1), ("pkg:pypi/gradio@", 1)])
def test_audit_fails_for_a_known_vulnerability_of_any_component(osv, monkeypatch, capsys, vulnerable, status):
    monkeypatch.setattr(Osv, "vulnerable", vulnerable)
    assert sbom.main(["--audit"]) == status
    assert ("GHSA-1" in capsys.readouterr().out) is bool(status)
    document = json.loads(Path("sbom.cdx.json").read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
