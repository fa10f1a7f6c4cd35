-- The proxies between a device and us (RFC 3327), and whether the device answers OPTIONS.
ALTER TABLE bindings ADD COLUMN path text;
ALTER TABLE bindings ADD COLUMN status smallint NOT NULL DEFAULT 0;
ALTER TABLE bindings ADD COLUMN round_trip_us bigint;
ALTER TABLE bindings ADD COLUMN qualified_at timestamptz;
CREATE INDEX bindings_qualified ON bindings (qualified_at);
