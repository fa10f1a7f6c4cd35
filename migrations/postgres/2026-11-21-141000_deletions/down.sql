DROP TABLE endpoint_deletions;
DROP TABLE domain_deletions;
