"""Images are decoded in child processes with limits; an invalid file is refused with a sentence."""

import asyncio
import base64
import json
import os
import sys
from pathlib import Path

import pytest
from PIL import Image as Picture

from chatapp.domain.errors import ImageTooLarge, InvalidMessage, LimitReached
from chatapp.images import child, decoder
from chatapp.images.decoder import ImageDecoder, checked_header, file_of
from tests.fakes import pictures
from tests.fakes.pictures import noise, plain, png, shown, white_png
from tests.waiting import until

pytestmark = pytest.mark.slow  # a process for each image

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")


@pytest.fixture
def with_child(monkeypatch, tmp_path):
    """Return a function that replaces the child's program."""

    def replace(program):
        path = tmp_path / "child.py"
        path.write_text(program)
        monkeypatch.setattr(decoder, "CHILD", path)

    return replace


async def test_an_image_is_decoded_in_a_process_of_its_own():
    image = await ImageDecoder().decoded("ana", plain((300, 200)))
    assert (image.media_type, image.width, image.height) == ("image/jpeg", 300, 200)
    assert shown(image).size == (300, 200)
    assert len(image.id) == 32


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (b"hello", "cannot be read"),
        (b"", "cannot be read"),
        (plain()[:60], "cannot be read"),
        (png(20, 20, rows=b"\1"), "cannot be read"),
        (b"\0\0\0\x20ftypheic", "HEIC files are not supported. Save the image as JPEG"),
        (b"\0\0\0\x20ftypavif", "AVIF files are not supported"),
        (pictures.file_of(noise(3, 3), "TIFF"), "TIFF files are not supported"),
        (b"<svg/>", "SVG files are not supported"),
        (png(10_000, 10_000), "PNG image can have at most 40 million pixels, and this one has 100"),
        (png(2**31 - 1, 2**31 - 1), "million pixels"),
        (b"GIF89a\xff\xff\xff\xff", "GIF image can have at most 40 million"),
    ],
)
async def test_a_file_that_is_no_image_or_too_large_is_refused_with_what_to_do(file, words):
    with pytest.raises(InvalidMessage, match=words) as refusal:
        await ImageDecoder().decoded("ana", file)
    assert "again" in str(refusal.value)


async def test_a_refusal_by_its_header_starts_no_process(with_child):
    with_child("raise SystemExit('never started')")
    for file in (b"hello", png(10_000, 10_000), b"x" * (decoder.MAX_FILE_BYTES + 1)):
        with pytest.raises(InvalidMessage, match=r"cannot be read|million|10 MB"):
            await ImageDecoder().decoded("ana", file)


def test_base64_and_data_urls_are_files():
    encoded = base64.b64encode(b"file").decode()
    assert file_of(encoded) == file_of(f"data:image/png;base64,{encoded}") == b"file"
    with pytest.raises(InvalidMessage, match="cannot be read"):
        file_of("no base64")
    with pytest.raises(ImageTooLarge, match="10 MB"):
        file_of("A" * 15_000_000)


@ON_LINUX
async def test_a_bitmap_beyond_the_memory_of_the_child_is_refused(monkeypatch):
    monkeypatch.setitem(decoder.MAX_PIXELS, "PNG", 200_000_000)
    with pytest.raises(InvalidMessage, match=r"too large to be read\. Scale it down"):
        await ImageDecoder().decoded("ana", white_png(11_000, 11_000))


async def test_an_image_that_is_hardly_reduced_has_one_full_copy():
    assert (await ImageDecoder().decoded("ana", white_png(4600, 4600))).width == 1536


@ON_LINUX
@pytest.mark.parametrize(
    ("kind", "size", "options"),
    [
        ("PNG", (8000, 5000), {}),
        ("JPEG", (8000, 5000), {"progressive": True}),
        ("WEBP", (4000, 3000), {"quality": 1, "method": 0}),
    ],
)
@pytest.mark.long
async def test_the_largest_bitmaps_that_are_allowed_fit_into_the_memory(kind, size, options):
    color = (200, 30, 30, 128) if kind != "JPEG" else (200, 30, 30)
    picture = Picture.new("RGB" if kind == "JPEG" else "RGBA", size, color)
    file = pictures.file_of(picture, kind, **options)
    assert checked_header(file).pixels >= 12_000_000
    assert (await ImageDecoder().decoded("ana", file)).width == 1536


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import os; os.abort()", "too large to be read"),
        ("", "too large to be read"),
        ("import time; time.sleep(600)", "too large to be read"),
    ],
)
async def test_a_child_that_ends_without_a_reply_or_never_ends_is_a_refusal(with_child, monkeypatch, program, words):
    monkeypatch.setattr(decoder, "SECONDS", 0.5)
    with_child(program)
    with pytest.raises(InvalidMessage, match=words):
        await ImageDecoder().decoded("ana", plain())


ECHO = """
import json, os, sys, time
sys.stdin.buffer.read()
open(sys.argv[0] + ".pid", "w").write(str(os.getpid()))
while not os.path.exists(sys.argv[0] + ".go"): time.sleep(0.01)
print(json.dumps({"width": 1, "height": 1}), flush=True)
"""


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


async def test_a_client_that_leaves_ends_its_child(with_child):
    with_child(ECHO)
    images = ImageDecoder()
    decoding = asyncio.create_task(images.decoded("ana", plain()))
    pid_file = Path(f"{decoder.CHILD}.pid")
    pid = await until(lambda: pid_file.exists() and pid_file.read_text())
    decoding.cancel()
    await asyncio.wait({decoding})
    assert not is_running(pid)
    assert images._held_bytes == 0


async def test_a_small_image_does_not_wait_for_large_ones(with_child, monkeypatch):
    monkeypatch.setattr(decoder, "SMALL_PIXELS", 100)
    with_child(ECHO)
    images = ImageDecoder()
    large = [asyncio.create_task(images.decoded("ana", plain((30, 20)))) for _ in range(6)]
    await until(Path(f"{decoder.CHILD}.pid").exists)
    monkeypatch.undo()
    assert (await images.decoded("bob", plain((8, 8)))).width == 8
    assert not any(task.done() for task in large)
    for task in large:
        task.cancel()
    await asyncio.gather(*large, return_exceptions=True)


async def test_no_more_bytes_and_no_more_images_of_one_user_wait_than_allowed(with_child, monkeypatch):
    with_child(ECHO)
    images, file = ImageDecoder(), plain()
    waiting = [asyncio.create_task(images.decoded("ana", file)) for _ in range(decoder.WAITING_PER_USER + 1)]
    await asyncio.sleep(0)
    with pytest.raises(LimitReached, match="Too many of your requests"):
        await images.decoded("ana", file)
    monkeypatch.setattr(decoder, "MAX_HELD_BYTES", len(file) * len(waiting))
    with pytest.raises(LimitReached, match="Many images") as refusal:
        await images.decoded("bob", file)
    assert refusal.value.retry_after > 0
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert images._held_bytes == 0


async def test_the_child_knows_no_setting_and_no_key(with_child, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "SECRET")
    with_child("import json, os; print(json.dumps({'refused': 'damaged', 'detail': ' '.join(os.environ)}))")
    with pytest.raises(InvalidMessage) as refusal:
        await ImageDecoder().decoded("ana", plain())
    assert set(refusal.value.detail.split()) <= {*decoder._ENVIRONMENT, "LC_CTYPE"}


@ON_LINUX
async def test_the_child_limits_itself_before_it_reads(with_child):
    with_child(
        f"import sys; sys.path.insert(0, {str(Path(child.__file__).parent)!r}); import child, json, os, resource\n"
        "child._limit()\n"
        "names = ('AS', 'CPU', 'FSIZE', 'CORE')\n"
        "limits = [resource.getrlimit(getattr(resource, 'RLIMIT_' + name))[0] for name in names]\n"
        "print(json.dumps({'refused': 'damaged', 'detail': json.dumps([*limits, os.nice(0)])}))"
    )
    with pytest.raises(InvalidMessage) as refusal:
        await ImageDecoder().decoded("ana", plain())
    memory, cpu, file_size, core, nice = json.loads(refusal.value.detail)
    assert child.MEMORY_BYTES < memory < child.MEMORY_BYTES + 400_000_000
    assert (cpu, file_size, core) == (child.CPU_SECONDS, 0, 0)
    assert nice == min(os.nice(0) + 5, 19)
