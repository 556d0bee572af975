-- What a request had of the time of engines. Of requests from before it is not known, and sums count none.
ALTER TABLE usage_records ADD COLUMN gpu_micros INTEGER;
ALTER TABLE usage_hourly ADD COLUMN gpu_micros INTEGER NOT NULL DEFAULT 0;
