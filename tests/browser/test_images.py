"""Images in the page: added, uploaded, sent, kept when something fails, and refused with what to do."""

import base64
import io
import re

import pytest
from PIL import Image
from playwright.async_api import expect

from tests.fakes.pictures import file_of, plain

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

UPLOADS = re.compile(r"/images\?")
TURNS = re.compile(r"/(conversations|turns)$")


async def test_an_image_is_sent_and_shown_with_its_question(new_chat, gemini):
    await new_chat.choose_model("Gemini")
    await new_chat.tab.locator("input[type=file]").set_input_files(
        {"name": "red.png", "mimeType": "image/png", "buffer": plain((3000, 2000))}
    )
    await expect(new_chat.tab.locator("#attachments img")).to_have_count(1)
    await new_chat.ask("What is this?")
    await expect(new_chat.tab.locator("#attachments img")).to_have_count(0)
    shown = new_chat.tab.locator("#messages .images img")
    await expect(shown).to_have_count(1)
    parts = gemini.streams()[-1].body["contents"][-1]["parts"]
    sent = next(part["inlineData"]["data"] for part in parts if "inlineData" in part)
    assert max(Image.open(io.BytesIO(base64.urlsafe_b64decode(sent))).size) <= 1536
    await new_chat.reload()
    await expect(shown).to_have_count(1)
    assert await shown.evaluate("image => image.decode().then(() => image.naturalWidth)") == 1536


async def test_images_are_pasted_and_dropped(new_chat):
    content = base64.b64encode(plain()).decode()
    transfer = """(content) => {
      const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], "red.png", { type: "image/png" }));
      return transfer;
    }"""
    data = await new_chat.tab.evaluate_handle(transfer, content)
    paste = "(box, data) => box.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }))"
    await new_chat.box.evaluate(paste, data)
    await expect(new_chat.tab.locator("#attachments img")).to_have_count(1)
    drop = "(main, data) => main.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true }))"
    await new_chat.tab.locator("#main").evaluate(drop, data)
    await expect(new_chat.tab.locator("#attachments img")).to_have_count(2)
    await new_chat.button("Remove image 1").click()
    await expect(new_chat.tab.locator("#attachments img")).to_have_count(1)


async def test_a_damaged_image_and_one_too_many_are_rejected_with_the_reason(new_chat):
    files = new_chat.tab.locator("input[type=file]")
    await files.set_input_files({"name": "broken.png", "mimeType": "image/png", "buffer": b"not a picture"})
    await expect(new_chat.refusal).to_contain_text("broken.png cannot be read as an image. It may be damaged.")
    many = [{"name": f"{i}.png", "mimeType": "image/png", "buffer": plain()} for i in range(6)]
    await files.set_input_files(many)
    await expect(new_chat.tab.locator("#attachments img")).to_have_count(4)
    await expect(new_chat.refusal).to_contain_text("at most 4 images")


async def attach(page, *files):
    """Add image files; they are uploaded when this returns."""
    contents = [{"name": f"{i}.png", "mimeType": "image/png", "buffer": file} for i, file in enumerate(files)]
    await page.tab.locator("input[type=file]").set_input_files(contents)
    await expect(page.tab.locator("#attachments img")).to_have_count(len(files))
    await expect(page.tab.locator("#attachments .uploading")).to_have_count(0)


async def test_an_image_stays_in_the_box_until_its_message_is_taken(new_chat, gemini):
    await new_chat.choose_model("Gemini")
    bodies, uploads = [], []

    async def upload(route):
        uploads.append(route.request.post_data_buffer)
        if len(uploads) == 1:  # an upload that the chat does not have any more when the message comes
            await route.fulfill(json={"id": "0" * 32, "width": 1, "height": 1})
        elif len(uploads) == 2:  # a proxy, while the chat restarts
            await route.fulfill(status=502, body="Bad gateway")
        else:
            await route.continue_()

    async def turn(route):
        bodies.append(route.request.post_data_json)
        if len(bodies) == 1:
            error = {"error": {"text": "The queue is full.", "template": "The queue is full.", "values": {}}}
            await route.fulfill(status=429, json=error)
        else:
            await route.continue_()

    await new_chat.tab.route(UPLOADS, upload)
    await new_chat.tab.route(TURNS, turn)
    await attach(new_chat, plain((60, 40)))
    await new_chat.send("What is this?")
    await expect(new_chat.refusal).to_contain_text("The queue is full.")
    await expect(new_chat.tab.locator("#attachments img")).to_have_count(1)
    await expect(new_chat.box).to_have_value("What is this?")
    await new_chat.ask("What is this?")
    await expect(new_chat.tab.locator("#attachments img")).to_have_count(0)
    assert uploads == [plain((60, 40))] * 3
    assert [len(str(body)) < 2_000 for body in bodies] == [True] * 3  # text, and ids
    assert bodies[1]["question"] == bodies[2]["question"]
    await expect(new_chat.tab.locator("#messages .images img")).to_have_count(1)

    new_chat.problems[:] = [problem for problem in new_chat.problems if "502" not in problem]  # the one of above

    # Edited, the question keeps its image, which the page does not upload again.
    await new_chat.button("Edit and resend").click()
    await new_chat.tab.locator(".edit textarea").fill("And now?")
    await new_chat.tab.locator(".edit").get_by_role("button", name="Send").click()
    await expect(new_chat.tab.locator("#messages [data-role=user]")).to_contain_text("And now?")
    await expect(new_chat.tab.locator("#messages .images img")).to_have_count(1)
    assert len(uploads) == 3
    parts = gemini.streams()[-1].body["contents"][-1]["parts"]
    assert [part for part in parts if "inlineData" in part]


async def test_files_that_the_chat_cannot_take_say_what_to_do(new_chat):
    await new_chat.choose_model("Gemini")
    frames = [Image.new("RGB", (30, 20), color) for color in ("red", "blue")]
    gif = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40"><path d="M0 0h60v40H0z"/></svg>'
    files, images = new_chat.tab.locator("input[type=file]"), new_chat.tab.locator("#attachments img")
    for name, media_type, content, words in (
        (
            "photo.heic",
            "",
            b"\0\0\0\x20ftypheic",
            "photo.heic is a HEIC photo, which this browser cannot read. Save it as JPEG",
        ),
        (
            "photo.avif",
            "image/avif",
            b"\0\0\0\x20ftypavif",
            "This browser cannot read AVIF images. Save photo.avif as JPEG",
        ),
        (
            "scan.tiff",
            "image/tiff",
            file_of(frames[0], "TIFF"),
            "This browser cannot read TIFF images. Save scan.tiff as JPEG",
        ),
    ):
        await files.set_input_files({"name": name, "mimeType": media_type, "buffer": content})
        await expect(new_chat.refusal).to_contain_text(words)
        await expect(images).to_have_count(0)
    await files.set_input_files({"name": "moving.gif", "mimeType": "image/gif", "buffer": gif})
    await expect(new_chat.tab.locator("#toast")).to_contain_text(
        "moving.gif is animated. Only its first frame is sent."
    )
    await files.set_input_files({"name": "drawing.svg", "mimeType": "image/svg+xml", "buffer": svg})
    await expect(images).to_have_count(2)
    await expect(new_chat.refusal).to_be_empty()
    await new_chat.ask("What are these?")
    await expect(new_chat.tab.locator("#messages .images img")).to_have_count(2)
