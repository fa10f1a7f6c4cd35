-- Short-lived passwords of endpoints. A row stays for a day after its end, for repeated calls.
CREATE TABLE endpoint_tokens (
    account_id BLOB NOT NULL,
    id BLOB NOT NULL,
    endpoint_id BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, endpoint_id) REFERENCES endpoints
) WITHOUT ROWID;
CREATE INDEX endpoint_tokens_endpoint ON endpoint_tokens (account_id, endpoint_id, expires_at);
CREATE INDEX endpoint_tokens_expires ON endpoint_tokens (expires_at);

-- HA1 values of their secrets, encrypted.
CREATE TABLE endpoint_token_credentials (
    account_id BLOB NOT NULL,
    token_id BLOB NOT NULL,
    algorithm INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (account_id, token_id, algorithm),
    FOREIGN KEY (account_id, token_id) REFERENCES endpoint_tokens ON DELETE CASCADE
) WITHOUT ROWID;

-- The endpoint token that a binding was made with.
ALTER TABLE bindings ADD COLUMN endpoint_token_id BLOB;

-- Failed registrations: one row for each source, address and reason; the latest of an account stay.
CREATE TABLE registration_failures (
    account_id BLOB NOT NULL REFERENCES accounts,
    id BLOB NOT NULL,
    failed_at INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    domain_id BLOB NOT NULL,
    endpoint_id BLOB,
    aor TEXT NOT NULL,
    source TEXT NOT NULL,
    transport INTEGER NOT NULL,
    reason INTEGER NOT NULL,
    PRIMARY KEY (account_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX registration_failures_kind ON registration_failures (account_id, source, aor, reason);
CREATE INDEX registration_failures_time ON registration_failures (account_id, failed_at, id);
CREATE INDEX registration_failures_age ON registration_failures (failed_at);

-- Sources that were let in again; every node looks once a second.
CREATE TABLE ban_lifts (
    account_id BLOB NOT NULL REFERENCES accounts,
    source TEXT NOT NULL,
    lifted_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, source)
) WITHOUT ROWID;
CREATE INDEX ban_lifts_time ON ban_lifts (lifted_at);
