DROP TABLE ban_lifts;
DROP TABLE registration_failures;
ALTER TABLE bindings DROP COLUMN endpoint_token_id;
DROP TABLE endpoint_token_credentials;
DROP TABLE endpoint_tokens;
