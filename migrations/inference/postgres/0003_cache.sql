-- What gateways tell each other of the answers that they keep.

-- How many invalidations there were, and in which database they were counted. Whoever adds one holds this row, so that
-- they can be read in the order of their numbers and none is passed by.
CREATE TABLE cache_head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch UUID NOT NULL,
    sequence BIGINT NOT NULL
);

INSERT INTO cache_head (one, epoch, sequence) VALUES (1, gen_random_uuid(), 0);

-- Which answers are to go, until the last that was made before has run out. chosen is JSON.
CREATE TABLE cache_invalidations (
    sequence BIGINT PRIMARY KEY,
    chosen TEXT NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    reason TEXT NOT NULL,
    made TIMESTAMPTZ NOT NULL,
    expires TIMESTAMPTZ NOT NULL
);

CREATE INDEX cache_invalidations_by_end ON cache_invalidations (expires);

-- How far each gateway has read them.
CREATE TABLE cache_gateways (
    name TEXT COLLATE "C" PRIMARY KEY,
    sequence BIGINT NOT NULL,
    seen TIMESTAMPTZ NOT NULL
);

-- Tags that depend on others.
CREATE TABLE cache_dependencies (
    tag TEXT COLLATE "C" NOT NULL,
    depends_on TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tag, depends_on)
);

-- Requests that may be asked again ahead of their callers. id is the beginning of the key. owner and owner_key are in whose
-- name. tags is JSON. body is sealed, by the key that seal names.
CREATE TABLE cache_requests (
    key BYTEA PRIMARY KEY,
    id UUID NOT NULL UNIQUE,
    model TEXT COLLATE "C" NOT NULL,
    revision TEXT COLLATE "C" NOT NULL,
    endpoint TEXT COLLATE "C" NOT NULL,
    template TEXT COLLATE "C" NOT NULL,
    tags TEXT NOT NULL,
    owner UUID NOT NULL,
    owner_key UUID,
    body BYTEA NOT NULL,
    seal TEXT COLLATE "C" NOT NULL,
    seen TIMESTAMPTZ NOT NULL
);

CREATE INDEX cache_requests_by_seen ON cache_requests (seen);
CREATE INDEX cache_requests_by_seal ON cache_requests (seal);

-- How often they were asked in which hour of which week since 1970, from Monday 0 h in UTC.
CREATE TABLE cache_uses (
    key BYTEA NOT NULL REFERENCES cache_requests (key) ON DELETE CASCADE,
    week BIGINT NOT NULL,
    hour INTEGER NOT NULL CHECK (hour BETWEEN 0 AND 167),
    uses BIGINT NOT NULL,
    PRIMARY KEY (key, week, hour)
);

CREATE INDEX cache_uses_by_hour ON cache_uses (hour, week);
CREATE INDEX cache_uses_by_week ON cache_uses (week);
