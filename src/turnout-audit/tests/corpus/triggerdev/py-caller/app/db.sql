-- trigger.dev wrote these rows
CREATE TRIGGER dev_rows AFTER INSERT ON runs EXECUTE FUNCTION note();
