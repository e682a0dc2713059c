"""The page's layout, in Gradio. Its behaviour is in ``assets/js``, which talks to `chatapp.http.api`.

No event has a handler on the server: the scripts give Gradio's components their values. So an open page survives a
restart, and any replica can serve it.
"""

from __future__ import annotations

import gradio as gr

from chatapp.domain.conversation import GenerationParameters
from chatapp.ui.gradio_compat import run_in_browser, without_apps

# Every text of the layout. Gradio shows them in the reader's language, by the translations in assets/locales.
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
_text = gr.I18n(en={label: label for label in LABELS})


def _placeholder(name: str) -> None:
    """Add an empty element that the scripts fill. A column costs no script, because the page has columns anyway."""
    with gr.Column(elem_id=name, min_width=0):
        pass


def _slider(label: str, info: str, value: float, ends: tuple[float, float], *, step: float) -> gr.Slider:
    name = label.lower().replace(" ", "-")
    return gr.Slider(*ends, value=value, step=step, label=_text(label), info=_text(info), elem_id=name, buttons=[])


def chat_page() -> gr.Blocks:
    """Return the page."""
    defaults = GenerationParameters()
    page: gr.Blocks
    with (
        without_apps(),
        gr.Blocks(title="Hybrid chat", fill_height=True, fill_width=True, analytics_enabled=False) as page,
    ):
        # The scripts click these to give Gradio's components new values.
        refresh_messages = gr.Button(visible="hidden", elem_id="refresh-messages")
        refresh_parameters = gr.Button(visible="hidden", elem_id="refresh-parameters")
        with gr.Sidebar(width=288, elem_id="sidebar"):
            new = gr.Button(_text("New chat"), elem_id="new-chat", variant="secondary")
            gr.Textbox(
                label=_text("Search conversations"),
                placeholder=_text("Search conversations"),
                show_label=False,
                container=False,
                elem_id="search",
            )
            _placeholder("conversations")
            _placeholder("account")
        with gr.Column(elem_id="main"):
            _placeholder("header")
            chatbot = gr.Chatbot(
                elem_id="messages",
                show_label=False,
                container=False,
                height="100%",
                layout="bubble",
                buttons=[],
                feedback_options=None,
                group_consecutive_messages=False,
                autoscroll=False,  # it would also scroll a reader who reads further up
                # assets/js/message_text.js shows the texts.
                render_markdown=False,
                latex_delimiters=[],
            )
            with gr.Column(elem_id="composer"):
                _placeholder("notices")
                message = gr.Textbox(
                    elem_id="message",
                    label=_text("Write a message"),
                    show_label=False,
                    container=False,
                    lines=1,
                    max_lines=8,
                    placeholder=_text("Write a message"),
                    autofocus=True,
                    submit_btn=_text("Send"),  # type: ignore[arg-type]  # it accepts a translated label too
                    stop_btn=_text("Stop"),  # type: ignore[arg-type]  # likewise; css/gradio.css shows the one that fits
                )
                _placeholder("tools")
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
                        label=_text("Instructions"),
                        info=_text("Instructions that apply to the whole conversation."),
                        lines=2,
                        max_lines=8,
                        elem_id="system-prompt",
                    )
                    reset = gr.Button(_text("Reset to defaults"), elem_id="reset", size="sm")

        parameters = [temperature, top_p, max_tokens, system_prompt]
        run_in_browser(page.load, "load", parameters, [])
        run_in_browser(refresh_messages.click, "messagesValue", [], [chatbot])
        run_in_browser(refresh_parameters.click, "parametersValue", [], parameters)
        run_in_browser(message.submit, "send", [message, *parameters], [])
        run_in_browser(message.stop, "stop", [], [])
        run_in_browser(new.click, "startNew", [], [])
        run_in_browser(reset.click, "resetParameters", [], [])
        for slider in (temperature, top_p, max_tokens):
            run_in_browser(slider.change, "parametersChanged", parameters, [])
        run_in_browser(system_prompt.change, "instructionsChanged", [system_prompt], [])
    return page
