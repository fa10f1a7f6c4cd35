ALTER TABLE messages DROP COLUMN idempotency_key;
ALTER TABLE messages DROP COLUMN token_id;
