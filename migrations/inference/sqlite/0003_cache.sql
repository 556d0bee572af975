-- What gateways tell each other of the answers that they keep. Times are microseconds since 1970 in UTC.

-- How many invalidations there were, and in which database they were counted. Whoever adds one holds this row, so that
-- they can be read in the order of their numbers and none is passed by.
CREATE TABLE cache_head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch BLOB NOT NULL,
    sequence INTEGER NOT NULL
) STRICT;

INSERT INTO cache_head (one, epoch, sequence) VALUES (1, randomblob(16), 0);

-- Which answers are to go, until the last that was made before has run out. chosen is JSON.
CREATE TABLE cache_invalidations (
    sequence INTEGER PRIMARY KEY,
    chosen TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    made INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT;

CREATE INDEX cache_invalidations_by_end ON cache_invalidations (expires);

-- How far each gateway has read them.
CREATE TABLE cache_gateways (
    name TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    seen INTEGER NOT NULL
) STRICT;

-- Tags that depend on others.
CREATE TABLE cache_dependencies (
    tag TEXT NOT NULL,
    depends_on TEXT NOT NULL,
    PRIMARY KEY (tag, depends_on)
) STRICT;

-- Requests that may be asked again ahead of their callers. id is the beginning of the key. owner and owner_key are in whose
-- name. tags is JSON. body is sealed, by the key that seal names.
CREATE TABLE cache_requests (
    key BLOB PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    model TEXT NOT NULL,
    revision TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    template TEXT NOT NULL,
    tags TEXT NOT NULL,
    owner BLOB NOT NULL,
    owner_key BLOB,
    body BLOB NOT NULL,
    seal TEXT NOT NULL,
    seen INTEGER NOT NULL
) STRICT;

CREATE INDEX cache_requests_by_seen ON cache_requests (seen);
CREATE INDEX cache_requests_by_seal ON cache_requests (seal);

-- How often they were asked in which hour of which week since 1970, from Monday 0 h in UTC.
CREATE TABLE cache_uses (
    key BLOB NOT NULL REFERENCES cache_requests (key) ON DELETE CASCADE,
    week INTEGER NOT NULL,
    hour INTEGER NOT NULL CHECK (hour BETWEEN 0 AND 167),
    uses INTEGER NOT NULL,
    PRIMARY KEY (key, week, hour)
) STRICT;

CREATE INDEX cache_uses_by_hour ON cache_uses (hour, week);
CREATE INDEX cache_uses_by_week ON cache_uses (week);
