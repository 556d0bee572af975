-- Gauges that turned, and when: from the replica that heard of it to the one that looks at rules. Kept for minutes only.
CREATE TABLE metric_turned (
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    value REAL NOT NULL,
    turned_time INTEGER NOT NULL,
    PRIMARY KEY (name, labels)
) STRICT;

CREATE INDEX metric_turned_by_time ON metric_turned (turned_time);
