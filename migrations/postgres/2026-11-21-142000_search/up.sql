CREATE INDEX endpoints_name_order ON endpoints (account_id, name COLLATE "C", id);

-- Parts of texts are found by trigrams. A role that may not create the extension works without: `sipgraph check` says what to do.
DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE INDEX endpoints_search ON endpoints USING gin (lower(name COLLATE "C") gin_trgm_ops) WITH (fastupdate = off);
    -- So many values of the texts are kept for the planner that it tells a rare part from a common one.
    ALTER INDEX endpoints_search ALTER COLUMN 1 SET STATISTICS 1000;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'no index of trigrams: %', SQLERRM;
END
$$;
