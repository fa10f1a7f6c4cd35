-- All that an endpoint has. Columns for what lists ask for; addresses, attributes, properties and transformations are
-- one versioned document, absent when there are none, so that a page stays one statement.
ALTER TABLE endpoints ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;
ALTER TABLE endpoints ADD COLUMN application_id BLOB;
ALTER TABLE endpoints ADD COLUMN digest_algorithms TEXT NOT NULL DEFAULT 'SHA-256';
ALTER TABLE endpoints ADD COLUMN caller_id TEXT;
ALTER TABLE endpoints ADD COLUMN send_as TEXT;
ALTER TABLE endpoints ADD COLUMN allow_outside BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE endpoints ADD COLUMN ciphers TEXT;
ALTER TABLE endpoints ADD COLUMN codecs TEXT;
ALTER TABLE endpoints ADD COLUMN encryption INTEGER NOT NULL DEFAULT 0;
ALTER TABLE endpoints ADD COLUMN capacity INTEGER NOT NULL DEFAULT 0;
ALTER TABLE endpoints ADD COLUMN cps_limit INTEGER;
ALTER TABLE endpoints ADD COLUMN auth_required BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE endpoints ADD COLUMN nested TEXT;
ALTER TABLE endpoints ADD COLUMN out_sip_username TEXT;
ALTER TABLE endpoints ADD COLUMN has_out_sip_password BOOLEAN NOT NULL DEFAULT FALSE;
-- What was kept of passwords so far: MD5 too, where the domain asks for it.
UPDATE endpoints SET digest_algorithms = 'SHA-256,MD5' WHERE EXISTS (
    SELECT 1 FROM domains d WHERE d.account_id = endpoints.account_id AND d.id = endpoints.domain_id
    AND d.digest_algorithms LIKE '%MD5%'
);
-- At most one system gateway an account.
CREATE UNIQUE INDEX endpoints_system_gateway ON endpoints (account_id) WHERE kind = 8;

-- Secrets of endpoints besides their HA1 values, encrypted. item_id is the address that one belongs to, or nil.
CREATE TABLE endpoint_secrets (
    account_id BLOB NOT NULL,
    endpoint_id BLOB NOT NULL,
    kind INTEGER NOT NULL,
    item_id BLOB NOT NULL,
    key_id TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (account_id, endpoint_id, kind, item_id),
    FOREIGN KEY (account_id, endpoint_id) REFERENCES endpoints
) WITHOUT ROWID;
