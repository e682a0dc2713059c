"""Failures of models, the server and the connection: what the page shows, and that no text is lost."""

import re

import pytest
from playwright.async_api import expect

from tests.fakes.openai_server import Reply
from tests.serving import running_chat

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_an_offline_page_shows_it_and_sends_once_it_is_online(new_chat):
    await new_chat.ask("Before")
    await new_chat.tab.context.set_offline(True)
    await expect(new_chat.refusal).to_contain_text("This device is offline")
    await new_chat.send("While offline")
    await expect(new_chat.refusal).to_contain_text("unreachable")
    await expect(new_chat.box).to_have_value("While offline")
    await new_chat.tab.context.set_offline(False)
    await expect(new_chat.questions).to_have_text(["Before", "While offline"])
    await expect(new_chat.box).to_have_value("")
    await expect(new_chat.refusal).to_be_hidden()


async def test_a_page_loaded_while_the_chat_is_down_completes_once_it_is_up(new_chat):
    away = True

    async def answer(route):
        await (route.abort() if away else route.continue_())

    await new_chat.tab.route(re.compile("/state"), answer)
    await new_chat.tab.reload()
    await expect(new_chat.refusal).to_contain_text("unreachable")
    away = False
    await new_chat.is_ready()
    await expect(new_chat.refusal).to_be_hidden()
    await new_chat.ask("Hello")


async def test_a_lost_cookie_shows_a_notice_and_keeps_the_text(page):
    await page.ask("First")
    await page.tab.context.clear_cookies()
    await page.send("Second")
    await expect(page.refusal).to_contain_text("does not exist")
    await expect(page.box).to_have_value("Second")
    await page.start_new()
    await expect(page.box).to_have_value("Second")


async def test_a_model_server_rate_limit_shows_when_to_retry(new_chat, gemma):
    gemma.script = [Reply(status=429, body={"error": {"message": "slow down"}}, headers={"Retry-After": "7"})]
    await new_chat.send("Hello")
    await expect(new_chat.notes).to_have_count(1)
    await expect(new_chat.notes).to_contain_text(re.compile("too many|limit|busy", re.IGNORECASE))
    await new_chat.button("Regenerate").click()
    await expect(new_chat.facts).to_contain_text("first token")


async def test_an_interrupted_answer_keeps_its_text_and_can_be_continued(new_chat, gemma):
    away = Reply(status=503, body={"error": {"message": "no healthy upstream"}})
    gemma.script = [Reply(pieces=["Half an"], ending="cut"), away, away, away]  # and no other server
    await new_chat.send("Go")
    await expect(new_chat.answers).to_have_text(["Half an"])
    await expect(new_chat.notes).to_have_count(1)
    await expect(new_chat.send_button).to_be_visible()
    gemma.answer = [" answer."]
    await new_chat.button("Continue").click()
    await expect(new_chat.answers).to_have_text(["Half an answer."])
    await expect(new_chat.notes).to_have_count(0)


async def test_a_history_not_yet_saved_in_the_cloud_shows_a_notice(new_chat):
    async def change(route):
        response = await route.fetch()
        answer = await response.json()
        answer["notices"] = [{"text": "The history in the cloud cannot be reached."}]
        await route.fulfill(response=response, json=answer)

    await new_chat.tab.route(re.compile(r"/(models|state)(\?|$)"), change)
    await new_chat.reload()
    await expect(new_chat.notices).to_contain_text("The history in the cloud cannot be reached.")
    await new_chat.ask("It can be used all the same")


async def test_a_rate_limit_shows_when_to_retry_and_keeps_the_text(tmp_path, gemma, open_chat):
    settings = {
        "CHAT_IDENTITY": "anonymous",
        "CHAT_MESSAGES_PER_MINUTE": "1",
        "CHAT_GEMMA_URL": gemma.url,
        "CHAT_EMBEDDED_MODEL": "false",
        "CHAT_TITLES": "first-words",
    }
    async with running_chat(tmp_path, **settings) as chat:
        english = await open_chat(chat.url)
        await english.ask("First")
        await english.send("Second")
        await expect(english.refusal).to_have_text(
            re.compile(
                r"limit of 1 messages per minute is reached. Nothing was sent.* Try again in (\d+ seconds?|1 minute)\."
            )
        )
        await expect(english.box).to_have_value("Second")
        await expect(english.questions).to_have_text(["First"])
        await english.reload()
        await expect(english.box).to_have_value("Second")
        hebrew = await open_chat(chat.url, locale="he-IL", width=360, height=740)
        await hebrew.send("ראשונה")
        await expect(hebrew.facts).to_have_count(1)
        await hebrew.send("שנייה")
        await expect(hebrew.refusal).to_have_text(
            re.compile(r"הגעתם למכסת ההודעות .* נסו שוב .*בעוד (.*שניות|דקה)\u2069\.")
        )
        await expect(hebrew.box).to_have_value("שנייה")
        assert not await hebrew.is_wider_than_the_screen()
        assert await hebrew.accessibility_problems() == []
