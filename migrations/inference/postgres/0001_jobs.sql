-- Work that outlives its process, see shared::claims. state: 1 pending, 2 running, 3 succeeded, 4 failed, 5 cancelled.
-- due is when a pending one may begin, and when the lease of a running one ends. Names sort by their bytes, as on SQLite.
CREATE TABLE claims (
    id UUID PRIMARY KEY,
    queue TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    owner UUID NOT NULL,
    payload BYTEA NOT NULL,
    lock_name TEXT COLLATE "C",
    request_name TEXT COLLATE "C",
    state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 5),
    percent INTEGER NOT NULL CHECK (percent BETWEEN 0 AND 100),
    attempt BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    worker TEXT COLLATE "C",
    cancel BOOLEAN NOT NULL,
    due TIMESTAMPTZ NOT NULL,
    created TIMESTAMPTZ NOT NULL,
    started TIMESTAMPTZ,
    ended TIMESTAMPTZ,
    expires TIMESTAMPTZ,
    result BYTEA,
    reason TEXT COLLATE "C",
    message TEXT
);

CREATE INDEX claims_by_due ON claims (queue, due, id) WHERE state <= 2;
CREATE UNIQUE INDEX claims_by_lock ON claims (lock_name) WHERE state <= 2 AND lock_name IS NOT NULL;
CREATE UNIQUE INDEX claims_by_request ON claims (owner, request_name) WHERE request_name IS NOT NULL;
CREATE INDEX claims_by_owner ON claims (owner, id);
CREATE INDEX claims_waiting ON claims (owner) WHERE state <= 2;
CREATE INDEX claims_by_state ON claims (queue, state);
CREATE INDEX claims_by_worker ON claims (worker, queue) WHERE state = 2;
CREATE INDEX claims_by_end ON claims (expires) WHERE expires IS NOT NULL;

-- What callers upload and what is made for them, in pieces. Before ready it is being written.
CREATE TABLE files (
    id UUID PRIMARY KEY,
    owner UUID NOT NULL,
    purpose TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    bytes BIGINT NOT NULL,
    ready BOOLEAN NOT NULL,
    created TIMESTAMPTZ NOT NULL,
    expires TIMESTAMPTZ NOT NULL
);

CREATE INDEX files_by_owner ON files (owner, id);
CREATE INDEX files_by_end ON files (expires);

CREATE TABLE file_pieces (
    file UUID NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (file, number)
);

-- Batches; the claim of the same id runs them. status: 1 validating, 2 failed, 3 in progress, 4 finalizing, 5 completed,
-- 6 expired, 7 cancelling, 8 cancelled.
CREATE TABLE batches (
    id UUID PRIMARY KEY,
    owner UUID NOT NULL,
    input UUID NOT NULL,
    endpoint TEXT COLLATE "C" NOT NULL,
    completion_window TEXT COLLATE "C" NOT NULL,
    metadata TEXT NOT NULL,
    status INTEGER NOT NULL CHECK (status BETWEEN 1 AND 8),
    errors TEXT,
    total BIGINT NOT NULL,
    completed BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    output UUID,
    error_output UUID,
    created TIMESTAMPTZ NOT NULL,
    expires TIMESTAMPTZ NOT NULL,
    in_progress TIMESTAMPTZ,
    finalizing TIMESTAMPTZ,
    cancelling TIMESTAMPTZ,
    ended TIMESTAMPTZ
);

CREATE INDEX batches_by_owner ON batches (owner, id);
CREATE INDEX batches_by_end ON batches (ended) WHERE ended IS NOT NULL;

-- What was answered so far, line by line of the input, until it is in the output.
CREATE TABLE batch_lines (
    batch UUID NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    line BIGINT NOT NULL,
    failed BOOLEAN NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (batch, line)
);
