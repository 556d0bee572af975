-- How requests went until they were answered, as JSON; empty where nothing is known of that.
ALTER TABLE usage_records ADD COLUMN course TEXT NOT NULL DEFAULT '';

-- Requests that were refused, for a day. key_id is nil where the caller had no key.
CREATE TABLE refusals (
    refusal_id BLOB PRIMARY KEY,
    request_id TEXT NOT NULL,
    user_id BLOB NOT NULL,
    key_id BLOB NOT NULL,
    route TEXT NOT NULL,
    model TEXT NOT NULL,
    priority TEXT NOT NULL,
    waiting INTEGER NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    start_time INTEGER NOT NULL,
    duration_micros INTEGER NOT NULL,
    trace_id TEXT NOT NULL
) STRICT;

CREATE INDEX refusals_by_request ON refusals (request_id, start_time);
CREATE INDEX refusals_by_time ON refusals (start_time);
