-- What the recipient's devices reported (RFC 5438).
ALTER TABLE messages ADD COLUMN delivered_at INTEGER;
ALTER TABLE messages ADD COLUMN displayed_at INTEGER;

-- Who an attempt was for, and the sender's copy: a report names no more than the Call-ID.
ALTER TABLE deliveries ADD COLUMN recipient_id BLOB NOT NULL DEFAULT x'00000000000000000000000000000000';
ALTER TABLE deliveries ADD COLUMN out_message_id BLOB;

-- Texts of devices' messages that no chat keeps: blanked after a time. Its kind is TEXT_MESSAGE_RECEIVED.
CREATE INDEX events_unrecorded ON events (happened_at) WHERE kind = 3 AND message_id IS NULL AND text IS NOT NULL;
