"""Prints the results of a run."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import percentile
from benchmarks.fault_parts.audit import KINDS
from benchmarks.fault_parts.record import Sending

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from benchmarks.fault_parts.audit import Findings
    from benchmarks.fault_parts.phases import Phase
    from benchmarks.fault_parts.record import Book, Turn

SENTENCES_SHOWN = 8
# A turn waits for what a bare write waits for, one sync and two changes of threads, and for 2 ms of CPU of its own,
# which take longer, as the write does, where other processes use the cores.
MOST_MS, LATEST_MS, QUIET_MS, MOST_BARE = 5, 100, 2, 2.5
HEADINGS = (
    *("phase", "s", "turns", "acknowl.", "refused", "unknown", "ended"),
    *("lost", "doubled", "disorder", "wrong", "kept", "streaming"),
    *("send", "word", "store", "end", "bare", "store/bare"),
)
COLUMNS = "{:<12} {:>3} {:>5} {:>8} {:>7} {:>7} {:>5}  {:>4} {:>7} {:>8} {:>5} {:>4} {:>9} " + 5 * " {:>17}" + " {:>10}"
EXPLANATION = (
    "ended: answers of which the page showed the end. kept: refused by the page, and there all the same. streaming: "
    "kept as if still being written.\n"
    "p50 / p99 / max in ms. Under load, pages, backend and people included: send, from Send until the page had taken "
    "it; word, from the backend's first token to the page.\n"
    "In a process without pages, through the same network: store, until the model was asked; end, until the answer's "
    "end was stored; bare, until a thread of it had appended 4 kB to a file, synced it and come back: as much of store "
    "and of end is the machine's, whose cores and disk all processes of the run share. store/bare: of the p50s / of "
    f"the p99s. The aim is a p50 of store of {MOST_MS} ms and a p99 of {LATEST_MS} where bare takes {QUIET_MS} at most "
    f"(p50), else a p50 of {MOST_BARE} times bare. That process has a disk and a clock of its own, which no phase "
    "fills or sets, and is not ended: in killed, ended, clock and full it shows what the start of a chat beside it "
    "costs. The emulator, in whose place Firestore has machines of its own, has a lower priority. Turns before the "
    "first phase, while everything starts, are not counted."
)


class Probed(NamedTuple):
    """A turn of the probe: its start, and seconds: of the store at its start and end, and of a bare write before it."""

    began: float
    start: float
    end: float
    bare: float


class Span(NamedTuple):
    """The time of a phase."""

    phase: Phase
    began: float
    ended: float


def print_table(book: Book, spans: Sequence[Span], findings: Findings, probed: Sequence[Probed]) -> None:
    """Print a line for each phase, and the totals."""
    print(COLUMNS.format(*HEADINGS))
    for span in spans:
        name = span.phase.name
        kinds = [findings.counts[kind][name] for kind in KINDS]
        here = [one for one in probed if span.began <= one.began < span.ended]
        _print_line(name, span.ended - span.began, list(book.of(name)), kinds, here)
    whole = spans[-1].ended - spans[0].began
    counted = [one for one in probed if one.began >= spans[0].began]
    _print_line("all", whole, list(book.turns.values()), [findings.number(kind) for kind in KINDS], counted)
    print(f"\n{EXPLANATION}")


def print_findings(findings: Findings) -> None:
    """Print the differences, a few of each kind."""
    for kind, sentences in findings.sentences.items():
        print(f"\n{kind}: {len(sentences)}")
        for sentence in sentences[:SENTENCES_SHOWN]:
            print(f"  {sentence}")
        if len(sentences) > SENTENCES_SHOWN:
            print("  ...")


def print_counts(title: str, counts: Counter[str]) -> None:
    """Print counts, the largest first."""
    if counts:
        print(f"\n{title}")
        for name, times in counts.most_common(20):
            print(f"  {times:>6,} x {name}")


def log_lines(path: Path) -> Counter[str]:
    """Count the warnings and errors in the chat's log, and its lines that are not JSON: tracebacks."""
    counts: Counter[str] = Counter()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            counts[f"not JSON: {line[:100]}"] += 1
            continue
        if entry.get("severity") not in {"INFO", "DEBUG"}:
            counts[
                f"{entry.get('severity')} {_short(entry.get('message'))} {_short(entry.get('error', ''))}".strip()
            ] += 1
    return counts


def tracebacks(path: Path) -> Counter[str]:
    """Count the errors in the log that nothing answered: tracebacks, and complaints of the server about the app."""
    counts: Counter[str] = Counter()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            if line.startswith("Traceback"):
                counts[line] += 1
            continue
        exception, message = str(entry.get("exception", "")).strip(), str(entry.get("message", ""))
        if exception or "ASGI" in message:
            counts[f"{_short(message)}: {exception.rpartition(chr(10))[2][:200]}"] += 1
    return counts


def _print_line(
    name: str, seconds: float, turns: Sequence[Turn], kinds: Sequence[int], probed: Sequence[Probed]
) -> None:
    sendings = Counter(turn.sending for turn in turns)
    print(
        COLUMNS.format(
            *(name, round(seconds), len(turns)),
            *(sendings[one] for one in (Sending.ACKNOWLEDGED, Sending.REFUSED, Sending.UNKNOWN)),
            sum(turn.shown is not None for turn in turns),
            *kinds,
            _milliseconds(turn.send_seconds for turn in turns),
            _milliseconds(turn.word_seconds for turn in turns),
            _milliseconds(one.start for one in probed),
            _milliseconds(one.end for one in probed),
            _milliseconds(one.bare for one in probed),
            _times_bare(probed),
        ),
        flush=True,
    )


def _times_bare(probed: Sequence[Probed]) -> str:
    if not probed:
        return "-"
    starts, bares = [one.start for one in probed], [one.bare for one in probed]
    return " / ".join(f"{percentile(starts, percent) / percentile(bares, percent):.1f}" for percent in (50, 99))


def _short(text: object) -> str:
    return str(text).partition("\n")[0][:60]


def _milliseconds(seconds: Iterable[float | None]) -> str:
    values = [one for one in seconds if one is not None]
    if not values:
        return "-"
    return " / ".join(f"{value * 1000:.0f}" for value in (percentile(values, 50), percentile(values, 99), max(values)))
