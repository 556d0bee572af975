-- What operators allow, by pool.
CREATE TABLE scaling_policies (
    pool TEXT PRIMARY KEY,
    -- Names of models, one a line; empty: the pool's own name.
    models TEXT NOT NULL,
    -- JSON.
    policy TEXT NOT NULL,
    revision INTEGER NOT NULL,
    update_time INTEGER NOT NULL,
    updated_by TEXT NOT NULL
);

-- What each gateway last said of each model.
CREATE TABLE scaling_loads (
    model TEXT NOT NULL,
    gateway TEXT NOT NULL,
    report_time INTEGER NOT NULL,
    queue_length INTEGER NOT NULL,
    first_token_micros INTEGER,
    PRIMARY KEY (model, gateway)
);

CREATE INDEX scaling_loads_time ON scaling_loads (report_time);

-- What was recommended last. Replicas of the service take turns, by version, and all of them read this.
CREATE TABLE scaling_states (
    pool TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    look_time INTEGER NOT NULL,
    replicas INTEGER NOT NULL,
    change_time INTEGER,
    high_since INTEGER,
    low_since INTEGER,
    -- When the oldest of what it was made from was seen; NULL while nothing is known.
    input_time INTEGER,
    replicas_before INTEGER NOT NULL,
    reason TEXT NOT NULL,
    queue_length INTEGER NOT NULL,
    first_token_micros INTEGER,
    gpu_usage REAL,
    warming INTEGER NOT NULL,
    ready INTEGER NOT NULL,
    draining INTEGER NOT NULL
);
