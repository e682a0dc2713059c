"""docs/asvs.md names each requirement of ASVS 5.0 level 2 once, and only files that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/asvs.md").read_text(encoding="utf-8")
# Requirements of levels 1 and 2 in each section of ASVS 5.0.0 (section -> numbers), from its English source.
SECTIONS = {
    "1.1": range(1, 3),
    "1.2": range(1, 10),
    "1.3": range(1, 12),
    "1.4": range(1, 4),
    "1.5": range(1, 3),
    "2.1": range(1, 4),
    "2.2": range(1, 4),
    "2.3": range(1, 5),
    "2.4": range(1, 2),
    "3.2": range(1, 3),
    "3.3": range(1, 5),
    "3.4": range(1, 7),
    "3.5": range(1, 6),
    "3.7": range(1, 3),
    "4.1": range(1, 4),
    "4.2": range(1, 2),
    "4.3": range(1, 3),
    "4.4": range(1, 5),
    "5.1": range(1, 2),
    "5.2": range(1, 4),
    "5.3": range(1, 3),
    "5.4": range(1, 4),
    "6.1": range(1, 4),
    "6.2": range(1, 13),
    "6.3": range(1, 5),
    "6.4": range(1, 5),
    "6.5": range(1, 6),
    "6.6": range(1, 4),
    "6.8": range(1, 5),
    "7.1": range(1, 4),
    "7.2": range(1, 5),
    "7.3": range(1, 3),
    "7.4": range(1, 6),
    "7.5": range(1, 3),
    "7.6": range(1, 3),
    "8.1": range(1, 3),
    "8.2": range(1, 4),
    "8.3": range(1, 2),
    "8.4": range(1, 2),
    "9.1": range(1, 4),
    "9.2": range(1, 5),
    "10.1": range(1, 3),
    "10.2": range(1, 3),
    "10.3": range(1, 5),
    "10.4": range(1, 12),
    "10.5": range(1, 6),
    "10.6": range(1, 3),
    "10.7": range(1, 4),
    "11.1": range(1, 3),
    "11.2": range(1, 4),
    "11.3": range(1, 4),
    "11.4": range(1, 5),
    "11.5": range(1, 2),
    "11.6": range(1, 2),
    "12.1": range(1, 4),
    "12.2": range(1, 3),
    "12.3": range(1, 5),
    "13.1": range(1, 2),
    "13.2": range(1, 6),
    "13.3": range(1, 3),
    "13.4": range(1, 6),
    "14.1": range(1, 3),
    "14.2": range(1, 5),
    "14.3": range(1, 4),
    "15.1": range(1, 4),
    "15.2": range(1, 4),
    "15.3": range(1, 8),
    "16.1": range(1, 2),
    "16.2": range(1, 6),
    "16.3": range(1, 5),
    "16.4": range(1, 4),
    "16.5": range(1, 4),
}
REQUIREMENTS = [f"{section}.{number}" for section, numbers in SECTIONS.items() for number in numbers]
ROWS = re.findall(r"^\| ([\d., ]+) \| (\S+) \| (.*) \|$", TEXT, re.MULTILINE)


def test_each_requirement_has_one_row():
    assert len(REQUIREMENTS) == 246
    listed = [number for numbers, _, _ in ROWS for number in numbers.split(", ")]
    assert sorted(listed) == sorted(REQUIREMENTS)


def test_each_row_has_a_status_and_a_reason():
    for numbers, status, reason in ROWS:
        assert status in {"met", "n/a", "open"}, numbers
        assert len(reason) > 5, numbers


def test_named_files_exist():
    for name in set(re.findall(r"`((?:[\w.-]+/)+[\w.-]+|\w+\.(?:md|py))`", TEXT)):
        assert (ROOT / name).exists() or (ROOT / "tests" / name).exists(), name
