DROP INDEX deliveries_retry;
ALTER TABLE deliveries DROP COLUMN retry_at;
