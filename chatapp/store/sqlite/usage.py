"""What each user's data take in the SQLite file: counted by triggers, in the transaction of each change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

MIGRATION = """
    -- What a user's data take, in bytes of UTF-8 and of images: kept by triggers, so that no write and no check scans.
    -- A conversation counts its messages and images itself, because their rows go after its own (ON DELETE CASCADE),
    -- and takes 100 more, so that no user with one has 0.
    ALTER TABLE conversations ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE usage (user TEXT NOT NULL PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
    UPDATE conversations SET bytes =
        (SELECT coalesce(sum(length(CAST(content AS BLOB)) + length(CAST(details AS BLOB))), 0)
            FROM messages WHERE conversation_id = conversations.id)
        + (SELECT coalesce(sum(length(data)), 0) FROM images WHERE conversation_id = conversations.id);
    INSERT INTO usage SELECT user, sum(bytes) FROM (
        SELECT user, 100 + bytes + length(CAST(title AS BLOB)) + length(CAST(system_prompt AS BLOB)) AS bytes
            FROM conversations
        UNION ALL SELECT user, length(CAST(fields AS BLOB)) FROM profiles
    ) GROUP BY user;
    CREATE TRIGGER message_added AFTER INSERT ON messages BEGIN
        UPDATE conversations SET bytes = bytes + length(CAST(NEW.content AS BLOB)) + length(CAST(NEW.details AS BLOB))
            WHERE id = NEW.conversation_id;
    END;
    CREATE TRIGGER message_changed AFTER UPDATE OF content, details ON messages BEGIN
        UPDATE conversations SET bytes = bytes
            + length(CAST(NEW.content AS BLOB)) + length(CAST(NEW.details AS BLOB))
            - length(CAST(OLD.content AS BLOB)) - length(CAST(OLD.details AS BLOB))
            WHERE id = NEW.conversation_id;
    END;
    CREATE TRIGGER message_deleted AFTER DELETE ON messages BEGIN
        UPDATE conversations SET bytes = bytes - length(CAST(OLD.content AS BLOB)) - length(CAST(OLD.details AS BLOB))
            WHERE id = OLD.conversation_id;
    END;
    CREATE TRIGGER image_added AFTER INSERT ON images BEGIN
        UPDATE conversations SET bytes = bytes + length(NEW.data) WHERE id = NEW.conversation_id;
    END;
    CREATE TRIGGER image_deleted AFTER DELETE ON images BEGIN
        UPDATE conversations SET bytes = bytes - length(OLD.data) WHERE id = OLD.conversation_id;
    END;
    CREATE TRIGGER conversation_added AFTER INSERT ON conversations BEGIN
        INSERT INTO usage SELECT NEW.user, 0 WHERE NOT EXISTS (SELECT 1 FROM usage WHERE user = NEW.user);
        UPDATE usage SET bytes = bytes + 100 + NEW.bytes + length(CAST(NEW.title AS BLOB))
            + length(CAST(NEW.system_prompt AS BLOB)) WHERE user = NEW.user;
    END;
    CREATE TRIGGER conversation_changed AFTER UPDATE OF bytes, title, system_prompt ON conversations BEGIN
        UPDATE usage SET bytes = bytes
            + NEW.bytes + length(CAST(NEW.title AS BLOB)) + length(CAST(NEW.system_prompt AS BLOB))
            - OLD.bytes - length(CAST(OLD.title AS BLOB)) - length(CAST(OLD.system_prompt AS BLOB))
            WHERE user = NEW.user;
    END;
    CREATE TRIGGER conversation_deleted AFTER DELETE ON conversations BEGIN
        UPDATE usage SET bytes = bytes - 100 - OLD.bytes - length(CAST(OLD.title AS BLOB))
            - length(CAST(OLD.system_prompt AS BLOB)) WHERE user = OLD.user;
        DELETE FROM usage WHERE user = OLD.user AND bytes <= 0;
    END;
    CREATE TRIGGER profile_added AFTER INSERT ON profiles BEGIN
        INSERT INTO usage SELECT NEW.user, 0 WHERE NOT EXISTS (SELECT 1 FROM usage WHERE user = NEW.user);
        UPDATE usage SET bytes = bytes + length(CAST(NEW.fields AS BLOB)) WHERE user = NEW.user;
    END;
    CREATE TRIGGER profile_changed AFTER UPDATE OF fields ON profiles BEGIN
        UPDATE usage SET bytes = bytes + length(CAST(NEW.fields AS BLOB)) - length(CAST(OLD.fields AS BLOB))
            WHERE user = NEW.user;
    END;
    CREATE TRIGGER profile_deleted AFTER DELETE ON profiles BEGIN
        UPDATE usage SET bytes = bytes - length(CAST(OLD.fields AS BLOB)) WHERE user = OLD.user;
        DELETE FROM usage WHERE user = OLD.user AND bytes <= 0;
    END;
    """


def stored_bytes(connection: sqlite3.Connection, user: str | None) -> int:
    """Return how many bytes the data of one user take, or of all users: text in UTF-8, images and documents."""
    query = "SELECT coalesce(sum(bytes), 0) FROM usage"
    row = connection.execute(query) if user is None else connection.execute(f"{query} WHERE user = ?", (user,))
    return int(row.fetchone()[0])
