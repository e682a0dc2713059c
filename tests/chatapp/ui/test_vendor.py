"""The libraries in assets/vendor are what their authors published; the frame that draws diagrams reaches nothing."""

import hashlib
import json

import aiohttp

from chatapp.http import assets as page_files

VENDOR = page_files.FOLDER / "vendor"
PACKAGES = json.loads((VENDOR / "packages.json").read_text(encoding="utf-8"))


def test_each_library_is_the_published_file_with_its_licence():
    for package in PACKAGES:
        content = (VENDOR / package["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == package["sha256"], package["name"]
        name = package["name"].removeprefix("@").replace("/", "-")
        assert (VENDOR / f"LICENSE-{name}.txt").stat().st_size > 500
        assert package["integrity"].startswith("sha512-")
        assert package["license"]


def test_no_library_is_unlisted():
    assert {path.name for path in VENDOR.glob("*.js")} == {package["file"] for package in PACKAGES}


async def test_the_frame_of_diagrams_reaches_no_address(chat_url):
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{chat_url}/page/{page_files.version()}/frames/diagram.html") as response,
    ):
        policy = response.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "sandbox allow-scripts", "frame-ancestors 'self'"} <= set(policy)
    assert next(part for part in policy if part.startswith("script-src")).startswith("script-src blob: 'sha256-")
    assert not [part for part in policy if "'self'" in part and not part.startswith("frame-ancestors")]
