-- Domains whose deletion has begun: their endpoints count as disabled, and are deleted in steps.
CREATE TABLE domain_deletions (
    account_id BLOB NOT NULL,
    domain_id BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, domain_id)
) WITHOUT ROWID;

-- Endpoints that are deleted: their chats, messages and the text of their events are hidden, and their rows go in steps.
CREATE TABLE endpoint_deletions (
    account_id BLOB NOT NULL,
    endpoint_id BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, endpoint_id)
) WITHOUT ROWID;
