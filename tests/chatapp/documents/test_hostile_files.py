"""Damaged and hostile files end as a document or as a refusal, within the limits, and leave nothing behind."""

import contextlib
import random
import resource
import sys
from collections import Counter

import psutil
import pytest

from chatapp.documents.extraction.shape import Reason
from chatapp.documents.reader import CHILD, Document, DocumentReader
from chatapp.documents.refusals import InvalidDocument
from tests.fakes import files

pytestmark = pytest.mark.slow  # a process for each file

SEEDS = {
    "a.pdf": files.pdf("Annual report\nRevenue grew by 12 percent.\nCosts fell.", "Outlook\nMore of it."),
    "b.pdf": files.scanned_pdf(),
    "c.pdf": files.encrypted_pdf(),
    "a.docx": files.docx(("H1", "דוח שנתי"), "פסקה", [["רבעון", "הכנסות"], ["ראשון", "1,200"]], "النص"),
    "a.xlsx": files.xlsx(Sales=[["Name", "Sum"], ["Dana", 12.5]], Costs=[["Rent", 1000]]),
    "a.pptx": files.pptx(("Plan", "First", [["a", "b"], ["1", "2"]], "Notes"), ("כתרת", "نص", [], "")),
    "a.eml": b"From: a@b.c\nTo: d@e.f\nSubject: =?utf-8?b?16nXnNeV150=?=\nMIME-Version: 1.0\n"
    b"Content-Type: multipart/mixed; boundary=B\n\n--B\nContent-Type: text/html\n\n<p>Hello</p>\n--B--\n",
    "a.html": "<!doctype html><h1>T</h1><table><tr><td>1<td>שתיים</table><p>end".encode(),
    "a.md": "# T\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\ncode\n```\n- פריט".encode(),
    "a.csv": b'name;sum\n"Dana; D.";12\n',
    "a.txt": "שורה ראשונה\n\nالسطر الثاني".encode("utf-16"),
}
TOKENS = [
    b"<",
    b">",
    b"/",
    b"\0",
    b"\xff\xff\xff\xff",
    b"9999999999",
    b"-1",
    b"<<",
    b"endobj",
    b"&#0;",
    b"]]>",
    b"%PDF",
]


def mutated(file, chance):
    """Return a file with bytes changed, pieces doubled, dropped and moved, or its end cut off."""
    data = bytearray(file)
    for _ in range(chance.choice([1, 1, 2, 5, 20])):
        at = chance.randrange(len(data) + 1)
        length = chance.choice([1, 1, 4, 40, 400])
        match chance.randrange(6):
            case 0:
                data[at : at + length] = chance.randbytes(min(length, 8))
            case 1:
                data[at:at] = chance.choice(TOKENS)
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length] * chance.choice([1, 2, 50])
            case 4:
                data = data[:at]
            case 5:
                data[at : at + 4] = chance.randrange(2**32).to_bytes(4, "little")
    return bytes(data[:1_000_000])


async def outcome(documents, file, name):
    """Return the reason of a refusal, "document" if it was read."""
    try:
        document = await documents.read("ana", file, name)
    except InvalidDocument as refused:
        return refused.reason if name in str(refused) else "no sentence"
    assert isinstance(document, Document)
    assert any(block.text for page in document.pages for block in page.blocks)
    return "document"


def running_children():
    """Return the children that read documents; a worker of pytest has others."""
    running = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            running += [child] * (str(CHILD) in child.cmdline())
    return running


async def fuzzed(count, seed):
    """Return how often each outcome was reached; a child can write no file, so it leaves none behind."""
    documents, chance, outcomes = DocumentReader(), random.Random(seed), Counter()
    for number in range(count):
        name = list(SEEDS)[number % len(SEEDS)]
        outcomes[await outcome(documents, mutated(SEEDS[name], chance), name)] += 1
    assert running_children() == []
    assert outcomes.keys() <= {"document", *Reason}
    return outcomes


async def test_mutated_files_are_read_or_refused():
    outcomes = await fuzzed(len(SEEDS), seed=20)
    assert outcomes.total() == len(SEEDS)
    assert not outcomes.keys() & {Reason.TIME, Reason.MEMORY}, outcomes


@pytest.mark.long(seconds=100)
async def test_a_thousand_mutated_files_are_read_or_refused():
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # of other tests' processes
    outcomes = await fuzzed(1_000, seed=1)
    assert sum(outcomes.values()) == 1_000
    assert outcomes["document"] > 100
    if sys.platform == "linux":
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        assert most == before or most < 700 * 1024, f"{most} kB"


def word(xml):
    return files.docx(**{"word/document.xml": xml})


def nested_mail():
    parts = (b"Content-Type: multipart/mixed; boundary=B%d\n\n--B%d\n" % (number, number) for number in range(3_000))
    return b"From: a\nTo: b\nSubject: c\n" + b"".join(parts)


def nested_table(depth):
    return [[nested_table(depth - 1) if depth else "text"]]


DOCTYPE = b"<!doctype html>"
# Made when they are needed: they take a second. The last is what they end as.
BOMBS = {
    "zeros": ("a.docx", lambda: files.archive({"word/document.xml": b"\0" * 50_000_000}), Reason.UNSAFE),
    "entries": ("a.pptx", lambda: files.archive(dict.fromkeys(map(str, range(21_000)), "")), Reason.UNSAFE),
    "spaces": ("a.docx", lambda: word("<a>" + " " * 30_000_000 + "</a>"), Reason.TEXT),
    "elements": ("a.docx", lambda: word("<a>" + "<b/>" * 1_500_000 + "</a>"), Reason.UNSAFE),
    "attributes": (
        "a.docx",
        lambda: word("<a " + " ".join(f"b{number}=''" for number in range(30_000)) + "/>"),
        Reason.UNSAFE,
    ),
    "depth of a table": ("a.docx", lambda: files.docx(nested_table(100)), Reason.UNSAFE),
    "text of a sheet": ("a.xlsx", lambda: files.xlsx(A=[["x" * 30_000] * 200]), Reason.TEXT),
    "depth of HTML": ("a.html", lambda: DOCTYPE + b"<div>" * 300_000 + b"text", "document"),
    "tables in cells": ("a.html", lambda: DOCTYPE + b"<table><tr><td>" * 50_000 + b"text", "document"),
    "depth of a PDF": ("a.pdf", lambda: files.pdf(b"BT " + b"[" * 100_000 + b" ET"), Reason.DAMAGED),
    "depth of an e-mail": ("a.eml", nested_mail, Reason.UNSAFE),
    "one line": ("a.txt", lambda: b"word " * 700_000, "document"),
    "quotation marks": ("a.csv", lambda: b'"' + b"a" * 3_000_000, Reason.DAMAGED),
    "items": ("a.md", lambda: b"- " * 500_000, "document"),
    "cells": ("a.md", lambda: b"|a" * 500_000 + b"\n" + b"|-" * 200_000, "document"),
}


SLOW = {"zeros", "entries", "spaces", "elements", "tables in cells", "depth of HTML"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] * (name in SLOW)) for name in BOMBS])
async def test_a_bomb_ends_no_more_than_its_child(name):
    file_name, made, expected = BOMBS[name]
    assert await outcome(DocumentReader(), made(), file_name) == expected
    assert running_children() == []
