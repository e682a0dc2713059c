"""Questions to a model, and the texts of its answers."""

from chatapp.domain.conversation import Message, Role, new_id
from chatapp.models import TextDelta


def question(text):
    """Return the messages of a conversation with one question."""
    return [Message(id=new_id(), turn_id="t", role=Role.USER, content=text, created_ms=1)]


def text_of(events):
    """Return the text of an answer."""
    return "".join(event.text for event in events if isinstance(event, TextDelta))
