"""Files of every kind are read into headings, paragraphs and rows; what cannot be read is refused with its reason."""

import io
import zipfile
from pathlib import Path

import pytest

from chatapp.documents.extraction import archive
from chatapp.documents.extraction.brackets import turned
from chatapp.documents.extraction.pdf import is_broken
from chatapp.documents.extraction.reading import read
from chatapp.documents.extraction.shape import Block, BlockKind, Kind, Page, Reason, Refused
from tests.fakes import files


def lines(file, name):
    """Return the kind of a file, and its blocks as ``kind: text``."""
    kind, pages = read(file, name)
    return kind, [[f"{block.kind.value}: {block.text}" for block in page.blocks] for page in pages]


def refusal(file, name):
    with pytest.raises(Refused) as refused:
        read(file, name)
    return refused.value


def test_a_pdf_has_its_pages_with_headings_and_paragraphs():
    kind, pages = lines(files.pdf("Annual report\nRevenue grew.\nCosts fell.", "Outlook\nNone."), "report.pdf")
    assert kind == Kind.PDF
    assert pages[0] == ["heading: Annual report", "text: Revenue grew. Costs fell."]
    assert "Outlook" in pages[1][0]


def test_a_scan_with_the_text_that_ocr_has_read_behind_it_is_read():
    image = b"q 612 0 0 792 0 0 cm /Im1 Do Q "
    hidden = image + (
        b"BT /F1 11 Tf 3 Tr 72 700 Td (Lease of 2024, with an inventory) Tj"
        b" 0 -16 Td (The tenant pays 4,500 on the first of each month.) Tj ET"
    )
    _, pages = lines(files.scanned_pdf(image, hidden), "scan.pdf")
    assert pages == [[], ["text: Lease of 2024, with an inventory The tenant pays 4,500 on the first of each month."]]
    _, [page] = lines((Path(__file__).parent / "pdfs" / "scan.he.pdf").read_bytes(), "scan.pdf")
    text = "חוזה שכירות משנת 2024 השוכר משלם 4,500 שקלים בכל חודש המפתחות נמסרים לשוכר בתחילת החודש"
    assert page == [f"text: {text}"]


def test_a_number_that_looks_like_that_of_the_page_is_kept():
    """pdf-inspector 1.25 drops digits in a band at the top of A4 pages: the year beside a title, for example."""
    drawn = (
        b"BT /F1 20 Tf 72 760 Td (Report for) Tj ET BT /F1 20 Tf 300 760 Td (2025) Tj ET"
        b" BT /F1 9 Tf 72 740 Td (12) Tj ET BT /F1 9 Tf 226 740 Td (Rows of it) Tj ET"
        b" BT /F1 11 Tf 72 500 Td (Text of it.) Tj ET BT /F1 9 Tf 300 20 Td (7) Tj ET"
    )
    _, [page] = lines(files.pdf(drawn, height=842), "report.pdf")
    assert page[0] == "heading: Report for 2025"
    assert "Rows of it 12" in " ".join(page)
    assert " 7" not in " ".join(page)  # that of the page itself


@pytest.mark.parametrize(
    ("file", "name", "kind", "blocks"),
    [
        ("One.\n\nTwo\nlines.\n", "a.txt", Kind.TEXT, ["text: One.", "text: Two lines."]),
        (
            "# T\n\na **b**\n\n| x | y |\n|---|---|\n| 1 | 2 |\n\n```py\n# no heading\n```\n- item",
            "a.md",
            Kind.MARKDOWN,
            ["heading: T", "text: a b", "header: x | y", "row: 1 | 2", "code: # no heading", "text: - item"],
        ),
        (
            "<!doctype html><h1>T</h1><table><tr><th>a<th>b<tr><td><p>1</p><td>2</table><script>x</script><p>end",
            "a.html",
            Kind.HTML,
            ["heading: T", "header: a | b", "row: 1 | 2", "text: end"],
        ),
        ('n;sum\r\n"Dana; D.";=1+1\r\n', "a.csv", Kind.CSV, ["header: n | sum", "row: Dana; D. | =1+1"]),
        ("def f():\n    return 1\n", "a.py", Kind.CODE, ["code: def f():\n    return 1"]),
    ],
)
def test_text_of_every_kind_is_read_by_what_it_is(file, name, kind, blocks):
    assert lines(file.encode(), name) == (kind, [blocks])


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("שלום עולם, זה קובץ ישן.", "cp1255"),
        ("مرحبا بالعالم، هذا ملف قديم.", "cp1256"),
        ("Une école à Genève.", "cp1252"),
        ("hello שלום", "utf-16"),
        ("hello مرحبا", "utf-8-sig"),
    ],
)
def test_text_from_before_unicode_is_read(text, encoding):
    assert lines(text.encode(encoding), "a.txt") == (Kind.TEXT, [[f"text: {text}"]])


BROKEN = files.docx("text")[:-30]


@pytest.mark.parametrize(
    ("file", "name", "reason"),
    [
        (b"", "a.txt", Reason.EMPTY),
        (b" \n\0", "a.txt", Reason.EMPTY),
        (files.docx(), "a.docx", Reason.EMPTY),
        (files.xlsx(Sheet=[]), "a.xlsx", Reason.EMPTY),
        (files.pdf(b""), "a.pdf", Reason.EMPTY),
        (files.scanned_pdf(), "a.pdf", Reason.SCANNED),
        (files.encrypted_pdf(), "a.pdf", Reason.ENCRYPTED),
        (files.ole("EncryptedPackage"), "a.docx", Reason.ENCRYPTED),
        (files.pdf("T\nt")[:200], "a.pdf", Reason.DAMAGED),
        (BROKEN, "a.docx", Reason.DAMAGED),
        (files.archive({"a": "b"}), "a.xlsx", Reason.DAMAGED),
        (b"no signature", "a.pptx", Reason.DAMAGED),
        (files.docx(**{"word/document.xml": "<w:document"}), "a.docx", Reason.DAMAGED),
        (files.archive({"a": "b"}), "a.zip", Reason.UNSUPPORTED),
        (files.ole("WordDocument"), "a.doc", Reason.UNSUPPORTED),
        (b"\x89PNG\r\n\x1a\n", "picture", Reason.UNSUPPORTED),
        (bytes(range(256)), "a.bin", Reason.UNSUPPORTED),
        (files.pdf("T\nt"), "a.docx", Reason.OTHER_KIND),
        (files.docx("t"), "a.pdf", Reason.OTHER_KIND),
        (b"\x89PNG\r\n\x1a\n", "a.txt", Reason.OTHER_KIND),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(file, name, reason):
    assert refusal(file, name).reason == reason


def test_the_name_decides_nothing_that_the_content_says():
    assert read(files.pdf("T\ntext"), "no ending")[0] == Kind.PDF
    assert read(files.docx("text"), "a.docm")[0] == Kind.WORD
    assert read(b"<html><p>page</p>", "a.txt")[0] == Kind.HTML
    assert refusal(files.pdf("T\nt"), "a.docx").facts == {"kind": "PDF"}


@pytest.mark.parametrize(
    "xml",
    [
        '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><a/>',
        "<a>" * 300 + "</a>" * 300,
    ],
)
@pytest.mark.parametrize("kind", ["docx", "pptx"])
def test_xml_that_no_office_program_writes_is_not_parsed(kind, xml):
    file = files.docx("t", **{"word/document.xml": xml}) if kind == "docx" else None
    file = file or files.pptx(("a", "b", [], ""), **{"ppt/slides/slide1.xml": xml})
    assert refusal(file, f"a.{kind}").reason == Reason.UNSAFE


def test_an_archive_that_states_a_size_beyond_the_limit_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 20_000)
    bomb = files.archive({f"word/{number}.xml": b"\0" * 3_000 for number in range(7)} | {"word/document.xml": "x"})
    assert len(bomb) < 2_000
    assert refusal(bomb, "a.docx").reason == Reason.UNSAFE


def test_names_in_an_archive_lead_nowhere(tmp_path):
    file = files.pptx(("T", "t", [], ""), **{"../../outside.xml": "<a/>", "/etc/outside": "x"})
    assert read(file, "a.pptx")[0] == Kind.SLIDES


def test_an_external_picture_of_a_word_document_is_neither_fetched_nor_read(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret of this computer")
    drawing = (
        '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
        'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
        'xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing" '
        'xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture" '
        'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><w:body><w:p><w:r><w:t>text'
        "</w:t></w:r><w:r><w:drawing><wp:inline><a:graphic><a:graphicData><pic:pic><pic:blipFill>"
        '<a:blip r:link="rId9"/></pic:blipFill></pic:pic></a:graphicData></a:graphic></wp:inline></w:drawing></w:r>'
        "</w:p></w:body></w:document>"
    )
    relations = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId9" '
        'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/image" '
        f'Target="{secret.as_uri()}" TargetMode="External"/></Relationships>'
    )
    file = files.docx(**{"word/document.xml": drawing, "word/_rels/document.xml.rels": relations})
    assert lines(file, "a.docx")[1] == [["text: text"]]


@pytest.mark.parametrize(
    ("text", "turned_text"),
    [
        ("שלום )עולם(", "שלום (עולם)"),
        ("שלום (עולם)", "שלום (עולם)"),
        ("»مرحبا« (abc)", "«مرحبا» (abc)"),
        (")a( b", ")a( b"),
        ("א) סעיף", "א) סעיף"),
    ],
)
def test_brackets_of_text_from_right_to_left_are_turned_where_they_pair_only_then(text, turned_text):
    assert turned(text) == turned_text


def test_broken_hebrew_is_noticed():
    def page(text):
        return [Page(1, (Block(BlockKind.TEXT, text),))]

    good = "שוק העבודה עומד בפני שינויים טכנולוגיים ודיגיטליים רבים בשנים האחרונות " * 4
    assert not is_broken(page(good))
    assert not is_broken(page("a b c d " * 20))
    assert is_broken(page(" ".join(good.replace(" ", ""))))
    assert is_broken(page(" ".join(word[::-1] for word in good.split())))


def test_an_encrypted_archive_is_refused_as_one():
    file = bytearray(files.docx("text"))
    for place in range(len(file) - 4):
        if file[place : place + 4] == b"PK\1\2":
            file[place + 8] |= 1  # the flag of encryption, in the directory
    assert zipfile.is_zipfile(io.BytesIO(bytes(file)))
    assert refusal(bytes(file), "a.docx").reason == Reason.ENCRYPTED
