-- All that an endpoint has. Columns for what lists ask for; addresses, attributes, properties and transformations are
-- one versioned document, absent when there are none, so that a page stays one statement.
ALTER TABLE endpoints
    ADD COLUMN kind smallint NOT NULL DEFAULT 0,
    ADD COLUMN application_id uuid,
    ADD COLUMN digest_algorithms text NOT NULL DEFAULT 'SHA-256',
    ADD COLUMN caller_id text,
    ADD COLUMN send_as text,
    ADD COLUMN allow_outside boolean NOT NULL DEFAULT FALSE,
    ADD COLUMN ciphers text,
    ADD COLUMN codecs text,
    ADD COLUMN encryption smallint NOT NULL DEFAULT 0,
    ADD COLUMN capacity integer NOT NULL DEFAULT 0,
    ADD COLUMN cps_limit integer,
    ADD COLUMN auth_required boolean NOT NULL DEFAULT TRUE,
    ADD COLUMN nested text,
    ADD COLUMN out_sip_username text,
    ADD COLUMN has_out_sip_password boolean NOT NULL DEFAULT FALSE;
-- What was kept of passwords so far: MD5 too, where the domain asks for it.
UPDATE endpoints SET digest_algorithms = 'SHA-256,MD5' WHERE EXISTS (
    SELECT 1 FROM domains d WHERE d.account_id = endpoints.account_id AND d.id = endpoints.domain_id
    AND d.digest_algorithms LIKE '%MD5%'
);
-- At most one system gateway an account.
CREATE UNIQUE INDEX endpoints_system_gateway ON endpoints (account_id) WHERE kind = 8;

-- Secrets of endpoints besides their HA1 values, encrypted. item_id is the address that one belongs to, or nil.
CREATE TABLE endpoint_secrets (
    account_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    kind smallint NOT NULL,
    item_id uuid NOT NULL,
    key_id text NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (account_id, endpoint_id, kind, item_id),
    FOREIGN KEY (account_id, endpoint_id) REFERENCES endpoints
);
