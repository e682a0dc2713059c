"""Events of the stream of an open conversation: server-sent events, each a JSON object told apart by its keys."""

from typing import Literal

from pydantic import Field

from chatapp.http.api.schemas.base import ResponseBody, Translatable
from chatapp.http.api.schemas.conversations import OpenConversation
from chatapp.http.api.schemas.messages import AnswerBody, MessageBody, MessagePage


class StartedConversation(ResponseBody):
    """The conversation of a turn that started."""

    conversation: OpenConversation


class Started(ResponseBody):
    """The first event after a message was accepted."""

    started: StartedConversation


class MessagesEvent(MessagePage):
    """Messages that replace all that follow ``after``; with ``after`` "", all messages.

    ``earlier`` counts the messages that come before the first of these and are not sent. A page that knows nothing yet
    also gets the conversation.
    """

    after: str
    conversation: OpenConversation | None = Field(default=None, exclude_if=lambda conversation: conversation is None)


class TextDelta(ResponseBody):
    """Text and thinking to add to a message."""

    id: str
    text: str
    thinking: str = Field(default="", exclude_if=lambda thinking: not thinking)


class MessageEvent(ResponseBody):
    """A message as it is now."""

    message: AnswerBody | MessageBody


class TitleEvent(ResponseBody):
    """The title that a model gave to the conversation."""

    title: str


class ErrorEvent(ResponseBody):
    """Why the stream ends early."""

    error: Translatable


class EndEvent(ResponseBody):
    """The last event: nothing is being written any more."""

    end: Literal[True] = True


Event = Started | MessagesEvent | TextDelta | MessageEvent | TitleEvent | ErrorEvent | EndEvent
