-- Instances: the engines that node agents look after.
CREATE TABLE instances (
    instance_id TEXT PRIMARY KEY,
    pool TEXT NOT NULL,
    node TEXT NOT NULL,
    engine_url TEXT NOT NULL,
    provider TEXT NOT NULL,
    spot INTEGER NOT NULL,
    -- Names of the GPUs, one a line.
    gpus TEXT NOT NULL,
    state INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    version INTEGER NOT NULL,
    state_time INTEGER NOT NULL,
    seen_time INTEGER NOT NULL,
    requests_running REAL,
    requests_waiting REAL,
    kv_cache_usage REAL,
    gpu_usage REAL,
    gpu_memory_used INTEGER,
    gpu_memory_total INTEGER,
    -- NULL: nobody wants it drained.
    drain_reason TEXT,
    drain_micros INTEGER
);

CREATE INDEX instances_pool ON instances (pool, instance_id);

-- What happened to them: one row a move.
CREATE TABLE instance_events (
    event_id BLOB PRIMARY KEY,
    instance_id TEXT NOT NULL,
    pool TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    version INTEGER NOT NULL,
    from_state INTEGER,
    to_state INTEGER NOT NULL,
    cause INTEGER NOT NULL,
    detail TEXT NOT NULL,
    event_time INTEGER NOT NULL,
    UNIQUE (instance_id, epoch, version)
);

CREATE INDEX instance_events_instance ON instance_events (instance_id, event_id);

-- What clouds took away.
CREATE TABLE preemptions (
    instance_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    -- Made here, in the order in which they were first heard of.
    place BLOB NOT NULL UNIQUE,
    action TEXT NOT NULL,
    notice_time INTEGER NOT NULL,
    deadline INTEGER,
    end_time INTEGER,
    in_flight INTEGER,
    finished INTEGER,
    unfinished INTEGER,
    PRIMARY KEY (instance_id, event_id)
);

CREATE INDEX preemptions_instance ON preemptions (instance_id, place);
