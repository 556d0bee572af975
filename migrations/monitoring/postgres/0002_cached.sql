-- Answers that no engine made for their caller: they cost nothing, and say what was saved.
ALTER TABLE usage_records
    ADD COLUMN cached BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN saved_prompt_tokens BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN saved_completion_tokens BIGINT NOT NULL DEFAULT 0;

ALTER TABLE usage_hourly
    ADD COLUMN cached BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN saved_prompt_tokens BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN saved_completion_tokens BIGINT NOT NULL DEFAULT 0;
