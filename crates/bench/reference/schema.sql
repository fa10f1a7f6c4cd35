-- What the reference reads; no poorer than what the product reads.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE TABLE endpoints (
    id bigint PRIMARY KEY,
    domain_id bigint NOT NULL,
    username text NOT NULL,
    type text NOT NULL,
    caller_id text,
    send_as text,
    description text,
    enabled boolean NOT NULL,
    encryption text NOT NULL,
    codecs text NOT NULL,
    ciphers text NOT NULL,
    transport text NOT NULL,
    capacity integer NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX endpoints_domain_username ON endpoints (domain_id, username);
CREATE INDEX endpoints_newest ON endpoints (created_at DESC, id DESC);
CREATE INDEX endpoints_username_trgm ON endpoints USING gin (username gin_trgm_ops);
