-- Prices by model, in pico-dollars for a million tokens. Versions are added, never changed. NULL is not known.
CREATE TABLE prices (
    price_id BLOB PRIMARY KEY,
    model TEXT NOT NULL,
    input INTEGER CHECK (input >= 0),
    cache_read INTEGER CHECK (cache_read >= 0),
    output INTEGER CHECK (output >= 0),
    effective_from INTEGER NOT NULL,
    source TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_by BLOB NOT NULL,
    created_time INTEGER NOT NULL
) STRICT;

CREATE INDEX prices_by_model ON prices (model, effective_from, price_id);

-- Imports by the id that their caller gave them, so that one that is sent again is answered as before.
CREATE TABLE price_imports (
    import_id BLOB PRIMARY KEY,
    body_hash BLOB NOT NULL,
    imported INTEGER NOT NULL,
    unchanged INTEGER NOT NULL,
    created_time INTEGER NOT NULL
) STRICT;

-- What a record cost when it was written down, in pico-dollars; NULL is not known. group_id is nil where no group's grant
-- was used; served_model is the model's own name.
ALTER TABLE usage_records ADD COLUMN group_id BLOB NOT NULL DEFAULT x'00000000000000000000000000000000';
ALTER TABLE usage_records ADD COLUMN served_model TEXT NOT NULL DEFAULT '';
ALTER TABLE usage_records ADD COLUMN cost INTEGER;
ALTER TABLE usage_records ADD COLUMN price_id BLOB;

-- What supersedes the counts and the cost of a record: the highest revision counts. Rows are added, never changed.
CREATE TABLE usage_corrections (
    usage_id BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    correction_id BLOB NOT NULL UNIQUE,
    prompt_tokens INTEGER NOT NULL,
    cached_prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cost INTEGER,
    price_id BLOB,
    reason TEXT NOT NULL,
    created_by BLOB NOT NULL,
    created_time INTEGER NOT NULL,
    PRIMARY KEY (usage_id, attempt, revision)
) STRICT;

-- cost sums what is known; unpriced counts the records whose cost is not. A primary key cannot be changed here, so the table
-- is made anew.
CREATE TABLE usage_hourly_priced (
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
    cached INTEGER NOT NULL DEFAULT 0,
    saved_prompt_tokens INTEGER NOT NULL DEFAULT 0,
    saved_completion_tokens INTEGER NOT NULL DEFAULT 0,
    group_id BLOB NOT NULL DEFAULT x'00000000000000000000000000000000',
    cost INTEGER NOT NULL DEFAULT 0,
    unpriced INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, user_id, key_id, group_id, model, endpoint)
) STRICT;

INSERT INTO usage_hourly_priced SELECT hour, user_id, key_id, model, endpoint, finished, cancelled, failed, crashed,
    prompt_tokens, cached_prompt_tokens, completion_tokens, estimated_tokens, cached, saved_prompt_tokens,
    saved_completion_tokens, x'00000000000000000000000000000000', 0, finished + cancelled + failed + crashed
    FROM usage_hourly;
DROP TABLE usage_hourly;
ALTER TABLE usage_hourly_priced RENAME TO usage_hourly;

CREATE INDEX usage_hourly_by_user ON usage_hourly (user_id, hour);
CREATE INDEX usage_hourly_by_key ON usage_hourly (key_id, hour);
CREATE INDEX usage_hourly_by_group ON usage_hourly (group_id, hour);
CREATE INDEX usage_hourly_by_model ON usage_hourly (model, hour);
