DROP INDEX bindings_qualified;
ALTER TABLE bindings DROP COLUMN qualified_at;
ALTER TABLE bindings DROP COLUMN round_trip_us;
ALTER TABLE bindings DROP COLUMN status;
ALTER TABLE bindings DROP COLUMN path;
