"""The command that imports a file."""

import pytest

from chatapp.imports.__main__ import main
from tests.chatapp.imports.exports import EXPORTS
from tests.chatapp.userdata.conftest import chat as a_chat

chat = a_chat  # a fixture


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "export.zip"
    path.write_bytes(EXPORTS["chatgpt, a zip with pictures"][0])
    return str(path)


@pytest.mark.slow
def test_command_imports_a_file_with_its_pictures_and_says_what_it_left_out(chat, file, capsys):
    assert main([file]) == 0
    [(_, messages)] = chat.everything()
    assert [len(message.images) for message in messages] == [1, 0, 0, 1, 0]
    out = capsys.readouterr().out
    assert "Read from an export of: ChatGPT\nNew conversations: 1\nNew messages: 5\nNew images: 2\n" in out
    assert "Images that are not in the file: 1" in out
    assert main([file]) == 0
    assert "New conversations: 0" in capsys.readouterr().out
    assert [messages] == [one for _, one in chat.everything()]


def test_dry_run_changes_nothing(chat, file, capsys):
    assert main([file, "--dry-run"]) == 0
    assert chat.everything() == []
    assert "New conversations: 1\n" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"Hello", None])
def test_file_that_cannot_be_read_is_refused_in_words(chat, tmp_path, capsys, content):
    path = tmp_path / "other.txt"
    if content:
        path.write_bytes(content)
    assert main([str(path)]) == 2
    assert "Nothing was imported." in capsys.readouterr().err
    assert chat.everything() == []
