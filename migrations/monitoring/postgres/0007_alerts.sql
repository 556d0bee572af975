-- What is to be sent to people and systems: the same table as that of jobs, see shared::claims, and the proof of the keys
-- that its rows are sealed with. state: 1 pending, 2 running, 3 succeeded, 4 failed, 5 cancelled.
CREATE TABLE claims (
    id UUID PRIMARY KEY,
    queue TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    owner UUID NOT NULL,
    payload BYTEA NOT NULL,
    lock_name TEXT COLLATE "C",
    request_name TEXT COLLATE "C",
    request_body BYTEA,
    state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 5),
    percent INTEGER NOT NULL CHECK (percent BETWEEN 0 AND 100),
    attempt BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    worker TEXT COLLATE "C",
    cancel BOOLEAN NOT NULL,
    due TIMESTAMPTZ NOT NULL,
    created TIMESTAMPTZ NOT NULL,
    started TIMESTAMPTZ,
    ended TIMESTAMPTZ,
    expires TIMESTAMPTZ,
    result BYTEA,
    reason TEXT COLLATE "C",
    message BYTEA,
    seal TEXT COLLATE "C" NOT NULL
);

CREATE INDEX claims_by_due ON claims (queue, due, id) WHERE state <= 2;
CREATE UNIQUE INDEX claims_by_lock ON claims (lock_name) WHERE state <= 2 AND lock_name IS NOT NULL;
CREATE UNIQUE INDEX claims_by_request ON claims (owner, request_name) WHERE request_name IS NOT NULL;
CREATE INDEX claims_by_owner ON claims (owner, id);
CREATE INDEX claims_waiting ON claims (owner) WHERE state <= 2;
CREATE INDEX claims_by_state ON claims (queue, state);
CREATE INDEX claims_by_worker ON claims (worker, queue) WHERE state = 2;
CREATE INDEX claims_by_end ON claims (expires) WHERE expires IS NOT NULL;
CREATE INDEX claims_by_seal ON claims (seal);

CREATE TABLE seals (id BIGINT PRIMARY KEY CHECK (id = 1), proof BYTEA NOT NULL);

-- Rules as they are written: body is JSON.
CREATE TABLE alert_rules (
    id UUID PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    version BIGINT NOT NULL,
    created TIMESTAMPTZ NOT NULL,
    updated TIMESTAMPTZ NOT NULL
);

CREATE INDEX alert_rules_by_name ON alert_rules (name, id);

-- Alerts that are there: body is the alert as JSON, held what holds it back. state: 1 pending, 2 firing, 3 resolved.
CREATE TABLE alerts (
    fingerprint TEXT COLLATE "C" PRIMARY KEY,
    rule UUID NOT NULL,
    state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 3),
    severity INTEGER NOT NULL CHECK (severity BETWEEN 1 AND 4),
    body TEXT NOT NULL,
    held TEXT,
    told TIMESTAMPTZ,
    acknowledged TIMESTAMPTZ,
    acknowledged_by TEXT COLLATE "C",
    note TEXT
);

CREATE INDEX alerts_by_severity ON alerts (severity, fingerprint);

-- What receivers were told of groups of alerts: body is JSON.
CREATE TABLE alert_groups (
    id TEXT COLLATE "C" PRIMARY KEY,
    body TEXT NOT NULL
);

CREATE TABLE alert_silences (
    id UUID PRIMARY KEY,
    matchers TEXT NOT NULL,
    begins TIMESTAMPTZ NOT NULL,
    ends TIMESTAMPTZ NOT NULL,
    comment TEXT NOT NULL,
    creator TEXT COLLATE "C" NOT NULL,
    created TIMESTAMPTZ NOT NULL
);

CREATE INDEX alert_silences_by_end ON alert_silences (ends);

-- What happened to alerts. kind as in the contract.
CREATE TABLE alert_history (
    id UUID PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL,
    kind INTEGER NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    severity INTEGER NOT NULL,
    labels TEXT NOT NULL,
    detail TEXT NOT NULL
);

CREATE INDEX alert_history_by_alert ON alert_history (fingerprint, id);
CREATE INDEX alert_history_by_time ON alert_history (at);

-- Who evaluates until when, how often rules, silences, routes and acknowledgements were changed, and the tree of routes.
CREATE TABLE alert_desk (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    holder TEXT COLLATE "C" NOT NULL,
    until TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL,
    seeded BOOLEAN NOT NULL,
    routing TEXT,
    routing_version BIGINT NOT NULL,
    routing_updated TIMESTAMPTZ
);

INSERT INTO alert_desk VALUES (1, '', to_timestamp(0), 0, FALSE, NULL, 0, NULL);
