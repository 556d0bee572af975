-- Prices by model, in pico-dollars for a million tokens. Versions are added, never changed. NULL is not known.
CREATE TABLE prices (
    price_id UUID PRIMARY KEY,
    model TEXT COLLATE "C" NOT NULL,
    input BIGINT CHECK (input >= 0),
    cache_read BIGINT CHECK (cache_read >= 0),
    output BIGINT CHECK (output >= 0),
    effective_from TIMESTAMPTZ NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    created_by UUID NOT NULL,
    created_time TIMESTAMPTZ NOT NULL
);

CREATE INDEX prices_by_model ON prices (model, effective_from, price_id);

-- Imports by the id that their caller gave them, so that one that is sent again is answered as before.
CREATE TABLE price_imports (
    import_id UUID PRIMARY KEY,
    body_hash BYTEA NOT NULL,
    imported BIGINT NOT NULL,
    unchanged BIGINT NOT NULL,
    created_time TIMESTAMPTZ NOT NULL
);

-- What a record cost when it was written down, in pico-dollars; NULL is not known. group_id is nil where no group's grant
-- was used; served_model is the model's own name.
ALTER TABLE usage_records
    ADD COLUMN group_id UUID NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    ADD COLUMN served_model TEXT COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN cost BIGINT,
    ADD COLUMN price_id UUID;

-- What supersedes the counts and the cost of a record: the highest revision counts. Rows are added, never changed.
CREATE TABLE usage_corrections (
    usage_id UUID NOT NULL,
    attempt BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    correction_id UUID NOT NULL UNIQUE,
    prompt_tokens BIGINT NOT NULL,
    cached_prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    cost BIGINT,
    price_id UUID,
    reason TEXT COLLATE "C" NOT NULL,
    created_by UUID NOT NULL,
    created_time TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (usage_id, attempt, revision)
);

-- cost sums what is known; unpriced counts the records whose cost is not.
ALTER TABLE usage_hourly
    ADD COLUMN group_id UUID NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    ADD COLUMN cost BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN unpriced BIGINT NOT NULL DEFAULT 0;
UPDATE usage_hourly SET unpriced = finished + cancelled + failed + crashed;
ALTER TABLE usage_hourly DROP CONSTRAINT usage_hourly_pkey;
ALTER TABLE usage_hourly ADD PRIMARY KEY (hour, user_id, key_id, group_id, model, endpoint);
CREATE INDEX usage_hourly_by_group ON usage_hourly (group_id, hour);
CREATE INDEX usage_hourly_by_model ON usage_hourly (model, hour);
