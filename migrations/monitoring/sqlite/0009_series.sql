-- What was measured over time. A series is its name and labels; its id is made of both, so every replica makes the same.
CREATE TABLE metric_series (
    series_id BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    kind INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 3),
    bounds TEXT NOT NULL,
    seen_time INTEGER NOT NULL
) STRICT;

CREATE INDEX metric_series_by_name ON metric_series (name);
CREATE INDEX metric_series_by_time ON metric_series (seen_time);

-- What each replica of this service (writer) heard in each minute. Of a counter and a histogram it is the
-- increase. Times are microseconds since 1970 in UTC.
CREATE TABLE metric_minutes (
    series_id BLOB NOT NULL,
    minute INTEGER NOT NULL,
    writer BLOB NOT NULL,
    last REAL NOT NULL,
    low REAL NOT NULL,
    high REAL NOT NULL,
    total REAL NOT NULL,
    readings REAL NOT NULL,
    counts TEXT NOT NULL,
    PRIMARY KEY (series_id, minute, writer)
) STRICT;

CREATE INDEX metric_minutes_by_time ON metric_minutes (minute, writer);

-- The minutes of each hour, of all writers together.
CREATE TABLE metric_hours (
    series_id BLOB NOT NULL,
    hour INTEGER NOT NULL,
    last REAL NOT NULL,
    low REAL NOT NULL,
    high REAL NOT NULL,
    total REAL NOT NULL,
    readings REAL NOT NULL,
    counts TEXT NOT NULL,
    PRIMARY KEY (series_id, hour)
) STRICT;

CREATE INDEX metric_hours_by_time ON metric_hours (hour);
