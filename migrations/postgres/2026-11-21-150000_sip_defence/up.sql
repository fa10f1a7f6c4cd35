-- Short-lived passwords of endpoints. A row stays for a day after its end, for repeated calls.
CREATE TABLE endpoint_tokens (
    account_id uuid NOT NULL,
    id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, endpoint_id) REFERENCES endpoints
);
CREATE INDEX endpoint_tokens_endpoint ON endpoint_tokens (account_id, endpoint_id, expires_at);
CREATE INDEX endpoint_tokens_expires ON endpoint_tokens (expires_at);

-- HA1 values of their secrets, encrypted.
CREATE TABLE endpoint_token_credentials (
    account_id uuid NOT NULL,
    token_id uuid NOT NULL,
    algorithm smallint NOT NULL,
    key_id text NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (account_id, token_id, algorithm),
    FOREIGN KEY (account_id, token_id) REFERENCES endpoint_tokens ON DELETE CASCADE
);

-- The endpoint token that a binding was made with.
ALTER TABLE bindings ADD COLUMN endpoint_token_id uuid;

-- Failed registrations: one row for each source, address and reason; the latest of an account stay.
CREATE TABLE registration_failures (
    account_id uuid NOT NULL REFERENCES accounts,
    id uuid NOT NULL,
    failed_at timestamptz NOT NULL,
    failures bigint NOT NULL,
    domain_id uuid NOT NULL,
    endpoint_id uuid,
    aor text NOT NULL,
    source text NOT NULL,
    transport smallint NOT NULL,
    reason smallint NOT NULL,
    PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX registration_failures_kind ON registration_failures (account_id, source, aor, reason);
CREATE INDEX registration_failures_time ON registration_failures (account_id, failed_at, id);
CREATE INDEX registration_failures_age ON registration_failures (failed_at);

-- Sources that were let in again; every node looks once a second.
CREATE TABLE ban_lifts (
    account_id uuid NOT NULL REFERENCES accounts,
    source text NOT NULL,
    lifted_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, source)
);
CREATE INDEX ban_lifts_time ON ban_lifts (lifted_at);
