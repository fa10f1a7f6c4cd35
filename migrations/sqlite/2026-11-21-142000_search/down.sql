DROP TRIGGER endpoints_search_delete;
DROP TRIGGER endpoints_search_insert;
DROP TABLE _endpoint_search;
DROP TABLE _endpoint_search_places;
DROP INDEX endpoints_name_order;
