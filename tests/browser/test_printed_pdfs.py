"""PDFs that the browser prints: Hebrew and Arabic words are read in their order, and rows of tables are kept."""

import pytest

from benchmarks.document_parts.pdf_producers import chromium as printed
from benchmarks.pdfs import measured, sources
from chatapp.documents.extraction.reading import read
from tests.browser.conftest import chromium_path


@pytest.mark.parametrize("name", ["centre.he", "clinic.ar"])
def test_words_of_a_printed_pdf_are_in_order_and_rows_are_kept(name):
    if chromium_path() is None:
        pytest.skip("Chromium is not here")
    source = sources()[name]
    _, pages = read(printed(source), "printed.pdf")
    result = measured(source, pages)
    assert result.in_order >= 0.98
    assert result.rows == 1
