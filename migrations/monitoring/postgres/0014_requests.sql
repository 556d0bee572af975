-- How requests went until they were answered, as JSON; empty where nothing is known of that.
ALTER TABLE usage_records ADD COLUMN course TEXT NOT NULL DEFAULT '';

-- Requests that were refused, for a day. key_id is nil where the caller had no key.
CREATE TABLE refusals (
    refusal_id UUID PRIMARY KEY,
    request_id TEXT COLLATE "C" NOT NULL,
    user_id UUID NOT NULL,
    key_id UUID NOT NULL,
    route TEXT COLLATE "C" NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    priority TEXT COLLATE "C" NOT NULL,
    waiting BIGINT NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    message TEXT NOT NULL,
    start_time TIMESTAMPTZ NOT NULL,
    duration_micros BIGINT NOT NULL,
    trace_id TEXT COLLATE "C" NOT NULL
);

CREATE INDEX refusals_by_request ON refusals (request_id, start_time);
CREATE INDEX refusals_by_time ON refusals (start_time);
