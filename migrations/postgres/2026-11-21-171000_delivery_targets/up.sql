-- An attempt goes to a contact (0) or to an address of a trunk (1).
ALTER TABLE deliveries RENAME COLUMN binding_id TO target_id;
ALTER TABLE deliveries ADD COLUMN target_kind smallint NOT NULL DEFAULT 0;
