"""A browser in which features are missing or throw, as Firefox with blocked cookies: the page works without them."""

import pytest
from playwright.async_api import expect

from tests.browser import gradio_dom

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

NAMES = ["BroadcastChannel", "localStorage", "sessionStorage", "indexedDB", "Notification", "caches", "SharedWorker"]
NAVIGATOR = ["clipboard", "serviceWorker", "storage", "locks", "share", "virtualKeyboard"]
FAIL = {
    "throws": "{ get() { throw new DOMException('The operation is insecure.', 'SecurityError'); } }",
    "missing": "{ value: undefined }",
}


@pytest.mark.parametrize("how", FAIL)
async def test_the_page_works_where_features_are_missing_or_throw(open_chat, chat, gemma, how):
    gemma.answer = ["Look:\n\n```python\nprint(1)\n```"]
    script = f"""for (const [owner, names] of [[window, {NAMES}], [Navigator.prototype, {NAVIGATOR}]])
      for (const name of names) Object.defineProperty(owner, name, {FAIL[how]});"""
    page = await open_chat(chat.url, script=script)
    await page.ask("First")
    await page.open_menu("First")
    await page.choose("Pin")
    await page.tab.locator("#more").click()
    await page.choose("Copy link")
    await expect(page.toast).to_contain_text("copied")
    await page.tab.locator(gradio_dom.ANSWER_ROWS).get_by_role("button", name="Copy", exact=True).click()
    await page.answers.get_by_role("button", name="Copy code").click()
    await page.start_new()
    await page.conversations.click()
    await expect(page.questions).to_have_text(["First"])
    await page.tab.locator("#me").click()
    await page.tab.get_by_label("Language").select_option("he")
    await page.is_ready()
    await page.reload()
    await expect(page.questions).to_have_text(["First"])


async def test_a_guest_whose_browser_blocks_cookies_is_told_why_nothing_is_found(open_chat, chat):
    script = "Object.defineProperty(Navigator.prototype, 'cookieEnabled', { value: false })"
    page = await open_chat(chat.url, script=script)
    await expect(page.tab.locator("#account-notice")).to_contain_text("blocks cookies")
