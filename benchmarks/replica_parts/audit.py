"""Compares what each replica shows at the end with what the devices were told."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from benchmarks.fault_parts.answers import NAME_CHARS
from tests.page_client import open_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.replica_parts.devices import Person, Talk

KINDS = ("missing", "doubled", "out of order", "unasked versions", "different")


class Findings:
    """Differences: their number by kind, and a sentence for each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.sentences: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, sentence: str) -> None:
        """Count a difference."""
        self.counts[kind] += 1
        self.sentences[kind].append(sentence)


async def audit(people: Sequence[Person], urls: Sequence[str]) -> Findings:
    """Read every conversation at every replica."""
    findings = Findings()
    for person in people:
        shown: defaultdict[str, list[list[dict]]] = defaultdict(list)
        for url in urls:
            async with open_page(url, cookies=person.cookies) as page:
                for talk in person.talks:
                    entries = await page.watch_until(talk.id, lambda _entries: True)
                    while page.earlier:
                        earlier = await page.get(f"conversations/{talk.id}/messages", before=entries[0]["id"])
                        entries, page.earlier = [*earlier["messages"], *entries], earlier["earlier"]
                    shown[talk.id].append(entries)
                    check(talk, entries, url, findings)
        for talk in person.talks:
            ids = [[entry["id"] for entry in entries] for entries in shown[talk.id]]
            if any(one != ids[0] for one in ids):
                findings.add("different", f"{talk.id}: the replicas show {[len(one) for one in ids]} messages")
    return findings


def check(talk: Talk, entries: list[dict], where: str, findings: Findings) -> None:
    """Compare one conversation as one replica shows it with what was acknowledged."""
    names = [entry["text"][:NAME_CHARS] for entry in entries if entry["role"] == "user"]
    place = {name: number for number, name in enumerate(names)}
    for name, times in Counter(names).items():
        if times > 1:
            findings.add("doubled", f"{talk.id} at {where}: {name} is shown {times} times")
    for question in talk.questions:
        if question.name not in place:
            findings.add("missing", f"{talk.id} at {where}: {question.name} was acknowledged and is not shown")
        elif late := [before for before in question.before if place.get(before, -1) > place[question.name]]:
            findings.add("out of order", f"{talk.id} at {where}: {question.name} is before {late}")
    for entry in entries:
        if entry.get("versions"):
            findings.add("unasked versions", f"{talk.id} at {where}: {entry['id']} has {len(entry['versions'])}")
    if any(one["role"] == other["role"] for one, other in itertools.pairwise(entries)):
        findings.add("out of order", f"{talk.id} at {where}: question and answer do not take turns")
