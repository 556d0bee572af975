-- Work that outlives its process, see shared::claims. state: 1 pending, 2 running, 3 succeeded, 4 failed, 5 cancelled.
-- due is when a pending one may begin, and when the lease of a running one ends. Times are microseconds since 1970 in UTC.
CREATE TABLE claims (
    id BLOB PRIMARY KEY,
    queue TEXT NOT NULL,
    kind TEXT NOT NULL,
    owner BLOB NOT NULL,
    payload BLOB NOT NULL,
    lock_name TEXT,
    request_name TEXT,
    state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 5),
    percent INTEGER NOT NULL CHECK (percent BETWEEN 0 AND 100),
    attempt INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    worker TEXT,
    cancel INTEGER NOT NULL,
    due INTEGER NOT NULL,
    created INTEGER NOT NULL,
    started INTEGER,
    ended INTEGER,
    expires INTEGER,
    result BLOB,
    reason TEXT,
    message TEXT
) STRICT;

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
    id BLOB PRIMARY KEY,
    owner BLOB NOT NULL,
    purpose TEXT NOT NULL,
    name TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    ready INTEGER NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT;

CREATE INDEX files_by_owner ON files (owner, id);
CREATE INDEX files_by_end ON files (expires);

CREATE TABLE file_pieces (
    file BLOB NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (file, number)
) STRICT;

-- Batches; the claim of the same id runs them. status: 1 validating, 2 failed, 3 in progress, 4 finalizing, 5 completed,
-- 6 expired, 7 cancelling, 8 cancelled.
CREATE TABLE batches (
    id BLOB PRIMARY KEY,
    owner BLOB NOT NULL,
    input BLOB NOT NULL,
    endpoint TEXT NOT NULL,
    completion_window TEXT NOT NULL,
    metadata TEXT NOT NULL,
    status INTEGER NOT NULL CHECK (status BETWEEN 1 AND 8),
    errors TEXT,
    total INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    output BLOB,
    error_output BLOB,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    in_progress INTEGER,
    finalizing INTEGER,
    cancelling INTEGER,
    ended INTEGER
) STRICT;

CREATE INDEX batches_by_owner ON batches (owner, id);
CREATE INDEX batches_by_end ON batches (ended) WHERE ended IS NOT NULL;

-- What was answered so far, line by line of the input, until it is in the output.
CREATE TABLE batch_lines (
    batch BLOB NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    line INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (batch, line)
) STRICT;
