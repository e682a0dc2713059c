"""The images of waiting messages: their data, in a table apart from the writes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from chatapp.domain.conversation import Image
from chatapp.store.codec import image_fields

if TYPE_CHECKING:
    import sqlite3

    from chatapp.domain.conversation import Message
    from chatapp.store.journal.overlay import Waiting
    from chatapp.store.journal.rows import Key


def keep_images(connection: sqlite3.Connection, key: Key, message: Message) -> int:
    """Store the images of a message that have data; return the total size of its stored images in bytes."""
    if not message.images:
        return 0
    user, conversation_id = key
    of_message = {"user": user, "conversation_id": conversation_id, "message_id": message.id}
    connection.executemany(
        "INSERT INTO images (user, conversation_id, id, message_id, media_type, width, height, data) VALUES"
        " (:user, :conversation_id, :id, :message_id, :media_type, :width, :height, :data) ON CONFLICT DO NOTHING",
        [image_fields(image) | of_message | {"data": image.data} for image in message.images if image.data],
    )
    (size,) = connection.execute(
        "SELECT ifnull(sum(length(data)), 0) FROM images"
        " WHERE user = :user AND conversation_id = :conversation_id AND message_id = :message_id",
        of_message,
    ).fetchone()
    return int(size)


def drop_images(connection: sqlite3.Connection, key: Key) -> None:
    """Delete the images of a conversation's messages that have no pending write any more."""
    connection.execute(
        "DELETE FROM images WHERE user = ? AND conversation_id = ? AND NOT EXISTS (SELECT 1 FROM writes WHERE"
        " writes.user = images.user AND writes.conversation_id = images.conversation_id"
        " AND writes.message_id = images.message_id)",
        key,
    )


def image_in(connection: sqlite3.Connection, key: Key, image_id: str) -> Image | None:
    """Return an image from the journal, None if it has none."""
    query = "SELECT id, media_type, width, height, data FROM images WHERE user = ? AND conversation_id = ? AND id = ?"
    row = connection.execute(query, (*key, image_id)).fetchone()
    return Image(**row) if row else None


def with_images(connection: sqlite3.Connection, key: Key, write: Waiting) -> Waiting:
    """Return a write with the data of its message's images, as far as the journal has it."""
    if write.message is None or not write.message.images:
        return write
    images = (image_in(connection, key, image.id) or image for image in write.message.images)
    return replace(write, message=replace(write.message, images=tuple(images)))
