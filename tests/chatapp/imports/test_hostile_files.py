"""Damaged, huge and hostile files are refused in words, and nothing of them is taken."""

import io
import json
import random
import re
import stat
import struct
import time
import zipfile

import pytest

from chatapp.documents.extraction.shape import Block, BlockKind, Page
from chatapp.documents.packing import packed
from chatapp.domain.conversation import Document, Profile
from chatapp.domain.errors import ChatError, StorageFull
from chatapp.domain.library import Collection, LibraryDocument
from chatapp.imports import archive as archives
from chatapp.imports import json_items
from chatapp.imports.refusals import InvalidImport
from chatapp.store.quota import StorageLimits
from chatapp.userdata import json_export
from tests.chatapp.imports.conftest import USER, Imports
from tests.chatapp.imports.exports import (
    ACTIVITIES,
    CELLS,
    EXPORTS,
    PNG,
    activity_cell,
    activity_page,
    archive,
    chatgpt,
    encoded,
    node,
    own,
    small_chat,
)

CONVERSATIONS = [small_chat(n) for n in range(3)]
GOOD = encoded(CONVERSATIONS)


async def refused(file, words, imports=None):
    imports = imports or Imports()
    with pytest.raises(InvalidImport, match=words) as caught:
        await imports.run(file)
    assert "Nothing was imported" in str(caught.value)
    assert await imports.everything() == []


TIMELESS = activity_page(activity_cell("Prompted&nbsp;How late is it?", "10. huhtikuuta", "<p>Late.</p>"))


def zip_with(name, content=b"x", **fields):
    """Return a ZIP with conversations, and an entry with these fields."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as file:
        file.writestr("conversations.json", GOOD)
        info = zipfile.ZipInfo(name)
        for field, value in fields.items():
            setattr(info, field, value)
        file.writestr(info, content)
    return written.getvalue()


DOCUMENTS = {
    "empty": (b"", "no conversations"),
    "a picture": (PNG, "no conversations"),
    "words": (b"Hello", "no conversations"),
    "an empty list": (b"[]", "no conversations"),
    "other JSON": (encoded([{"name": "x"}] * 50), "no conversations"),
    "an object": (encoded({"name": "x"}), "no conversations"),
    "cut short": (GOOD[:-40], "damaged"),
    "cut after an element": (b"[" + encoded(small_chat()) + b",", "damaged"),
    "more after the end": (GOOD + b"]", "damaged"),
    "no comma": (b"[" + encoded(small_chat()) + encoded(small_chat(2)) + b"]", "damaged"),
    "not UTF-8": (GOOD.replace(b"Mirela", b"\xff\xfe"), "damaged"),
    "UTF-16": (GOOD.decode().encode("utf-16"), "no conversations"),
    "deep": (b'[{"mapping": {}, "x": ' + b"[" * 100_000, "nested too deeply"),
    "deep objects": (b'[{"mapping": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}]", "nested too deeply"),
    "an own export, cut": (own()[:-30], "damaged"),
    "an own export of a newer version": (own().replace(b'"version": 1', b'"version": 2'), "newer version"),
    "an own export with a wrong field": (own().replace(b'"role": "user"', b'"role": "king"'), "damaged"),
    "an own export with a huge number": (own().replace(b'"revision": 0', b'"revision": %d' % 10**30), "damaged"),
    "an own export with no number": (own().replace(b'"cost": null', b'"cost": 1e999'), "damaged"),
    "an own export with an image that is none": (
        own().replace(b'"media_type": "image/png"', b'"media_type": "image/webp"'),
        "damaged",
    ),
}


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_document_is_refused(name):
    await refused(*DOCUMENTS[name])


ARCHIVES = [
    (zip_with("../../etc/passwd"), "leads out of it"),
    (zip_with("/etc/passwd"), "leads out of it"),
    (zip_with("a/..\\..\\b"), "leads out of it"),
    (zip_with("C:\\Windows\\x"), "leads out of it"),
    (zip_with("link", b"/etc/passwd", external_attr=(stat.S_IFLNK | 0o777) << 16), "a link"),
    (zip_with("x", b"\0" * 12_000_000, compress_type=zipfile.ZIP_DEFLATED), "unpacks to much more"),
    (zip_with("x", b"x" * 100, compress_type=zipfile.ZIP_LZMA), "compressed in a way"),
    (archive({"a.zip": archive({"conversations.json": CONVERSATIONS})}), "other archives"),
    (archive({"user.json": {"id": 1}}), "no conversations"),
    (archive({"Takeout/My Activity/Gemini Apps/MyActivity.html": "<html>"}), "no conversations"),
    (
        archive({"MyActivity.html": activity_page(activity_cell("Prompted&nbsp;x", "10. kuuta", "y"))}),
        "JSON as the format",
    ),
    (archive({"conversations.json": GOOD})[:-30], "damaged"),
    (archive({"conversations.json": GOOD})[:40], "damaged"),
    (archive({"conversations.json": GOOD[:-10]}), "damaged"),
    (archive({"conversations-000.json": GOOD, "conversations-001.json": b"[{"}), "damaged"),
    (b"PK\5\6" + b"\0" * 18, "no conversations"),
]


@pytest.mark.parametrize("number", range(len(ARCHIVES)))
async def test_archive_is_refused(number):
    await refused(*ARCHIVES[number])


async def test_archive_with_a_name_twice_is_refused():
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as file:
        file.writestr("conversations.json", GOOD)
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("conversations.json", GOOD)
    await refused(written.getvalue(), "twice")


async def test_encrypted_archive_is_refused():
    file = bytearray(archive({"conversations.json": GOOD}))
    for signature, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        file[file.index(signature) + at] |= 1
    await refused(bytes(file), "encrypted")


async def test_archive_that_lies_about_a_size_is_refused():
    file = bytearray(archive({"conversations.json": GOOD}))
    at = file.index(b"PK\1\2") + 24
    file[at : at + 4] = struct.pack("<I", len(GOOD) - 50)
    await refused(bytes(file), "damaged")


async def test_archive_with_too_many_entries_is_refused_before_its_directory_is_read(monkeypatch):
    monkeypatch.setattr(archives, "MAX_ENTRIES", 3)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    await refused(ARCHIVE_OF_FIVE, "more than 3 files")


ARCHIVE_OF_FIVE = archive({f"{n}.json": b"[]" for n in range(5)})


async def test_archive_that_unpacks_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(archives, "MAX_DOCUMENT_BYTES", 1_000)
    await refused(archive({"conversations.json": GOOD}), "unpacks to")


async def test_conversation_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(json_items, "MAX_VALUE_BYTES", 1_000_000)
    await refused(encoded([*CONVERSATIONS, chatgpt(node("q", None, "user", "x" * 2_000_000))]), "more than")
    monkeypatch.setattr(json_items, "MAX_TOKENS", 10_000)
    await refused(b'[{"mapping": {}, "x": [' + b"[]," * 20_000 + b"[]]}]", "more than")


async def test_damaged_picture_is_counted_and_the_conversation_taken(imports):
    file = EXPORTS["chatgpt, a zip with pictures"][0]
    damaged = archive({name: (b"broken" if name.endswith(".png") else read) for name, read in _files(file).items()})
    report = await imports.run(damaged)
    assert (report.conversations, report.pictures) == (1, 1)
    assert any("could not be read: 1" in line for line in report.left_out())


def _files(file):
    with zipfile.ZipFile(io.BytesIO(file)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


async def test_import_that_does_not_fit_into_the_storage_is_refused_as_a_whole(tmp_path):
    imports = Imports()
    imports.store.stored_bytes = lambda _user=None: _value(900)
    file = encoded([small_chat(n) for n in range(10)])
    with pytest.raises(StorageFull, match=r"needs 0\.0 MB, and 0\.0 MB"):
        await imports.run(file, limits=StorageLimits(per_user=5_000))
    assert await imports.everything() == []
    await imports.run(file)
    report = await imports.run(file, limits=StorageLimits(per_user=5_000))  # it is there already
    assert report.unchanged == 10


async def test_documents_of_collections_that_do_not_fit_into_the_storage_are_refused_as_a_whole():
    imports = Imports()
    imports.store.stored_bytes = lambda _user=None: _value(900)
    text = packed((Page(1, (Block(BlockKind.TEXT, "So much rain"),)),))
    document = Document(id="d", name="a.txt", kind="text", pages=1, size=9, data=text)
    kept = LibraryDocument(collection="k", document=document, added_ms=1)
    profile = Profile(collections=(Collection(id="k", name="Leases"),), library_revision=1)
    head = json_export.header("x", profile)
    own = head + json_export.LIBRARY + json_export.encode_library_document(kept) + json_export.FOOTER
    file = archive({"export.json": own, "beside.json": b'{"library": [1'})
    with pytest.raises(StorageFull, match=r"Nothing was imported"):
        await imports.run(file, limits=StorageLimits(per_user=1_300))
    assert await imports.store.library(USER) == []
    assert (await imports.run(file)).documents == 1
    report = await imports.run(file, limits=StorageLimits(per_user=1_300))  # it is there already
    assert report.documents == 0
    assert len(await imports.store.library(USER)) == 1


async def _value(value):
    return value


async def test_store_that_fails_in_the_middle_keeps_whole_conversations_and_the_same_file_continues(imports):
    create = imports.store.create
    created = []

    async def failing(user, conversation, *messages):
        if len(created) == 2:
            raise InterruptedError
        created.append(conversation.id)
        await create(user, conversation, *messages)

    imports.store.create = failing
    with pytest.raises(InterruptedError):
        await imports.run(GOOD)
    assert [len(messages) for _, messages in await imports.everything()] == [2, 2]
    imports.store.create = create
    report = await imports.run(GOOD)
    assert (report.unchanged, report.conversations) == (2, 1)


SLOW_TEXTS = [
    '<details type="reasoning"' * 20_000,
    '<details type="reasoning">' * 20_000 + "</details>",
    "</details>" + '<details type="reasoning">' * 20_000,
    "`" * 300_000,
    " " * 300_000 + "Attached 1 file",
    "<!--" * 70_000,
    "<![CDATA[" * 30_000,
    "&" * 300_000,
    "<a " * 90_000,
    "\ue200" * 300_000,
    "<br>" * 70_000,
    '<div class="content-cell"' * 10_000,
    "<a href=" * 30_000,
    "header-cell" * 20_000,
    "&nbsp;" * 50_000,
]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(SLOW_TEXTS)))
async def test_no_text_takes_long(imports, number):
    """Regular expressions and parsers are linear, or their input is bounded."""
    text = SLOW_TEXTS[number]
    began = time.process_time()
    activity = ACTIVITIES[1] | {"title": f"Prompted {text}", "safeHtmlItem": [{"html": text}]}
    web = {"id": "w", "chat": {"messages": [{"role": "assistant", "content": text}, {"role": "user", "content": text}]}}
    code = node("a", None, "assistant", content={"content_type": "code", "text": text}, content_references=[{
        "matched_text": "\ue200x", "alt": text}])  # fmt: skip
    page = activity_page(
        *CELLS, activity_cell(text, text, text, lines=(text,), header=text), CELLS[1].replace("?", text)
    )
    chats = [chatgpt(code, node("q", "a", "user", text))]
    file = archive({"a.json": [activity], "b.json": [web], "c.json": chats, "d.html": page})
    await imports.run(file)
    assert time.process_time() - began < 5


def mutated(file, number):
    """Return a file with some of its bytes, JSON values or entries changed."""
    rng = random.Random(number)  # the same at each run
    kind = rng.randrange(6)
    if kind == 0:
        return file[: rng.randrange(len(file))]
    if kind == 1:
        data = bytearray(file)
        for _ in range(rng.randint(1, 20)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        return bytes(data)
    if kind == 2:
        at, length = rng.randrange(len(file)), rng.randint(1, 400)
        return file[:at] + file[at + length :]
    if kind == 3:
        at = rng.randrange(len(file))
        return file[:at] + rng.choice([b"\0", b"[", b"{", b'"', b"\\ud800", b"null", b"1e999", file]) + file[at:]
    if file[:2] == b"PK":
        files = _files(file)
        name = rng.choice(list(files))
        files[name] = mutated(files[name] or b" ", number + 1)
        return archive(files)
    return _with_changed_value(file, rng)


def _with_changed_value(file, rng):
    """Return JSON in which each of some values is another."""
    odd = ["null", "true", "-1", "1e308", '""', "[]", "{}", '"\\ud800"', "[[]]", '{"id": 1}', str(10**25)]
    values = list(re.finditer(rb'(?<=: )(?:"[^"]{0,80}"|-?\d+(?:\.\d+)?|null|true|false)', file))
    for match in sorted(rng.sample(values, min(len(values), rng.randint(1, 8))), key=lambda one: -one.start()):
        file = file[: match.start()] + rng.choice(odd).encode() + file[match.end() :]
    return file


async def _try_mutations(numbers):
    files = [file for file, _ in EXPORTS.values()]
    taken = 0
    refusals = []
    for number in numbers:
        imports = Imports()
        file = mutated(files[number % len(files)], number)
        try:
            report = await imports.run(file)
        except ChatError as error:
            refusals.append(str(error))
            assert await imports.everything() == [], number
            continue
        everything = await imports.everything()
        assert len(everything) == report.conversations, number
        assert sum(len(messages) for _, messages in everything) == report.messages, number
        json.dumps(list(map(str, [*report.sentences(), *report.left_out()]))).encode()
        assert (await imports.run(file)).messages == 0, number
        assert await imports.everything() == everything, number
        taken += 1
    assert all("Nothing was imported" in refusal for refusal in refusals)
    return taken


@pytest.mark.slow
async def test_mutated_exports_are_taken_whole_or_refused_in_words():
    assert await _try_mutations(range(60)) > 10


@pytest.mark.long
async def test_many_more_mutated_exports_are_taken_whole_or_refused_in_words():
    assert await _try_mutations(range(60, 2_060)) > 500
