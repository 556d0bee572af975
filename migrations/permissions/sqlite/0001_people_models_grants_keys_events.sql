-- The truth of the permissions service. Names and e-mail addresses live in these tables alone; events carry ids.
-- Times are microseconds since 1970 in UTC, ids are 16 bytes, JSON is text.

CREATE TABLE users (
    id            blob PRIMARY KEY,
    email         text NOT NULL,
    email_lower   text NOT NULL UNIQUE,
    display_name  text NOT NULL,
    role          text NOT NULL CHECK (role IN ('owner', 'admin', 'operator', 'auditor', 'developer', 'member')),
    password_hash text,
    disabled      boolean NOT NULL DEFAULT FALSE,
    created_at    integer NOT NULL
);
-- "Is this the last owner?"
CREATE INDEX users_owners ON users (id) WHERE role = 'owner' AND NOT disabled;

CREATE TABLE groups (
    id          blob PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    description text NOT NULL,
    created_at  integer NOT NULL
);

CREATE TABLE memberships (
    group_id    blob NOT NULL REFERENCES groups (id),
    member_kind text NOT NULL CHECK (member_kind IN ('user', 'group')),
    member_id   blob NOT NULL,
    expires_at  integer,
    PRIMARY KEY (group_id, member_kind, member_id)
);
-- "Which groups is this in?"
CREATE INDEX memberships_by_member ON memberships (member_kind, member_id);

CREATE TABLE models (
    id          blob PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    description text NOT NULL,
    owner_kind  text CHECK (owner_kind IN ('user', 'group')),
    owner_id    blob,
    state       text NOT NULL CHECK (state IN ('active', 'deprecated', 'disabled')),
    created_at  integer NOT NULL,
    CHECK ((owner_kind IS NULL) = (owner_id IS NULL))
);
-- "What does this own?"
CREATE INDEX models_by_owner ON models (owner_kind, owner_id) WHERE owner_id IS NOT NULL;

CREATE TABLE grants (
    id           blob PRIMARY KEY,
    model_id     blob NOT NULL REFERENCES models (id),
    grantee_kind text NOT NULL CHECK (grantee_kind IN ('user', 'group', 'everyone')),
    grantee_id   blob,
    action       text NOT NULL CHECK (action IN ('use', 'manage')),
    effect       text NOT NULL CHECK (effect IN ('allow', 'deny')),
    starts_at    integer,
    expires_at   integer,
    granted_by   blob,
    created_at   integer NOT NULL,
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
    id         blob PRIMARY KEY,
    user_id    blob NOT NULL REFERENCES users (id),
    name       text NOT NULL,
    hash       blob NOT NULL UNIQUE,
    hint       text NOT NULL,
    models     text,
    expires_at integer,
    revoked_at integer,
    created_at integer NOT NULL
);
CREATE INDEX keys_by_user ON keys (user_id, id);

-- One row: the log that revisions belong to, and its last revision. Every write locks it first.
CREATE TABLE head (
    id       integer PRIMARY KEY CHECK (id = 1),
    epoch    blob NOT NULL,
    revision integer NOT NULL
);
INSERT INTO head (id, epoch, revision) VALUES (1, randomblob(16), 0);

CREATE TABLE events (
    revision    integer NOT NULL,
    ordinal     integer NOT NULL,
    kind        text NOT NULL,
    payload     text NOT NULL,
    actor       text NOT NULL,
    request_id  text NOT NULL,
    reason      text NOT NULL,
    occurred_at integer NOT NULL,
    PRIMARY KEY (revision, ordinal)
);
