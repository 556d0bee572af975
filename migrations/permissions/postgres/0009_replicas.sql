-- The installation that this store belongs to; revision tokens name it. A restored store keeps it and gets another epoch.
ALTER TABLE head ADD COLUMN cluster uuid NOT NULL DEFAULT gen_random_uuid();

-- Every process with a copy of the policy, and how far the copy is. Rows are rewritten all the time.
CREATE TABLE replicas (
    id       uuid PRIMARY KEY,
    kind     text NOT NULL CHECK (kind IN ('permissions', 'inference')),
    name     text COLLATE "C" NOT NULL,
    epoch    uuid NOT NULL,
    revision bigint NOT NULL,
    seen_at  timestamptz NOT NULL
) WITH (fillfactor = 50);
