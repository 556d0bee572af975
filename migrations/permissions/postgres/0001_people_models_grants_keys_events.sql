-- The truth of the permissions service. Names and e-mail addresses live in these tables alone; events carry ids.
-- Text is compared by its bytes (COLLATE "C"), as SQLite does, so that pages are in one order on both engines.

CREATE TABLE users (
    id            uuid PRIMARY KEY,
    email         text NOT NULL,
    email_lower   text NOT NULL UNIQUE,
    display_name  text NOT NULL,
    role          text NOT NULL CHECK (role IN ('owner', 'admin', 'operator', 'auditor', 'developer', 'member')),
    password_hash text,
    disabled      boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL
);
-- "Is this the last owner?"
CREATE INDEX users_owners ON users (id) WHERE role = 'owner' AND NOT disabled;

CREATE TABLE groups (
    id          uuid PRIMARY KEY,
    name        text COLLATE "C" NOT NULL UNIQUE,
    description text NOT NULL,
    created_at  timestamptz NOT NULL
);

CREATE TABLE memberships (
    group_id    uuid NOT NULL REFERENCES groups (id),
    member_kind text COLLATE "C" NOT NULL CHECK (member_kind IN ('user', 'group')),
    member_id   uuid NOT NULL,
    expires_at  timestamptz,
    PRIMARY KEY (group_id, member_kind, member_id)
);
-- "Which groups is this in?"
CREATE INDEX memberships_by_member ON memberships (member_kind, member_id);

CREATE TABLE models (
    id          uuid PRIMARY KEY,
    name        text COLLATE "C" NOT NULL UNIQUE,
    description text NOT NULL,
    owner_kind  text CHECK (owner_kind IN ('user', 'group')),
    owner_id    uuid,
    state       text NOT NULL CHECK (state IN ('active', 'deprecated', 'disabled')),
    created_at  timestamptz NOT NULL,
    CHECK ((owner_kind IS NULL) = (owner_id IS NULL))
);
-- "What does this own?"
CREATE INDEX models_by_owner ON models (owner_kind, owner_id) WHERE owner_id IS NOT NULL;

CREATE TABLE grants (
    id           uuid PRIMARY KEY,
    model_id     uuid NOT NULL REFERENCES models (id),
    grantee_kind text COLLATE "C" NOT NULL CHECK (grantee_kind IN ('user', 'group', 'everyone')),
    grantee_id   uuid,
    action       text NOT NULL CHECK (action IN ('use', 'manage')),
    effect       text NOT NULL CHECK (effect IN ('allow', 'deny')),
    starts_at    timestamptz,
    expires_at   timestamptz,
    granted_by   uuid,
    created_at   timestamptz NOT NULL,
    CHECK ((grantee_kind = 'everyone') = (grantee_id IS NULL))
);
-- One grant per grantee, model, action and effect; two indexes, because NULL is not equal to NULL.
CREATE UNIQUE INDEX grants_once ON grants (grantee_kind, grantee_id, model_id, action, effect)
    WHERE grantee_id IS NOT NULL;
CREATE UNIQUE INDEX grants_once_everyone ON grants (model_id, action, effect) WHERE grantee_id IS NULL;
-- Lists, in the order of creation.
CREATE INDEX grants_by_model ON grants (model_id, id);
CREATE INDEX grants_by_grantee ON grants (grantee_kind, grantee_id, id) WHERE grantee_id IS NOT NULL;

CREATE TABLE keys (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users (id),
    name       text NOT NULL,
    hash       bytea NOT NULL UNIQUE,
    hint       text NOT NULL,
    models     jsonb,
    expires_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL
);
CREATE INDEX keys_by_user ON keys (user_id, id);

-- One row: the log that revisions belong to, and its last revision. Every write locks it first.
CREATE TABLE head (
    id       integer PRIMARY KEY CHECK (id = 1),
    epoch    uuid NOT NULL,
    revision bigint NOT NULL
);
INSERT INTO head (id, epoch, revision) VALUES (1, gen_random_uuid(), 0);

CREATE TABLE events (
    revision    bigint NOT NULL,
    ordinal     bigint NOT NULL,
    kind        text NOT NULL,
    payload     jsonb NOT NULL,
    actor       text NOT NULL,
    request_id  text NOT NULL,
    reason      text NOT NULL,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (revision, ordinal)
);
