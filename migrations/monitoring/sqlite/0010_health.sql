-- The last word of each process, so that all replicas of the service know it.
CREATE TABLE process_health (
    instance TEXT PRIMARY KEY,
    report_time INTEGER NOT NULL,
    told TEXT NOT NULL
);

CREATE INDEX process_health_time ON process_health (report_time);
