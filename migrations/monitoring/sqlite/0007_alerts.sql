-- What is to be sent to people and systems: the same table as that of jobs, see shared::claims, and the proof of the keys
-- that its rows are sealed with. state: 1 pending, 2 running, 3 succeeded, 4 failed, 5 cancelled. Times are microseconds since 1970 in UTC.
CREATE TABLE claims (
    id BLOB PRIMARY KEY,
    queue TEXT NOT NULL,
    kind TEXT NOT NULL,
    owner BLOB NOT NULL,
    payload BLOB NOT NULL,
    lock_name TEXT,
    request_name TEXT,
    request_body BLOB,
    state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 5),
    percent INTEGER NOT NULL CHECK (percent BETWEEN 0 AND 100),
    attempt INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    worker TEXT,
    cancel INTEGER NOT NULL,
    due INTEGER NOT NULL,
    created INTEGER NOT NULL,
    started INTEGER,
    ended INTEGER,
    expires INTEGER,
    result BLOB,
    reason TEXT,
    message BLOB,
    seal TEXT NOT NULL
) STRICT;

CREATE INDEX claims_by_due ON claims (queue, due, id) WHERE state <= 2;
CREATE UNIQUE INDEX claims_by_lock ON claims (lock_name) WHERE state <= 2 AND lock_name IS NOT NULL;
CREATE UNIQUE INDEX claims_by_request ON claims (owner, request_name) WHERE request_name IS NOT NULL;
CREATE INDEX claims_by_owner ON claims (owner, id);
CREATE INDEX claims_waiting ON claims (owner) WHERE state <= 2;
CREATE INDEX claims_by_state ON claims (queue, state);
CREATE INDEX claims_by_worker ON claims (worker, queue) WHERE state = 2;
CREATE INDEX claims_by_end ON claims (expires) WHERE expires IS NOT NULL;
CREATE INDEX claims_by_seal ON claims (seal);

CREATE TABLE seals (id INTEGER PRIMARY KEY CHECK (id = 1), proof BLOB NOT NULL) STRICT;

-- Rules as they are written: body is JSON.
CREATE TABLE alert_rules (
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    version INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
) STRICT;

CREATE INDEX alert_rules_by_name ON alert_rules (name, id);

-- Alerts that are there: body is the alert as JSON, held what holds it back. state: 1 pending, 2 firing, 3 resolved.
CREATE TABLE alerts (
    fingerprint TEXT PRIMARY KEY,
    rule BLOB NOT NULL,
    state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 3),
    severity INTEGER NOT NULL CHECK (severity BETWEEN 1 AND 4),
    body TEXT NOT NULL,
    held TEXT,
    told INTEGER,
    acknowledged INTEGER,
    acknowledged_by TEXT,
    note TEXT
) STRICT;

CREATE INDEX alerts_by_severity ON alerts (severity, fingerprint);

-- What receivers were told of groups of alerts: body is JSON.
CREATE TABLE alert_groups (
    id TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE alert_silences (
    id BLOB PRIMARY KEY,
    matchers TEXT NOT NULL,
    begins INTEGER NOT NULL,
    ends INTEGER NOT NULL,
    comment TEXT NOT NULL,
    creator TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;

CREATE INDEX alert_silences_by_end ON alert_silences (ends);

-- What happened to alerts. kind as in the contract.
CREATE TABLE alert_history (
    id BLOB PRIMARY KEY,
    at INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    name TEXT NOT NULL,
    severity INTEGER NOT NULL,
    labels TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

CREATE INDEX alert_history_by_alert ON alert_history (fingerprint, id);
CREATE INDEX alert_history_by_time ON alert_history (at);

-- Who evaluates until when, how often rules, silences, routes and acknowledgements were changed, and the tree of routes.
CREATE TABLE alert_desk (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    holder TEXT NOT NULL,
    until INTEGER NOT NULL,
    version INTEGER NOT NULL,
    seeded INTEGER NOT NULL,
    routing TEXT,
    routing_version INTEGER NOT NULL,
    routing_updated INTEGER
) STRICT;

INSERT INTO alert_desk VALUES (1, '', 0, 0, 0, NULL, 0, NULL);
