"""Pasting text, images and both, in Chromium."""

import base64
import struct
import zlib

import pytest
from playwright.async_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


def _png():
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\x00\x00")) + chunk(b"IEND", b"")


PNG = base64.b64encode(_png()).decode()
TABLE = "<table><tr><td>Name</td><td>Age</td></tr><tr><td>Ruth</td><td>9</td></tr></table>"
IMAGE = '<meta charset="utf-8"><img src="https://example.com/cat.png" alt="A cat">'
# What programs put on the clipboard: the types with their texts, the files, and what a paste leaves in the box or adds.
CLIPBOARDS = {
    "Excel": (
        {"text/plain": "Name\tAge\nRuth\t9", "text/html": TABLE, "text/rtf": "{\\rtf1}"},
        ["image.png"],
        "browser",
    ),
    "LibreOffice": ({"text/plain": "Name\tAge\nRuth\t9\n", "text/html": TABLE}, ["image.png"], "browser"),
    "Word": ({"text/plain": "A word", "text/html": "<p>A word</p>", "text/rtf": "{\\rtf1}"}, ["image.png"], "browser"),
    "Google Sheets": ({"text/plain": "1\t2", "text/html": f"<google-sheets-html-origin>{TABLE}"}, [], "browser"),
    "a text editor": ({"text/plain": "plain"}, [], "browser"),
    "a cell that names a file": (
        {"text/plain": "image.png", "text/html": "<td>image.png</td>"},
        ["image.png"],
        "browser",
    ),
    "formatted text without plain text": ({"text/html": TABLE}, ["image.png"], "Name\tAge\nRuth\t9"),
    "a link": ({"text/uri-list": "https://example.com/"}, [], "https://example.com/"),
    "Markdown alone": ({"text/markdown": "# Hi"}, [], "# Hi"),
    "rich text alone": ({"text/rtf": "{\\rtf1\\ansi Hi \\u1513?\\par there}"}, [], "Hi ש\nthere"),
    "rich text with unknown words": ({"text/rtf": "{\\rtf1\\constructor Hi\\toString  there}"}, [], "Hi there"),
    "rich text and a picture of it": ({"text/rtf": "{\\rtf1 Hi}"}, ["image.png"], "Hi"),
    "white space and a picture": ({"text/plain": " \n"}, ["image.png"], "image"),
    "a text and files of other names": ({"text/plain": "See these"}, ["a.png", "b.png"], "browser"),
    "a screenshot": ({}, ["image.png"], "image"),
    "an image of a page, in Chrome": ({"text/html": IMAGE}, ["image.png"], "image"),
    "an image of a page, in Firefox": (
        {"text/plain": "https://example.com/cat.png", "text/html": IMAGE},
        ["cat.png"],
        "image",
    ),
    "an embedded image of a page": ({"text/html": f'<img src="data:image/png;base64,{PNG}">'}, [], "image"),
    "a file of macOS": ({"text/plain": "cat.png"}, ["cat.png"], "image"),
    "files of GNOME": (
        {"text/plain": "x-special/nautilus-clipboard\ncopy\nfile:///home/r/a%20cat.png\n"},
        ["a cat.png"],
        "image",
    ),
    "an empty cell": ({"text/plain": "\t\n", "text/html": "<td></td>"}, ["image.png"], "image"),
    "an image of a page without the image": ({"text/html": IMAGE}, [], "address"),
    "nothing": ({}, [], "nothing"),
}
# Paste a made clipboard and return what became of it. (For a made event Chromium does not insert the text itself.)
PASTE = """async ([texts, files, png, target]) => {
  const clipboardData = new DataTransfer();
  for (const [type, text] of Object.entries(texts)) clipboardData.setData(type, text);
  const bytes = Uint8Array.from(atob(png), (character) => character.charCodeAt(0));
  for (const name of files) clipboardData.items.add(new File([bytes], name, { type: "image/png" }));
  const field = document.querySelector(target);
  field.focus?.();
  const event = new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true });
  field.dispatchEvent(event);
  if (!event.defaultPrevented) return texts["text/plain"] ? "browser" : "nothing";
  const end = Date.now() + 5000;
  for (;;) {
    const text = document.querySelector("#message textarea").value;
    const images = [...document.querySelectorAll("#attachments button")];
    const isRefused = /only the address/.test(document.querySelector("#refusal").textContent);
    if (!text && !images.length && !isRefused && Date.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      continue;
    }
    images.forEach((image) => image.click());
    const box = document.querySelector("#message textarea");
    box.value = "";
    box.dispatchEvent(new Event("input", { bubbles: true }));
    return text || (images.length ? "image" : "address");
  }
}"""


async def test_text_is_pasted_where_the_clipboard_has_text_and_images_elsewhere(new_chat):
    results = {
        name: await new_chat.tab.evaluate(PASTE, [texts, files, PNG, "#message textarea"])
        for name, (texts, files, _) in CLIPBOARDS.items()
    }
    assert results == {name: result for name, (_, _, result) in CLIPBOARDS.items()}
    # With no field focused, text goes to the message box too; another field gets text and no images.
    assert await new_chat.tab.evaluate(PASTE, [{"text/plain": "plain"}, ["a.png"], PNG, "body"]) == "plain"
    assert await new_chat.tab.evaluate(PASTE, [{}, ["a.png"], PNG, "#search textarea"]) == "nothing"


async def test_text_is_dropped_where_it_would_replace_the_page(new_chat):
    drop = """([texts, png, target]) => {
      const dataTransfer = new DataTransfer();
      for (const [type, text] of Object.entries(texts)) dataTransfer.setData(type, text);
      const bytes = Uint8Array.from(atob(png), (character) => character.charCodeAt(0));
      if (png) dataTransfer.items.add(new File([bytes], "a.png", { type: "image/png" }));
      const event = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
      document.querySelector(target).dispatchEvent(event);
      return event.defaultPrevented;
    }"""
    assert await new_chat.tab.evaluate(drop, [{"text/uri-list": "https://example.com/"}, "", "#messages"])
    await expect(new_chat.box).to_have_value("https://example.com/")
    await new_chat.box.fill("")
    assert await new_chat.tab.evaluate(drop, [{"text/plain": "1\t2", "text/html": TABLE}, PNG, "#messages"])
    await expect(new_chat.box).to_have_value("1\t2")
    await expect(new_chat.tab.locator("#attachments img")).to_have_count(0)
    assert not await new_chat.tab.evaluate(drop, [{"text/plain": "x"}, "", "#message textarea"])  # the browser does it
    await new_chat.box.fill("")


async def test_a_real_paste_of_cells_with_a_picture_of_them_is_text_that_can_be_sent(new_chat, gemma):
    await new_chat.tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await new_chat.box.focus()
    await new_chat.tab.evaluate(
        """async ([plain, html, png]) => {
          const bytes = Uint8Array.from(atob(png), (character) => character.charCodeAt(0));
          const blob = (type, content) => new Blob([content], { type });
          await navigator.clipboard.write([new ClipboardItem({
            "text/plain": blob("text/plain", plain),
            "text/html": blob("text/html", html),
            "image/png": blob("image/png", bytes),
          })]);
        }""",
        ["Name\tAge", TABLE, PNG],
    )
    await new_chat.tab.keyboard.press("Control+V")
    await expect(new_chat.box).to_have_value("Name\tAge")
    await expect(new_chat.tab.locator("#attachments img")).to_have_count(0)
    await new_chat.box.press("Enter")
    await expect(new_chat.answers).to_have_count(1)
    assert gemma.chats[-1]["messages"][-1]["content"] == "Name\tAge"
