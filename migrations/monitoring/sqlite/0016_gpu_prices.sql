-- What the GPUs of pools cost, in pico-dollars for an hour of one. Versions are added, never changed. NULL is not known;
-- capacity is weighted tokens that a GPU does in an hour when it is full.
CREATE TABLE gpu_prices (
    price_id BLOB PRIMARY KEY,
    pool TEXT NOT NULL,
    hour_price INTEGER CHECK (hour_price >= 0),
    spot_hour_price INTEGER CHECK (spot_hour_price >= 0),
    capacity INTEGER CHECK (capacity > 0),
    effective_from INTEGER NOT NULL,
    reason TEXT NOT NULL,
    created_by BLOB NOT NULL,
    created_time INTEGER NOT NULL
) STRICT;

CREATE INDEX gpu_prices_by_pool ON gpu_prices (pool, effective_from, price_id);
CREATE INDEX preemptions_by_time ON preemptions (notice_time);
