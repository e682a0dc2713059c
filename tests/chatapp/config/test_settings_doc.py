"""docs/settings.md lists every setting, as the settings classes define it."""

import pytest

from chatapp.config import settings_doc
from chatapp.config.settings import Settings, variables


def rows():
    """Return the cells of each row by the variable in its first cell."""
    lines = [line for line in settings_doc.PATH.read_text().splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {first.split("`")[1]: rest for first, *rest in cells}


def test_the_file_is_up_to_date(capsys):
    assert settings_doc.main(["--check"]) == 0, capsys.readouterr().err


def test_an_outdated_file_fails_the_check(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(settings_doc, "PATH", tmp_path / "settings.md")
    assert settings_doc.main([]) == 0
    assert settings_doc.main(["--check"]) == 0
    settings_doc.PATH.write_text(settings_doc.PATH.read_text().replace("`7860`", "`7861`"))
    assert settings_doc.main(["--check"]) == 1
    assert "make settings" in capsys.readouterr().err


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_has_a_row_with_its_default_and_a_meaning(field):
    default, values, meaning = rows()[variables(field)[0]]

    assert values
    assert meaning.endswith(".")
    value = Settings.model_fields[field].default
    if isinstance(value, str | int | float) and value != "":
        assert default == f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_the_table_has_no_other_rows():
    assert set(rows()) == {variables(field)[0] for field in Settings.model_fields}
