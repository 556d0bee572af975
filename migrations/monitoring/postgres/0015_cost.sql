-- Sums by engine and by the model's own name as well, the time that requests were at engines, and cost by kind of token. An
-- amount is millionths of a dollar and the pico-dollars left over, so that no sum ends where 64 bits of pico-dollars do.
-- Of hours from before, the engine is not known, and all of the cost counts as that of input.
ALTER TABLE usage_hourly
    ADD COLUMN served_model TEXT COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN engine TEXT COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN engine_micros BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN input_micros BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN input_rest BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN cache_read_micros BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN cache_read_rest BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN output_micros BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN output_rest BIGINT NOT NULL DEFAULT 0;
UPDATE usage_hourly SET served_model = model, input_micros = cost / 1000000, input_rest = cost % 1000000;
ALTER TABLE usage_hourly DROP COLUMN cost;
ALTER TABLE usage_hourly DROP CONSTRAINT usage_hourly_pkey;
ALTER TABLE usage_hourly ADD PRIMARY KEY (hour, user_id, key_id, group_id, model, endpoint, served_model, engine);
CREATE INDEX usage_hourly_by_served_model ON usage_hourly (served_model, hour);

-- The same of what was spent of budgets.
ALTER TABLE budget_windows
    ADD COLUMN spent_micros BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN spent_rest BIGINT NOT NULL DEFAULT 0;
UPDATE budget_windows SET spent_micros = spent_money / 1000000, spent_rest = spent_money % 1000000;
ALTER TABLE budget_windows DROP COLUMN spent_money;
