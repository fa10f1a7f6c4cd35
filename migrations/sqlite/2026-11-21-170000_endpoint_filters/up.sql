-- Endpoints of an application, and those of any type but phones, newest first.
CREATE INDEX endpoints_application ON endpoints (account_id, application_id, created_at, id) WHERE application_id IS NOT NULL;
CREATE INDEX endpoints_kind ON endpoints (account_id, kind, created_at, id) WHERE kind <> 0;

-- The full-text index has caller ids beside names.
DROP TRIGGER endpoints_search_delete;
DROP TRIGGER endpoints_search_insert;
DROP TABLE _endpoint_search;

CREATE VIRTUAL TABLE _endpoint_search USING fts5 (name, caller_id, content = '', contentless_delete = 1, tokenize = 'trigram');

CREATE TRIGGER endpoints_search_insert AFTER INSERT ON endpoints BEGIN
    INSERT INTO _endpoint_search_places (place, account_id, endpoint_id)
        SELECT COALESCE(MAX(place) + 1, new.created_at << 11), new.account_id, new.id FROM _endpoint_search_places
        WHERE place BETWEEN new.created_at << 11 AND (new.created_at << 11) + 2047;
    INSERT INTO _endpoint_search (rowid, name, caller_id)
        SELECT place, new.name, new.caller_id FROM _endpoint_search_places WHERE endpoint_id = new.id;
END;

CREATE TRIGGER endpoints_search_update AFTER UPDATE OF caller_id ON endpoints WHEN new.caller_id IS NOT old.caller_id BEGIN
    INSERT OR REPLACE INTO _endpoint_search (rowid, name, caller_id)
        SELECT place, new.name, new.caller_id FROM _endpoint_search_places WHERE endpoint_id = new.id;
END;

CREATE TRIGGER endpoints_search_delete AFTER DELETE ON endpoints BEGIN
    DELETE FROM _endpoint_search WHERE rowid = (SELECT place FROM _endpoint_search_places WHERE endpoint_id = old.id);
    DELETE FROM _endpoint_search_places WHERE endpoint_id = old.id;
END;

INSERT INTO _endpoint_search (rowid, name, caller_id)
    SELECT p.place, e.name, e.caller_id FROM _endpoint_search_places p
    JOIN endpoints e ON e.account_id = p.account_id AND e.id = p.endpoint_id;
