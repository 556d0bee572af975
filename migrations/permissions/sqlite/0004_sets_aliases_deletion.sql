-- Sets of models, further names of models, and deletions that can be taken back for a while.
-- What is deleted keeps its row until it is purged. A row that joins two things (a member and its group, a grantee and
-- what it is granted, a set and its item) counts in dead_ends how many of them are deleted, and holds only at 0: so
-- taking one deletion back brings back exactly what no other deletion hides. Names are unique among the living.

-- SQLite drops no constraint: such tables are made anew. What refers to them does so again at the commit.
PRAGMA defer_foreign_keys = ON;

ALTER TABLE users ADD COLUMN deleted_at integer;
DROP INDEX users_owners;
CREATE INDEX users_owners ON users (id) WHERE role = 'owner' AND NOT disabled AND deleted_at IS NULL;
CREATE INDEX users_deleted ON users (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE old_groups AS SELECT * FROM groups;
DROP TABLE groups;
CREATE TABLE groups (
    id          blob PRIMARY KEY,
    name        text NOT NULL,
    name_lower  text NOT NULL DEFAULT '',
    description text NOT NULL,
    disabled    boolean NOT NULL DEFAULT FALSE,
    created_at  integer NOT NULL,
    deleted_at  integer
);
INSERT INTO groups (id, name, name_lower, description, created_at)
    SELECT id, name, lower(name), description, created_at FROM old_groups;
DROP TABLE old_groups;
CREATE UNIQUE INDEX groups_by_name ON groups (name) WHERE deleted_at IS NULL;
CREATE INDEX groups_deleted ON groups (deleted_at) WHERE deleted_at IS NOT NULL;

ALTER TABLE memberships ADD COLUMN dead_ends integer NOT NULL DEFAULT 0;

CREATE TABLE old_models AS SELECT * FROM models;
DROP TABLE models;
CREATE TABLE models (
    id             blob PRIMARY KEY,
    name           text NOT NULL,
    description    text NOT NULL,
    owner_kind     text CHECK (owner_kind IN ('user', 'group')),
    owner_id       blob,
    owner_deleted  boolean NOT NULL DEFAULT FALSE,
    state          text NOT NULL CHECK (state IN ('active', 'deprecated', 'disabled')),
    replacement_id blob REFERENCES models (id) ON DELETE SET NULL,
    sunset_at      integer,
    created_at     integer NOT NULL,
    deleted_at     integer,
    CHECK ((owner_kind IS NULL) = (owner_id IS NULL))
);
INSERT INTO models (id, name, description, owner_kind, owner_id, state, created_at)
    SELECT id, name, description, owner_kind, owner_id, state, created_at FROM old_models;
DROP TABLE old_models;
CREATE UNIQUE INDEX models_by_name ON models (name) WHERE deleted_at IS NULL;
CREATE INDEX models_by_owner ON models (owner_kind, owner_id) WHERE owner_id IS NOT NULL;
CREATE INDEX models_by_replacement ON models (replacement_id) WHERE replacement_id IS NOT NULL;
CREATE INDEX models_deleted ON models (deleted_at) WHERE deleted_at IS NOT NULL;

-- From one name space with the names of models.
CREATE TABLE aliases (
    name       text NOT NULL,
    model_id   blob NOT NULL REFERENCES models (id),
    dead_ends  integer NOT NULL DEFAULT 0,
    created_at integer NOT NULL,
    PRIMARY KEY (name, model_id)
);
CREATE UNIQUE INDEX aliases_by_name ON aliases (name) WHERE dead_ends = 0;
CREATE INDEX aliases_by_model ON aliases (model_id, name);

CREATE TABLE model_sets (
    id            blob PRIMARY KEY,
    name          text NOT NULL,
    name_lower    text NOT NULL,
    description   text NOT NULL,
    owner_kind    text CHECK (owner_kind IN ('user', 'group')),
    owner_id      blob,
    owner_deleted boolean NOT NULL DEFAULT FALSE,
    disabled      boolean NOT NULL DEFAULT FALSE,
    created_at    integer NOT NULL,
    deleted_at    integer,
    CHECK ((owner_kind IS NULL) = (owner_id IS NULL))
);
CREATE UNIQUE INDEX model_sets_by_name ON model_sets (name) WHERE deleted_at IS NULL;
CREATE INDEX model_sets_by_owner ON model_sets (owner_kind, owner_id) WHERE owner_id IS NOT NULL;
CREATE INDEX model_sets_deleted ON model_sets (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE set_items (
    set_id    blob NOT NULL REFERENCES model_sets (id),
    item_kind text NOT NULL CHECK (item_kind IN ('model', 'set')),
    item_id   blob NOT NULL,
    dead_ends integer NOT NULL DEFAULT 0,
    PRIMARY KEY (set_id, item_kind, item_id)
);
-- "Which sets is this in?"
CREATE INDEX set_items_by_item ON set_items (item_kind, item_id);

CREATE TABLE old_grants AS SELECT * FROM grants;
DROP TABLE grants;
CREATE TABLE grants (
    id           blob PRIMARY KEY,
    model_id     blob REFERENCES models (id),
    model_set_id blob REFERENCES model_sets (id),
    grantee_kind text NOT NULL CHECK (grantee_kind IN ('user', 'group', 'everyone')),
    grantee_id   blob,
    action       text NOT NULL CHECK (action IN ('use', 'manage')),
    effect       text NOT NULL CHECK (effect IN ('allow', 'deny')),
    starts_at    integer,
    expires_at   integer,
    granted_by   blob,
    created_at   integer NOT NULL,
    dead_ends    integer NOT NULL DEFAULT 0,
    CHECK ((grantee_kind = 'everyone') = (grantee_id IS NULL)),
    CHECK ((model_id IS NULL) <> (model_set_id IS NULL))
);
INSERT INTO grants (id, model_id, grantee_kind, grantee_id, action, effect, starts_at, expires_at, granted_by, created_at)
    SELECT id, model_id, grantee_kind, grantee_id, action, effect, starts_at, expires_at, granted_by, created_at
    FROM old_grants;
DROP TABLE old_grants;
CREATE UNIQUE INDEX grants_once ON grants (grantee_kind, grantee_id, model_id, action, effect)
    WHERE grantee_id IS NOT NULL AND model_id IS NOT NULL;
CREATE UNIQUE INDEX grants_once_everyone ON grants (model_id, action, effect)
    WHERE grantee_id IS NULL AND model_id IS NOT NULL;
CREATE UNIQUE INDEX grants_once_set ON grants (grantee_kind, grantee_id, model_set_id, action, effect)
    WHERE grantee_id IS NOT NULL AND model_set_id IS NOT NULL;
CREATE UNIQUE INDEX grants_once_everyone_set ON grants (model_set_id, action, effect)
    WHERE grantee_id IS NULL AND model_set_id IS NOT NULL;
CREATE INDEX grants_by_model ON grants (model_id, id) WHERE model_id IS NOT NULL;
CREATE INDEX grants_by_set ON grants (model_set_id, id) WHERE model_set_id IS NOT NULL;
CREATE INDEX grants_by_grantee ON grants (grantee_kind, grantee_id, id) WHERE grantee_id IS NOT NULL;
