-- Sums by engine and by the model's own name as well, the time that requests were at engines, and cost by kind of token. An
-- amount is millionths of a dollar and the pico-dollars left over, so that no sum ends where 64 bits of pico-dollars do.
-- Of hours from before, the engine is not known, and all of the cost counts as that of input. A primary key cannot be
-- changed here, so the table is made anew.
CREATE TABLE usage_hourly_by_kind (
    hour INTEGER NOT NULL,
    user_id BLOB NOT NULL,
    key_id BLOB NOT NULL,
    group_id BLOB NOT NULL DEFAULT x'00000000000000000000000000000000',
    model TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    served_model TEXT NOT NULL DEFAULT '',
    engine TEXT NOT NULL DEFAULT '',
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
    unpriced INTEGER NOT NULL DEFAULT 0,
    engine_micros INTEGER NOT NULL DEFAULT 0,
    input_micros INTEGER NOT NULL DEFAULT 0,
    input_rest INTEGER NOT NULL DEFAULT 0,
    cache_read_micros INTEGER NOT NULL DEFAULT 0,
    cache_read_rest INTEGER NOT NULL DEFAULT 0,
    output_micros INTEGER NOT NULL DEFAULT 0,
    output_rest INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, user_id, key_id, group_id, model, endpoint, served_model, engine)
) STRICT;

INSERT INTO usage_hourly_by_kind SELECT hour, user_id, key_id, group_id, model, endpoint, model, '', finished, cancelled,
    failed, crashed, prompt_tokens, cached_prompt_tokens, completion_tokens, estimated_tokens, cached, saved_prompt_tokens,
    saved_completion_tokens, unpriced, 0, cost / 1000000, cost % 1000000, 0, 0, 0, 0
    FROM usage_hourly;
DROP TABLE usage_hourly;
ALTER TABLE usage_hourly_by_kind RENAME TO usage_hourly;

CREATE INDEX usage_hourly_by_user ON usage_hourly (user_id, hour);
CREATE INDEX usage_hourly_by_key ON usage_hourly (key_id, hour);
CREATE INDEX usage_hourly_by_group ON usage_hourly (group_id, hour);
CREATE INDEX usage_hourly_by_model ON usage_hourly (model, hour);
CREATE INDEX usage_hourly_by_served_model ON usage_hourly (served_model, hour);

-- The same of what was spent of budgets.
ALTER TABLE budget_windows ADD COLUMN spent_micros INTEGER NOT NULL DEFAULT 0;
ALTER TABLE budget_windows ADD COLUMN spent_rest INTEGER NOT NULL DEFAULT 0;
UPDATE budget_windows SET spent_micros = spent_money / 1000000, spent_rest = spent_money % 1000000;
ALTER TABLE budget_windows DROP COLUMN spent_money;
