CREATE TABLE applications (
    account_id uuid NOT NULL REFERENCES accounts,
    id uuid NOT NULL,
    name text NOT NULL,
    callback_url text,
    callback_method smallint NOT NULL,
    created_at timestamptz NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (account_id, id)
);
CREATE INDEX applications_created ON applications (account_id, created_at, id);
