"""Write a software bill of materials (CycloneDX 1.6, JSON) of what the chat's image contains.

``python requirements/sbom.py`` writes ``sbom.cdx.json``; with ``--audit`` it also asks OSV (https://osv.dev, or the
address in OSV_URL) for known vulnerabilities of every component, and exits with 1 if there is one.

The components are the pinned packages of chat.txt and embedded.txt with their hashes, their licenses where they are
installed, the JavaScript libraries of ``chatapp/ui/assets/vendor``, and those that Gradio's wheel bundles, with the
versions found in its files.
"""

import json
import os
import re
import sys
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import requests
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

HERE = Path(__file__).parent
PINS = ("chat.txt", "embedded.txt")
VENDORED = HERE.parent / "chatapp/ui/assets/vendor/packages.json"
# Library -> (a file of Gradio's page that contains it, where its version is in it). Minified code has no other mark. A
# test fails when a new Gradio has moved one.
BUNDLED = {
    "dompurify": ("chunk-*.js", r"version=[`\"'](3\.\d+\.\d+)[`\"'],\w+\.removed"),
    "katex": ("katex*.js", r"[`\"'](0\.\d+\.\d+)[`\"']"),
    "mermaid": ("*.js", r"[`\"'](11\.\d+\.\d+)[`\"']"),
    "prismjs": ("prism*.js", ""),
    "marked": ("markdown-code*.js", ""),
}


def pinned(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (name, version, SHA-256 hashes) of each pin in a requirements file."""
    for block in re.split(r"\n(?=\S)", text):
        if pin := re.match(r"([\w.-]+)==([^\s;\\]+)", block):
            yield pin[1], pin[2], re.findall(r"--hash=sha256:([0-9a-f]{64})", block)


def bundled_version(folder: Path, files: str, pattern: str) -> str | None:
    """Return the version of a library in Gradio's page; `None`: its files do not tell.

    Raises:
        LookupError: there is no such file, or none has the version.
    """
    paths = sorted(folder.glob(files))
    if not paths:
        raise LookupError(f"Gradio's page has no {files}")
    if not pattern:
        return None
    for path in paths:
        if found := re.search(pattern, path.read_text(encoding="utf-8", errors="replace")):
            return found[1]
    raise LookupError(f"no version in {files} of Gradio's page")


def bill() -> Bom:
    """Return the bill of materials of this checkout."""
    bom = Bom()
    bom.metadata.component = Component(name="hybrid-chat", type=ComponentType.APPLICATION)
    for name, version, hashes in (pin for file in PINS for pin in pinned((HERE / file).read_text())):
        bom.components.add(
            Component(
                name=name,
                version=version,
                type=ComponentType.LIBRARY,
                purl=PackageURL("pypi", name=name.lower().replace("_", "-"), version=version),
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each) for each in hashes],
                licenses=[DisjunctiveLicense(name=text)] if (text := _license(name)) else [],
            )
        )
    for package in json.loads(VENDORED.read_text(encoding="utf-8")):
        namespace, _, name = package["name"].rpartition("/")
        bom.components.add(
            Component(
                name=package["name"],
                version=package["version"],
                type=ComponentType.LIBRARY,
                purl=PackageURL("npm", namespace=namespace or None, name=name, version=package["version"]),
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=package["sha256"])],
                licenses=[DisjunctiveLicense(name=package["license"])],
            )
        )
    folder = Path(str(metadata.distribution("gradio").locate_file("gradio/templates/frontend/assets")))
    source = Property(name="hybrid-chat:bundled-in", value=f"gradio {metadata.version('gradio')}")
    for name, (files, pattern) in BUNDLED.items():
        version = bundled_version(folder, files, pattern)
        bom.components.add(
            Component(
                name=name,
                version=version,
                type=ComponentType.LIBRARY,
                purl=PackageURL("npm", name=name, version=version),
                properties=[source],
            )
        )
    return bom


def _license(name: str) -> str:
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:  # pinned for another system
        return ""
    text = about.get("License-Expression") or about.get("License") or ""
    classifiers = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or [] if line.startswith("Lic")]
    return text if text and "\n" not in text else ", ".join(classifiers)


def vulnerabilities(bom: Bom, url: str) -> dict[str, list[str]]:
    """Return package URL -> IDs of its known vulnerabilities, for the components that have some.

    Raises:
        requests.RequestException: OSV cannot be reached or refuses the request.
    """
    names = sorted(str(component.purl) for component in bom.components if component.version)
    queries = [{"package": {"purl": name}} for name in names]
    response = requests.post(f"{url}/v1/querybatch", json={"queries": queries}, timeout=60)
    response.raise_for_status()
    results = zip(names, response.json()["results"], strict=True)
    return {name: [each["id"] for each in result["vulns"]] for name, result in results if result.get("vulns")}


def main(arguments: list[str]) -> int:
    """Write the bill of materials, with ``--audit`` look it up; return the exit status."""
    materials = bill()
    target = Path("sbom.cdx.json")
    with warnings.catch_warnings(action="ignore"):  # the library would like to know which package needs which
        target.write_text(JsonV1Dot6(materials).output_as_string(indent=1), encoding="utf-8")
    print(f"{target}: {len(materials.components)} components")
    if arguments != ["--audit"]:
        return 0
    known = vulnerabilities(materials, os.environ.get("OSV_URL", "https://api.osv.dev"))
    for name, ids in known.items():
        print(f"{name}: {', '.join(ids)}")
    print("Known vulnerabilities: see https://osv.dev/ID" if known else "No known vulnerability.")
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
