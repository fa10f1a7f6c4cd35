CREATE TABLE applications (
    account_id BLOB NOT NULL REFERENCES accounts,
    id BLOB NOT NULL,
    name TEXT NOT NULL,
    callback_url TEXT,
    callback_method INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (account_id, id)
) WITHOUT ROWID;
CREATE INDEX applications_created ON applications (account_id, created_at, id);
