"""PDFs of XeTeX and LuaTeX in Hebrew and Arabic have their words and rows."""

from pathlib import Path

import pytest

from chatapp.documents.extraction import tex
from chatapp.documents.extraction.reading import read

PDFS = Path(__file__).parent / "pdfs"
ARABIC = [
    "فترة التجربة",
    "الفريق",
    "يعقد رئيس الفريق حديث تقييم قريب مع الزميل الجديد مسبقاً.",
    "الخدمة | السعر | الأيام",
    "بطاقة سنوية | 95 | الجمعة",
]
HEBREW = [
    "חוזה שכירות",
    "תשלום",
    "דמי השכירות הם 4,500 שקלים לחודש (כולל מים), עד ה-10 בכל חודש.",
    "שירות | מחיר | ימים",
    "השכרת אולם | 350 | שישי",
]


@pytest.mark.parametrize(("name", "texts"), [("xelatex.ar", ARABIC), ("lualatex.ar", ARABIC), ("lualatex.he", HEBREW)])
def test_a_pdf_of_tex_has_its_words_and_its_rows(name, texts):
    _, [page] = read((PDFS / f"{name}.pdf").read_bytes(), "made.pdf")
    assert [block.text for block in page.blocks][:-1] == texts  # the last one is the page's number


@pytest.mark.parametrize("name", ["cairo.ar", "ghostscript.ar", "scan.he"])
def test_a_pdf_of_another_program_stays_as_it_is(name):
    file = (PDFS / f"{name}.pdf").read_bytes()
    assert tex.mended(file) == file
