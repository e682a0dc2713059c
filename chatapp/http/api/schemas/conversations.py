"""Conversations: the list, search, and changes."""

from typing import Self

from pydantic import Field, StrictBool, computed_field, model_validator

from chatapp.domain.conversation import Conversation
from chatapp.http.api.schemas.base import EntryId, RequestBody, ResponseBody, Text
from chatapp.store.temporary.router import is_temporary


class ConversationItem(ResponseBody):
    """A conversation as a list shows it. Times are milliseconds since the epoch."""

    id: str
    title: str
    created_ms: int
    updated_ms: int
    pinned: bool
    archived: bool
    persona: str
    model: str
    collection: str = Field(
        exclude_if=lambda collection: not collection,
        description="id of the collection that it chose; it may be deleted, and then it has none",
    )
    folder: str = Field(
        exclude_if=lambda folder: not folder, description="id of its folder; it may be deleted, and then it has none"
    )
    writing: bool = Field(default=False, description="an answer is being written in it")

    @computed_field
    def temporary(self) -> bool:
        """Whether it is only kept in memory."""
        return is_temporary(self.id)

    @classmethod
    def of(cls, conversation: Conversation, *, writing: bool) -> Self:
        """Return a conversation as the page gets it."""
        item = cls.model_validate(conversation)
        item.writing = writing
        return item


class OpenConversation(ConversationItem):
    """A conversation as it is shown on its own: with the system prompt, which no list needs."""

    system_prompt: str


class ConversationPage(ResponseBody):
    """A page of the list; the pinned conversations come with the first."""

    pinned: list[ConversationItem]
    items: list[ConversationItem]
    cursor: str | None


class SearchHit(ResponseBody):
    """A conversation that matches a search; ``message`` is "" if its title does."""

    conversation: ConversationItem
    message_id: str = Field(serialization_alias="message")
    before: str
    match: str
    after: str
    in_thinking: bool = Field(default=False, description="the match is in what the model thought")


class SearchPage(ResponseBody):
    """A page of search results."""

    hits: list[SearchHit]
    cursor: str | None


class ConversationChange(RequestBody):
    """Changes of a conversation, at least one."""

    title: Text = ""
    pinned: StrictBool = False
    archived: StrictBool = False
    collection: EntryId = Field(default="", description='id of a collection, "" for none')
    folder: EntryId = Field(default="", description='id of a folder, "" for none')
    branch: Text = Field(default="", description="id of a message: the version of it that is shown")

    @model_validator(mode="after")
    def _is_a_change(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("no change")
        return self


class Undo(ResponseBody):
    """How long a deletion can be undone, in seconds."""

    undo_seconds: float
