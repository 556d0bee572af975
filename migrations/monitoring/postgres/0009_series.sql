-- What was measured over time. A series is its name and labels; its id is made of both, so every replica makes the same.
CREATE TABLE metric_series (
    series_id UUID PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    labels TEXT NOT NULL,
    kind INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 3),
    bounds TEXT NOT NULL,
    seen_time TIMESTAMPTZ NOT NULL
);

CREATE INDEX metric_series_by_name ON metric_series (name);
CREATE INDEX metric_series_by_time ON metric_series (seen_time);

-- What each replica of this service (writer) heard in each minute. Of a counter and a histogram it is the increase.
CREATE TABLE metric_minutes (
    series_id UUID NOT NULL,
    minute TIMESTAMPTZ NOT NULL,
    writer UUID NOT NULL,
    last DOUBLE PRECISION NOT NULL,
    low DOUBLE PRECISION NOT NULL,
    high DOUBLE PRECISION NOT NULL,
    total DOUBLE PRECISION NOT NULL,
    readings DOUBLE PRECISION NOT NULL,
    counts TEXT NOT NULL,
    PRIMARY KEY (series_id, minute, writer)
);

CREATE INDEX metric_minutes_by_time ON metric_minutes (minute, writer);

-- The minutes of each hour, of all writers together.
CREATE TABLE metric_hours (
    series_id UUID NOT NULL,
    hour TIMESTAMPTZ NOT NULL,
    last DOUBLE PRECISION NOT NULL,
    low DOUBLE PRECISION NOT NULL,
    high DOUBLE PRECISION NOT NULL,
    total DOUBLE PRECISION NOT NULL,
    readings DOUBLE PRECISION NOT NULL,
    counts TEXT NOT NULL,
    PRIMARY KEY (series_id, hour)
);

CREATE INDEX metric_hours_by_time ON metric_hours (hour);
