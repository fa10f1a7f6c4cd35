-- The proxies between a device and us (RFC 3327), and whether the device answers OPTIONS.
ALTER TABLE bindings ADD COLUMN path TEXT;
ALTER TABLE bindings ADD COLUMN status INTEGER NOT NULL DEFAULT 0;
ALTER TABLE bindings ADD COLUMN round_trip_us INTEGER;
ALTER TABLE bindings ADD COLUMN qualified_at INTEGER;
CREATE INDEX bindings_qualified ON bindings (qualified_at);
