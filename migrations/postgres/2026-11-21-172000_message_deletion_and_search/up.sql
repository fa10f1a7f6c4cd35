-- The number of the event that told of a sent message's final status: the text there goes with the message.
ALTER TABLE messages ADD COLUMN status_seq bigint;

-- Chats whose messages were deleted: those up to a number, and the text of the events up to another, are hidden, and go in
-- steps.
CREATE TABLE chat_clearings (
    account_id uuid NOT NULL,
    chat_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    up_to_seq bigint NOT NULL,
    up_to_event bigint NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, chat_id)
);

-- How far the texts of an account's log are indexed.
CREATE TABLE search_positions (
    account_id uuid NOT NULL PRIMARY KEY,
    seq bigint NOT NULL
);

-- The words of messages, as sipgraph cuts them: with the word of their account, so that a search reads only its own.
CREATE TABLE _message_search (
    account_id uuid NOT NULL,
    message_id uuid NOT NULL,
    words tsvector NOT NULL,
    PRIMARY KEY (account_id, message_id),
    FOREIGN KEY (account_id, message_id) REFERENCES messages ON DELETE CASCADE
);
CREATE INDEX _message_search_words ON _message_search USING gin (words);
