"""The secret that signs cookies is created once, is private, and is never empty."""

import pytest

from chatapp.auth.anonymous import load_or_create_secret


def test_secret_is_created_once_and_is_private(tmp_path):
    path = tmp_path / "data" / "session-secret"
    secret = load_or_create_secret(path)
    assert len(secret) > 40
    assert load_or_create_secret(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["session-secret"]


def test_concurrent_starts_use_the_same_secret(tmp_path, monkeypatch):
    path = tmp_path / "session-secret"
    other = load_or_create_secret(path)
    monkeypatch.setattr("pathlib.Path.exists", lambda _: False)  # it was not there yet when this start looked
    assert load_or_create_secret(path) == other
    assert [file.name for file in tmp_path.iterdir()] == ["session-secret"]


def test_empty_secret_is_refused(tmp_path):
    path = tmp_path / "session-secret"
    path.touch()
    with pytest.raises(OSError, match="is empty"):
        load_or_create_secret(path)
