-- Every change is one event: who did what to which thing, what it was before and after, what it means to the policy,
-- and the digest that binds it to the event before it. Events of before have no digest: the chain begins after them.

ALTER TABLE head ADD COLUMN link blob NOT NULL DEFAULT x'0000000000000000000000000000000000000000000000000000000000000000';
-- A value that only the right encryption key opens.
ALTER TABLE head ADD COLUMN seal blob;

ALTER TABLE events RENAME TO events_before;
CREATE TABLE events (
    revision    integer NOT NULL,
    ordinal     integer NOT NULL,
    action      text NOT NULL,
    change      text,
    actor       text NOT NULL,
    request_id  text NOT NULL,
    reason      text NOT NULL,
    occurred_at integer NOT NULL,
    key_id      blob,
    kind        text NOT NULL,
    id          text NOT NULL,
    before      text,
    after       text,
    link        blob,
    PRIMARY KEY (revision, ordinal)
);
INSERT INTO events (revision, ordinal, action, change, actor, request_id, reason, occurred_at, kind, id, after)
    SELECT revision, ordinal, CASE WHEN kind LIKE 'put%' THEN 'updated' ELSE 'deleted' END, payload, actor, request_id,
        reason, occurred_at, substr(kind, instr(kind, '_') + 1),
        coalesce(CASE WHEN json_type(payload, '$.' || kind) = 'text' THEN payload ->> ('$.' || kind) END,
            payload ->> ('$.' || kind || '.id'), payload ->> ('$.' || kind || '.group'), ''),
        CASE WHEN kind LIKE 'put%' THEN payload -> ('$.' || kind) END
    FROM events_before;
DROP TABLE events_before;
-- The history of one thing.
CREATE INDEX events_by_thing ON events (kind, id, revision, ordinal);
-- What one person did, what happened in a time.
CREATE INDEX events_by_actor ON events (actor, revision, ordinal);
CREATE INDEX events_by_time ON events (occurred_at, revision, ordinal);

-- What a request with a request id was answered, for a day. The answer may hold a secret, so it is encrypted.
CREATE TABLE answers (
    actor      text NOT NULL,
    request_id blob NOT NULL,
    body       blob NOT NULL,
    answer     blob NOT NULL,
    created_at integer NOT NULL,
    PRIMARY KEY (actor, request_id)
);
CREATE INDEX answers_by_time ON answers (created_at);
