DROP TABLE _message_search;
DROP TABLE search_positions;
DROP TABLE chat_clearings;
ALTER TABLE messages DROP COLUMN status_seq;
