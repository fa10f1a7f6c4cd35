-- Domains whose deletion has begun: their endpoints count as disabled, and are deleted in steps.
CREATE TABLE domain_deletions (
    account_id uuid NOT NULL,
    domain_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, domain_id)
);

-- Endpoints that are deleted: their chats, messages and the text of their events are hidden, and their rows go in steps.
CREATE TABLE endpoint_deletions (
    account_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, endpoint_id)
);
