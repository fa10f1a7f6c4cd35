-- The token and the idempotency key that a message was sent with, for that token to read.
ALTER TABLE messages ADD COLUMN token_id uuid;
ALTER TABLE messages ADD COLUMN idempotency_key text;
