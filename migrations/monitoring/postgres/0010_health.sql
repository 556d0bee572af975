-- The last word of each process, so that all replicas of the service know it.
CREATE TABLE process_health (
    instance TEXT COLLATE "C" PRIMARY KEY,
    report_time TIMESTAMPTZ NOT NULL,
    told JSONB NOT NULL
);

CREATE INDEX process_health_time ON process_health (report_time);
