-- When a contact that failed for now is tried again at the earliest; NULL when it is not, or when its device has come back.
ALTER TABLE deliveries ADD COLUMN retry_at timestamptz;
-- For the device that has come back. It ends with the time, so that SQLite does not rather walk through the account.
CREATE INDEX deliveries_retry ON deliveries (account_id, target_id, retry_at) WHERE retry_at IS NOT NULL;
