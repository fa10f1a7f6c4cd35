-- Whether no two endpoints of all an account's domains have one name.
ALTER TABLE accounts ADD COLUMN unique_names BOOLEAN NOT NULL DEFAULT FALSE;

-- What endpoints have that set nothing of their own; without a row, what the program has. is_begun: encryption is demanded since
-- a moment, and contacts that are not allowed any more may be left.
CREATE TABLE sip_profiles (
    account_id BLOB NOT NULL PRIMARY KEY REFERENCES accounts,
    default_ciphers TEXT NOT NULL,
    default_codecs TEXT NOT NULL,
    default_encryption SMALLINT NOT NULL,
    default_send_as TEXT,
    version BIGINT NOT NULL,
    is_begun BOOLEAN NOT NULL
);
CREATE INDEX sip_profiles_begun ON sip_profiles (account_id) WHERE is_begun;
