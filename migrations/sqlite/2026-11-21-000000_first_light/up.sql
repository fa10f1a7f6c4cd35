-- One row: which key sealed the secrets of this database.
CREATE TABLE instance (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    key_id TEXT NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;

-- The tenants. A write of an account locks this row first; nothing else orders its log.
CREATE TABLE accounts (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 1,
    head_seq INTEGER NOT NULL DEFAULT 0,
    head_check INTEGER NOT NULL DEFAULT 0,
    trimmed_seq INTEGER NOT NULL DEFAULT 0,
    last_external_id INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE account_numbers (
    number TEXT NOT NULL PRIMARY KEY,
    account_id BLOB NOT NULL REFERENCES accounts
) WITHOUT ROWID;
CREATE INDEX account_numbers_account ON account_numbers (account_id, number);

CREATE TABLE domains (
    account_id BLOB NOT NULL REFERENCES accounts,
    id BLOB NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    digest_algorithms TEXT NOT NULL,
    record_internal_messages BOOLEAN NOT NULL,
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (account_id, id)
) WITHOUT ROWID;
CREATE INDEX domains_created ON domains (account_id, created_at, id);

-- Names and aliases of domains: unique in the instance, because a SIP request names nothing else.
CREATE TABLE domain_names (
    name TEXT NOT NULL PRIMARY KEY,
    account_id BLOB NOT NULL,
    domain_id BLOB NOT NULL,
    is_alias BOOLEAN NOT NULL,
    FOREIGN KEY (account_id, domain_id) REFERENCES domains
) WITHOUT ROWID;
CREATE INDEX domain_names_domain ON domain_names (account_id, domain_id);

CREATE TABLE endpoints (
    account_id BLOB NOT NULL,
    id BLOB NOT NULL,
    domain_id BLOB NOT NULL,
    domain_name TEXT NOT NULL,
    external_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    canonical_name TEXT NOT NULL,
    display_name TEXT,
    description TEXT,
    enabled BOOLEAN NOT NULL,
    has_password BOOLEAN NOT NULL,
    simulation INTEGER,
    state INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    bindings_revision INTEGER NOT NULL,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, domain_id) REFERENCES domains
) WITHOUT ROWID;
CREATE UNIQUE INDEX endpoints_external ON endpoints (account_id, external_id);
CREATE UNIQUE INDEX endpoints_name ON endpoints (account_id, canonical_name, domain_id);
CREATE INDEX endpoints_created ON endpoints (account_id, created_at, id);
CREATE INDEX endpoints_domain ON endpoints (domain_id, canonical_name);

-- HA1 values, encrypted; never a password.
CREATE TABLE credentials (
    account_id BLOB NOT NULL,
    endpoint_id BLOB NOT NULL,
    algorithm INTEGER NOT NULL,
    charset INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (account_id, endpoint_id, algorithm, charset),
    FOREIGN KEY (account_id, endpoint_id) REFERENCES endpoints
) WITHOUT ROWID;

CREATE TABLE bindings (
    account_id BLOB NOT NULL,
    id BLOB NOT NULL,
    endpoint_id BLOB NOT NULL,
    contact_uri TEXT NOT NULL,
    transport INTEGER NOT NULL,
    remote TEXT NOT NULL,
    local TEXT NOT NULL,
    node_id BLOB NOT NULL,
    connection INTEGER NOT NULL,
    call_id TEXT NOT NULL,
    cseq INTEGER NOT NULL,
    instance TEXT,
    reg_id INTEGER,
    user_agent TEXT,
    registered_at INTEGER NOT NULL,
    refreshed_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, id)
) WITHOUT ROWID;
CREATE INDEX bindings_endpoint ON bindings (account_id, endpoint_id, registered_at, id);
CREATE INDEX bindings_expires ON bindings (expires_at);
CREATE INDEX bindings_connection ON bindings (node_id, connection);

CREATE TABLE chats (
    account_id BLOB NOT NULL,
    id BLOB NOT NULL,
    endpoint_id BLOB NOT NULL,
    own_number TEXT NOT NULL,
    peer TEXT NOT NULL,
    last_seq INTEGER NOT NULL,
    last_message_id BLOB,
    unread_count INTEGER NOT NULL,
    message_count INTEGER NOT NULL,
    activity_seq INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX chats_key ON chats (account_id, endpoint_id, own_number, peer);
CREATE INDEX chats_activity ON chats (account_id, activity_seq);
CREATE INDEX chats_endpoint_activity ON chats (account_id, endpoint_id, activity_seq);

CREATE TABLE messages (
    account_id BLOB NOT NULL,
    id BLOB NOT NULL,
    exchange_id BLOB NOT NULL,
    endpoint_id BLOB NOT NULL,
    chat_id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    log_seq INTEGER NOT NULL,
    direction INTEGER NOT NULL,
    origin INTEGER NOT NULL,
    sender_uri TEXT NOT NULL,
    recipient_uri TEXT NOT NULL,
    peer TEXT NOT NULL,
    body TEXT NOT NULL,
    content_type TEXT NOT NULL,
    status INTEGER NOT NULL,
    failure_code INTEGER,
    failure_sip_status INTEGER,
    failure_reason TEXT,
    is_read BOOLEAN NOT NULL,
    created_at INTEGER NOT NULL,
    status_at INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (account_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX messages_chat ON messages (account_id, chat_id, seq);
CREATE INDEX messages_log ON messages (account_id, log_seq);
CREATE INDEX messages_endpoint ON messages (account_id, endpoint_id, log_seq);

-- Messages on their way: a queue. A row goes when nothing is left to do.
CREATE TABLE dispatches (
    account_id BLOB NOT NULL,
    id BLOB NOT NULL,
    sender_id BLOB NOT NULL,
    recipient_id BLOB NOT NULL,
    out_message_id BLOB,
    sender_uri TEXT NOT NULL,
    recipient_uri TEXT NOT NULL,
    body TEXT NOT NULL,
    content_type TEXT NOT NULL,
    taken BOOLEAN NOT NULL,
    rounds INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    lease INTEGER NOT NULL,
    leased_until INTEGER,
    PRIMARY KEY (account_id, id)
) WITHOUT ROWID;
CREATE INDEX dispatches_due ON dispatches (due_at);
CREATE INDEX dispatches_recipient ON dispatches (account_id, recipient_id, created_at, id);

CREATE TABLE deliveries (
    account_id BLOB NOT NULL,
    id BLOB NOT NULL,
    exchange_id BLOB NOT NULL,
    binding_id BLOB NOT NULL,
    contact_uri TEXT NOT NULL,
    transport INTEGER NOT NULL,
    call_id TEXT NOT NULL,
    from_tag TEXT NOT NULL,
    cseq INTEGER NOT NULL,
    branch TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    sip_status INTEGER,
    reason TEXT,
    outcome INTEGER NOT NULL,
    PRIMARY KEY (account_id, id)
) WITHOUT ROWID;
CREATE INDEX deliveries_exchange ON deliveries (account_id, exchange_id, started_at, id);

-- The log. seq rises by one with each event of an account, in the order of commits.
CREATE TABLE events (
    account_id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    id BLOB NOT NULL,
    check_bits INTEGER NOT NULL,
    happened_at INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    endpoint_id BLOB,
    domain_id BLOB,
    chat_id BLOB,
    message_id BLOB,
    body TEXT NOT NULL,
    text TEXT,
    PRIMARY KEY (account_id, seq)
) WITHOUT ROWID;
-- For blanking the text of a deleted endpoint.
CREATE INDEX events_text ON events (account_id, endpoint_id, seq) WHERE text IS NOT NULL;

CREATE TABLE idempotency (
    account_id BLOB NOT NULL,
    actor BLOB NOT NULL,
    operation TEXT NOT NULL,
    call_key TEXT NOT NULL,
    input BLOB NOT NULL,
    result BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, actor, operation, call_key)
) WITHOUT ROWID;
CREATE INDEX idempotency_created ON idempotency (created_at);

CREATE TABLE tokens (
    account_id BLOB NOT NULL REFERENCES accounts,
    id BLOB NOT NULL,
    name TEXT NOT NULL,
    secret_hash BLOB NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    endpoint_ids BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    PRIMARY KEY (account_id, id)
) WITHOUT ROWID;
CREATE INDEX tokens_created ON tokens (account_id, created_at, id);
CREATE INDEX tokens_revoked ON tokens (revoked_at) WHERE revoked_at IS NOT NULL;
