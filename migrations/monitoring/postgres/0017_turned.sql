-- Gauges that turned, and when: from the replica that heard of it to the one that looks at rules. Kept for minutes only.
CREATE TABLE metric_turned (
    name TEXT COLLATE "C" NOT NULL,
    labels TEXT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    turned_time TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (name, labels)
);

CREATE INDEX metric_turned_by_time ON metric_turned (turned_time);
