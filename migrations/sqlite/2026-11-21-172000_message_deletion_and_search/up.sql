-- The number of the event that told of a sent message's final status: the text there goes with the message.
ALTER TABLE messages ADD COLUMN status_seq INTEGER;

-- Chats whose messages were deleted: those up to a number, and the text of the events up to another, are hidden, and go in
-- steps.
CREATE TABLE chat_clearings (
    account_id BLOB NOT NULL,
    chat_id BLOB NOT NULL,
    endpoint_id BLOB NOT NULL,
    up_to_seq INTEGER NOT NULL,
    up_to_event INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, chat_id)
) WITHOUT ROWID;

-- How far the texts of an account's log are indexed.
CREATE TABLE search_positions (
    account_id BLOB NOT NULL PRIMARY KEY,
    seq INTEGER NOT NULL
) WITHOUT ROWID;

-- The words of messages, as sipgraph cuts them: with the word of their account, so that a search reads only its own.
CREATE TABLE _message_search_places (
    place INTEGER NOT NULL PRIMARY KEY,
    message_id BLOB NOT NULL UNIQUE
);

CREATE VIRTUAL TABLE _message_search USING fts5 (
    words, content = '', contentless_delete = 1, detail = none, tokenize = "unicode61 remove_diacritics 0 tokenchars '_'"
);

CREATE TRIGGER messages_search_delete AFTER DELETE ON messages BEGIN
    DELETE FROM _message_search WHERE rowid = (SELECT place FROM _message_search_places WHERE message_id = old.id);
    DELETE FROM _message_search_places WHERE message_id = old.id;
END;
