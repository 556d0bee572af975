-- What operators allow, by pool.
CREATE TABLE scaling_policies (
    pool TEXT COLLATE "C" PRIMARY KEY,
    -- Names of models, one a line; empty: the pool's own name.
    models TEXT NOT NULL,
    -- JSON.
    policy TEXT NOT NULL,
    revision BIGINT NOT NULL,
    update_time TIMESTAMPTZ NOT NULL,
    updated_by TEXT NOT NULL
);

-- What each gateway last said of each model.
CREATE TABLE scaling_loads (
    model TEXT COLLATE "C" NOT NULL,
    gateway TEXT COLLATE "C" NOT NULL,
    report_time TIMESTAMPTZ NOT NULL,
    queue_length BIGINT NOT NULL,
    first_token_micros BIGINT,
    PRIMARY KEY (model, gateway)
);

CREATE INDEX scaling_loads_time ON scaling_loads (report_time);

-- What was recommended last. Replicas of the service take turns, by version, and all of them read this.
CREATE TABLE scaling_states (
    pool TEXT COLLATE "C" PRIMARY KEY,
    version BIGINT NOT NULL,
    look_time TIMESTAMPTZ NOT NULL,
    replicas BIGINT NOT NULL,
    change_time TIMESTAMPTZ,
    high_since TIMESTAMPTZ,
    low_since TIMESTAMPTZ,
    -- When the oldest of what it was made from was seen; NULL while nothing is known.
    input_time TIMESTAMPTZ,
    replicas_before BIGINT NOT NULL,
    reason TEXT NOT NULL,
    queue_length BIGINT NOT NULL,
    first_token_micros BIGINT,
    gpu_usage DOUBLE PRECISION,
    warming BIGINT NOT NULL,
    ready BIGINT NOT NULL,
    draining BIGINT NOT NULL
);
