-- As on PostgreSQL: here the values of events are text already.
SELECT 1;
