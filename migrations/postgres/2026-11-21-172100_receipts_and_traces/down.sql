DROP INDEX events_unrecorded;
ALTER TABLE deliveries DROP COLUMN out_message_id;
ALTER TABLE deliveries DROP COLUMN recipient_id;
ALTER TABLE messages DROP COLUMN displayed_at;
ALTER TABLE messages DROP COLUMN delivered_at;
