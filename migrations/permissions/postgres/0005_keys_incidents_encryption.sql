-- Keys that are narrowed and rotated, what was refused or looked like an attack, and names that are encrypted.

ALTER TABLE keys
    ADD COLUMN scopes         jsonb,
    ADD COLUMN networks       jsonb,
    ADD COLUMN previous       jsonb,
    ADD COLUMN secret_at      timestamptz,
    ADD COLUMN rotate_every   bigint,
    ADD COLUMN rotation_grace bigint,
    ADD COLUMN rotation       text CHECK (rotation IN ('remind', 'expire')),
    ADD COLUMN due_at         timestamptz,
    ADD COLUMN ends_at        timestamptz,
    ADD COLUMN announced_at   timestamptz;
UPDATE keys SET secret_at = created_at, ends_at = expires_at;
ALTER TABLE keys ALTER COLUMN secret_at SET NOT NULL;
-- "Which should be rotated?", "which end soon?"
CREATE INDEX keys_due ON keys (due_at, id) WHERE due_at IS NOT NULL AND revoked_at IS NULL;
CREATE INDEX keys_by_end ON keys (ends_at, id) WHERE ends_at IS NOT NULL AND revoked_at IS NULL;

-- Apart from the keys, because it is written all the time and by nobody's request.
CREATE TABLE key_uses (
    key_id       uuid PRIMARY KEY,
    uses         bigint NOT NULL,
    last_used_at timestamptz NOT NULL
);

-- E-mail addresses and display names are encrypted: base64 of what the key named by `seal` made of them. Rows without
-- `seal` are of before and are converted when the service starts. Addresses are found by email_lower, a keyed digest of
-- the address in lower case.
ALTER TABLE users
    ADD COLUMN seal      text,
    ADD COLUMN erased_at timestamptz;
-- "Which are clear?"
CREATE INDEX users_clear ON users (id) WHERE seal IS NULL AND erased_at IS NULL;

-- What was refused or looked like an attack; many of the same kind within a short time are one row.
CREATE TABLE incidents (
    id            uuid PRIMARY KEY,
    kind          text COLLATE "C" NOT NULL,
    actor         text COLLATE "C" NOT NULL,
    key_id        uuid,
    address       bytea,
    address_index bytea,
    method        text NOT NULL,
    detail        text NOT NULL,
    count         bigint NOT NULL,
    first_at      timestamptz NOT NULL,
    last_at       timestamptz NOT NULL
);
-- Newest first, and what is past its time.
CREATE INDEX incidents_by_time ON incidents (first_at, id);
CREATE INDEX incidents_by_kind ON incidents (kind, first_at, id);
CREATE INDEX incidents_by_actor ON incidents (actor, first_at, id) WHERE actor <> '';
CREATE INDEX incidents_by_address ON incidents (address_index, first_at, id) WHERE address_index IS NOT NULL;
