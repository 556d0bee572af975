-- The whole policy at some revisions, so that events before them can be deleted and a state in the past is near.

CREATE TABLE checkpoints (
    revision   bigint PRIMARY KEY,
    -- The checkpoint before this one, 0 when there is none. Of two processes that follow the same one, one succeeds.
    follows    bigint NOT NULL UNIQUE,
    epoch      uuid NOT NULL,
    -- When the revision was made.
    at         timestamptz NOT NULL,
    -- Link of the last event of the revision: the chain of what comes after begins with it.
    link       bytea NOT NULL,
    parts      bigint NOT NULL,
    created_at timestamptz NOT NULL
);

-- The facts as lines of JSON, each after those that it refers to.
CREATE TABLE checkpoint_parts (
    revision bigint NOT NULL REFERENCES checkpoints (revision) ON DELETE CASCADE,
    part     bigint NOT NULL,
    facts    text NOT NULL,
    PRIMARY KEY (revision, part)
);

-- What was done in one request.
CREATE INDEX events_by_request ON events (request_id, revision, ordinal);

-- What the first version recorded of members goes with the other events of the group.
UPDATE events SET
    kind = 'group',
    action = CASE action WHEN 'deleted' THEN 'member_removed' ELSE 'member_added' END,
    id = coalesce(change #>> '{put_membership,group}', change #>> '{remove_membership,group}', id)
    WHERE kind = 'membership' AND link IS NULL;
