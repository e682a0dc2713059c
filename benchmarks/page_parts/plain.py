"""Plain Gradio for comparison: a chat as in its guides, which shows all messages at once and streams answers.

``python -m benchmarks.page_parts.plain PORT``. With ``?last=500`` the page begins with so many messages of the long
conversation; its button shows all of it.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import gradio as gr

from benchmarks.page_parts.texts import messages, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKENS_PER_SECOND = 50.0
TOKENS = 3000
Shown = list[dict[str, str]]


def everything() -> Shown:
    """Return the long conversation as Gradio's chatbot takes it."""
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(messages())]


def asked_for(request: gr.Request) -> Shown:
    count = int(request.query_params.get("last", 0))
    return everything()[-count:] if count else []


def answer(text: str, shown: Shown) -> Iterator[tuple[str, Shown]]:
    """Yield the messages with one token more each time, at the pace of a model."""
    shown = [*shown, {"role": "user", "content": text}, {"role": "assistant", "content": ""}]
    begun = time.monotonic()
    for i, token in enumerate(tokens(TOKENS)):
        shown[-1]["content"] += token
        yield "", shown
        time.sleep(max(0.0, begun + (i + 1) / TOKENS_PER_SECOND - time.monotonic()))


def main() -> None:
    with gr.Blocks(title="Plain", fill_height=True, analytics_enabled=False) as page:
        with gr.Sidebar():
            show = gr.Button("Show", elem_id="show-all")
        chatbot = gr.Chatbot(elem_id="messages", height="80vh")
        text = gr.Textbox(elem_id="message", show_label=False, submit_btn=True)
        text.submit(answer, [text, chatbot], [text, chatbot])
        show.click(everything, None, chatbot)
        page.load(asked_for, None, chatbot)
    page.launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), ssr_mode=False, quiet=True)


if __name__ == "__main__":
    main()
