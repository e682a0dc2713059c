"""After `make destroy`: list what of the stack is still in the project, and how to delete it. Nothing is changed.

It reads with gcloud the lists of each service, which are up to date, and Cloud Asset Inventory for the rest. What this
account may not read is named. A list never fails the destroy, and ends within `DEADLINE_SECONDS`.
"""

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from stacks.names import Names
from stacks.preflight.kinds import KINDS, Entry, Kind, Owner
from stacks.preflight.programs import is_installed, output_of
from stacks.settings import Settings

DEADLINE_SECONDS = 120.0
# gcloud needs about a second of CPU to start, so more at once would not be faster on most computers.
AT_ONCE = 6


@dataclass(frozen=True)
class Remaining:
    """One resource that is still there.

    Attributes:
        title: its kind, for a person.
        name: its name.
        delete: the command that deletes it; empty: none is known.
        is_late: from Cloud Asset Inventory, which can be some minutes behind.
    """

    title: str
    name: str
    delete: str = ""
    is_late: bool = False

    def __str__(self) -> str:
        late = " (Cloud Asset Inventory can be some minutes behind)" if self.is_late else ""
        return f"{self.title} {self.name}{late}: {self.delete or 'see the console'}"


@dataclass(frozen=True)
class Found:
    """What a look into the project gave.

    Attributes:
        remaining: in the order in which it can be deleted.
        unread: titles of kinds that could not be read.
        read: how many kinds could be.
    """

    remaining: tuple[Remaining, ...]
    unread: tuple[str, ...]
    read: int


def report_remains(stack: str, settings: Settings) -> None:
    """Print what of the stack is still in its Google Cloud project."""
    if not settings.project or not is_installed("gcloud"):
        print("What is still in the project was not looked up: gcloud or the setting gcp:project is missing.")
        return
    print(f"Looking for what of the stack {stack} is still in the project {settings.project} ...", flush=True)
    owner = Owner(
        Names(stack.rpartition("/")[2]),
        settings.project,
        settings.region,
        number=_described("projects describe {project}", "projectNumber", settings.project),
        billing_account=_described("billing projects describe {project}", "billingAccountName", settings.project),
    )
    for line in lines(look(owner), owner):
        print(line, flush=True)


def report_cluster_remains(stack: str, context: str) -> None:
    """Print what of the stack is still in an existing Kubernetes cluster: its namespace, and volumes that were kept."""
    namespace = Names(stack.rpartition("/")[2]).namespace
    kubectl = ("kubectl", f"--context={context}") if context else ("kubectl",)
    namespaces = output_of(*kubectl, "get", "namespace", namespace, "--ignore-not-found", "--output=name")
    volumes = output_of(*kubectl, "get", "persistentvolumes", "--output=json")
    if namespaces is None:
        print("What is still in the cluster was not looked up: kubectl does not reach it.")
        return
    remaining = [Remaining("namespace", namespace, f"{' '.join(kubectl)} delete namespace {namespace}")] * bool(
        namespaces
    )
    try:
        kept = json.loads(volumes or "{}").get("items") or []
    except ValueError:
        kept = []
    for volume in kept:
        if ((volume.get("spec") or {}).get("claimRef") or {}).get("namespace") == namespace:
            name = volume["metadata"]["name"]
            delete = f"{' '.join(kubectl)} delete persistentvolume {name}"
            remaining.append(
                Remaining("volume, which holds conversations and was kept by its storage class,", name, delete)
            )
    for line in [f"Still there: {each}" for each in remaining] or [
        f"Nothing of the stack {stack} was found in the cluster."
    ]:
        print(line, flush=True)


def lines(found: Found, owner: Owner) -> Iterator[str]:
    """Yield the report's lines."""
    if found.remaining:
        yield f"Still there, {len(found.remaining)} of this stack; each line has the command that deletes it:"
        yield from (f"  {each}" for each in found.remaining)
    elif found.read:
        yield f"Nothing of this stack was found ({found.read} kinds of resources were listed)."
    if found.unread:
        yield (
            f"Not readable for this account, or the API is not enabled: {', '.join(found.unread)}. Look for names with "
            f"gradio-chat or chat-: https://console.cloud.google.com/home/dashboard?project={owner.project}"
        )
    yield (
        "What stays in any case: the enabled APIs, and log entries until they expire (30 days by default). A deleted "
        "free name is reserved for 30 days, and costs nothing."
    )


def look(owner: Owner) -> Found:
    """Return what of the stack is in the project, within `DEADLINE_SECONDS`."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    executor = ThreadPoolExecutor(AT_ONCE)
    try:
        search = executor.submit(_search, owner)
        listings = [executor.submit(_listed, kind, owner) for kind in KINDS]
        assets = _result(search, deadline)
        own = [_result(listing, deadline) for listing in listings]
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
    remaining: list[Remaining] = []
    unread: list[str] = []
    for kind, listed in zip(KINDS, own, strict=True):
        late = assets is not None and bool(kind.asset) and listed is None
        entries = _of_kind(assets or [], kind) if late else listed
        if entries is None:
            unread.append(kind.title.partition(",")[0])
        remaining += [
            _remaining(kind, owner, entry, is_late=late) for entry in entries or [] if _is_mine(kind, owner, entry)
        ]
    remaining += _others(assets or [], owner)
    return Found(tuple(remaining), tuple(dict.fromkeys(unread)), len(KINDS) - len(unread))


def _result(future: Future[list[Entry] | None], deadline: float) -> list[Entry] | None:
    try:
        return future.result(timeout=max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        return None


def _described(command: str, key: str, project: str) -> str:
    """Return the last part of a value that gcloud describes; empty: it may not be read, or there is none."""
    output = output_of("gcloud", *command.format(project=project).split(), f"--format=value({key})")
    return _last(output or "")


def _listed(kind: Kind, owner: Owner) -> list[Entry] | None:
    command = kind.listing.format(
        region=owner.region, project=owner.project, billing_account=owner.billing_account
    ).split()
    if command[-1].endswith("="):  # what the list is of is not known
        return None
    return _entries(*command, *(() if owner.project in command else (f"--project={owner.project}",)))


def _search(owner: Owner) -> list[Entry] | None:
    """Return the resources in Asset Inventory with the stack's names or labels, and some others with parts of them."""
    names = ("gradio-chat", "chat-app", "chat-nodes", "chat-build", owner.names.namespace)
    query = " OR ".join(
        [*(f'name:"{name}"' for name in names), f'labels:"{owner.names.cluster}"', "labels:hybrid-chat"]
    )
    return _entries("asset", "search-all-resources", f"--scope=projects/{owner.project}", f"--query={query}")


def _entries(*command: str) -> list[Entry] | None:
    """Return the entries that gcloud lists; `None`: it fails, or does not end in time."""
    output = output_of("gcloud", *command, "--format=json")
    try:
        entries = json.loads(output) if output else None
    except ValueError:
        return None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else None


def _of_kind(assets: list[Entry], kind: Kind) -> list[Entry]:
    """Return the assets of a kind as its own list would have them: an account's name ends with its address."""
    return [{**asset, kind.field: asset.get("name")} for asset in assets if asset.get("assetType") == kind.asset]


def _others(assets: list[Entry], owner: Owner) -> Iterator[Remaining]:
    """Yield what only Asset Inventory has: kinds that `KINDS` does not list, with the stack's label or GKE's name."""
    listed = {kind.asset for kind in KINDS}
    for asset in assets:
        kind = str(asset.get("assetType") or "")
        # Objects in the cluster are gone with it; Asset Inventory names their types like k8s.io/Pod.
        if kind in listed or "googleapis.com/" not in kind:
            continue
        name = _last(str(asset.get("name") or ""))
        if owner.has_label(asset) or owner.made_by_gke(name):
            yield Remaining(kind.rpartition("/")[2], name, is_late=True)


def _is_mine(kind: Kind, owner: Owner, entry: Entry) -> bool:
    return kind.is_mine(owner, _name(kind, entry), entry)


def _name(kind: Kind, entry: Entry) -> str:
    value: Any = entry
    for part in kind.field.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return _last(str(value or ""))


def _remaining(kind: Kind, owner: Owner, entry: Entry, *, is_late: bool) -> Remaining:
    name = _name(kind, entry)
    command = kind.delete.format(
        name=name,
        location=_location(entry),
        scope="--global" if _location(entry) == "global" else f"--region {_location(entry)}",
        project=owner.project,
        billing_account=owner.billing_account,
        entry=entry,
    )
    return Remaining(kind.title, name, command, is_late)


def _location(entry: Entry) -> str:
    """Return the region or zone, of which the lists of Compute Engine give the address, and others a path."""
    place: Any = entry.get("location") or entry.get("zone") or entry.get("region")
    if not place:
        place = str(entry.get("name") or "").partition("/locations/")[2].partition("/")[0]
    return _last(str(place)) or "global"


def _last(path: str) -> str:
    return path.rpartition("/")[2]
