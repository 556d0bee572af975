-- What the GPUs of pools cost, in pico-dollars for an hour of one. Versions are added, never changed. NULL is not known;
-- capacity is weighted tokens that a GPU does in an hour when it is full.
CREATE TABLE gpu_prices (
    price_id UUID PRIMARY KEY,
    pool TEXT COLLATE "C" NOT NULL,
    hour_price BIGINT CHECK (hour_price >= 0),
    spot_hour_price BIGINT CHECK (spot_hour_price >= 0),
    capacity BIGINT CHECK (capacity > 0),
    effective_from TIMESTAMPTZ NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    created_by UUID NOT NULL,
    created_time TIMESTAMPTZ NOT NULL
);

CREATE INDEX gpu_prices_by_pool ON gpu_prices (pool, effective_from, price_id);
CREATE INDEX preemptions_by_time ON preemptions (notice_time);
