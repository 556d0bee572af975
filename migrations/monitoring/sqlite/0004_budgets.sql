-- Budgets. Limits are pico-dollars and tokens; NULL is no limit. subject_id is the nil UUID of a model's budget, and model
-- is empty of all others.
CREATE TABLE budgets (
    budget_id BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    subject INTEGER NOT NULL CHECK (subject BETWEEN 1 AND 4),
    subject_id BLOB NOT NULL,
    model TEXT NOT NULL,
    period INTEGER NOT NULL CHECK (period BETWEEN 1 AND 2),
    time_zone TEXT NOT NULL,
    limit_money INTEGER CHECK (limit_money >= 0),
    limit_tokens INTEGER CHECK (limit_tokens >= 0),
    hard INTEGER NOT NULL,
    created_time INTEGER NOT NULL,
    updated_time INTEGER NOT NULL,
    updated_by BLOB NOT NULL,
    revision INTEGER NOT NULL
) STRICT;

-- What was spent of a budget in each window, kept in the transactions that add to the ledger.
CREATE TABLE budget_windows (
    budget_id BLOB NOT NULL REFERENCES budgets ON DELETE CASCADE,
    window_start INTEGER NOT NULL,
    spent_money INTEGER NOT NULL,
    spent_tokens INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    PRIMARY KEY (budget_id, window_start)
) STRICT;

-- What each gateway was given of it, gave back, and spent as far as the ledger knows: totals that only grow.
CREATE TABLE budget_leases (
    budget_id BLOB NOT NULL REFERENCES budgets ON DELETE CASCADE,
    window_start INTEGER NOT NULL,
    gateway_id BLOB NOT NULL,
    granted_money INTEGER NOT NULL,
    granted_tokens INTEGER NOT NULL,
    released_money INTEGER NOT NULL,
    released_tokens INTEGER NOT NULL,
    recorded_money INTEGER NOT NULL,
    recorded_tokens INTEGER NOT NULL,
    heard_time INTEGER NOT NULL,
    PRIMARY KEY (budget_id, window_start, gateway_id)
) STRICT;

CREATE INDEX budget_leases_by_gateway ON budget_leases (gateway_id);

-- Processes of gateways that are gone and whose records are in the ledger: they are given nothing any more.
CREATE TABLE budget_ended_gateways (
    gateway_id BLOB PRIMARY KEY,
    ended_time INTEGER NOT NULL
) STRICT;

-- Thresholds in percent that a budget reached, once in each window.
CREATE TABLE budget_thresholds (
    budget_id BLOB NOT NULL REFERENCES budgets ON DELETE CASCADE,
    window_start INTEGER NOT NULL,
    percent INTEGER NOT NULL,
    reached_time INTEGER NOT NULL,
    PRIMARY KEY (budget_id, window_start, percent)
) STRICT;

CREATE INDEX budget_thresholds_by_time ON budget_thresholds (reached_time);
