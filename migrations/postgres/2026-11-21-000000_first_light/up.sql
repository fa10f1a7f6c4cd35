-- One row: which key sealed the secrets of this database.
CREATE TABLE instance (
    id smallint PRIMARY KEY CHECK (id = 1),
    key_id text NOT NULL,
    created_at timestamptz NOT NULL
);

-- The tenants. A write of an account locks this row first; nothing else orders its log.
CREATE TABLE accounts (
    id uuid PRIMARY KEY,
    name text NOT NULL CONSTRAINT accounts_name_key UNIQUE,
    created_at timestamptz NOT NULL,
    epoch bigint NOT NULL DEFAULT 1,
    head_seq bigint NOT NULL DEFAULT 0,
    head_check bigint NOT NULL DEFAULT 0,
    trimmed_seq bigint NOT NULL DEFAULT 0,
    last_external_id bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE account_numbers (
    number text PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts
);
CREATE INDEX account_numbers_account ON account_numbers (account_id, number);

CREATE TABLE domains (
    account_id uuid NOT NULL REFERENCES accounts,
    id uuid NOT NULL,
    name text NOT NULL,
    description text,
    digest_algorithms text NOT NULL,
    record_internal_messages boolean NOT NULL,
    created_at timestamptz NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (account_id, id)
);
CREATE INDEX domains_created ON domains (account_id, created_at, id);

-- Names and aliases of domains: unique in the instance, because a SIP request names nothing else.
CREATE TABLE domain_names (
    name text PRIMARY KEY,
    account_id uuid NOT NULL,
    domain_id uuid NOT NULL,
    is_alias boolean NOT NULL,
    FOREIGN KEY (account_id, domain_id) REFERENCES domains
);
CREATE INDEX domain_names_domain ON domain_names (account_id, domain_id);

CREATE TABLE endpoints (
    account_id uuid NOT NULL,
    id uuid NOT NULL,
    domain_id uuid NOT NULL,
    domain_name text NOT NULL,
    external_id bigint NOT NULL,
    name text NOT NULL,
    canonical_name text NOT NULL,
    display_name text,
    description text,
    enabled boolean NOT NULL,
    has_password boolean NOT NULL,
    simulation smallint,
    state smallint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL,
    bindings_revision bigint NOT NULL,
    PRIMARY KEY (account_id, id),
    FOREIGN KEY (account_id, domain_id) REFERENCES domains
);
CREATE UNIQUE INDEX endpoints_external ON endpoints (account_id, external_id);
CREATE UNIQUE INDEX endpoints_name ON endpoints (account_id, canonical_name, domain_id);
CREATE INDEX endpoints_created ON endpoints (account_id, created_at, id);
CREATE INDEX endpoints_domain ON endpoints (domain_id, canonical_name);

-- HA1 values, encrypted; never a password.
CREATE TABLE credentials (
    account_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    algorithm smallint NOT NULL,
    charset smallint NOT NULL,
    key_id text NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (account_id, endpoint_id, algorithm, charset),
    FOREIGN KEY (account_id, endpoint_id) REFERENCES endpoints
);

CREATE TABLE bindings (
    account_id uuid NOT NULL,
    id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    contact_uri text NOT NULL,
    transport smallint NOT NULL,
    remote text NOT NULL,
    local text NOT NULL,
    node_id uuid NOT NULL,
    connection bigint NOT NULL,
    call_id text NOT NULL,
    cseq bigint NOT NULL,
    instance text,
    reg_id bigint,
    user_agent text,
    registered_at timestamptz NOT NULL,
    refreshed_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, id)
) WITH (fillfactor = 80);
CREATE INDEX bindings_endpoint ON bindings (account_id, endpoint_id, registered_at, id);
CREATE INDEX bindings_expires ON bindings (expires_at);
CREATE INDEX bindings_connection ON bindings (node_id, connection);

CREATE TABLE chats (
    account_id uuid NOT NULL,
    id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    own_number text NOT NULL,
    peer text NOT NULL,
    last_seq bigint NOT NULL,
    last_message_id uuid,
    unread_count bigint NOT NULL,
    message_count bigint NOT NULL,
    activity_seq bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, id)
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX chats_key ON chats (account_id, endpoint_id, own_number, peer);
CREATE INDEX chats_activity ON chats (account_id, activity_seq);
CREATE INDEX chats_endpoint_activity ON chats (account_id, endpoint_id, activity_seq);

CREATE TABLE messages (
    account_id uuid NOT NULL,
    id uuid NOT NULL,
    exchange_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    chat_id uuid NOT NULL,
    seq bigint NOT NULL,
    log_seq bigint NOT NULL,
    direction smallint NOT NULL,
    origin smallint NOT NULL,
    sender_uri text NOT NULL,
    recipient_uri text NOT NULL,
    peer text NOT NULL,
    body text NOT NULL,
    content_type text NOT NULL,
    status smallint NOT NULL,
    failure_code smallint,
    failure_sip_status integer,
    failure_reason text,
    is_read boolean NOT NULL,
    created_at timestamptz NOT NULL,
    status_at timestamptz NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX messages_chat ON messages (account_id, chat_id, seq);
CREATE INDEX messages_log ON messages (account_id, log_seq);
CREATE INDEX messages_endpoint ON messages (account_id, endpoint_id, log_seq);

-- Messages on their way: a queue. A row goes when nothing is left to do.
CREATE TABLE dispatches (
    account_id uuid NOT NULL,
    id uuid NOT NULL,
    sender_id uuid NOT NULL,
    recipient_id uuid NOT NULL,
    out_message_id uuid,
    sender_uri text NOT NULL,
    recipient_uri text NOT NULL,
    body text NOT NULL,
    content_type text NOT NULL,
    taken boolean NOT NULL,
    rounds integer NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    lease bigint NOT NULL,
    leased_until timestamptz,
    PRIMARY KEY (account_id, id)
) WITH (fillfactor = 70);
CREATE INDEX dispatches_due ON dispatches (due_at);
CREATE INDEX dispatches_recipient ON dispatches (account_id, recipient_id, created_at, id);

CREATE TABLE deliveries (
    account_id uuid NOT NULL,
    id uuid NOT NULL,
    exchange_id uuid NOT NULL,
    binding_id uuid NOT NULL,
    contact_uri text NOT NULL,
    transport smallint NOT NULL,
    call_id text NOT NULL,
    from_tag text NOT NULL,
    cseq bigint NOT NULL,
    branch text NOT NULL,
    attempt integer NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    sip_status integer,
    reason text,
    outcome smallint NOT NULL,
    PRIMARY KEY (account_id, id)
) WITH (fillfactor = 80);
CREATE INDEX deliveries_exchange ON deliveries (account_id, exchange_id, started_at, id);

-- The log. seq rises by one with each event of an account, in the order of commits.
CREATE TABLE events (
    account_id uuid NOT NULL,
    seq bigint NOT NULL,
    id uuid NOT NULL,
    check_bits bigint NOT NULL,
    happened_at timestamptz NOT NULL,
    kind smallint NOT NULL,
    endpoint_id uuid,
    domain_id uuid,
    chat_id uuid,
    message_id uuid,
    body text NOT NULL,
    text text,
    PRIMARY KEY (account_id, seq)
);
-- For blanking the text of a deleted endpoint.
CREATE INDEX events_text ON events (account_id, endpoint_id, seq) WHERE text IS NOT NULL;

CREATE TABLE idempotency (
    account_id uuid NOT NULL,
    actor uuid NOT NULL,
    operation text NOT NULL,
    call_key text NOT NULL,
    input bytea NOT NULL,
    result bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, actor, operation, call_key)
);
CREATE INDEX idempotency_created ON idempotency (created_at);

CREATE TABLE tokens (
    account_id uuid NOT NULL REFERENCES accounts,
    id uuid NOT NULL,
    name text NOT NULL,
    secret_hash bytea NOT NULL CONSTRAINT tokens_secret_hash_key UNIQUE,
    scopes text NOT NULL,
    endpoint_ids bytea,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    PRIMARY KEY (account_id, id)
);
CREATE INDEX tokens_created ON tokens (account_id, created_at, id);
CREATE INDEX tokens_revoked ON tokens (revoked_at) WHERE revoked_at IS NOT NULL;
