ALTER TABLE deliveries DROP COLUMN target_kind;
ALTER TABLE deliveries RENAME COLUMN target_id TO binding_id;
