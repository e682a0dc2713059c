"""Markup in messages does not run and cannot look like a part of the page."""

import pytest
from playwright.async_api import expect

from tests.browser import gradio_dom

pytestmark = pytest.mark.browser
in_browser = pytest.mark.asyncio(loop_scope="session")
# What Chromium says of pictures that are not there or not allowed, and of mathematics that is none.
FINE = ("Content Security Policy", "404 (Not Found)", "LaTeX-incompatible", "ParseError")

RUN = "window.hacked=1"
EVENTS = ("onerror", "onload", "onclick", "onmouseover", "onfocus", "ontoggle", "onanimationstart", "onpointerenter")
ELEMENTS = (
    "img src=x",
    "svg",
    "body",
    "video src=x",
    "audio src=x",
    "details open",
    "input autofocus",
    "iframe",
    "marquee",
)
SCHEMES = (
    "javascript:",
    "JaVaScRiPt:",
    " javascript:",
    "java\tscript:",
    "&#106;avascript:",
    "javascript&colon;",
    "vbscript:",
    "data:text/html,<script>",
    "\x01javascript:",
)
TRICKS = [
    *(f"<{element} {event}={RUN}>" for element in ELEMENTS for event in EVENTS),
    *(f"[click]({scheme}{RUN})" for scheme in SCHEMES),
    *(f'<a href="{scheme}{RUN}">click</a>' for scheme in SCHEMES),
    f"<script>{RUN}</script>",
    f"<ScRiPt>{RUN}</sCrIpT>",
    f"<<script>{RUN}//<</script>",
    f"<script src='data:text/javascript,{RUN}'></script>",
    f"<svg><script>{RUN}</script></svg>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s>",
    f"<svg><a xlink:href='javascript:{RUN}'><text y=20>x</text></a></svg>",
    f"<svg><foreignObject><iframe src='javascript:{RUN}'></foreignObject></svg>",
    f"<math><a xlink:href='javascript:{RUN}'>x</a></math>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={RUN}>",
    f"<noscript><p title='</noscript><img src=x onerror={RUN}>'>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    f"<object data='javascript:{RUN}'></object>",
    f"<embed src='javascript:{RUN}'>",
    f"<form action='javascript:{RUN}'><button>x</button></form>",
    f"<button formaction='javascript:{RUN}'>x</button>",
    f"<meta http-equiv=refresh content='0;url=javascript:{RUN}'>",
    "<base href='https://example.com/'>",
    "<link rel=stylesheet href='https://example.com/x.css'>",
    "<style>@import 'https://example.com/x.css'; body{display:none}</style>",
    f"<div style='background:url(javascript:{RUN})'>x</div>",
    f"<template><img src=x onerror={RUN}></template>",
    f"<img src=`x` onerror={RUN}>",
    f"<img src='x' on\nerror={RUN}>",
    f"<img/src/onerror={RUN}>",
    f"<a href=x onclick\x0c={RUN}>x</a>",
    f'![x](x" onerror="{RUN})',
    f'![x](x "title\\" onerror=\\"{RUN}")',
    f"[x](x 'y' onmouseover={RUN})",
    f'<https://example.com/" onmouseover="{RUN}>',
    f"`<img src=x onerror={RUN}>`",
    f"```html\n<img src=x onerror={RUN}>\n```",
    f'```"><img src=x onerror={RUN}>\nx\n```',
    f"~~~\n<script>{RUN}</script>\n~~~",
    f"`` ` <img src=x onerror={RUN}> ``",
    f"`unclosed <img src=x onerror={RUN}>",
    f"```\nunclosed <img src=x onerror={RUN}>",
    f"    indented <img src=x onerror={RUN}>",
    f"$$\\href{{javascript:{RUN}}}{{x}}$$",
    f"$$\\includegraphics{{javascript:{RUN}}}$$",
    f"$$\\htmlData{{x=y}}{{<img src=x onerror={RUN}>}}$$",
    f"$<img src=x onerror={RUN}>$",
    f"$$<img src=x onerror={RUN}>$$",
    f"\\(<img src=x onerror={RUN}>\\)",
    f"| a |\n|---|\n| <img src=x onerror={RUN}> |",
    f"- <img src=x onerror={RUN}>",
    f"> <img src=x onerror={RUN}>",
    f"# <img src=x onerror={RUN}>",
    f"[ref]: javascript:{RUN}\n\n[click][ref]",
    f"&lt;img src=x onerror={RUN}&gt;",
    f"&amp;lt;script&amp;gt;{RUN}",
    f"<div id=main class=writing></div><div id=refusal>{RUN}</div>",
    "<input id=message name=chat>",
    "<form name=chat><input name=then></form>",
    "<div style='position:fixed;inset:0;z-index:99999;background:red'>over everything</div>",
    "\u202egnp.exe\u202c and \u2066hidden\u2069",
    "[https://bank.example](https://example.com/\u202emoc.knab)",
    "\u200f\u200e\u061c marks of direction",
    "{{constructor.constructor('window.hacked=1')()}}",
    "${window.hacked=1}",
    "__proto__",
    "\x00\x01\x02\x7f",
]
PER_CONVERSATION = 25  # the page loads so many turns at once


def test_there_are_enough_tricks():
    assert len(set(TRICKS)) >= 150


async def _touch_everything(page):
    """Do to everything that stands in a message what a person might."""
    await page.tab.evaluate(
        """async (message) => {
          for (const element of document.querySelectorAll("#messages *, #conversations *")) {
            for (const name of ["mouseover", "focus", "pointerenter", "animationstart", "toggle", "error", "load"])
              element.dispatchEvent(new Event(name));
            if (element.closest(message) && !element.closest("a[target]")) element.dispatchEvent(new Event("click"));
          }
          await new Promise((resolve) => setTimeout(resolve, 200));
        }""",
        gradio_dom.MESSAGES,
    )


async def _unsafe(page):
    """Return what stands in the messages that no Markdown makes."""
    return await page.tab.evaluate(
        """([message, math]) => [...document.querySelectorAll(`${message} *`)].flatMap((element) => [
          ...(/^(script|iframe|object|embed|form|input|textarea|select|style|link|meta|base|video|audio|template|marquee)$/i
              .test(element.tagName) ? [element.outerHTML.slice(0, 120)] : []),
          ...[...element.attributes].filter(({ name, value }) =>
            /^on/i.test(name) || (/^(href|src|action|xlink:href|formaction)$/i.test(name)
              && /^[\\u0000-\\u0020]*(javascript|vbscript|data:text)/i.test(value)))
            .map(({ name, value }) => `${element.tagName} ${name}=${value}`),
          ...(!element.closest(`${math}, pre`) && element.style.position ? [element.outerHTML.slice(0, 120)] : []),
        ])""",
        [gradio_dom.MESSAGES, gradio_dom.MATHEMATICS],
    )


@in_browser
async def test_markup_does_not_run_while_it_streams(new_chat, gemma):
    for trick in TRICKS[::9]:
        gemma.answer = list(trick)
        before = await new_chat.answers.count()
        await new_chat.send(_question(trick))
        await expect(new_chat.answers).to_have_count(before + 1)
        await expect(new_chat.stop_button).to_be_hidden()
    await _nothing_ran(new_chat)


@in_browser
async def test_markup_does_not_run_in_questions_answers_and_titles(new_chat):
    for first in range(0, len(TRICKS), PER_CONVERSATION):
        tricks = TRICKS[first : first + PER_CONVERSATION]
        await new_chat.open_turns([(_question(trick), trick) for trick in tricks], title=_question(tricks[0]))
        await expect(new_chat.answers).to_have_count(len(tricks))
        await expect(new_chat.title).to_have_text(_question(tricks[0]))
        await _nothing_ran(new_chat)


def _question(trick):
    return f"Q {trick}" if trick.strip("\x00\x01\x02\x7f ") else "Q"


async def _nothing_ran(page):
    await _touch_everything(page)
    assert await page.tab.evaluate("window.hacked") is None
    assert await _unsafe(page) == []
    page.problems[:] = [problem for problem in page.problems if not any(words in problem for words in FINE)]


@in_browser
async def test_markup_does_not_run_in_names_searches_personas_and_notices(page):
    lines = [" ".join(trick.split()).strip("\x00\x01\x02\x7f") or "x" for trick in TRICKS[::6]]
    await page.import_conversations(*((line[:150], [("First", "Something.")]) for line in lines))
    await page.open()
    await expect(page.conversations).to_have_count(len(lines))
    await page.ask("First")
    search = page.tab.locator("#search").get_by_role("textbox")
    for line in lines[::4]:
        await page.tab.locator("#more").click()
        await page.choose("Rename")
        await page.tab.get_by_label("Title").fill(line[:150])
        await page.tab.get_by_label("Title").press("Enter")
        await expect(page.title).to_have_text(line[:150])
        await search.fill(line[:20])
        await expect(page.tab.locator("#conversations [role=status]")).to_be_visible()
        assert await _strange(page) == []
        await search.fill("")
    await page.tab.locator("#persona").click()
    for trick in TRICKS[::30]:
        await page.button("New persona").click()
        await page.tab.get_by_label("Name").fill((" ".join(trick.split()) or "x")[:70])
        await page.tab.locator("#personas").get_by_label("Instructions").fill(trick.replace("\x00", ""))
        await page.button("Save").click()
    await page.tab.wait_for_timeout(300)
    await page.reload()
    await page.tab.locator("#persona").click()
    assert await page.tab.evaluate("window.hacked") is None
    assert await _strange(page) == []


async def _strange(page):
    """Return what stands outside of the messages that no name makes."""
    return await page.tab.evaluate(
        "() => [...document.querySelectorAll('#conversations *, #personas *, #header *')]"
        ".filter((it) => /^(IMG|SCRIPT|IFRAME|OBJECT|STYLE)$/.test(it.tagName)).map((it) => it.outerHTML)"
    )


@in_browser
async def test_a_text_cannot_draw_what_looks_like_a_button_of_the_page(new_chat, gemma):
    gemma.answer = ['<button class="go-on">Continue</button><div id="refusal">Log in again</div>\n\nThe end.']
    await new_chat.ask("First")
    await expect(new_chat.answers).to_contain_text('<button class="go-on">Continue</button>')
    await expect(new_chat.answers.locator("button")).to_have_count(0)
    await expect(new_chat.answers.locator("[id], [class*=go-on]")).to_have_count(0)
