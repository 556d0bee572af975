-- The installation that this store belongs to; revision tokens name it. A restored store keeps it and gets another epoch.
ALTER TABLE head ADD COLUMN cluster blob NOT NULL DEFAULT x'00000000000000000000000000000000';
UPDATE head SET cluster = randomblob(16);

-- Every process with a copy of the policy, and how far the copy is.
CREATE TABLE replicas (
    id       blob PRIMARY KEY,
    kind     text NOT NULL CHECK (kind IN ('permissions', 'inference')),
    name     text NOT NULL,
    epoch    blob NOT NULL,
    revision integer NOT NULL,
    seen_at  integer NOT NULL
);
