-- Every change made through this service is one event: who did what to which thing, when and why, what it was before
-- and after, and the digest that binds it to the event before it. Times are microseconds since 1970 in UTC.

-- The log's end. Every append holds this row, so that revisions commit in their order.
CREATE TABLE event_head (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL,
    link     BLOB NOT NULL
) STRICT;

INSERT INTO event_head (one, revision, link) VALUES (1, 0, zeroblob(32));

-- before and after are JSON, as it was digested.
CREATE TABLE events (
    revision    INTEGER NOT NULL,
    ordinal     INTEGER NOT NULL,
    occurred_at INTEGER NOT NULL,
    actor       TEXT NOT NULL,
    key_id      BLOB,
    request_id  TEXT NOT NULL,
    reason      TEXT NOT NULL,
    kind        TEXT NOT NULL,
    id          TEXT NOT NULL,
    action      TEXT NOT NULL,
    before      TEXT,
    after       TEXT,
    link        BLOB NOT NULL,
    PRIMARY KEY (revision, ordinal)
) STRICT;

-- The history of one thing.
CREATE INDEX events_by_thing ON events (kind, id, revision, ordinal);
-- What one actor did, what happened in a time, what one request did.
CREATE INDEX events_by_actor ON events (actor, revision, ordinal);
CREATE INDEX events_by_time ON events (occurred_at, revision, ordinal);
CREATE INDEX events_by_request ON events (request_id, revision, ordinal);
