ALTER TABLE endpoints DROP COLUMN numbers;
DROP INDEX account_numbers_endpoint;
ALTER TABLE account_numbers DROP COLUMN endpoint_id;
