-- The key before the one in use, until it is forgotten, and since when nothing is sealed with it any more.
ALTER TABLE instance ADD COLUMN previous_key_id TEXT;
ALTER TABLE instance ADD COLUMN key_replaced_at INTEGER;
