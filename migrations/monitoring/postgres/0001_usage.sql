-- The ledger. key_id is the nil UUID where the caller had no key. Names sort by their bytes, as on SQLite.
CREATE TABLE usage_records (
    usage_id UUID NOT NULL,
    attempt BIGINT NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    user_id UUID NOT NULL,
    key_id UUID NOT NULL,
    model_id UUID NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    engine TEXT COLLATE "C" NOT NULL,
    endpoint TEXT COLLATE "C" NOT NULL,
    stream BOOLEAN NOT NULL,
    outcome INTEGER NOT NULL CHECK (outcome BETWEEN 1 AND 4),
    estimated BOOLEAN NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    cached_prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    start_time TIMESTAMPTZ NOT NULL,
    queue_micros BIGINT,
    first_token_micros BIGINT,
    duration_micros BIGINT,
    body_hash BYTEA NOT NULL,
    PRIMARY KEY (usage_id, attempt)
);

CREATE INDEX usage_records_by_time ON usage_records (start_time, usage_id, attempt);
CREATE INDEX usage_records_by_user ON usage_records (user_id, start_time, usage_id, attempt);
CREATE INDEX usage_records_by_key ON usage_records (key_id, start_time, usage_id, attempt);
CREATE INDEX usage_records_by_request ON usage_records (request_id) WHERE request_id <> '';

-- Sums of the ledger by the hour of start_time, kept in the same transactions.
CREATE TABLE usage_hourly (
    hour TIMESTAMPTZ NOT NULL,
    user_id UUID NOT NULL,
    key_id UUID NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    endpoint TEXT COLLATE "C" NOT NULL,
    finished BIGINT NOT NULL,
    cancelled BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    crashed BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    cached_prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    estimated_tokens BIGINT NOT NULL,
    PRIMARY KEY (hour, user_id, key_id, model, endpoint)
);

CREATE INDEX usage_hourly_by_user ON usage_hourly (user_id, hour);
CREATE INDEX usage_hourly_by_key ON usage_hourly (key_id, hour);
