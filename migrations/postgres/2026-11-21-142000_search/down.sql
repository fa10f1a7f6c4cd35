DROP INDEX IF EXISTS endpoints_search;
DROP INDEX endpoints_name_order;
