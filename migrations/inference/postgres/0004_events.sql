-- Every change made through this service is one event: who did what to which thing, when and why, what it was before
-- and after, and the digest that binds it to the event before it.

-- The log's end. Every append holds this row, so that revisions commit in their order.
CREATE TABLE event_head (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    revision BIGINT NOT NULL,
    link     BYTEA NOT NULL
);

INSERT INTO event_head (one, revision, link) VALUES (1, 0, decode(repeat('00', 32), 'hex'));

-- before and after are JSON, as it was digested.
CREATE TABLE events (
    revision    BIGINT NOT NULL,
    ordinal     BIGINT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    actor       TEXT COLLATE "C" NOT NULL,
    key_id      UUID,
    request_id  TEXT COLLATE "C" NOT NULL,
    reason      TEXT NOT NULL,
    kind        TEXT COLLATE "C" NOT NULL,
    id          TEXT COLLATE "C" NOT NULL,
    action      TEXT COLLATE "C" NOT NULL,
    before      TEXT,
    after       TEXT,
    link        BYTEA NOT NULL,
    PRIMARY KEY (revision, ordinal)
);

-- The history of one thing.
CREATE INDEX events_by_thing ON events (kind, id, revision, ordinal);
-- What one actor did, what happened in a time, what one request did.
CREATE INDEX events_by_actor ON events (actor, revision, ordinal);
CREATE INDEX events_by_time ON events (occurred_at, revision, ordinal);
CREATE INDEX events_by_request ON events (request_id, revision, ordinal);
