"""Documents are read in child processes with limits; nothing of it is loaded before the first document."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chatapp.documents import child, reader
from chatapp.documents.extraction.shape import Kind, Reason
from chatapp.documents.reader import DocumentReader
from chatapp.documents.refusals import MAX_FILE_BYTES, MAX_NAME, InvalidDocument
from chatapp.domain.errors import LimitReached
from tests.browser.conftest import chromium_path, sandbox_arguments
from tests.fakes import files

pytestmark = pytest.mark.slow  # a process for each document

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
LIBRARIES = ("pdf_inspector", "pypdfium2", "mammoth", "python_calamine")


@pytest.fixture
def with_child(monkeypatch, tmp_path):
    """Return a function that replaces the child's program."""

    def replace(program):
        path = tmp_path / "child.py"
        path.write_text(program)
        monkeypatch.setattr(reader, "CHILD", path)

    return replace


@pytest.fixture
def from_child(with_child):
    """Return a function that runs lines in the child in place of reading, and returns what they put into ``made``."""

    async def run(program):
        with_child(
            f"import sys; sys.path.insert(0, {str(Path(child.__file__).parent)!r})\n"
            f"import child, json, os\nchild.limit_resources(); sys.stdin.buffer.read()\n"
            f"import socket, subprocess, urllib.request\nchild.forbid_everything_else()\nmade = 'nothing'\n{program}\n"
            'print(json.dumps({"kind": "text", "pages": [[1, "", [["text", str(made), 0]]]]}))'
        )
        return (await DocumentReader().read("ana", b"file", "a.txt")).pages[0].text

    return run


async def test_a_document_is_read_in_a_process_of_its_own():
    file = files.docx(("H1", "דוח שנתי"), "الفقرة الأولى")
    document = await DocumentReader().read("ana", file, "דוח.docx")
    assert (document.name, document.kind, document.characters) == ("דוח.docx", Kind.WORD, 21)
    assert document.pages[0].text == "דוח שנתי\nالفقرة الأولى"


async def test_a_refusal_is_a_sentence_with_the_name_of_the_file():
    for file, name, words in (
        (files.encrypted_pdf(), "bank.pdf", "bank.pdf is protected by a password"),
        (files.scanned_pdf(), "scan.pdf", "scan.pdf has images of pages and no text"),
        (files.pdf("T\nt"), "a.docx", "The content of a.docx is PDF, and its name says otherwise"),
        (b"", "empty.txt", "empty.txt has no text"),
        (b"x" * (MAX_FILE_BYTES + 1), "big.txt", "big.txt has 21 MB, and a document can have at most 20 MB"),
    ):
        with pytest.raises(InvalidDocument, match=words):
            await DocumentReader().read("ana", file, name)


async def test_a_name_in_a_sentence_is_short_and_keeps_its_ending():
    with pytest.raises(InvalidDocument) as refused:
        await DocumentReader().read("ana", b"", "a\u202e\n" + "b" * 300 + ".pdf")
    name = refused.value.sentence.values["name"]
    assert len(name) == MAX_NAME
    assert name.isprintable()
    assert name.endswith("bbb.pdf")


def test_no_library_is_loaded_before_the_first_document():
    """Nothing of a format is loaded at all in the chat's process, and few modules of this package."""
    program = (
        "import sys; import chatapp.limits.lanes, chatapp.domain.errors, asyncio, json; before = set(sys.modules)\n"
        "import chatapp.documents.reader; print(*sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in loaded if name.startswith((*LIBRARIES, "xml", "zipfile", "email", "csv"))] == []
    own = [name for name in loaded if name.startswith("chatapp.")]
    assert own == [
        "chatapp.documents",
        "chatapp.documents.extraction",
        "chatapp.documents.extraction.shape",
        "chatapp.documents.reader",
        "chatapp.documents.refusals",
    ]
    assert len(loaded) <= len(own) + 8, loaded  # of the standard library


def test_a_child_loads_only_what_its_file_needs():
    program = (
        f"import sys; sys.path.insert(0, {str(Path(child.__file__).parent)!r})\n"
        "import child; child.read(b'text', 'a')\n"
        f"print(*(name for name in {LIBRARIES} if name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, check=True).stdout == b"\n"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os; os.abort()", Reason.MEMORY),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", Reason.DAMAGED),
        ("raise ValueError", Reason.DAMAGED),
        ("", Reason.DAMAGED),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", Reason.TIME),
        ("import time; time.sleep(600)", Reason.TIME),
        ("while True: print('x' * 1_000_000)", Reason.TEXT),
    ],
)
async def test_a_child_that_ends_without_a_reply_or_never_ends_is_a_refusal(with_child, monkeypatch, program, reason):
    monkeypatch.setattr(reader, "SECONDS", 2.0 if "sleep" in program else 90.0)
    with_child(program)
    with pytest.raises(InvalidDocument) as refused:
        await DocumentReader().read("ana", b"file", "a.txt")
    assert refused.value.reason == reason


@ON_LINUX
async def test_a_child_cannot_take_more_memory_than_its_limit(from_child):
    assert await from_child("try: made = len(bytearray(2_000_000_000))\nexcept MemoryError: made = 'refused'") == (
        "refused"
    )


@pytest.mark.parametrize(
    "action",
    [
        "socket.create_connection(('127.0.0.1', 9))",
        "socket.getaddrinfo('localhost', 80)",
        "urllib.request.urlopen('http://127.0.0.1:9')",
        "subprocess.run(['true'])",
        "os.system('true')",
        "os.remove('/tmp/none')",
        "open('/etc/passwd')",
        "open('file', 'w')",
        "os.open('file', os.O_CREAT | os.O_RDWR)",
    ],
)
async def test_a_child_connects_to_nothing_starts_nothing_and_opens_nothing(from_child, action):
    assert await from_child(f"try: made = {action}\nexcept PermissionError: made = 'refused'") == "refused"


async def test_a_child_knows_no_key_of_the_chat(from_child, monkeypatch):
    monkeypatch.setenv("CHAT_GEMINI_API_KEY", "secret")
    assert "CHAT" not in await from_child("made = sorted(os.environ)")


async def test_the_memory_of_a_child_does_not_depend_on_the_number_of_cores(from_child):
    """Each thread reserves addresses for a heap of its own otherwise, and the limit is one of addresses."""
    assert await from_child("made = os.environ['RAYON_NUM_THREADS'], os.environ['MALLOC_ARENA_MAX']") == "('1', '1')"


async def test_a_client_that_leaves_ends_its_child(with_child, tmp_path):
    pid_file = tmp_path / "pid"
    with_child(f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    documents = DocumentReader()
    reading = asyncio.create_task(documents.read("ana", b"file", "a.txt"))
    async with asyncio.timeout(60):
        while not (pid_file.exists() and pid_file.read_text()):
            await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
    assert documents._held_bytes == 0


async def test_files_that_wait_take_a_bounded_amount_of_memory(with_child, monkeypatch):
    monkeypatch.setattr(reader, "MAX_HELD_BYTES", 10)
    with_child('print(\'{"kind": "text", "pages": [[1, "", []]]}\')')
    with pytest.raises(LimitReached, match="Many documents are being read right now"):
        await DocumentReader().read("ana", b"x" * 11, "a.txt")
    assert (await DocumentReader().read("ana", b"x", "a.txt")).pages[0].text == ""


async def test_a_document_of_too_many_pages_is_refused_with_their_number():
    with pytest.raises(InvalidDocument, match=r"has 2,001 pages, and a document can have at most 2,000"):
        await DocumentReader().read("ana", files.pdf(*["T\nt"] * 2001), "a.pdf")


@pytest.mark.long
async def test_ten_thousand_pages_are_refused():
    with pytest.raises(InvalidDocument, match=r"10,000 pages"):
        await DocumentReader().read("ana", files.pdf(*["T\nt"] * 10_000), "a.pdf")


@ON_LINUX
@pytest.mark.parametrize("cells", ['<c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c>'])
async def test_a_sheet_with_cells_in_opposite_corners_ends_no_more_than_its_child(cells):
    """calamine allocates the rectangle between them: 17 billion cells."""
    file = files.xlsx(Sheet=f'<sheetData><row r="1">{cells}</row></sheetData>')
    with pytest.raises(InvalidDocument) as refused:
        await DocumentReader().read("ana", file, "a.xlsx")
    assert refused.value.reason in {Reason.MEMORY, Reason.DAMAGED, Reason.TEXT}


async def test_javascript_in_a_pdf_does_nothing():
    action = b"/OpenAction << /S /JavaScript /JS (app.launchURL\\('http://127.0.0.1:9'\\)) >>"
    document = await DocumentReader().read("ana", files.pdf("Title\nThe text.", catalog=action), "a.pdf")
    assert document.pages[0].text == "Title\nThe text."


PAGE = """<html lang="{language}" dir="rtl"><meta charset="utf-8"><body><h1>{title}</h1><p>{first}</p>
<div style="page-break-before: always"></div><h2>{title}</h2><p>{second}</p></body></html>"""
TEXTS = {
    "he": (
        "דוח שנתי לשנת 2025",
        "ההכנסות של החברה עלו ב-12 אחוזים לעומת השנה הקודמת, והגיעו ל-4.5 מיליון שקלים.",
        "המנכ״לית אמרה: ״השנה הבאה תהיה טובה יותר״ (מאוד), והוסיפה שהחברה תגייס 30 עובדים.",
    ),
    "ar": (
        "التقرير السنوي",
        "ارتفعت إيرادات الشركة بنسبة 12 في المئة مقارنة بالعام السابق.",
        "قالت المديرة إن السنة القادمة ستكون أفضل، وإن الشركة ستوظف 30 عاملا.",
    ),
}


@pytest.mark.skipif(chromium_path() is None, reason="Chromium is not here")
async def test_the_words_of_hebrew_and_arabic_pdfs_that_chromium_prints_are_in_their_order(tmp_path):
    for language, (title, first, second) in TEXTS.items():
        page, printed = tmp_path / f"{language}.html", tmp_path / f"{language}.pdf"
        page.write_text(PAGE.format(language=language, title=title, first=first, second=second), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            chromium_path(),
            *("--headless", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={tmp_path / 'profile'}"),
            *(*sandbox_arguments(), f"--print-to-pdf={printed}", page.as_uri()),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert await process.wait() == 0
        document = await DocumentReader().read("ana", printed.read_bytes(), "report.pdf")
        assert len(document.pages) == 2
        read = [re.sub(r"\s+", " ", page.text) for page in document.pages]
        assert set(title.split()) <= set(read[0].split()), read
        assert first in read[0]
        assert second in read[1]
    shutil.rmtree(tmp_path / "profile", ignore_errors=True)


def test_the_reply_of_a_child_is_one_line_of_json():
    done = subprocess.run(
        [sys.executable, "-I", child.__file__, "a.txt"], input="שלום".encode(), capture_output=True, check=True
    )
    assert json.loads(done.stdout) == {"kind": "text", "pages": [[1, "", [["text", "שלום", 0]]]]}
