"""What gcloud prints, for the commands that the stack's lists and its script use: it reads the same APIs.

As a program, ``python -m tests.fakes.google_cloud.gcloud ARGUMENTS``, it reads them through the proxy in
``HTTP_PROXY``.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]
Read = Callable[[str, str], tuple[int, Json]]
"""Sends (HTTP method, URL) and returns status and answer."""

TOKEN = "token-of-a-service-account"
# gcloud's list -> the address of Google's, and the field of the answer.
_LISTS = {
    "container clusters": ("container.googleapis.com/v1/projects/{project}/locations/-/clusters", "clusters"),
    "firestore databases": ("firestore.googleapis.com/v1/projects/{project}/databases", "databases"),
    "firestore backups": ("firestore.googleapis.com/v1/projects/{project}/locations/-/backups", "backups"),
    "artifacts repositories": (
        "artifactregistry.googleapis.com/v1/projects/{project}/locations/{location}/repositories",
        "repositories",
    ),
    "storage buckets": ("storage.googleapis.com/storage/v1/b?project={project}", "items"),
    "monitoring policies": ("monitoring.googleapis.com/v3/projects/{project}/alertPolicies", "alertPolicies"),
    "monitoring dashboards": ("monitoring.googleapis.com/v1/projects/{project}/dashboards", "dashboards"),
    "beta monitoring channels": (
        "monitoring.googleapis.com/v3/projects/{project}/notificationChannels",
        "notificationChannels",
    ),
    "logging sinks": ("logging.googleapis.com/v2/projects/{project}/sinks", "sinks"),
    "logging buckets": ("logging.googleapis.com/v2/projects/{project}/locations/-/buckets", "buckets"),
    "iam service-accounts": ("iam.googleapis.com/v1/projects/{project}/serviceAccounts", "accounts"),
    "endpoints services": (
        "servicemanagement.googleapis.com/v1/services?producerProjectId={project}",
        "services",
    ),
}
# gcloud's name of a collection -> Compute Engine's, and where it is.
_COMPUTE = {
    "forwarding-rules": ("forwardingRules", "global"),
    "target-https-proxies": ("targetHttpsProxies", "global"),
    "target-http-proxies": ("targetHttpProxies", "global"),
    "url-maps": ("urlMaps", "global"),
    "backend-services": ("backendServices", "global"),
    "health-checks": ("healthChecks", "global"),
    "ssl-certificates": ("sslCertificates", "global"),
    "ssl-policies": ("sslPolicies", "global"),
    "security-policies": ("securityPolicies", "global"),
    "addresses": ("addresses", "aggregated"),
    "firewall-rules": ("firewalls", "global"),
    "networks": ("networks", "global"),
    "networks subnets": ("subnetworks", "aggregated"),
    "routers": ("routers", "aggregated"),
    "network-endpoint-groups": ("networkEndpointGroups", "aggregated"),
    "disks": ("disks", "aggregated"),
}


def output(read: Read, arguments: tuple[str, ...]) -> str | None:
    """Return what gcloud prints; `None`: it fails.

    Raises:
        NotImplementedError: for a command that neither the lists nor the script have.
    """
    options = dict(each.removeprefix("--").partition("=")[::2] for each in arguments if each.startswith("--"))
    words = [each for each in arguments if not each.startswith("--")]
    command = " ".join(words)
    if command.startswith("projects get-iam-policy "):
        return _policy(read, words[2])
    if command == "asset search-all-resources":
        status, answer = read(
            "GET", f"cloudasset.googleapis.com/v1/{options['scope']}:searchAllResources?query={options['query'][:9]}"
        )
        return json.dumps(answer.get("results", [])) if status == 200 else None
    if words[0] == "compute" and "delete" in words:
        return _deleted(read, words, options)
    if words[-1] != "list":
        raise NotImplementedError(command)
    entries = _entries(read, " ".join(words[:-1]), options)
    if entries is None:
        return None
    if (form := options.get("format", "")).startswith("value("):
        return "\n".join(_values(each, form) for each in entries if _is_chosen(each, options.get("filter", "")))
    return json.dumps(entries)


def _entries(read: Read, kind: str, options: dict[str, str]) -> list[Json] | None:
    project = options["project"]
    if kind.startswith("compute "):
        collection, place = _COMPUTE[kind.removeprefix("compute ")]
        status, answer = read("GET", f"compute.googleapis.com/compute/v1/projects/{project}/{place}/{collection}")
        if status != 200:
            return None
        if place == "global":
            return list(answer["items"])
        return [each for scope in answer["items"].values() for each in scope.get(collection, [])]
    url, field = _LISTS[kind]
    status, answer = read("GET", url.format(project=project, location=options.get("location", "-")))
    return list(answer.get(field, [])) if status == 200 else None


def _policy(read: Read, project: str) -> str | None:
    """Return one entry for each member of each binding, as ``--flatten=bindings[].members`` has it."""
    status, policy = read("POST", f"cloudresourcemanager.googleapis.com/v1/projects/{project}:getIamPolicy")
    if status != 200:
        return None
    bindings = policy.get("bindings", [])
    return json.dumps([{"bindings": {**each, "members": member}} for each in bindings for member in each["members"]])


def _deleted(read: Read, words: list[str], options: dict[str, str]) -> str | None:
    place = words.index("delete")
    collection, _ = _COMPUTE[" ".join(words[1:place])]
    scope = f"zones/{options['zone']}" if "zone" in options else "global"
    base = f"compute.googleapis.com/compute/v1/projects/{options['project']}/{scope}"
    status, operation = read("DELETE", f"{base}/{collection}/{words[place + 1]}")
    while status == 200 and scope == "global" and operation["status"] != "DONE":
        status, operation = read("GET", f"{base}/operations/{operation['name']}")
    return "" if status == 200 else None


def _is_chosen(entry: Json, condition: str) -> bool:
    """Return whether the script's filter chooses an entry: ``network:/NAME$ AND name~^(...)``."""
    found = re.fullmatch(r"network:/([\w-]+)\$ AND name~(.+)", condition)
    if not found:
        raise NotImplementedError(condition)
    return entry["network"].endswith(f"/{found[1]}") and re.match(found[2], entry["name"]) is not None


def _values(entry: Json, form: str) -> str:
    return "\t".join(str(entry[field.partition(".")[0]]).rpartition("/")[2] for field in form[6:-1].split(","))


def _over_http(verb: str, address: str) -> tuple[int, Json]:
    data = b"{}" if verb == "POST" else None
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{address}", data, headers, method=verb)
    try:
        with urllib.request.build_opener().open(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def install(folder: Path, root: Path) -> None:
    """Write a program ``gcloud`` into a folder that is to come first in PATH; ``root``: of this repository."""
    program = folder / "gcloud"
    program.write_text(
        f'#!/bin/sh\ncd "{root}"\nexec "{sys.executable}" -m tests.fakes.google_cloud.gcloud "$@"\n', encoding="utf-8"
    )
    program.chmod(0o755)


if __name__ == "__main__":
    printed = output(_over_http, tuple(sys.argv[1:]))
    if printed is None:
        sys.exit(1)
    sys.stdout.write(f"{printed}\n" if printed else "")
