DROP TABLE sip_profiles;
ALTER TABLE accounts DROP COLUMN unique_names;
