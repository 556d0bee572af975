-- How requests for a model, a set's models or anything else are decided.
CREATE TABLE approval_policies (
    id             uuid PRIMARY KEY,
    target_kind    text COLLATE "C" NOT NULL CHECK (target_kind IN ('model', 'set', 'default')),
    target_id      uuid,
    approver_group uuid REFERENCES groups (id),
    quorum         integer NOT NULL CHECK (quorum BETWEEN 1 AND 10),
    timeout        bigint NOT NULL,
    max_duration   bigint,
    auto_approve   boolean NOT NULL,
    auto_group     uuid REFERENCES groups (id),
    auto_duration  bigint,
    break_glass    bigint,
    created_at     timestamptz NOT NULL,
    CHECK ((target_kind = 'default') = (target_id IS NULL))
);
CREATE UNIQUE INDEX approval_policies_once ON approval_policies (target_kind, target_id) WHERE target_id IS NOT NULL;
CREATE UNIQUE INDEX approval_policies_default ON approval_policies (target_kind) WHERE target_id IS NULL;

-- Durations are microseconds.
CREATE TABLE access_requests (
    id             uuid PRIMARY KEY,
    requester      uuid NOT NULL REFERENCES users (id),
    model_id       uuid NOT NULL REFERENCES models (id),
    action         text NOT NULL CHECK (action IN ('use', 'manage')),
    justification  text NOT NULL,
    duration       bigint,
    break_glass    boolean NOT NULL,
    state          text COLLATE "C" NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'cancelled', 'expired')),
    review         text COLLATE "C" CHECK (review IN ('pending', 'accepted', 'rejected')),
    quorum         integer NOT NULL,
    approver_group uuid,
    grant_id       uuid,
    created_at     timestamptz NOT NULL,
    deadline_at    timestamptz NOT NULL,
    decided_at     timestamptz
);
-- One pending request per wish.
CREATE UNIQUE INDEX access_requests_once ON access_requests (requester, model_id, action) WHERE state = 'pending';
CREATE INDEX access_requests_by_requester ON access_requests (requester, id);
CREATE INDEX access_requests_open ON access_requests (id) WHERE state = 'pending' OR review = 'pending';
CREATE INDEX access_requests_due ON access_requests (deadline_at) WHERE state = 'pending';
CREATE INDEX access_requests_by_state ON access_requests (state, id);

CREATE TABLE access_decisions (
    request_id uuid NOT NULL REFERENCES access_requests (id),
    ordinal    integer NOT NULL,
    approver   uuid,
    approved   boolean NOT NULL,
    comment    text NOT NULL,
    duration   bigint,
    use_only   boolean NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (request_id, ordinal)
);

CREATE TABLE access_comments (
    request_id uuid NOT NULL REFERENCES access_requests (id),
    ordinal    integer NOT NULL,
    author     uuid NOT NULL,
    text       text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (request_id, ordinal)
);

-- What one person is told.
CREATE TABLE notifications (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users (id),
    kind       text NOT NULL CHECK (kind IN ('to_decide', 'to_review', 'decided', 'comment')),
    request_id uuid NOT NULL REFERENCES access_requests (id),
    created_at timestamptz NOT NULL,
    read_at    timestamptz
);
CREATE INDEX notifications_by_user ON notifications (user_id, id);
CREATE INDEX notifications_unread ON notifications (user_id, id) WHERE read_at IS NULL;

-- How far each import has come.
CREATE TABLE imports (
    actor       text COLLATE "C" NOT NULL,
    id          uuid NOT NULL,
    next_offset bigint NOT NULL,
    created     bigint NOT NULL,
    failed      bigint NOT NULL,
    failures    bytea NOT NULL,
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (actor, id)
);
