"""Small files of every kind of document, written by hand: real ones, damaged ones and hostile ones."""

import io
import zipfile
from html import escape

HEADER = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_S = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_A = "http://schemas.openxmlformats.org/drawingml/2006/main"
_P = "http://schemas.openxmlformats.org/presentationml/2006/main"


def pdf(*pages, catalog=b"", trailer=b"", height=792, more=()):
    """Return a PDF with a page for each text; its lines are drawn in Helvetica, the first one larger.

    A page may be the bytes of its drawing instead, which may use the first of ``more`` objects as ``/Im1``.
    """
    objects = [b"<< /Type /Catalog /Pages 2 0 R " + catalog + b" >>"]
    kids = b" ".join(b"%d 0 R" % (4 + 2 * number) for number in range(len(pages)))
    objects += [
        b"<< /Type /Pages /Kids [" + kids + b"] /Count %d >>" % len(pages),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        drawn = []
        for line, words in enumerate(text.split("\n") if isinstance(text, str) else ()):
            size, y = (20, height - 100) if line == 0 else (11, height - 120 - 16 * line)
            escaped = words.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)").encode("latin-1")
            drawn.append(b"BT /F1 %d Tf 72 %d Td (%s) Tj ET" % (size, y, escaped))
        stream = text if isinstance(text, bytes) else b"\n".join(drawn)
        images = b"/XObject << /Im1 %d 0 R >>" % (4 + 2 * len(pages)) if more else b""
        resources = b"<< /Font << /F1 3 0 R >> " + images + b" >>"
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 %d] /Contents %d 0 R /Resources %s >>"
            % (height, 5 + 2 * number, resources)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    objects += more
    made, places = io.BytesIO(), []
    made.write(HEADER)
    for number, content in enumerate(objects, 1):
        places.append(made.tell())
        made.write(b"%d 0 obj\n%s\nendobj\n" % (number, content))
    start = made.tell()
    made.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    made.write(b"".join(b"%010d 00000 n \n" % place for place in places))
    made.write(b"trailer\n<< /Size %d /Root 1 0 R %s >>\n" % (len(objects) + 1, trailer))
    made.write(b"startxref\n%d\n%%%%EOF\n" % start)
    return made.getvalue()


def encrypted_pdf():
    """Return a PDF that a password protects which nobody knows."""
    secret = (
        b"/Encrypt << /Filter /Standard /V 1 /R 2 /O <" + b"ab" * 32 + b"> /U <" + b"cd" * 32 + b"> /P -44 >>"
        b" /ID [<00112233445566778899aabbccddeeff> <00112233445566778899aabbccddeeff>]"
    )
    return pdf("Secret", trailer=secret)


def scanned_pdf(*pages):
    """Return a PDF whose page is an image and nothing else, or with pages that draw ``/Im1`` and more."""
    image = (
        b"<< /Type /XObject /Subtype /Image /Width 8 /Height 8 /BitsPerComponent 8"
        b" /ColorSpace /DeviceGray /Length 64 >>\nstream\n" + b"\x80" * 64 + b"\nendstream"
    )
    return pdf(*pages or [b"q 612 0 0 792 0 0 cm /Im1 Do Q"], more=[image])


def archive(parts, method=zipfile.ZIP_DEFLATED):
    """Return a ZIP archive of ``{name: text or bytes}``."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as file:
        for name, data in parts.items():
            file.writestr(name, data)
    return made.getvalue()


def docx(*body, **parts):
    """Return a Word document of paragraphs: ``"text"``, ``("Heading 1", "text")`` or ``[[cell, ...], ...]``."""
    document = f'<w:document xmlns:w="{_W}"><w:body>{"".join(map(_word_block, body))}</w:body></w:document>'
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="H{level}"><w:name w:val="heading {level}"/></w:style>'
        for level in (1, 2)
    )
    return archive(
        {
            "[Content_Types].xml": _types("/word/document.xml", "wordprocessingml.document.main"),
            "_rels/.rels": _relations(("rId1", "officeDocument", "word/document.xml")),
            "word/_rels/document.xml.rels": _relations(("rId1", "styles", "styles.xml")),
            "word/styles.xml": f'<w:styles xmlns:w="{_W}">{styles}</w:styles>',
            "word/document.xml": document,
        }
        | parts
    )


def xlsx(**sheets):
    """Return a workbook: the name of each sheet with its rows."""
    names, parts, relations = "", {}, []
    for number, (name, rows) in enumerate(sheets.items(), 1):
        names += f'<sheet name="{escape(name)}" sheetId="{number}" r:id="rId{number}"/>'
        relations.append((f"rId{number}", "worksheet", f"worksheets/sheet{number}.xml"))
        cells = "".join(f"<row>{''.join(map(_cell, row))}</row>" for row in rows)
        data = rows if isinstance(rows, str) else f"<sheetData>{cells}</sheetData>"
        parts[f"xl/worksheets/sheet{number}.xml"] = f'<worksheet xmlns="{_S}">{data}</worksheet>'
    return archive(
        {
            "[Content_Types].xml": _types("/xl/workbook.xml", "spreadsheetml.sheet.main"),
            "_rels/.rels": _relations(("rId1", "officeDocument", "xl/workbook.xml")),
            "xl/_rels/workbook.xml.rels": _relations(*relations),
            "xl/workbook.xml": f'<workbook xmlns="{_S}" xmlns:r="{_OFFICE}"><sheets>{names}</sheets></workbook>',
        }
        | parts
    )


def pptx(*slides, **parts):
    """Return a presentation: ``(title, text, rows, notes)`` for each slide."""
    order, relations, made = "", [], {}
    for number, (title, text, rows, notes) in enumerate(slides, 1):
        order += f'<p:sldId id="{255 + number}" r:id="rId{number}"/>'
        relations.append((f"rId{number}", "slide", f"slides/slide{number}.xml"))
        table = "".join(
            f"<a:tr>{''.join(f'<a:tc><a:txBody>{_paragraph(c)}</a:txBody></a:tc>' for c in row)}</a:tr>" for row in rows
        )
        graphic = f"<a:graphic><a:graphicData><a:tbl>{table}</a:tbl></a:graphicData></a:graphic>"
        frame = f"<p:graphicFrame>{graphic}</p:graphicFrame>"
        made[f"ppt/slides/slide{number}.xml"] = _slide(_shape(title, "title") + _shape(text) + (frame if rows else ""))
        made[f"ppt/slides/_rels/slide{number}.xml.rels"] = _relations(
            ("rId1", "notesSlide", f"../notesSlides/notesSlide{number}.xml")
        )
        made[f"ppt/notesSlides/notesSlide{number}.xml"] = _slide(_shape("7", "sldNum") + _shape(notes))
    names = f'xmlns:p="{_P}" xmlns:r="{_OFFICE}"'
    presentation = f"<p:presentation {names}><p:sldIdLst>{order}</p:sldIdLst></p:presentation>"
    return archive(
        {
            "[Content_Types].xml": _types("/ppt/presentation.xml", "presentationml.presentation.main"),
            "_rels/.rels": _relations(("rId1", "officeDocument", "ppt/presentation.xml")),
            "ppt/_rels/presentation.xml.rels": _relations(*relations),
            "ppt/presentation.xml": presentation,
        }
        | made
        | parts
    )


def ole(stream):
    """Return the beginning of a file of Office before 2007, with the name of a stream."""
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500 + stream.encode("utf-16-le") + b"\0" * 500


def _types(part, kind):
    return (
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="{part}" ContentType="application/vnd.openxmlformats-officedocument.{kind}+xml"/></Types>'
    )


def _relations(*relations):
    rows = "".join(
        f'<Relationship Id="{key}" Type="{_OFFICE}/{kind}" Target="{target}"/>' for key, kind, target in relations
    )
    return f'<Relationships xmlns="{_PACKAGE}">{rows}</Relationships>'


def _word_block(block):
    if isinstance(block, list):
        rows = "".join(f"<w:tr>{''.join(f'<w:tc>{_word_block(cell)}</w:tc>' for cell in row)}</w:tr>" for row in block)
        return f"<w:tbl>{rows}</w:tbl>"
    style, text = block if isinstance(block, tuple) else ("", block)
    style = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f'<w:p>{style}<w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r></w:p>'


def _cell(value):
    if isinstance(value, str):
        return f'<c t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    return f"<c><v>{value}</v></c>"


def _paragraph(text):
    return f"<a:p><a:r><a:t>{escape(text)}</a:t></a:r></a:p>"


def _shape(text, kind=""):
    kind = f'<p:nvSpPr><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr>' if kind else ""
    return f"<p:sp>{kind}<p:txBody>{_paragraph(text)}</p:txBody></p:sp>"


def _slide(shapes):
    return f'<p:sld xmlns:p="{_P}" xmlns:a="{_A}"><p:cSld><p:spTree>{shapes}</p:spTree></p:cSld></p:sld>'
