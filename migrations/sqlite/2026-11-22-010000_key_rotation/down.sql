ALTER TABLE instance DROP COLUMN key_replaced_at;
ALTER TABLE instance DROP COLUMN previous_key_id;
