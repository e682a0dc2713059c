"""Images are re-encoded small, upright, in RGB and without metadata, whatever mode they have."""

import contextlib
import io
import struct

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image as Picture
from PIL import ImageOps

from chatapp.images.scaling import LONGEST_SIDE, MAX_BYTES, TooDetailed, in_rgb, scaled
from chatapp.store.values import IMAGE_BYTES
from tests.fakes.pictures import file_of, noise, plain, png, shown

MOST = 40_000_000


def small(file):
    return scaled(file, MOST)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_an_image_of_every_kind_becomes_a_jpeg_of_its_own_size(kind):
    image = small(plain((300, 200), kind=kind))
    assert (image.width, image.height) == (300, 200)
    assert (shown(image).format, shown(image).size) == ("JPEG", (300, 200))
    red, green, blue = shown(image).getpixel((5, 5))
    assert (red > 240, green < 20, blue < 20) == (True, True, True)


@pytest.mark.slow
def test_a_large_image_is_scaled_down_to_what_the_history_takes():
    image = small(file_of(noise(3000, 2000), "JPEG", quality=95))
    assert (image.width, image.height) == (1536, 1024)
    assert len(image.data) <= MAX_BYTES == IMAGE_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("size", [(4000, 3000), (3071, 1), (1, 9000), (9000, 70), (1537, 1536), (3073, 2049)])
def test_an_image_is_scaled_as_a_whole_whatever_its_proportions(size):
    ramp = Picture.linear_gradient("L").resize(size).convert("RGB")  # black at the top, white at the bottom
    image = small(file_of(ramp))
    assert max(image.width, image.height) == LONGEST_SIDE
    expected = ramp.resize((image.width, image.height), Picture.Resampling.LANCZOS)
    for x in (0, image.width // 2, image.width - 1):
        for y in (0, image.height // 3, image.height - 1):
            difference = abs(shown(image).getpixel((x, y))[0] - expected.getpixel((x, y))[0])
            assert difference <= 6, (x, y)


def test_an_image_beyond_its_pixels_is_refused_before_it_is_decoded():
    with pytest.raises(MemoryError):
        scaled(png(10_000, 10_000), MOST)


def test_an_image_with_too_much_detail_is_refused(monkeypatch):
    monkeypatch.setattr("chatapp.images.scaling.MAX_BYTES", 1000)
    with pytest.raises(TooDetailed):
        small(file_of(noise(200, 200)))


def test_metadata_is_removed():
    exif = Picture.Exif()
    exif[0x010E] = "SECRET"  # a description
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 0.0)  # where
    file = plain(kind="JPEG", exif=exif, comment=b"SECRET") + b"SECRET program"
    assert b"SECRET" in file
    image = small(file)
    assert b"SECRET" not in image.data
    assert not dict(shown(image).getexif())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_stands_as_the_camera_was_held(orientation):
    exif = Picture.Exif()
    exif[0x0112] = orientation
    quarters = Picture.new("RGB", (300, 200), "white")
    for place, color in (((0, 0), "red"), ((150, 0), "lime"), ((0, 100), "blue")):
        quarters.paste(color, (*place, place[0] + 150, place[1] + 100))
    file = file_of(quarters, "JPEG", exif=exif, quality=95)
    image = shown(small(file))
    expected = ImageOps.exif_transpose(Picture.open(io.BytesIO(file)))
    assert image.size == expected.size
    for at in ((20, 20), (image.width - 20, 20), (20, image.height - 20)):
        assert all(abs(a - b) < 12 for a, b in zip(image.getpixel(at), expected.getpixel(at), strict=True)), at


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa"])
def test_transparent_pixels_of_every_mode_become_white(mode):
    color = 0 if mode == "PA" else (0,) * len(mode)
    see_through = Picture.new("P", (30, 20), 0).convert("PA") if mode == "PA" else Picture.new(mode, (30, 20), color)
    if mode == "PA":
        see_through.putalpha(0)
    assert min(in_rgb(see_through).getpixel((5, 5))) > 240


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_become_white(mode):
    see_through = Picture.new("RGBA", (30, 20), (0, 0, 0, 0)).convert(mode)
    options = {"transparency": 0} if mode == "P" else {}
    assert min(shown(small(file_of(see_through, **options))).getpixel((5, 5))) > 240


# Wide modes: what a browser shows is what the model gets.

GREY16 = [(0, 0), (0x4000, 0x40), (0x8000, 0x80), (0xFFFF, 0xFF)]


@pytest.mark.parametrize(("value", "grey"), GREY16)
@pytest.mark.parametrize("mode", ["I;16", "I", "I;16B", "I;16L"])
def test_16_bit_grey_keeps_its_shades(mode, value, grey):
    picture = Picture.new("I;16", (30, 20), value)
    if mode == "I":
        picture = picture.convert("I")
        picture.putpixel((0, 0), 0xFFFF)
    elif mode != "I;16":
        order = ">" if mode == "I;16B" else "<"
        picture = Picture.frombytes(mode, (30, 20), struct.pack(f"{order}600H", *[value] * 600))
    assert abs(in_rgb(picture).getpixel((9, 9))[1] - grey) <= 1
    if mode == "I;16":
        assert abs(shown(small(file_of(picture))).getpixel((9, 9))[1] - grey) <= 2


@pytest.mark.parametrize(
    ("color_type", "sample", "expected"),
    [
        (0, (0x8000,), (128, 128, 128)),
        (2, (0xFFFF, 0x8000, 0x0000), (255, 128, 0)),
        (4, (0x8000, 0xFFFF), (128, 128, 128)),
        (4, (0x0000, 0x0000), (255, 255, 255)),
        (6, (0xFFFF, 0x8000, 0x0000, 0xFFFF), (255, 128, 0)),
        (6, (0x0000, 0x0000, 0x0000, 0x0000), (255, 255, 255)),
    ],
)
def test_png_with_16_bits_per_sample_keeps_its_colors(color_type, sample, expected):
    row = b"\0" + struct.pack(f">{len(sample)}H", *sample) * 20
    image = shown(small(png(20, 20, depth=16, color_type=color_type, rows=row * 20)))
    assert all(abs(a - b) <= 4 for a, b in zip(image.getpixel((9, 9)), expected, strict=True))


@pytest.mark.parametrize(
    ("depth", "color_type", "key", "pixel"),
    [
        (8, 0, (7,), b"\x07"),
        (16, 0, (0x1234,), b"\x12\x34"),
        (8, 2, (1, 2, 3), b"\x01\x02\x03"),
        (16, 2, (0x1200, 0x3400, 0x5600), b"\x12\x00\x34\x00\x56\x00"),
    ],
)
def test_the_transparent_color_of_a_png_becomes_white(depth, color_type, key, pixel):
    other = b"\x60" * len(pixel)
    row = b"\0" + pixel * 16 + other * 16
    chunk = (b"tRNS", struct.pack(f">{len(key)}H", *key))
    image = shown(small(png(32, 32, depth=depth, color_type=color_type, rows=row * 32, chunks=[chunk])))
    assert min(image.getpixel((4, 16))) > 245
    assert max(image.getpixel((28, 16))) < 0x6A


def test_a_palette_with_shades_of_transparency_is_laid_on_white():
    picture = Picture.new("P", (32, 32), 1)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    image = shown(small(file_of(picture, transparency=bytes([255, 128]))))
    red, green, _ = image.getpixel((9, 9))
    assert red > 245
    assert 120 < green < 135


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 90, (90, 90, 90)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("YCbCr", (90, 128, 128), (90, 90, 90)),
        ("HSV", (0, 255, 255), (255, 0, 0)),
        ("F", 0.5, (127, 127, 127)),
        ("F", 200.0, (200, 200, 200)),
        ("I", 90, (90, 90, 90)),
    ],
)
def test_colors_of_every_mode_are_kept(mode, color, expected):
    picture = Picture.new(mode, (30, 20), color)
    assert all(abs(a - b) <= 1 for a, b in zip(in_rgb(picture).getpixel((9, 9)), expected, strict=True))
    if mode in {"CMYK", "YCbCr"}:
        image = shown(small(file_of(picture, "JPEG", quality=95)))
        assert all(abs(a - b) <= 4 for a, b in zip(image.getpixel((9, 9)), expected, strict=True))


@pytest.mark.parametrize("mode", ["F", "I"])
def test_a_range_of_32_bits_is_scaled_as_a_whole(mode):
    ramp = Picture.new(mode, (10, 3000), -10)
    ramp.paste(1_000_000, (0, 2000, 10, 3000))
    top, bottom = in_rgb(ramp).getpixel((5, 10)), in_rgb(ramp).getpixel((5, 2990))
    assert (top, bottom) == ((0, 0, 0), (255, 255, 255))


WHOLE = [file_of(noise(24, 24), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF")]


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(st.sampled_from(WHOLE), st.data())
def test_a_damaged_file_is_scaled_or_refused(file, data):
    damaged = bytearray(file[: data.draw(st.integers(0, len(file)))])
    for _ in range(data.draw(st.integers(0, 8))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Exception):  # the child process reports every kind as "damaged"
        assert small(bytes(damaged)).width <= LONGEST_SIDE
