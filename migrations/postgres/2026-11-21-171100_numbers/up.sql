-- The endpoint that has a number. An endpoint's own row has its numbers too, in their order, so that a page stays one
-- statement.
ALTER TABLE account_numbers ADD COLUMN endpoint_id uuid;
CREATE INDEX account_numbers_endpoint ON account_numbers (account_id, endpoint_id) WHERE endpoint_id IS NOT NULL;
ALTER TABLE endpoints ADD COLUMN numbers text;
