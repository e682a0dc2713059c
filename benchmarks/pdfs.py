"""Hebrew and Arabic PDFs of several producers: words in the right order, and rows of tables that are kept together.

Run: ``python -m benchmarks.pdfs [--keep FOLDER] [--show] [PRODUCER ...]``. The texts are six of
``document_parts/corpus``, each with a table; ``document_parts/pdf_producers.py`` makes a PDF of each with every
producer that is installed (or with those that are named), and says how to install them. The PDFs are read as an upload
is. ``--keep`` writes them into a folder, ``--show`` prints what was read.
"""

from __future__ import annotations

import sys
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.document_parts.pdf_producers import PRODUCERS, Source
from benchmarks.document_parts.questions import CORPUS
from chatapp.documents.extraction.reading import read
from chatapp.documents.extraction.shape import Refused
from chatapp.documents.stems import words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chatapp.documents.extraction.shape import Page

TEXTS = 3  # of each language
TABLES = {
    "he": (
        ("שירות", "מחיר", "ימים"),
        ("הדפסה צבעונית", "1.50", "ראשון עד חמישי"),
        ("השכרת אולם", "350", "שישי"),
        ("כרטיס שנתי", "1,200", "כל השבוע"),
        ("שיעור פרטי", "95", "שני ורביעי"),
    ),
    "ar": (
        ("الخدمة", "السعر", "الأيام"),
        ("طباعة ملونة", "1.50", "الأحد حتى الخميس"),
        ("استئجار القاعة", "350", "الجمعة"),
        ("بطاقة سنوية", "1,200", "كل الأسبوع"),
        ("درس خاص", "95", "الاثنين والأربعاء"),
    ),
}


class Result(NamedTuple):
    """How a PDF was read.

    Attributes:
        in_order: the part of the words that come in their order.
        rows: the part of the rows of the table whose cells are in one row or line.
    """

    in_order: float
    rows: float


def sources() -> dict[str, Source]:
    """Return the texts by their names."""
    made = {}
    for language, table in TABLES.items():
        for file in sorted(CORPUS.glob(f"*.{language}.md"))[:TEXTS]:
            title, *sections = file.read_text(encoding="utf-8").split("\n## ")
            parts = [section.split("\n") for section in sections]
            made[file.stem] = Source(
                language, title.strip("# \n"), [(heading, text) for heading, text, *_ in parts], table
            )
    return made


def measured(source: Source, pages: Iterable[Page]) -> Result:
    """Return how a text was read."""
    pages = list(pages)
    expected, found = words(source.text), words("\n".join(page.text for page in pages))
    blocks = SequenceMatcher(None, expected, found, autojunk=False).get_matching_blocks()
    lines = [set(words(line)) for page in pages for block in page.blocks for line in block.text.split("\n")]
    kept = sum(any(set(words(" ".join(row))) <= line for line in lines) for row in source.table)
    return Result(sum(block.size for block in blocks) / len(expected), kept / len(source.table))


def main() -> None:
    keep = Path(sys.argv[sys.argv.index("--keep") + 1]) if "--keep" in sys.argv else None
    print("| producer | language | PDFs | words in order, least | rows kept |\n|---|---|---|---|---|")
    chosen = [producer for producer in PRODUCERS if producer in sys.argv] or list(PRODUCERS)
    for producer, make in ((producer, PRODUCERS[producer]) for producer in chosen):
        results: dict[str, list[Result]] = {}
        for name, source in sources().items():
            try:
                file = make(source)
            except ImportError as error:
                print(f"| {producer} | | 0 | {error} is not installed | |")
                break
            if keep:
                (keep / f"{name}.{producer}.pdf").write_bytes(file)
            try:
                _, pages = read(file, "made.pdf")
            except Refused as refused:
                print(f"| {producer} | {name} | refused: {refused.reason} | | |")
                pages = []
            results.setdefault(source.language, []).append(measured(source, pages))
            if "--show" in sys.argv:
                print("\n".join(f"    {block.kind}: {block.text}" for page in pages for block in page.blocks))
        for language, of_language in results.items():
            least = min(one.in_order for one in of_language)
            rows = sum(one.rows for one in of_language) / len(of_language)
            print(f"| {producer} | {language} | {len(of_language)} | {least:.3f} | {rows:.2f} |")


if __name__ == "__main__":
    main()
