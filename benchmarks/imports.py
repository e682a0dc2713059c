"""Import benchmark: seconds and extra memory for exports of some MB, into SQLite on this disk.

Run: ``python -m benchmarks.imports [megabytes] [folder]``. Each import is measured in a process of its own, against the
memory that it has before. The export of ChatGPT has long conversations with branches and thinking, and is read both as
one JSON document and as a ZIP archive in parts. The page of Google Takeout has many short conversations. On a busy
machine, compare the seconds of CPU.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from chatapp.images.decoder import ImageDecoder
from chatapp.imports.importer import Importer
from chatapp.store.sqlite.store import SQLiteStore

MEGABYTES = 100
PARTS = 4
MESSAGES = 40  # of a conversation
NAMES = "conversations.json", "export.zip", "MyActivity.html"
WORDS = [f"{syllable}{number}" for syllable in ("ra", "me", "לו", "سا") for number in range(200)]


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else MEGABYTES
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
        document, archive, page = (Path(folder) / name for name in NAMES)
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            pool.apply(_write, (document, archive, megabytes * 1_000_000))
            pool.apply(_write_page, (page, megabytes * 1_000_000))
        print(f"{'file':<20} {'MB':>5} {'seconds':>8} {'CPU s':>6} {'extra MB':>9} {'again, CPU s':>14}  new, messages")
        for path in (document, archive, page):
            with context.Pool(1) as pool:
                first, (cpu, again), extra, counts = pool.apply(_measured, (path,))
            size = path.stat().st_size / 1e6
            print(f"{path.name:<20} {size:>5.0f} {first:>8.1f} {cpu:>6.1f} {extra:>9.0f} {again:>14.1f}  {counts}")


def _measured(path: Path) -> tuple[float, list[float], float, str]:
    """Return seconds of an import, CPU seconds of it and of a second one, extra memory in MB, and counts."""
    return asyncio.run(_import(path))


async def _import(path: Path) -> tuple[float, list[float], float, str]:
    database = path.with_suffix(".db")
    store = await SQLiteStore.open(database)
    importer = Importer(store, ImageDecoder())
    before = _peak_mb(restart=True)
    cpu: list[float] = []
    seconds = extra = 0.0
    counts = ""
    try:
        with path.open("rb") as file:
            for number in range(2):
                began, cpu_began = time.perf_counter(), time.process_time()
                report = await importer.run("local", file, path.name, on_step=lambda _step: None)
                cpu.append(time.process_time() - cpu_began)
                if number == 0:
                    seconds, extra = time.perf_counter() - began, _peak_mb() - before
                    counts = f"{report.conversations:,}, {report.messages:,}"
        return seconds, cpu, extra, counts
    finally:
        await store.aclose()


def _peak_mb(*, restart: bool = False) -> float:
    """Return the highest memory of this process in MB, since it began or since the last ``restart``."""
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    if restart:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1e3


def _write(document: Path, archive: Path, size: int) -> None:
    rng = random.Random(1)  # the same at each run
    with document.open("w", encoding="utf-8") as file:
        file.write("[")
        number = 0
        while file.tell() < size:
            file.write("," * bool(number) + json.dumps(_conversation(rng, number)))
            number += 1
        file.write("]")
    conversations = json.loads(document.read_text(encoding="utf-8"))
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for part in range(PARTS):
            packed.writestr(f"conversations-{part:03}.json", json.dumps(conversations[part::PARTS]))


def _write_page(page: Path, size: int) -> None:
    rng = random.Random(1)
    with page.open("w", encoding="utf-8") as file:
        file.write('<html><head><meta charset="UTF-8"><title>My Activity</title></head><body>')
        number = 0
        while file.tell() < size:
            file.write(_activity(rng, number))
            number += 1
        file.write("</body></html>")


def _activity(rng: random.Random, number: int) -> str:
    """Return a question and its answer as a page of Takeout has them, an hour after the one before."""
    moment = datetime(2000, 1, 1, 9, 15, tzinfo=UTC) + timedelta(hours=number)
    answer = "".join(f"<p>{' '.join(rng.choices(WORDS, k=20))} <b>{rng.choice(WORDS)}</b></p>" for _ in range(20))
    return (
        '<div class="outer-cell mdl-cell"><div class="mdl-grid"><div class="header-cell mdl-cell">'
        '<p class="mdl-typography--title">Gemini Apps<br></p></div>'
        f'<div class="content-cell mdl-cell mdl-typography--body-1">Prompted&nbsp;Question {number}<br>'
        f"{moment:%b %-d, %Y, %-I:%M:%S %p} UTC<br>{answer}</div></div></div>"
    )


def _conversation(rng: random.Random, number: int) -> dict[str, Any]:
    mapping = {"root": {"id": "root", "parent": None, "children": ["n0"], "message": None}}
    for index in range(MESSAGES):
        parent = f"n{max(0, index - rng.choice((1, 1, 1, 2)))}" if index else "root"
        content: dict[str, Any] = {"content_type": "text", "parts": [" ".join(rng.choices(WORDS, k=120))]}
        if index % 10 == 5:
            content = {"content_type": "thoughts", "thoughts": [{"summary": "So", "content": content["parts"][0]}]}
        mapping[f"n{index}"] = {
            "id": f"n{index}",
            "parent": parent,
            "children": [],
            "message": {  # type: ignore[dict-item]  # the root has none
                "id": f"n{index}",
                "author": {"role": "user" if index % 2 == 0 else "assistant", "name": None, "metadata": {}},
                "create_time": 1_700_000_000 + number * 1000 + index,
                "content": content,
                "status": "finished_successfully",
                "recipient": "all",
                "metadata": {"model_slug": "gpt-4o", "citations": [], "content_references": []},
            },
        }
    return {
        "title": f"Conversation {number}",
        "create_time": 1_700_000_000 + number * 1000,
        "update_time": 1_700_000_100 + number * 1000,
        "conversation_id": f"c-{number}",
        "current_node": f"n{MESSAGES - 1}",
        "mapping": mapping,
    }


if __name__ == "__main__":
    main()
