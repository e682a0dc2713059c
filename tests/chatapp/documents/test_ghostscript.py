"""PDFs of Ghostscript: ligatures have their letters, and words and cells are apart."""

import re
import zlib
from pathlib import Path

import pytest

from chatapp.documents.extraction.ghostscript import mended
from chatapp.documents.extraction.reading import read

PDF = (Path(__file__).parent / "pdfs" / "ghostscript.ar.pdf").read_bytes()


def pdf(*streams):
    """Return a file with packed streams, as weakly packed as Ghostscript packs them."""
    return b"%PDF-1.7\nGPL Ghostscript\n" + b"".join(
        b"stream\n" + zlib.compress(one, 0) + b"endstream\n" for one in streams
    )


def streams(file):
    return [zlib.decompressobj().decompress(file[found.end() :]) for found in re.finditer(b"(?<!end)stream\n", file)]


def named(*letters):
    """Return the letters of signs, as they are after those that Ghostscript wrote."""
    longer = b"<70><72><0041>\n"  # a range of three signs among them
    ranges = longer + b"".join(b"<%02x><%02x><%b>\n" % (sign, sign, one) for sign, one in enumerate(letters))
    [text] = streams(mended(pdf(b"%d beginbfrange\n%bendbfrange\n" % (len(letters), ranges))))
    assert text.endswith(b"endbfchar\n1 beginbfrange\n%bendbfrange\n" % longer)
    return [bytes.fromhex(one.decode()).decode("utf-16-be") for one in re.findall(rb"(?m)^<\w\w><(\w+)>$", text)]


def test_an_arabic_pdf_of_ghostscript_has_its_ligatures_its_words_and_its_rows():
    _, [page] = read(PDF, "clinic.pdf")
    title, heading, text, header, row = (block.text for block in page.blocks)
    assert (title, heading) == ("دليل العيادة", "ساعات العمل")
    assert "أبوابها من الأحد إلى الخميس، ولا" in text
    assert text.endswith("يوم الجمعة لأي أحد.")
    assert (header, row) == ("الخدمة السعر الأيام", "درس خاص 95 الجمعة")


def test_ligatures_get_the_letters_that_ghostscript_names_wrongly():
    assert named(b"06444427", b"06444423", b"064b4b6b") == ["لا", "لأ", "لا"]
    assert named(b"66006900", b"66006600", b"6600cf00", b"6600d200", b"0645") == ["fi", "ff", "ffi", "ffl", "م"]
    assert named(b"00660069", b"4e2d6587", b"d83dde00") == ["fi", "中文", "😀"]  # these were right


def test_long_moves_of_the_pen_divide_a_text_only_in_a_document_from_right_to_left():
    drawn = rb"BT [(a\)]TJ)3.4(b)8598.2(c)-256<0d>0.2(d)]TJ ET"
    arabic, latin = (b"1 beginbfchar\n<01> <%b>\nendbfchar" % letters for letters in (b"0645", b"0041"))
    assert streams(mended(pdf(drawn, arabic)))[0] == rb"BT [(a\)]TJ)3 (b)]TJ[8598 (c)]TJ[-256 <0d>(d)]TJ ET"
    assert streams(mended(pdf(drawn, latin)))[0] == drawn


@pytest.mark.parametrize("end", [0, 5, 40])
def test_what_is_damaged_or_cannot_be_shorter_stays_as_it_was(end):
    file = (
        b"GPL Ghostscript\nstream\n" + zlib.compress(b"1 beginbfchar\n<01> <0645>\nendbfchar", 9)[:end] + b"\nendstream"
    )
    assert mended(file) == file
    assert len(mended(PDF)) == len(PDF)
