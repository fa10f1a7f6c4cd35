DROP INDEX IF EXISTS endpoints_caller_search;
DROP INDEX endpoints_kind;
DROP INDEX endpoints_application;
