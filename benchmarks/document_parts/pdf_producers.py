"""Makes PDFs of one text with several producers, which write Hebrew and Arabic in different ways.

The packages are needed by this command alone: ``uv pip install weasyprint reportlab fpdf2 uharfbuzz python-bidi
arabic-reshaper typst pymupdf pangocairocffi cairocffi``. The programs are Debian's: ``apt-get install
--no-install-recommends libreoffice-writer-nogui texlive-xetex texlive-luatex texlive-lang-arabic texlive-lang-other
ghostscript``. Chromium is that of the browser tests. A producer that is not installed is left out.
"""

from __future__ import annotations

import html
import io
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")  # of Debian's fonts-dejavu; has both scripts
TEX_FONTS = {"he": "DejaVu Sans", "ar": "Amiri"}  # that of Debian's fonts-hosny-amiri, as most Arabic texts in TeX


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a PDF, from right to left.

    Attributes:
        language: ``he`` or ``ar``.
        sections: headings, each with its paragraph.
        table: rows of cells, the header first; the first cell of a row is its rightmost.
    """

    language: str
    title: str
    sections: Sequence[tuple[str, str]]
    table: Sequence[Sequence[str]]

    @property
    def text(self) -> str:
        """All of it, in the order in which it is read."""
        rows = (" ".join(row) for row in self.table)
        return "\n".join([self.title, *(f"{heading}\n{text}" for heading, text in self.sections), *rows])

    @property
    def page(self) -> str:
        """It as HTML."""
        sections = "".join(f"<h2>{html.escape(one)}</h2><p>{html.escape(text)}</p>" for one, text in self.sections)
        header, *rows = self.table
        table = "<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in header) + "</tr>"
        for row in rows:
            table += "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        return (
            f'<!doctype html><html lang="{self.language}" dir="rtl"><meta charset="utf-8"><title>{self.title}</title>'
            "<style>body{font-family:'DejaVu Sans';font-size:11pt}td,th{border:1px solid;padding:4px}"
            "table{border-collapse:collapse}</style>"
            f"<h1>{html.escape(self.title)}</h1>{sections}<table>{table}</table></html>"
        )


def _program(*names: str) -> str:
    """Return the path of the first program that is there.

    Raises:
        ImportError: none is.
    """
    for name in names:
        if path := shutil.which(name):
            return path
    raise ImportError(names[0])


def _made_by(command: Callable[[Path], Sequence[str]], file: str, text: str | bytes) -> bytes:
    """Return the ``made.pdf`` that a command makes in a folder with one file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Path(folder, file).write_bytes(text.encode() if isinstance(text, str) else text)
        environment = {**os.environ, "TEXMFVAR": f"{folder}/tex"}
        subprocess.run(  # a fixed command
            command(folder), check=True, capture_output=True, timeout=180, cwd=folder, env=environment
        )
        return Path(folder, "made.pdf").read_bytes()


def chromium(source: Source) -> bytes:
    """Print the page as the browser does."""
    program = _program("chromium", "chromium-headless-shell", "google-chrome")
    return _made_by(
        lambda folder: [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
            "--disable-background-networking", "--disable-quic", "--no-first-run", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={folder}/profile", f"--print-to-pdf={folder}/made.pdf",
            f"file://{folder}/page.html",
        ],
        "page.html",
        source.page,
    )  # fmt: skip


def libreoffice(source: Source) -> bytes:
    """Lay the page out with LibreOffice's Writer, which embeds fonts and writes letters as every office document."""
    program = _program("soffice")
    return _made_by(
        lambda folder: [
            program, "--headless", "--norestore", f"-env:UserInstallation=file://{folder}/profile",
            "--infilter=HTML (StarWriter)", "--convert-to", "pdf:writer_pdf_Export", "made.html",
        ],
        "made.html",
        source.page,
    )  # fmt: skip


def ghostscript(source: Source) -> bytes:
    """Write the PDF of LibreOffice anew, as "print to PDF" and programs that compress do."""
    program = _program("gs")
    return _made_by(
        lambda _: [program, "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=pdfwrite", "-o", "made.pdf", "page.pdf"],
        "page.pdf",
        libreoffice(source),
    )


def xelatex(source: Source) -> bytes:
    """Typeset it with XeTeX, polyglossia and bidi."""
    program = _program("xelatex")
    language = {"he": "hebrew", "ar": "arabic"}[source.language]
    start = (
        f"\\usepackage{{polyglossia}}\\setmainlanguage{{{language}}}"
        f"\\newfontfamily\\{language}font[Script={language.title()}]{{{TEX_FONTS[source.language]}}}"
    )
    return _made_by(lambda _: [program, "-interaction=batchmode", "made.tex"], "made.tex", _latex(source, start))


def lualatex(source: Source) -> bytes:
    """Typeset it with LuaTeX and babel."""
    program = _program("lualatex")
    language = {"he": "hebrew", "ar": "arabic"}[source.language]
    start = (
        f"\\usepackage[bidi=basic,layout=tabular]{{babel}}\\babelprovide[main,import]{{{language}}}"
        f"\\babelfont{{rm}}{{{TEX_FONTS[source.language]}}}"
    )
    return _made_by(lambda _: [program, "-interaction=batchmode", "made.tex"], "made.tex", _latex(source, start))


def _latex(source: Source, start: str) -> str:
    """Return the text for LaTeX; ``start`` chooses the language and its font."""

    def plain(text: str) -> str:
        return text.translate(str.maketrans({sign: f"\\{sign}" for sign in "#$%&_{}"}))

    rows = "".join(" & ".join(map(plain, row)) + " \\\\ \\hline\n" for row in source.table)
    sections = "".join(f"\\section*{{{plain(one)}}}\n{plain(text)}\n" for one, text in source.sections)
    columns = "|r" * len(source.table[0]) + "|"
    return (
        f"\\documentclass{{article}}{start}\n\\begin{{document}}\n\\section*{{{plain(source.title)}}}\n{sections}\n"
        f"\\noindent\\begin{{tabular}}{{{columns}}}\\hline {rows}\\end{{tabular}}\\end{{document}}"
    )


def weasyprint(source: Source) -> bytes:
    """Lay the page out with Pango."""
    made: bytes = import_module("weasyprint").HTML(string=source.page).write_pdf()
    return made


def pymupdf(source: Source) -> bytes:
    """Lay the page out with MuPDF, whose tables run from left to right in every language."""
    fitz = import_module("pymupdf")
    turned = replace(source, table=[row[::-1] for row in source.table])
    story, out = fitz.Story(turned.page), io.BytesIO()
    writer, area = fitz.DocumentWriter(out), fitz.paper_rect("a4")
    more = 1
    while more:
        device = writer.begin_page(area)
        more, _ = story.place((area.x0 + 50, area.y0 + 50, area.x1 - 50, area.y1 - 50))
        story.draw(device)
        writer.end_page()
    writer.close()
    return out.getvalue()


def typst(source: Source) -> bytes:
    """Typeset it."""

    def quoted(text: str) -> str:
        return '#"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    cells = "".join(f"[{quoted(cell)}]," for row in source.table for cell in row)
    text = (
        f'#set text(lang: "{source.language}", dir: rtl, font: "DejaVu Sans", size: 11pt)\n'
        f"= {quoted(source.title)}\n"
        + "".join(f"== {quoted(heading)}\n{quoted(text)}\n\n" for heading, text in source.sections)
        + f"#table(columns: {len(source.table[0])}, {cells})\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.typ")
        page.write_text(text, encoding="utf-8")
        made: bytes = import_module("typst").compile(str(page))
        return made


def reportlab(source: Source) -> bytes:
    """Write each line in visual order, with letters that are shaped before, as many programs do."""
    bidi, reshape = import_module("bidi"), import_module("arabic_reshaper").reshape
    platypus, styles = import_module("reportlab.platypus"), import_module("reportlab.lib.styles")
    metrics, fonts = import_module("reportlab.pdfbase.pdfmetrics"), import_module("reportlab.pdfbase.ttfonts")
    metrics.registerFont(fonts.TTFont("DejaVu", str(FONT)))
    body = styles.ParagraphStyle("body", fontName="DejaVu", fontSize=11, leading=16, alignment=2)
    large = styles.ParagraphStyle("large", parent=body, fontSize=16, leading=24)

    def shown(text: str) -> str:
        return str(bidi.get_display(reshape(text)))

    def paragraph(text: str) -> list[object]:
        lines, line = [], ""
        for word in text.split():
            if line and metrics.stringWidth(shown(f"{line} {word}"), "DejaVu", 11) > 440:
                lines, line = [*lines, line], word
            else:
                line = f"{line} {word}".strip()
        return [platypus.Paragraph(html.escape(shown(one)), body) for one in [*lines, line]]

    story: list[object] = [platypus.Paragraph(html.escape(shown(source.title)), large)]
    for heading, text in source.sections:
        story += [platypus.Paragraph(html.escape(shown(heading)), large), *paragraph(text), platypus.Spacer(1, 8)]
    rows = [[shown(cell) for cell in reversed(row)] for row in source.table]
    style = [("FONTNAME", (0, 0), (-1, -1), "DejaVu"), ("GRID", (0, 0), (-1, -1), 1, "black")]
    story.append(platypus.Table(rows, style=style))
    out = io.BytesIO()
    platypus.SimpleDocTemplate(out).build(story)
    return out.getvalue()


def fpdf(source: Source) -> bytes:
    """Write it with HarfBuzz and the bidirectional algorithm of fpdf2."""
    import_module("uharfbuzz")
    module = import_module("fpdf")
    made = module.FPDF()
    made.add_page()
    for style in ("", "B"):
        made.add_font("DejaVu", style, str(FONT))
    made.set_text_shaping(True)

    def write(text: str, size: int) -> None:
        made.set_font("DejaVu", size=size)
        made.multi_cell(0, size * 0.6, text, align="R", new_x="LMARGIN", new_y="NEXT")

    write(source.title, 18)
    for heading, text in source.sections:
        write(heading, 14)
        write(text, 11)
    with made.table(text_align="RIGHT") as table:
        for cells in source.table:
            row = table.row()
            for cell in reversed(cells):
                row.cell(cell)
    return bytes(made.output())


def cairo(source: Source) -> bytes:
    """Draw it with Pango and Cairo, as desktop programs print."""
    surfaces, pango, drawing = import_module("cairocffi"), import_module("pangocffi"), import_module("pangocairocffi")
    out = io.BytesIO()
    surface = surfaces.PDFSurface(out, 595, 842)
    context = surfaces.Context(surface)
    left = 842.0 - 50

    def write(text: str, size: int, *, right: float = 545, width: float = 495) -> float:
        layout = drawing.create_layout(context)
        layout.width = pango.units_from_double(width)
        description = pango.FontDescription()
        description.family, description.size = "DejaVu Sans", pango.units_from_double(size)
        layout.font_description, layout.text = description, text
        context.move_to(right - width, 842 - left)
        drawing.show_layout(context, layout)
        return float(pango.units_to_double(layout.get_extents()[1].height))

    sections = [one for heading, text in source.sections for one in ((heading, 15), (text, 11))]
    for text, size in [(source.title, 20), *sections]:
        if left < 120:
            surface.show_page()
            left = 842.0 - 50
        left -= write(text, size) + 8
    if left < 200:
        surface.show_page()
        left = 842.0 - 50
    for row in source.table:
        height = max(write(cell, 11, right=545 - 165 * place, width=150) for place, cell in enumerate(row))
        left -= height + 6
    surface.finish()
    return out.getvalue()


PRODUCERS: dict[str, Callable[[Source], bytes]] = {
    "Chromium": chromium,
    "WeasyPrint": weasyprint,
    "MuPDF": pymupdf,
    "Typst": typst,
    "Cairo": cairo,
    "ReportLab": reportlab,
    "fpdf2": fpdf,
    "LibreOffice": libreoffice,
    "Ghostscript": ghostscript,
    "XeLaTeX": xelatex,
    "LuaLaTeX": lualatex,
}
