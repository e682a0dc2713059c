"""Messages -> what Gradio's chatbot shows: pure functions, in its wire format."""

from __future__ import annotations

import dataclasses
import html
from typing import TYPE_CHECKING, Any

from chatapp.conversation import FinishReason, Message, MessageStatus, Role
from chatapp.models import ModelState, ModelStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from chatapp.models import ChatModel

ChatbotMessage = dict[str, Any]

_STATE_MARKS = {
    ModelState.READY: "●",
    ModelState.LOADING: "◐",
    ModelState.UNAVAILABLE: "○",
    ModelState.NOT_SET_UP: "○",
}


def chatbot_messages(messages: Iterable[Message], label: Callable[[str], str]) -> list[ChatbotMessage]:
    """Return the messages in the chatbot's wire format; ``label`` turns a model's id into its name."""
    return [chatbot_message(message, label) for message in messages]


def chatbot_message(message: Message, label: Callable[[str], str]) -> ChatbotMessage:
    """Return one message: its text as Markdown and, under an answer, a line about how it came about.

    A list of parts, because Gradio strips the indentation of a bare string (``inspect.cleandoc``), code included.
    """
    parts = [message.content] if message.content else []
    if message.role is Role.ASSISTANT:
        parts.append(_footer(message, label(message.model)))
    return {
        "role": message.role.value,
        "content": [{"type": "text", "text": part} for part in parts],
        "metadata": None,
        "options": None,
    }


def left_behind(message: Message) -> Message:
    """Return an answer that nobody is writing any more as what it is: interrupted."""
    if message.status is MessageStatus.STREAMING:
        return dataclasses.replace(message, status=MessageStatus.INTERRUPTED)
    return message


def _footer(message: Message, model: str) -> str:
    facts = [f"<bdi>{html.escape(model)}</bdi>"]
    if message.usage is not None and message.usage.completion_tokens is not None:
        facts.append(f"{message.usage.completion_tokens:,} tokens")
    if message.seconds_to_first_token is not None and message.status is not MessageStatus.STREAMING:
        facts.append(f"first token after {message.seconds_to_first_token:.1f} s")
    if message.status is MessageStatus.STREAMING:
        facts.append("is writing …" if message.content else "is thinking …")
    if message.status is MessageStatus.STOPPED:
        facts.append("stopped")
    notes = []
    if message.omitted_messages:
        notes.append(
            f"The oldest {message.omitted_messages} messages of this conversation were not sent: together they are "
            "longer than this model can read at once. They are still stored."
        )
    if message.finish_reason is FinishReason.LENGTH:
        notes.append("The answer ends here because it reached Max tokens. Raise it, or ask to go on.")
    if message.status is MessageStatus.INTERRUPTED:
        notes.append(
            "The chat was restarted while this was being written. What was written is kept; send again to go on."
        )
    if message.status is MessageStatus.ERROR:
        notes.append(message.error)
    writing = " writing" if message.status is MessageStatus.STREAMING else ""  # what page.css chooses Send or Stop by
    lines = [f'<div class="answer-facts{writing}">{" · ".join(facts)}</div>']
    lines += [f'<div class="answer-note">{html.escape(note)}</div>' for note in notes]
    return "".join(lines)


def model_choices(models: Iterable[ChatModel], statuses: dict[str, ModelStatus]) -> list[tuple[str, str]]:
    """Return ``(text, model id)`` for the dropdown: a shape for the model's state, its name, and the state in words."""
    return [
        (f"{_STATE_MARKS[statuses[model.id].state]} {model.label} · {statuses[model.id].state.value}", model.id)
        for model in models
    ]


def model_notice(label: str, status: ModelStatus) -> str:
    """Return what to know before sending to this model, "" if it is ready."""
    if status.state is ModelState.READY:
        return ""
    words = f"{status.reason}." + (f" To use it, {status.fix}." if status.fix else "")
    return f'<div class="notice" role="status"><bdi>{html.escape(label)}</bdi>: {html.escape(words)}</div>'
