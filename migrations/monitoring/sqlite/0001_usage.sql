-- The ledger. key_id is the nil UUID where the caller had no key. Times are microseconds since 1970 in UTC.
CREATE TABLE usage_records (
    usage_id BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    user_id BLOB NOT NULL,
    key_id BLOB NOT NULL,
    model_id BLOB NOT NULL,
    model TEXT NOT NULL,
    engine TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    stream INTEGER NOT NULL,
    outcome INTEGER NOT NULL CHECK (outcome BETWEEN 1 AND 4),
    estimated INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cached_prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    start_time INTEGER NOT NULL,
    queue_micros INTEGER,
    first_token_micros INTEGER,
    duration_micros INTEGER,
    body_hash BLOB NOT NULL,
    PRIMARY KEY (usage_id, attempt)
) STRICT;

CREATE INDEX usage_records_by_time ON usage_records (start_time, usage_id, attempt);
CREATE INDEX usage_records_by_user ON usage_records (user_id, start_time, usage_id, attempt);
CREATE INDEX usage_records_by_key ON usage_records (key_id, start_time, usage_id, attempt);
CREATE INDEX usage_records_by_request ON usage_records (request_id) WHERE request_id <> '';

-- Sums of the ledger by the hour of start_time, kept in the same transactions.
CREATE TABLE usage_hourly (
    hour INTEGER NOT NULL,
    user_id BLOB NOT NULL,
    key_id BLOB NOT NULL,
    model TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    finished INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    crashed INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cached_prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    estimated_tokens INTEGER NOT NULL,
    PRIMARY KEY (hour, user_id, key_id, model, endpoint)
) STRICT;

CREATE INDEX usage_hourly_by_user ON usage_hourly (user_id, hour);
CREATE INDEX usage_hourly_by_key ON usage_hourly (key_id, hour);
