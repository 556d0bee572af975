-- What a request had of the time of engines. Of requests from before it is not known, and sums count none.
ALTER TABLE usage_records ADD COLUMN gpu_micros BIGINT;
ALTER TABLE usage_hourly ADD COLUMN gpu_micros BIGINT NOT NULL DEFAULT 0;
