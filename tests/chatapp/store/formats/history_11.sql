PRAGMA application_id = 1212368980;
PRAGMA user_version = 11;
BEGIN TRANSACTION;
CREATE TABLE conversations (
        id TEXT NOT NULL PRIMARY KEY,
        user TEXT NOT NULL,
        title TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        updated_ms INTEGER NOT NULL,
        model TEXT NOT NULL,
        system_prompt TEXT NOT NULL
    , persona TEXT NOT NULL DEFAULT '', pinned INTEGER NOT NULL DEFAULT 0, archived INTEGER NOT NULL DEFAULT 0, branch TEXT NOT NULL DEFAULT '', deleted_ms INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0, collection TEXT NOT NULL DEFAULT '', folder TEXT NOT NULL DEFAULT '');
INSERT INTO "conversations" VALUES('c1','ana','שלום "chat"',1700000000001,1700000005002,'gemma','Be brief.','p1',1,1,'a1',0,1293,'','');
INSERT INTO "conversations" VALUES('c3','dan','שלום "chat"',1700000000001,1700000005002,'gemma','Be brief.','p1',1,1,'a1',0,861,'','');
INSERT INTO "conversations" VALUES('c4','eve','שלום "chat"',1700000000001,1700000005002,'gemma','Be brief.','p1',1,1,'a1',0,0,'k1','f1');
INSERT INTO "conversations" VALUES('c5','fay','שלום "chat"',1700000000001,1700000005002,'gemma','Be brief.','p1',1,1,'a1',0,477,'','');
CREATE TABLE deleted_files (id TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE document_vectors (
        conversation_id TEXT NOT NULL,
        document_id TEXT NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (conversation_id, document_id),
        FOREIGN KEY (conversation_id, document_id) REFERENCES documents (conversation_id, id) ON DELETE CASCADE
    );
INSERT INTO "document_vectors" VALUES('c5','i1',X'7B226D6F64656C223A20226535222C202264696D656E73696F6E73223A20322C20227465787473223A202264393365633463306163333331323566393262633830633464313638323366333165646238633132633238333637663032373135366637323836616666663438227D0A7FC0007F');
CREATE TABLE documents (
        conversation_id TEXT NOT NULL,
        message_id TEXT NOT NULL,
        id TEXT NOT NULL,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        pages INTEGER NOT NULL,
        size INTEGER NOT NULL,
        data BLOB NOT NULL, file TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (conversation_id, id),
        FOREIGN KEY (conversation_id, message_id) REFERENCES messages (conversation_id, id) ON DELETE CASCADE
    );
INSERT INTO "documents" VALUES('c3','q2','i1','דוח.pdf','PDF',2,12345,X'1F8B08000000000002038B8E36D45152D2898E56CA484D4CC9CC4B57D251BA3EE9FACAEB7395740C63636375A28D7494823352534BC08A4A522B800CA5E07C85E27C85DCD2E40C85A2C4CC3C3D251D03A0DA5800528E1BDC4D000000','');
INSERT INTO "documents" VALUES('c5','q5','i1','דוח.pdf','PDF',2,5,X'1F8B08000000000002038B8E36D45152D2898E56CA484D4CC9CC4B57D251BA3EE9FACAEB7395740C63636375A28D7494823352534BC08A4A522B800CA5E07C85E27C85DCD2E40C85A2C4CC3C3D251D03A0DA5800528E1BDC4D000000','f1');
CREATE TABLE files (id TEXT NOT NULL PRIMARY KEY, user TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "files" VALUES('f1','fay');
CREATE TABLE images (
        conversation_id TEXT NOT NULL,
        message_id TEXT NOT NULL,
        id TEXT NOT NULL,
        media_type TEXT NOT NULL,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (conversation_id, id),
        FOREIGN KEY (conversation_id, message_id) REFERENCES messages (conversation_id, id) ON DELETE CASCADE
    );
INSERT INTO "images" VALUES('c1','q1','i1','image/jpeg',640,480,X'FFD8006A706567');
INSERT INTO "images" VALUES('c1','q1','i2','image/webp',1,2,X'52494646');
CREATE TABLE library_documents (
        user TEXT NOT NULL,
        id TEXT NOT NULL,
        collection TEXT NOT NULL,
        added_ms INTEGER NOT NULL,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        pages INTEGER NOT NULL,
        size INTEGER NOT NULL,
        data BLOB NOT NULL, file TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (user, id)
    );
INSERT INTO "library_documents" VALUES('eve','d1','k1',1700000000009,'דוח.pdf','PDF',2,12345,X'1F8B08000000000002038B8E36D45152D2898E56CA484D4CC9CC4B57D251BA3EE9FACAEB7395740C63636375A28D7494823352534BC08A4A522B800CA5E07C85E27C85DCD2E40C85A2C4CC3C3D251D03A0DA5800528E1BDC4D000000','');
CREATE TABLE library_vectors (
        user TEXT NOT NULL,
        document_id TEXT NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (user, document_id),
        FOREIGN KEY (user, document_id) REFERENCES library_documents (user, id) ON DELETE CASCADE
    );
INSERT INTO "library_vectors" VALUES('eve','d1',X'7B226D6F64656C223A20226535222C202264696D656E73696F6E73223A20322C20227465787473223A202264393365633463306163333331323566393262633830633464313638323366333165646238633132633238333637663032373135366637323836616666663438227D0A7FC0007F');
CREATE TABLE messages (
        conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
        id TEXT NOT NULL,
        turn_id TEXT NOT NULL,
        role TEXT NOT NULL,
        status TEXT NOT NULL,
        content TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        details TEXT NOT NULL, folded TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (conversation_id, id)
    );
INSERT INTO "messages" VALUES('c1','q1','t1','user','complete','What is this?
😀',1700000000001,0,'{"model": "", "usage": null, "seconds_to_first_token": null, "finish_reason": null, "omitted_messages": 0, "error": "", "follows": "", "images": [{"id": "i1", "media_type": "image/jpeg", "width": 640, "height": 480}, {"id": "i2", "media_type": "image/webp", "width": 1, "height": 2}], "feedback": "", "place": "", "instead_of": "", "temperature": null, "seconds": null, "cost": null}','what is this?
😀');
INSERT INTO "messages" VALUES('c1','a1','t1','assistant','error','half an answer',1700000000002,7,'{"model": "gemma", "usage": {"prompt_tokens": 12, "completion_tokens": null}, "seconds_to_first_token": 0.30000000000000004, "finish_reason": "length", "omitted_messages": 3, "error": {"text": "Gemma: No 1,200. in 2 minutes", "template": "{model}: {reason} {when}", "values": {"model": {"text": "Gemma"}, "reason": {"text": "No 1,200.", "template": "No {n}.", "values": {"n": 1200}}, "when": {"text": "in 2 minutes", "seconds": 90}}}, "follows": "q1", "images": [], "feedback": "down", "place": "own-gpus", "instead_of": "gemini", "temperature": 0.3, "seconds": 12.5, "cost": 0.000123}','half an answer');
INSERT INTO "messages" VALUES('c1','a2','t2','assistant','stopped','',1700000005002,0,'{"model": "", "usage": null, "seconds_to_first_token": null, "finish_reason": null, "omitted_messages": 0, "error": "The server closed the connection.", "follows": null, "images": [], "feedback": "", "place": "", "instead_of": "", "temperature": null, "seconds": null, "cost": null}','');
INSERT INTO "messages" VALUES('c3','q2','t1','user','complete','What is this?
😀',1700000000001,0,'{"model": "", "usage": null, "seconds_to_first_token": null, "finish_reason": null, "omitted_messages": 0, "error": "", "follows": "", "images": [], "feedback": "", "place": "", "instead_of": "", "temperature": null, "seconds": null, "cost": null, "documents": [{"id": "i1", "name": "\u05d3\u05d5\u05d7.pdf", "kind": "PDF", "pages": 2, "size": 12345}]}','what is this?
😀');
INSERT INTO "messages" VALUES('c3','a4','t2','assistant','stopped','It says “so much rain”.',1700000005002,0,'{"model": "", "usage": null, "seconds_to_first_token": null, "finish_reason": null, "omitted_messages": 0, "error": "The server closed the connection.", "follows": null, "images": [], "feedback": "", "place": "", "instead_of": "", "temperature": null, "seconds": null, "cost": null, "citations": [{"end": 22, "document": "i1", "page": 2, "page_start": 3, "page_end": 15}]}','it says "so much rain".');
INSERT INTO "messages" VALUES('c5','q5','t1','user','complete','What is this?
😀',1700000000001,0,'{"model": "", "usage": null, "seconds_to_first_token": null, "finish_reason": null, "omitted_messages": 0, "error": "", "follows": "", "images": [], "feedback": "", "place": "", "instead_of": "", "temperature": null, "seconds": null, "cost": null, "documents": [{"id": "i1", "name": "\u05d3\u05d5\u05d7.pdf", "kind": "PDF", "pages": 2, "size": 5, "file": "f1"}]}','what is this?
😀');
CREATE TABLE profiles (
        user TEXT NOT NULL PRIMARY KEY,
        revision INTEGER NOT NULL,
        fields TEXT NOT NULL
    );
INSERT INTO "profiles" VALUES('ana',3,'{"personas": [{"id": "p1", "name": "\u05de\u05d5\u05e8\u05d4", "instructions": "Explain.\n{braces}"}], "parameters": {"temperature": 0.3, "top_p": 0.5, "max_tokens": 77}, "answer_with_other": true, "revision": 3}');
INSERT INTO "profiles" VALUES('eve',0,'{"personas": [], "parameters": null, "answer_with_other": false, "revision": 0, "collections": [{"id": "k1", "name": "\u05d7\u05d5\u05d6\u05d9\u05dd"}], "folders": [{"id": "f1", "name": "Work", "instructions": "Be exact.", "collection": "k1"}], "library_revision": 1}');
CREATE TABLE revocations (
        user TEXT NOT NULL,
        session TEXT NOT NULL, -- "": all that began up to before_ms
        before_ms INTEGER NOT NULL,
        until_ms INTEGER NOT NULL,
        PRIMARY KEY (user, session)
    ) WITHOUT ROWID;
INSERT INTO "revocations" VALUES('ana','',5,9000000000000);
INSERT INTO "revocations" VALUES('ana','s1',0,9000000000000);
CREATE TABLE sessions (
        user TEXT NOT NULL,
        session TEXT NOT NULL,
        began_ms INTEGER NOT NULL,
        seen_ms INTEGER NOT NULL,
        device TEXT NOT NULL,
        until_ms INTEGER NOT NULL,
        PRIMARY KEY (user, session)
    ) WITHOUT ROWID;
CREATE TABLE share_pieces (
        share_id TEXT NOT NULL REFERENCES shares (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (share_id, name)
    );
INSERT INTO "share_pieces" VALUES('d1','text-0',X'5B5D');
CREATE TABLE shares (
        id TEXT NOT NULL PRIMARY KEY,
        user TEXT NOT NULL,
        conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
        title TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL,
        texts INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "shares" VALUES('d1','ana','c1','shared',1700000006000,9000000000000,1,2);
CREATE TABLE usage (user TEXT NOT NULL PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "usage" VALUES('ana',1631);
INSERT INTO "usage" VALUES('dan',985);
INSERT INTO "usage" VALUES('eve',583);
INSERT INTO "usage" VALUES('fay',601);
CREATE INDEX conversations_by_update ON conversations (user, updated_ms, id);
CREATE INDEX messages_in_order ON messages (conversation_id, created_ms, id);
CREATE INDEX messages_running ON messages (conversation_id, id) WHERE status = 'streaming';
CREATE INDEX conversations_pinned ON conversations (user, updated_ms, id) WHERE pinned;
CREATE INDEX images_by_message ON images (conversation_id, message_id);
CREATE INDEX revocations_by_end ON revocations (until_ms);
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
CREATE INDEX sessions_by_end ON sessions (until_ms);
CREATE INDEX shares_by_user ON shares (user, created_ms);
CREATE INDEX shares_by_conversation ON shares (conversation_id);
CREATE TRIGGER share_added AFTER INSERT ON shares BEGIN
        INSERT INTO usage SELECT NEW.user, 0 WHERE NOT EXISTS (SELECT 1 FROM usage WHERE user = NEW.user);
        UPDATE usage SET bytes = bytes + NEW.bytes WHERE user = NEW.user;
    END;
CREATE TRIGGER share_deleted AFTER DELETE ON shares BEGIN
        UPDATE usage SET bytes = bytes - OLD.bytes WHERE user = OLD.user;
        DELETE FROM usage WHERE user = OLD.user AND bytes <= 0;
    END;
CREATE INDEX documents_by_message ON documents (conversation_id, message_id);
CREATE TRIGGER document_added AFTER INSERT ON documents BEGIN
        UPDATE conversations SET bytes = bytes + length(NEW.data) WHERE id = NEW.conversation_id;
    END;
CREATE TRIGGER document_deleted AFTER DELETE ON documents BEGIN
        UPDATE conversations SET bytes = bytes - length(OLD.data) WHERE id = OLD.conversation_id;
    END;
CREATE INDEX conversations_in_folder ON conversations (user, folder, updated_ms, id) WHERE folder != '';
CREATE TRIGGER library_document_added AFTER INSERT ON library_documents BEGIN
        INSERT INTO usage SELECT NEW.user, 0 WHERE NOT EXISTS (SELECT 1 FROM usage WHERE user = NEW.user);
        UPDATE usage SET bytes = bytes + 100 + length(NEW.data) WHERE user = NEW.user;
    END;
CREATE TRIGGER library_document_deleted AFTER DELETE ON library_documents BEGIN
        UPDATE usage SET bytes = bytes - 100 - length(OLD.data) WHERE user = OLD.user;
        DELETE FROM usage WHERE user = OLD.user AND bytes <= 0;
    END;
CREATE INDEX documents_by_file ON documents (file) WHERE file != '';
CREATE INDEX library_documents_by_file ON library_documents (file) WHERE file != '';
CREATE TRIGGER file_deleted AFTER DELETE ON files BEGIN
        INSERT INTO deleted_files VALUES (OLD.id);
    END;
CREATE TRIGGER document_file_added AFTER INSERT ON documents WHEN NEW.file != '' BEGIN
        UPDATE conversations SET bytes = bytes + NEW.size WHERE id = NEW.conversation_id;
    END;
CREATE TRIGGER document_file_deleted AFTER DELETE ON documents WHEN OLD.file != '' BEGIN
        UPDATE conversations SET bytes = bytes - OLD.size WHERE id = OLD.conversation_id;
        DELETE FROM files WHERE id = OLD.file AND OLD.file != ''
            AND NOT EXISTS (SELECT 1 FROM documents WHERE file = OLD.file AND file != '')
            AND NOT EXISTS (SELECT 1 FROM library_documents WHERE file = OLD.file AND file != '');
    END;
CREATE TRIGGER library_file_added AFTER INSERT ON library_documents WHEN NEW.file != '' BEGIN
        INSERT INTO usage SELECT NEW.user, 0 WHERE NOT EXISTS (SELECT 1 FROM usage WHERE user = NEW.user);
        UPDATE usage SET bytes = bytes + NEW.size WHERE user = NEW.user;
    END;
CREATE TRIGGER library_file_changed AFTER UPDATE OF file ON library_documents BEGIN
        UPDATE usage SET bytes = bytes + NEW.size * ((NEW.file != '') - (OLD.file != '')) WHERE user = NEW.user;
        DELETE FROM files WHERE id = OLD.file AND OLD.file != ''
            AND NOT EXISTS (SELECT 1 FROM documents WHERE file = OLD.file AND file != '')
            AND NOT EXISTS (SELECT 1 FROM library_documents WHERE file = OLD.file AND file != '');
    END;
CREATE TRIGGER library_file_deleted BEFORE DELETE ON library_documents WHEN OLD.file != '' BEGIN
        UPDATE usage SET bytes = bytes - OLD.size WHERE user = OLD.user;
    END;
CREATE TRIGGER library_file_left AFTER DELETE ON library_documents WHEN OLD.file != '' BEGIN
        DELETE FROM files WHERE id = OLD.file AND OLD.file != ''
            AND NOT EXISTS (SELECT 1 FROM documents WHERE file = OLD.file AND file != '')
            AND NOT EXISTS (SELECT 1 FROM library_documents WHERE file = OLD.file AND file != '');
    END;
COMMIT;
