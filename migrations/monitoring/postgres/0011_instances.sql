-- Instances: the engines that node agents look after.
CREATE TABLE instances (
    instance_id TEXT COLLATE "C" PRIMARY KEY,
    pool TEXT COLLATE "C" NOT NULL,
    node TEXT NOT NULL,
    engine_url TEXT NOT NULL,
    provider TEXT NOT NULL,
    spot BOOLEAN NOT NULL,
    -- Names of the GPUs, one a line.
    gpus TEXT NOT NULL,
    state INTEGER NOT NULL,
    epoch BIGINT NOT NULL,
    version BIGINT NOT NULL,
    state_time TIMESTAMPTZ NOT NULL,
    seen_time TIMESTAMPTZ NOT NULL,
    requests_running DOUBLE PRECISION,
    requests_waiting DOUBLE PRECISION,
    kv_cache_usage DOUBLE PRECISION,
    gpu_usage DOUBLE PRECISION,
    gpu_memory_used BIGINT,
    gpu_memory_total BIGINT,
    -- NULL: nobody wants it drained.
    drain_reason TEXT,
    drain_micros BIGINT
);

CREATE INDEX instances_pool ON instances (pool, instance_id);

-- What happened to them: one row a move.
CREATE TABLE instance_events (
    event_id UUID PRIMARY KEY,
    instance_id TEXT COLLATE "C" NOT NULL,
    pool TEXT COLLATE "C" NOT NULL,
    epoch BIGINT NOT NULL,
    version BIGINT NOT NULL,
    from_state INTEGER,
    to_state INTEGER NOT NULL,
    cause INTEGER NOT NULL,
    detail TEXT NOT NULL,
    event_time TIMESTAMPTZ NOT NULL,
    UNIQUE (instance_id, epoch, version)
);

CREATE INDEX instance_events_instance ON instance_events (instance_id, event_id);

-- What clouds took away.
CREATE TABLE preemptions (
    instance_id TEXT COLLATE "C" NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    -- Made here, in the order in which they were first heard of.
    place UUID NOT NULL UNIQUE,
    action TEXT NOT NULL,
    notice_time TIMESTAMPTZ NOT NULL,
    deadline TIMESTAMPTZ,
    end_time TIMESTAMPTZ,
    in_flight BIGINT,
    finished BIGINT,
    unfinished BIGINT,
    PRIMARY KEY (instance_id, event_id)
);

CREATE INDEX preemptions_instance ON preemptions (instance_id, place);
