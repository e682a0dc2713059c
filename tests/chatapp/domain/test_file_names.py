"""Names of files among other words."""

from __future__ import annotations

import pytest

from chatapp.domain.file_names import shown_name

LRM, RLO = "\u200e", "\u202e"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("lease.2026.pdf", "lease.2026.pdf"),
        ("חוזה 1.2026.pdf", f"חוזה 1.2026{LRM}.pdf"),
        ("عقد", "عقد"),
        (f"invoice{RLO}fdp.exe", "invoicefdp.exe"),
    ],
)
def test_the_ending_of_a_hebrew_or_arabic_name_stays_in_one_piece_and_no_letters_are_turned_around(name, shown):
    assert shown_name(name) == shown
