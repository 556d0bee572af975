-- Budgets. Limits are pico-dollars and tokens; NULL is no limit. subject_id is the nil UUID of a model's budget, and model
-- is empty of all others.
CREATE TABLE budgets (
    budget_id UUID PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    subject INTEGER NOT NULL CHECK (subject BETWEEN 1 AND 4),
    subject_id UUID NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    period INTEGER NOT NULL CHECK (period BETWEEN 1 AND 2),
    time_zone TEXT COLLATE "C" NOT NULL,
    limit_money BIGINT CHECK (limit_money >= 0),
    limit_tokens BIGINT CHECK (limit_tokens >= 0),
    hard BOOLEAN NOT NULL,
    created_time TIMESTAMPTZ NOT NULL,
    updated_time TIMESTAMPTZ NOT NULL,
    updated_by UUID NOT NULL,
    revision BIGINT NOT NULL
);

-- What was spent of a budget in each window, kept in the transactions that add to the ledger.
CREATE TABLE budget_windows (
    budget_id UUID NOT NULL REFERENCES budgets ON DELETE CASCADE,
    window_start TIMESTAMPTZ NOT NULL,
    spent_money BIGINT NOT NULL,
    spent_tokens BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    PRIMARY KEY (budget_id, window_start)
);

-- What each gateway was given of it, gave back, and spent as far as the ledger knows: totals that only grow.
CREATE TABLE budget_leases (
    budget_id UUID NOT NULL REFERENCES budgets ON DELETE CASCADE,
    window_start TIMESTAMPTZ NOT NULL,
    gateway_id UUID NOT NULL,
    granted_money BIGINT NOT NULL,
    granted_tokens BIGINT NOT NULL,
    released_money BIGINT NOT NULL,
    released_tokens BIGINT NOT NULL,
    recorded_money BIGINT NOT NULL,
    recorded_tokens BIGINT NOT NULL,
    heard_time TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (budget_id, window_start, gateway_id)
);

CREATE INDEX budget_leases_by_gateway ON budget_leases (gateway_id);

-- Processes of gateways that are gone and whose records are in the ledger: they are given nothing any more.
CREATE TABLE budget_ended_gateways (
    gateway_id UUID PRIMARY KEY,
    ended_time TIMESTAMPTZ NOT NULL
);

-- Thresholds in percent that a budget reached, once in each window.
CREATE TABLE budget_thresholds (
    budget_id UUID NOT NULL REFERENCES budgets ON DELETE CASCADE,
    window_start TIMESTAMPTZ NOT NULL,
    percent INTEGER NOT NULL,
    reached_time TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (budget_id, window_start, percent)
);

CREATE INDEX budget_thresholds_by_time ON budget_thresholds (reached_time);
