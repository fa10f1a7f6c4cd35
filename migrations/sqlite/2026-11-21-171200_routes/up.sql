-- The numbers that a message comes from and was called by, and its header fields, a JSON map, absent when there are none.
ALTER TABLE messages ADD COLUMN sender_number TEXT;
ALTER TABLE messages ADD COLUMN recipient_number TEXT;
ALTER TABLE messages ADD COLUMN variables TEXT;

-- How a message leaves: to contacts (0), or through a trunk to a number (1) or a SIP URI (2).
ALTER TABLE dispatches ADD COLUMN way INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dispatches ADD COLUMN called TEXT;
ALTER TABLE dispatches ADD COLUMN sender_name TEXT;
ALTER TABLE dispatches ADD COLUMN variables TEXT;

-- Trunks, few among the endpoints.
CREATE INDEX endpoints_trunks ON endpoints (account_id, created_at, id) WHERE kind = 1;
