CREATE INDEX endpoints_name_order ON endpoints (account_id, name, id);

-- The numbers of endpoints in the full-text index: their creation time in microseconds and 11 bits below it, so that the index
-- gives them in the order of their creation.
CREATE TABLE _endpoint_search_places (
    place INTEGER NOT NULL PRIMARY KEY,
    account_id BLOB NOT NULL,
    endpoint_id BLOB NOT NULL UNIQUE
);

CREATE VIRTUAL TABLE _endpoint_search USING fts5 (name, content = '', contentless_delete = 1, tokenize = 'trigram');

CREATE TRIGGER endpoints_search_insert AFTER INSERT ON endpoints BEGIN
    INSERT INTO _endpoint_search_places (place, account_id, endpoint_id)
        SELECT COALESCE(MAX(place) + 1, new.created_at << 11), new.account_id, new.id FROM _endpoint_search_places
        WHERE place BETWEEN new.created_at << 11 AND (new.created_at << 11) + 2047;
    INSERT INTO _endpoint_search (rowid, name)
        SELECT place, new.name FROM _endpoint_search_places WHERE endpoint_id = new.id;
END;

CREATE TRIGGER endpoints_search_delete AFTER DELETE ON endpoints BEGIN
    DELETE FROM _endpoint_search WHERE rowid = (SELECT place FROM _endpoint_search_places WHERE endpoint_id = old.id);
    DELETE FROM _endpoint_search_places WHERE endpoint_id = old.id;
END;

INSERT INTO _endpoint_search_places (place, account_id, endpoint_id)
    SELECT (created_at << 11) + ROW_NUMBER() OVER (PARTITION BY created_at ORDER BY account_id, id) - 1, account_id, id
    FROM endpoints;
INSERT INTO _endpoint_search (rowid, name)
    SELECT p.place, e.name FROM _endpoint_search_places p
    JOIN endpoints e ON e.account_id = p.account_id AND e.id = p.endpoint_id;
