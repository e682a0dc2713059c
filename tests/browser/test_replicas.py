"""Two replicas of the chat before one cloud, in Chromium: one person with a device at each."""

import pytest
from playwright.async_api import expect

from tests.fakes.shared_cloud import SharedCloud
from tests.replica import served

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
]
WHY = "Stored on one server so far. It is copied to the cloud as soon as the cloud responds."


async def test_two_devices_at_two_replicas_write_in_turns_and_see_what_is_not_saved_yet(open_chat, gemma, tmp_path):
    cloud = SharedCloud()
    options = {"acknowledge": "cloud", "with_page": True}
    async with (
        served(cloud.client(), tmp_path / "a", gemma, **options) as a,
        served(cloud.client(), tmp_path / "b", gemma, **options) as b,
    ):
        phone = await open_chat(a.url, width=360)
        await phone.ask("First")
        laptop = await open_chat(b.url)
        await laptop.tab.context.clear_cookies()
        await laptop.tab.context.add_cookies(await phone.tab.context.cookies())
        await laptop.open(phone.tab.url.replace(a.url, b.url))
        written = ["First"]
        for device, text in ((laptop, "Second"), (phone, "Third"), (laptop, "Fourth"), (phone, "Fifth")):
            await device.box.fill(text)  # which looks for news from the other device
            await expect(device.questions).to_have_text(written)
            await device.box.press("Enter")
            written.append(text)
            await expect(device.questions).to_have_text(written)
            await expect(device.facts).to_have_count(len(written))
            await expect(device.facts.last).to_contain_text("first token")
            await expect(device.refusal).to_be_empty()
        sign = phone.tab.locator("#messages .unsaved")
        await expect(sign).to_have_count(0)
        a.client.down = True
        await phone.ask("Sixth")
        await expect(sign).to_have_text(["Not fully saved yet"] * 2)  # the question and its answer
        boxes = [
            await place.bounding_box()
            for place in (sign.first, phone.tab.locator("#messages [data-role=assistant]").last)
        ]
        assert boxes[0]["y"] + boxes[0]["height"] <= boxes[1]["y"], "the question's sign is not drawn over the answer"
        await expect(sign.first).to_have_accessible_description(WHY)
        assert await phone.accessibility_problems() == []
        a.client.down = False
        await expect(sign).to_have_count(0)
        await laptop.box.fill("Seventh")
        await expect(laptop.questions).to_have_text([*written, "Sixth"])
