DROP INDEX endpoints_trunks;
ALTER TABLE dispatches DROP COLUMN variables;
ALTER TABLE dispatches DROP COLUMN sender_name;
ALTER TABLE dispatches DROP COLUMN called;
ALTER TABLE dispatches DROP COLUMN way;
ALTER TABLE messages DROP COLUMN variables;
ALTER TABLE messages DROP COLUMN recipient_number;
ALTER TABLE messages DROP COLUMN sender_number;
