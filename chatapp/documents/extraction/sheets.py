"""Excel and OpenDocument sheets -> a page for each sheet, by python-calamine. It reads values, and runs no formula.

calamine keeps the whole rectangle around the cells of a sheet in memory: two cells in opposite corners are 17 billion
(tafia/calamine#433, dimastbk/python-calamine#130). The limit on memory of the child is what stops such a sheet.
"""

from __future__ import annotations

import datetime
import io

from python_calamine import CalamineWorkbook, PasswordError, SheetVisibleEnum

from .archive import opened
from .blocks import rows
from .shape import MAX_CHARACTERS, MAX_PAGES, Page, Reason, Refused

MAX_CELLS = 3_000_000  # of all sheets


def pages_of(file: bytes) -> list[Page]:
    """Return the visible sheets.

    Raises:
        Refused: it is encrypted, or has too much text.
        Exception: of any kind, where it is damaged.
    """
    if file.startswith(b"PK"):
        opened(file)  # checks the sizes that the archive states
    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(file))
    except PasswordError:
        raise Refused(Reason.ENCRYPTED) from None
    names = [sheet.name for sheet in workbook.sheets_metadata if sheet.visible == SheetVisibleEnum.Visible]
    if len(names) > MAX_PAGES:
        raise Refused(Reason.PAGES, number=len(names))
    pages, cells, characters = [], 0, 0
    for number, name in enumerate(names, 1):
        sheet = workbook.get_sheet_by_name(name)
        cells += sheet.height * sheet.width
        if cells > MAX_CELLS:
            raise Refused(Reason.TEXT, detail=f"{cells} cells")
        blocks = rows([_shown(cell) for cell in row] for row in sheet.iter_rows())
        characters += sum(len(block.text) for block in blocks)
        if characters > MAX_CHARACTERS:
            raise Refused(Reason.TEXT, detail="characters of sheets")
        pages.append(Page(number, tuple(blocks), name))
    return pages


def _shown(cell: object) -> str:
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        return f"{cell:.15g}"
    if isinstance(cell, datetime.datetime) and cell.time() == datetime.time():
        return cell.date().isoformat()
    return str(cell)
