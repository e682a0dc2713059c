"""Messages -> what Gradio's chatbot shows: pure functions, in its wire format."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from chatapp.conversation import FinishReason, Message, MessageStatus, Role
from chatapp.models import ModelState, ModelStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from chatapp.models import ChatModel
    from chatapp.store import StoreStatus

ChatbotMessage = dict[str, Any]

_STATE_MARKS = {
    ModelState.READY: "●",
    ModelState.LOADING: "◐",
    ModelState.UNAVAILABLE: "○",
    ModelState.NOT_SET_UP: "○",
}


def chatbot_message(message: Message, label: Callable[[str], str], *, place: int = 0) -> ChatbotMessage:
    """Return one message: its text as Markdown and, under an answer, a line about how it came about.

    ``place`` is that of an answer in the queue, 0 once it has begun. A list of parts, because Gradio strips the
    indentation of a bare string (``inspect.cleandoc``), code included.
    """
    parts = [message.content] if message.content else []
    if message.role is Role.ASSISTANT:
        parts.append(_footer(message, label(message.model), place))
    return {
        "role": message.role.value,
        "content": [{"type": "text", "text": part} for part in parts],
        "metadata": None,
        "options": None,
    }


def _footer(message: Message, model: str, place: int) -> str:
    facts = [f"<bdi>{html.escape(model)}</bdi>"]
    if message.usage is not None and message.usage.completion_tokens is not None:
        facts.append(f"{message.usage.completion_tokens:,} tokens")
    if message.seconds_to_first_token is not None and message.status is not MessageStatus.STREAMING:
        facts.append(f"first token after {message.seconds_to_first_token:.1f} s")
    if message.status is MessageStatus.STREAMING:
        doing = "is writing …" if message.content else "is thinking …"
        facts.append(f"waits: number {place:,} in line" if place else doing)
    if message.status is MessageStatus.STOPPED:
        facts.append("stopped")
    notes = []
    if message.omitted_messages:
        notes.append(
            f"The oldest {message.omitted_messages} messages of this conversation were not sent: together they are "
            "longer than this model can read at once. They are still stored."
        )
    if message.finish_reason is FinishReason.LENGTH:
        notes.append("The answer ends here because it reached Max tokens. It can be continued.")
    if message.status is MessageStatus.INTERRUPTED:
        notes.append(
            "The chat was restarted while this was being written. What was written is kept, and can be continued."
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


def store_notice(status: StoreStatus) -> str:
    """Return what to know about where the history is kept, "" if all of it is there."""
    if status.full:
        words = (
            "The history cannot be saved in the cloud, and there is no room left here for more to wait: "
            "new messages are refused until it is back."
        )
    elif not status.reachable:
        minutes = round(status.waiting_seconds / 60)
        since = f" for {minutes} min" if minutes else ""
        words = (
            f"The history in the cloud cannot be reached{since}. What you write is kept here, and saved there once it "
            "is back; older conversations may not open until then."
        )
    else:
        return ""
    return f'<div class="notice" role="status">{words}</div>'
