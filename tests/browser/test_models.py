"""Choosing a model, a persona and parameters, and adding images, in Chromium."""

import re
import time

import pytest
from playwright.async_api import expect

from tests.fakes.openai_server import FakeOpenAIServer, Reply
from tests.serving import running_chat

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_the_model_menu_shows_the_place_and_state_of_each_model(new_chat):
    await new_chat.model.click()
    models = new_chat.tab.get_by_role("menuitemradio")
    await expect(models).to_have_count(2)
    await expect(models.first).to_contain_text("Gemma3 12b it")
    await expect(models.first).to_contain_text("ready")
    await expect(models.first).to_contain_text("on this chat's server")
    await expect(models.first).to_have_attribute("aria-checked", "true")
    await new_chat.tab.keyboard.press("ArrowDown")
    await new_chat.tab.keyboard.press("Enter")
    await expect(new_chat.model).to_contain_text("Gemini")
    await expect(new_chat.tab.locator("#privacy")).to_contain_text("Gemini")


async def test_a_fallback_model_answers_and_is_named_while_the_chosen_one_is_unavailable(open_chat, gemini, tmp_path):
    settings = {"GEMINI_API_KEY": "test", "CHAT_GEMINI_BASE_URL": gemini.url, "CHAT_EMBEDDED_MODEL": "false"}
    async with FakeOpenAIServer() as gone:
        url = gone.url
    async with running_chat(tmp_path, CHAT_GEMMA_URL=url, CHAT_DEFAULT_MODEL="gemma", **settings) as chat:
        page = await open_chat(chat.url)
        await expect(page.model).to_contain_text("not available")
        await expect(page.notices).to_contain_text("Gemma3 12b it")
        await page.button("Use Gemini for now").click()
        await expect(page.notices).to_contain_text("Gemini answers for now.")
        await page.ask("Hello?")
        await expect(page.writers).to_have_text(["Gemini"])
        await expect(page.notes).to_contain_text("Gemma3 12b it was unavailable, so Gemini answered.")
        await page.reload()
        await expect(page.model).to_contain_text("Gemma3 12b it")
        await expect(page.notices).to_contain_text("Gemini answers for now.")


async def test_after_a_failure_one_click_answers_with_another_model(new_chat, gemma):
    gemma.script = [Reply(pieces=[], ending="error")]
    await new_chat.send("Hello?")
    await expect(new_chat.notes).to_have_count(1)
    await new_chat.button("Answer with Gemini").click()
    await expect(new_chat.facts).to_contain_text("first token")
    await expect(new_chat.writers).to_have_text(["Gemini"])


async def test_a_failed_answer_offers_another_model_as_soon_as_one_is_ready(new_chat, gemma):
    async def without_gemini(route):
        reply = await route.fetch()
        body = await reply.json()
        body["models"][1]["state"] = "loading"
        await route.fulfill(response=reply, json=body)

    await new_chat.tab.route("**/models", without_gemini)
    await new_chat.model.click()  # it looks which models are ready
    await expect(new_chat.tab.get_by_role("menuitemradio").nth(1)).to_contain_text("loading")
    await new_chat.tab.keyboard.press("Escape")
    gemma.script = [Reply(pieces=[], ending="error")]
    await new_chat.send("Hello?")
    await expect(new_chat.notes).to_have_count(1)
    await expect(new_chat.button("Answer with Gemini")).to_have_count(0)
    await new_chat.tab.unroute("**/models")
    await new_chat.model.click()
    await new_chat.tab.keyboard.press("Escape")
    await new_chat.button("Answer with Gemini").click()
    await expect(new_chat.writers).to_have_text(["Gemini"])


async def test_parameters_are_remembered_and_can_be_reset(page, gemma):
    await page.tab.locator("#parameters-button").click()
    temperature = page.tab.get_by_label("Temperature, as a number")
    await temperature.fill("0.3")
    await temperature.press("Tab")
    await expect(page.tab.locator("#parameters")).to_contain_text("varied and surprising")
    await page.tab.keyboard.press("Escape")
    await page.ask("First")
    assert gemma.chats[-1]["temperature"] == 0.3
    await page.tab.wait_for_timeout(700)  # the page saves them half a second after the last change
    await page.reload()
    await page.tab.locator("#parameters-button").click()
    await expect(temperature).to_have_value("0.3")
    await page.button("Reset to defaults").click()
    await expect(temperature).to_have_value("0.9")
    await page.tab.keyboard.press("Escape")
    await page.ask("Second")
    assert gemma.chats[-1]["temperature"] == 0.9


async def test_a_persona_applies_to_its_conversation_only(new_chat, gemma):
    await new_chat.tab.locator("#persona").click()
    await new_chat.tab.locator(".card").filter(has_text="Pirate").click()
    await expect(new_chat.tab.locator("#persona")).to_contain_text("Pirate")
    await expect(new_chat.tab.locator("#header .persona")).to_have_text("Pirate")
    await new_chat.ask("Ahoy")
    assert "pirate captain" in gemma.chats[-1]["messages"][0]["content"]
    address = new_chat.tab.url
    await new_chat.start_new()
    await expect(new_chat.tab.locator("#persona")).not_to_contain_text("Pirate")
    await new_chat.ask("Hello")
    assert gemma.chats[-1]["messages"][0]["role"] == "user"
    await new_chat.open(address)
    await expect(new_chat.tab.locator("#persona")).to_contain_text("Pirate")
    await new_chat.ask("And now?")
    assert "pirate captain" in gemma.chats[-1]["messages"][0]["content"]


async def test_custom_personas_are_added_edited_and_deleted_and_another_devices_stay(page, gemma):
    await page.tab.locator("#persona").click()
    saved = await page.tab.evaluate(
        """async (persona) => (await fetch("profile", {method: "PUT", headers: {"content-type": "application/json"},
        body: JSON.stringify({personas: [persona], allowFallback: false, revision: 1})})).status""",
        {"id": "other", "name": "Uncle", "instructions": "Answer like an uncle."},  # of another device
    )
    assert saved == 200
    await page.button("New persona").click()
    await page.tab.get_by_label("Name").fill("סבתא")
    await page.tab.locator("#personas").get_by_label("Instructions").fill("Answer like a grandmother.")
    await page.button("Save").click()
    card = page.tab.locator(".card").filter(has_text="סבתא")
    await card.click()
    await page.ask("Hello")
    assert gemma.chats[-1]["messages"][0]["content"] == "Answer like a grandmother."
    await page.reload()
    await page.tab.locator("#persona").click()
    await expect(page.tab.locator(".card").filter(has_text="Uncle")).to_have_count(1)
    await page.button("Edit \u2068סבתא\u2069").click()
    await page.tab.locator("#personas").get_by_label("Instructions").fill("Answer like a kind grandmother.")
    await page.button("Save").click()
    await expect(card).to_contain_text("kind grandmother")
    await page.button("Delete \u2068סבתא\u2069").click()
    await expect(card).to_have_count(0)
    await page.tab.keyboard.press("Escape")
    await page.tab.wait_for_timeout(300)
    await page.reload()
    await page.tab.locator("#persona").click()
    await expect(page.tab.locator(".card")).to_have_count(7)  # six are built in


async def test_a_model_waiting_for_gpus_shows_the_reason_and_the_time(page):
    def waits(answer):
        answer["models"][0] |= {
            "state": "waiting",
            "reason": {"text": "no GPU of this kind is free in us-central1"},
            "since": int(time.time() * 1000) - 7 * 60_000 - 5000,
        }
        return answer

    async def change(route):
        response = await route.fetch()
        await route.fulfill(response=response, json=waits(await response.json()))

    await page.tab.route(re.compile(r"/(models|state)(\?|$)"), change)
    await page.reload()
    await expect(page.model).to_contain_text("waiting for GPUs")
    await expect(page.notices).to_contain_text("no GPU of this kind is free in us-central1 for 7 minutes")
    await page.model.click()
    waiting = page.tab.get_by_role("menuitemradio", name="Gemma3 12b it")
    await expect(waiting).to_contain_text("no GPU of this kind is free in us-central1 for 7 minutes")


async def test_unsupported_parameters_are_disabled_with_the_reason(page):
    async def change(route):
        response = await route.fetch()
        answer = await response.json()
        answer["models"][1]["unsupported"] = {"temperature": {"text": "Gemini does not heed it."}}
        await route.fulfill(response=response, json=answer)

    await page.tab.route(re.compile(r"/(models|state)(\?|$)"), change)
    await page.reload()
    temperature = page.tab.get_by_label("Temperature, as a number")
    await page.choose_model("Gemini")
    await page.tab.locator("#parameters-button").click()
    await expect(temperature).to_be_disabled()
    await expect(page.tab.locator("#temperature")).to_contain_text("Gemini does not heed it.")
    await expect(page.tab.get_by_label("Max tokens, as a number")).to_be_enabled()
    await page.tab.keyboard.press("Escape")
    await page.choose_model("Gemma3 12b it")
    await page.tab.locator("#parameters-button").click()
    await expect(temperature).to_be_enabled()


async def test_polling_unchanged_models_leaves_the_answer_settings_alone(new_chat):
    await expect(new_chat.model).to_contain_text("ready")
    await new_chat.tab.evaluate(
        "() => { window.filled = 0;"
        " document.querySelector('#refresh-parameters').addEventListener('click', () => window.filled++); }"
    )
    async with new_chat.tab.expect_response(re.compile(r"/models(\?|$)")):
        await new_chat.tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await new_chat.tab.wait_for_timeout(300)
    assert await new_chat.tab.evaluate("window.filled") == 0
    await new_chat.choose_model("Gemini")
    await expect(new_chat.model).to_contain_text("Gemini")
    assert await new_chat.tab.evaluate("window.filled") == 1
