-- Sets of models, further names of models, and deletions that can be taken back for a while.
-- What is deleted keeps its row until it is purged. A row that joins two things (a member and its group, a grantee and
-- what it is granted, a set and its item) counts in dead_ends how many of them are deleted, and holds only at 0: so
-- taking one deletion back brings back exactly what no other deletion hides. Names are unique among the living.

ALTER TABLE users
    ADD COLUMN deleted_at         timestamptz;
DROP INDEX users_owners;
CREATE INDEX users_owners ON users (id) WHERE role = 'owner' AND NOT disabled AND deleted_at IS NULL;
CREATE INDEX users_deleted ON users (deleted_at) WHERE deleted_at IS NOT NULL;

ALTER TABLE groups
    ADD COLUMN disabled   boolean NOT NULL DEFAULT false,
    ADD COLUMN name_lower text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN deleted_at timestamptz,
    DROP CONSTRAINT groups_name_key;
UPDATE groups SET name_lower = lower(name);
CREATE UNIQUE INDEX groups_by_name ON groups (name) WHERE deleted_at IS NULL;
CREATE INDEX groups_deleted ON groups (deleted_at) WHERE deleted_at IS NOT NULL;

ALTER TABLE memberships ADD COLUMN dead_ends integer NOT NULL DEFAULT 0;

ALTER TABLE models
    ADD COLUMN owner_deleted  boolean NOT NULL DEFAULT false,
    ADD COLUMN replacement_id uuid REFERENCES models (id) ON DELETE SET NULL,
    ADD COLUMN sunset_at      timestamptz,
    ADD COLUMN deleted_at     timestamptz,
    DROP CONSTRAINT models_name_key;
CREATE UNIQUE INDEX models_by_name ON models (name) WHERE deleted_at IS NULL;
CREATE INDEX models_by_replacement ON models (replacement_id) WHERE replacement_id IS NOT NULL;
CREATE INDEX models_deleted ON models (deleted_at) WHERE deleted_at IS NOT NULL;

-- From one name space with the names of models.
CREATE TABLE aliases (
    name       text COLLATE "C" NOT NULL,
    model_id   uuid NOT NULL REFERENCES models (id),
    dead_ends  integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (name, model_id)
);
CREATE UNIQUE INDEX aliases_by_name ON aliases (name) WHERE dead_ends = 0;
CREATE INDEX aliases_by_model ON aliases (model_id, name);

CREATE TABLE model_sets (
    id            uuid PRIMARY KEY,
    name          text COLLATE "C" NOT NULL,
    name_lower    text COLLATE "C" NOT NULL,
    description   text NOT NULL,
    owner_kind    text CHECK (owner_kind IN ('user', 'group')),
    owner_id      uuid,
    owner_deleted boolean NOT NULL DEFAULT false,
    disabled      boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL,
    deleted_at    timestamptz,
    CHECK ((owner_kind IS NULL) = (owner_id IS NULL))
);
CREATE UNIQUE INDEX model_sets_by_name ON model_sets (name) WHERE deleted_at IS NULL;
CREATE INDEX model_sets_by_owner ON model_sets (owner_kind, owner_id) WHERE owner_id IS NOT NULL;
CREATE INDEX model_sets_deleted ON model_sets (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE set_items (
    set_id    uuid NOT NULL REFERENCES model_sets (id),
    item_kind text COLLATE "C" NOT NULL CHECK (item_kind IN ('model', 'set')),
    item_id   uuid NOT NULL,
    dead_ends integer NOT NULL DEFAULT 0,
    PRIMARY KEY (set_id, item_kind, item_id)
);
-- "Which sets is this in?"
CREATE INDEX set_items_by_item ON set_items (item_kind, item_id);

ALTER TABLE grants
    ALTER COLUMN model_id DROP NOT NULL,
    ADD COLUMN model_set_id uuid REFERENCES model_sets (id),
    ADD COLUMN dead_ends    integer NOT NULL DEFAULT 0,
    ADD CHECK ((model_id IS NULL) <> (model_set_id IS NULL));
DROP INDEX grants_once, grants_once_everyone, grants_by_model;
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
