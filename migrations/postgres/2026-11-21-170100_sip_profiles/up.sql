-- Whether no two endpoints of all an account's domains have one name.
ALTER TABLE accounts ADD COLUMN unique_names boolean NOT NULL DEFAULT FALSE;

-- What endpoints have that set nothing of their own; without a row, what the program has. is_begun: encryption is demanded since
-- a moment, and contacts that are not allowed any more may be left.
CREATE TABLE sip_profiles (
    account_id uuid PRIMARY KEY REFERENCES accounts,
    default_ciphers text NOT NULL,
    default_codecs text NOT NULL,
    default_encryption smallint NOT NULL,
    default_send_as text,
    version bigint NOT NULL,
    is_begun boolean NOT NULL
);
CREATE INDEX sip_profiles_begun ON sip_profiles (account_id) WHERE is_begun;
