-- Every change is one event: who did what to which thing, what it was before and after, what it means to the policy,
-- and the digest that binds it to the event before it. Events of before have no digest: the chain begins after them.

ALTER TABLE head ADD COLUMN link bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex');
-- A value that only the right encryption key opens.
ALTER TABLE head ADD COLUMN seal bytea;

ALTER TABLE events RENAME COLUMN payload TO change;
ALTER TABLE events ALTER COLUMN change DROP NOT NULL;
ALTER TABLE events RENAME COLUMN kind TO action;
ALTER TABLE events
    ADD COLUMN key_id uuid,
    ADD COLUMN kind   text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN id     text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN before jsonb,
    ADD COLUMN after  jsonb,
    ADD COLUMN link   bytea;
UPDATE events SET
    kind = split_part(action, '_', 2),
    id = coalesce(change #>> ARRAY[action, 'id'], change ->> action, change #>> ARRAY[action, 'group'], ''),
    after = CASE WHEN action LIKE 'put%' THEN change -> action END,
    action = CASE WHEN action LIKE 'put%' THEN 'updated' ELSE 'deleted' END;
ALTER TABLE events ALTER COLUMN kind DROP DEFAULT, ALTER COLUMN id DROP DEFAULT;
-- The history of one thing.
CREATE INDEX events_by_thing ON events (kind, id, revision, ordinal);
-- What one person did, what happened in a time.
CREATE INDEX events_by_actor ON events (actor, revision, ordinal);
CREATE INDEX events_by_time ON events (occurred_at, revision, ordinal);

-- What a request with a request id was answered, for a day. The answer may hold a secret, so it is encrypted.
CREATE TABLE answers (
    actor      text COLLATE "C" NOT NULL,
    request_id uuid NOT NULL,
    body       bytea NOT NULL,
    answer     bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (actor, request_id)
);
CREATE INDEX answers_by_time ON answers (created_at);
