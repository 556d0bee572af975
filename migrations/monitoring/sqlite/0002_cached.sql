-- Answers that no engine made for their caller: they cost nothing, and say what was saved.
ALTER TABLE usage_records ADD COLUMN cached INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_records ADD COLUMN saved_prompt_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_records ADD COLUMN saved_completion_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_hourly ADD COLUMN cached INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_hourly ADD COLUMN saved_prompt_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_hourly ADD COLUMN saved_completion_tokens INTEGER NOT NULL DEFAULT 0;
