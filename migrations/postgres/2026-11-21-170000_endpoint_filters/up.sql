-- Endpoints of an application, and those of any type but phones, newest first.
CREATE INDEX endpoints_application ON endpoints (account_id, application_id, created_at, id) WHERE application_id IS NOT NULL;
CREATE INDEX endpoints_kind ON endpoints (account_id, kind, created_at, id) WHERE kind <> 0;

-- Caller ids are found by trigrams as names are, where there is the index of names.
DO $$
BEGIN
    IF to_regclass('endpoints_search') IS NOT NULL THEN
        CREATE INDEX endpoints_caller_search ON endpoints USING gin (lower(caller_id COLLATE "C") gin_trgm_ops)
            WITH (fastupdate = off) WHERE caller_id IS NOT NULL;
        ALTER INDEX endpoints_caller_search ALTER COLUMN 1 SET STATISTICS 1000;
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'no index of trigrams: %', SQLERRM;
END
$$;
