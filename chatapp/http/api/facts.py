"""Facts as the page gets them: pure functions from what is known to JSON. Words in them are sentences, or people's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatapp.domain.conversation import MessageStatus, Role
from chatapp.domain.sentences import Sentence, as_json
from chatapp.generation.prepare import can_continue
from chatapp.models import ModelState
from chatapp.store.temporary.router import is_temporary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from chatapp.domain.conversation import Conversation, Message, Profile
    from chatapp.models import ChatModel, ModelStatus
    from chatapp.store import StoreStatus


def item(conversation: Conversation, *, writing: bool) -> dict[str, Any]:
    """Return a conversation as a list shows it."""
    return {
        "id": conversation.id,
        "title": conversation.title,
        "created": conversation.created_ms,
        "updated": conversation.updated_ms,
        "pinned": conversation.pinned,
        "archived": conversation.archived,
        "persona": conversation.persona,
        "model": conversation.model,
        "writing": writing,
        "temporary": is_temporary(conversation.id),
    }


def opened(conversation: Conversation, *, writing: bool) -> dict[str, Any]:
    """Return a conversation as it is shown on its own: with the system prompt, which no list needs."""
    return item(conversation, writing=writing) | {"systemPrompt": conversation.system_prompt}


def entry(
    message: Message, label: Callable[[str], str], *, waits: int = 0, versions: Sequence[str] = (), column: int = 0
) -> dict[str, Any]:
    """Return a message.

    Args:
        message: as it is now.
        label: returns what people call a model.
        waits: the place of an answer in the queue, 0 once it has begun.
        versions: ids of it and of what stands in its place in other branches, in order.
        column: 1 or 2 for one of two answers that are shown side by side.
    """
    facts: dict[str, Any] = {
        "id": message.id,
        "role": message.role.value,
        "text": message.content,
        "created": message.created_ms,
        "follows": message.follows,
        "writing": message.status is MessageStatus.STREAMING,
        "status": message.status.value,
        "goOn": can_continue(message),
        "column": column,
        "images": [{"id": image.id, "width": image.width, "height": image.height} for image in message.images],
    }
    if len(versions) > 1:
        facts["versions"] = list(versions)
    if message.role is Role.ASSISTANT:
        facts |= _answer(message, label, waits)
    return facts


def _answer(message: Message, label: Callable[[str], str], waits: int) -> dict[str, Any]:
    usage = message.usage
    tokens_out = usage.completion_tokens if usage else None
    return {
        "model": message.model,
        "label": label(message.model),
        "place": str(message.place),
        "waits": waits,
        "tokensIn": usage.prompt_tokens if usage else None,
        "tokensOut": tokens_out,
        "secondsToFirstToken": message.seconds_to_first_token,
        "tokensPerSecond": _speed(tokens_out, message.seconds, message.seconds_to_first_token),
        "cost": message.cost,
        "temperature": message.temperature,
        "omitted": message.omitted_messages,
        "finish": message.finish_reason.value if message.finish_reason else None,
        "error": as_json(message.error) if message.error else None,
        "insteadOf": label(message.instead_of) if message.instead_of else "",
        "feedback": str(message.feedback),
    }


def _speed(tokens: int | None, seconds: float | None, first: float | None) -> float | None:
    """Return tokens per second after the first one."""
    if tokens is None or tokens < 2 or seconds is None or first is None or seconds <= first:
        return None
    return round((tokens - 1) / (seconds - first), 1)


def model(one: ChatModel, status: ModelStatus) -> dict[str, Any]:
    """Return what a person may know of a model before asking it."""
    return {
        "id": one.id,
        "label": one.label,
        "place": one.place.value,
        "state": status.state.value,
        "reason": as_json(status.reason) if status.reason else None,
        "fix": as_json(status.fix) if status.fix else None,
        "since": status.since_ms,
        "images": one.sees_images,
        "unsupported": {name: as_json(why) for name, why in one.unsupported.items()},
        "price": one.price and {"input": one.price.input, "output": one.price.output},
        "context": one.context_tokens if status.state is not ModelState.NOT_SET_UP else None,
    }


def profile(one: Profile) -> dict[str, Any]:
    """Return what is remembered of a person."""
    chosen = one.parameters
    return {
        "personas": [{"id": p.id, "name": p.name, "instructions": p.instructions} for p in one.personas],
        "parameters": chosen
        and {"temperature": chosen.temperature, "top_p": chosen.top_p, "max_tokens": chosen.max_tokens},
        "answerWithOther": one.answer_with_other,
        "revision": one.revision,
    }


def notices(status: StoreStatus) -> list[Mapping[str, Any]]:
    """Return what to know about where the history is kept; nothing if all of it is there."""
    if status.full:
        said = Sentence(
            "The history cannot be saved in the cloud and the local queue is full. New messages are "
            "rejected until the cloud is available again."
        )
    elif not status.reachable and (minutes := round(status.waiting_seconds / 60)):
        said = Sentence(
            "The history in the cloud has been unavailable for {time}. What you write is stored here "
            "and saved there later; older conversations may not open until then.",
            minutes=minutes,
        )
    elif not status.reachable:
        said = Sentence(
            "The history in the cloud is unavailable. What you write is stored here and saved there "
            "later; older conversations may not open until then."
        )
    else:
        return []
    return [as_json(said)]


def store(status: StoreStatus) -> dict[str, Any]:
    """Return how the history's place is doing."""
    return {
        "reachable": status.reachable,
        "full": status.full,
        "waitingWrites": status.waiting_writes,
        "waitingSeconds": round(status.waiting_seconds),
    }
