"""Each function of chatapp/ui/assets/js/gradio_bridge.js finds in Gradio's page what it is for.

When one of these fails after an upgrade, Gradio has changed there, and only there (see docs/upgrade.md).
"""

import asyncio
import json

import pytest
from playwright.async_api import expect

from chatapp.http import assets as page_files
from tests.browser import gradio_dom

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

ELEMENTS = ("messageBox", "searchBox", "sidebarButton", "messageLog", "messageScroller", "messageList")


async def in_bridge(page, script):
    """Return what a script returns that has the bridge as ``bridge``."""
    path = f"page/{page_files.version()}/js/gradio_bridge.js"
    return await page.tab.evaluate(
        f'async () => {{ const bridge = await import(new URL("{path}", document.baseURI)); return {script}; }}'
    )


async def test_each_gradio_element_is_found(new_chat):
    await new_chat.ask("Question")
    missing = [name for name in ELEMENTS if not await in_bridge(new_chat, f"bridge.{name}() instanceof HTMLElement")]
    assert missing == []
    assert await in_bridge(new_chat, "bridge.isMessageScroller(bridge.messageScroller())")
    assert await in_bridge(new_chat, "['range', 'number'].every((kind) => bridge.sliderInputs('top-p')[kind])")


async def test_there_is_one_row_for_each_message(new_chat):
    await new_chat.ask("Question")
    roles = await in_bridge(new_chat, "bridge.messageRows().map((row) => row.dataset.role)")
    assert roles == ["user", "assistant"]
    assert await in_bridge(new_chat, "bridge.messageRowOf(bridge.messageRows()[1].querySelector('footer')) !== null")


async def test_gradio_receives_a_text_that_a_script_writes(new_chat):
    await in_bridge(new_chat, "bridge.setMessageText('Written by a script')")
    assert await in_bridge(new_chat, "bridge.messageText()") == "Written by a script"
    await new_chat.box.press("Enter")
    await expect(new_chat.questions).to_have_text(["Written by a script"])


async def test_the_sidebar_is_opened_and_closed(new_chat):
    was_open = await in_bridge(new_chat, "bridge.isSidebarOpen()")
    await in_bridge(new_chat, "bridge.sidebarButton().click()")
    await expect(new_chat.tab.locator(gradio_dom.OPEN_SIDEBAR)).to_have_count(0 if was_open else 1)
    assert await in_bridge(new_chat, "bridge.isSidebarOpen()") is not was_open
    await in_bridge(new_chat, "bridge.sidebarButton().click()")
    await expect(new_chat.tab.locator(gradio_dom.OPEN_SIDEBAR)).to_have_count(1 if was_open else 0)


async def test_an_update_changes_the_named_properties_and_leaves_the_others(new_chat):
    label = new_chat.tab.locator("#top-p")
    await new_chat.tab.locator("#parameters-button").click()
    await expect(label).to_contain_text("Top-p")
    await expect(label).to_contain_text("How many of the likely words")  # which the update leaves as it is
    await new_chat.tab.keyboard.press("Escape")


async def test_texts_stand_in_their_rows_in_place_of_gradios_and_each_block_has_its_own_direction(new_chat, gemma):
    gemma.answer = ["שלום\n\nHello\n\n```python\nx = 1\n```"]
    await new_chat.ask("Question")
    await expect(new_chat.answers.last).to_contain_text("x = 1")
    assert await in_bridge(new_chat, "bridge.messageRows().every(bridge.hasTextPlace)")
    visible = "[...bridge.messageList().querySelectorAll('[data-testid]')].filter((it) => it.checkVisibility()).length"
    assert await in_bridge(new_chat, visible) == 0
    assert await in_bridge(new_chat, "document.querySelectorAll(bridge.FORCED_DIRECTION).length") == 0
    directions = "[...bridge.messageRows()[1].querySelectorAll('p')].map((block) => getComputedStyle(block).direction)"
    assert await in_bridge(new_chat, directions) == ["rtl", "ltr"]
    assert await in_bridge(new_chat, "bridge.messageRows()[1].querySelectorAll('pre[tabindex]').length") == 1


async def test_an_idle_page_draws_no_frames_of_its_own(new_chat, chromium):
    asked = 10
    async with asyncio.timeout(60):
        while await _callbacks(new_chat.tab, chromium, asked) > asked:
            pass  # something still moves


async def _callbacks(tab, chromium, asked):
    """Ask for one frame after the other, and return how many callbacks ran in them: Gradio's and the page's too."""
    await chromium.start_tracing(categories=["devtools.timeline"])
    await tab.evaluate("async (n) => { while (n--) await new Promise(requestAnimationFrame); }", asked)
    trace = json.loads(await chromium.stop_tracing())
    ran = sum(event["name"] == "FireAnimationFrame" for event in trace["traceEvents"])
    assert ran >= asked
    return ran
