DROP TRIGGER messages_search_delete;
DROP TABLE _message_search;
DROP TABLE _message_search_places;
DROP TABLE search_positions;
DROP TABLE chat_clearings;
ALTER TABLE messages DROP COLUMN status_seq;
