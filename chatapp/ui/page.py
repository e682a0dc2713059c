"""The page's layout. What happens when somebody uses it is in ``assets/js``, which talks to `chatapp.http.api`.

No event has a handler on the server: what Gradio's components are given comes from the page's own scripts, so that an
open page outlives a restart, and another replica is as good as this one.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from chatapp.domain.conversation import GenerationParameters

# Every text in the layout; Gradio shows them in the reader's language, from assets/locales.
LABELS = (
    "New chat",
    "Search conversations",
    "Write a message",
    "Send",
    "Stop",
    "Answer settings",
    "Temperature",
    "Lower: focused and consistent. Higher: varied and surprising.",
    "Top-p",
    "How many of the likely words to consider. Lower keeps to the likeliest.",
    "Max tokens",
    "The longest an answer can be. A token is about three quarters of an English word.",
    "Instructions",
    "Instructions that apply to the whole conversation.",
    "Reset to defaults",
)
_say = gr.I18n(en={label: label for label in LABELS})
# What Gradio shows as mathematics; assets/js/markdown.js makes one of these of single dollars, unless they are prices.
LATEX: list[dict[str, str | bool]] = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "\\[", "right": "\\]", "display": True},
    {"left": "\\(", "right": "\\)", "display": False},
]


def _place(name: str) -> None:
    """Leave a place that the scripts fill; an empty column costs nothing, as the page has columns anyway."""
    with gr.Column(elem_id=name, min_width=0):
        pass


def _slider(label: str, info: str, value: float, ends: tuple[float, float], *, step: float) -> gr.Slider:
    name = label.lower().replace(" ", "-")
    return gr.Slider(*ends, value=value, step=step, label=_say(label), info=_say(info), elem_id=name, buttons=[])


def chat_page() -> gr.Blocks:
    """Return the page."""
    defaults = GenerationParameters()
    page: gr.Blocks
    with gr.Blocks(title="Hybrid chat", fill_height=True, fill_width=True, analytics_enabled=False) as page:
        # The scripts press these when they have something for Gradio's components.
        show = gr.Button(visible="hidden", elem_id="show")
        fill = gr.Button(visible="hidden", elem_id="fill")
        with gr.Sidebar(width=288, elem_id="sidebar"):
            new = gr.Button(_say("New chat"), elem_id="new-chat", variant="secondary")
            gr.Textbox(
                label=_say("Search conversations"),
                placeholder=_say("Search conversations"),
                show_label=False,
                container=False,
                elem_id="search",
            )
            _place("conversations")
            _place("belongings")
        with gr.Column(elem_id="main"):
            _place("header")
            chatbot = gr.Chatbot(
                elem_id="messages",
                show_label=False,
                container=False,
                height="100%",
                layout="bubble",
                buttons=[],
                feedback_options=None,
                group_consecutive_messages=False,
                autoscroll=False,  # it also pulls away who reads further up
                latex_delimiters=LATEX,
            )
            with gr.Column(elem_id="composer"):
                _place("notices")
                message = gr.Textbox(
                    elem_id="message",
                    label=_say("Write a message"),
                    show_label=False,
                    container=False,
                    lines=1,
                    max_lines=8,
                    placeholder=_say("Write a message"),
                    autofocus=True,
                    submit_btn=_say("Send"),  # type: ignore[arg-type]  # it takes what is translated too
                    stop_btn=_say("Stop"),  # type: ignore[arg-type]  # likewise; page.css shows the one that fits
                )
                _place("tools")
                with gr.Column(elem_id="parameters"):
                    temperature = _slider(
                        "Temperature",
                        "Lower: focused and consistent. Higher: varied and surprising.",
                        defaults.temperature,
                        defaults.TEMPERATURE_RANGE,
                        step=0.05,
                    )
                    top_p = _slider(
                        "Top-p",
                        "How many of the likely words to consider. Lower keeps to the likeliest.",
                        defaults.top_p,
                        defaults.TOP_P_RANGE,
                        step=0.05,
                    )
                    max_tokens = _slider(
                        "Max tokens",
                        "The longest an answer can be. A token is about three quarters of an English word.",
                        defaults.max_tokens,
                        defaults.MAX_TOKENS_RANGE,
                        step=1,
                    )
                    system_prompt = gr.Textbox(
                        label=_say("Instructions"),
                        info=_say("Instructions that apply to the whole conversation."),
                        lines=2,
                        max_lines=8,
                        elem_id="system-prompt",
                    )
                    reset = gr.Button(_say("Reset to defaults"), elem_id="reset", size="sm")

        # Values go as they are in both directions: nothing of them is looked at on the server.
        def on(event: Any, name: str, inputs: list[Any], outputs: list[Any]) -> None:  # noqa: ANN401  # an event of any component
            event(
                None,
                inputs,
                outputs,
                js=name,  # of what assets/js/main.js gives; assets/js/early.js makes it a function
                trigger_mode="multiple",
                show_progress="hidden",
                api_visibility="private",
            )

        parameters = [temperature, top_p, max_tokens, system_prompt]
        on(page.load, "load", parameters, [])
        on(show.click, "shown", [], [chatbot])
        on(fill.click, "filled", [], parameters)
        on(message.submit, "send", [message, *parameters], [])
        on(message.stop, "stop", [], [])
        on(new.click, "startNew", [], [])
        on(reset.click, "resetParameters", [], [])
        for slider in (temperature, top_p, max_tokens):
            on(slider.change, "parametersChanged", parameters, [])
        on(system_prompt.change, "instructionsChanged", [system_prompt], [])
    return page
