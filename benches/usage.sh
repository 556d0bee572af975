#!/usr/bin/env bash
# Measures the ledger on PostgreSQL: how many records RecordUsage takes, and how long GetUsage takes over a large ledger.
#
#   DATABASE=postgres://… benches/usage.sh [options of `usage`, such as --seconds 10 --callers 4]
#
# DATABASE names an empty database that is filled, ROWS (10,000,000) how many records of a year it gets before the reads;
# PROFILE=debug measures an unoptimized build; KEEP=1 keeps logs.
set -euo pipefail
cd "$(dirname "$0")/.."

. benches/processes.sh
: "${DATABASE:?names an empty PostgreSQL database}"
port=${MONITORING_PORT:-18103} admin=${ADMIN_PORT:-18104} rows=${ROWS:-10000000}
[ "$profile" = release ] && release=--release || release=
[ -n "${BUILT:-}" ] || cargo build --quiet $release -p tollgate -p benches --bin tollgate --bin usage

echo "tgs_$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')" >"$work/token"
export TOLLGATE_SERVICE_TOKEN__FILE="$work/token" TOLLGATE_DATA_DIR="$work/data" TOLLGATE_LOG=warn
export TOLLGATE_PORTS__MONITORING="127.0.0.1:$port" TOLLGATE_PORTS__MONITORING_ADMIN="127.0.0.1:$admin"
export TOLLGATE_MONITORING__DATABASE="$DATABASE"
"$bin/tollgate" monitoring >"$work/monitoring.log" 2>&1 & started+=("$!")
wait_for "http://127.0.0.1:$admin/health/ready" "$work/monitoring.log"

address="http://127.0.0.1:$port"
"$bin/usage" --address "$address" --token "$work/token" record "$@"
# A thousand people with two keys each and twenty models, a year of requests, and their sums.
psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 "$DATABASE" >"$work/load.log" <<SQL
SET search_path = monitoring;
TRUNCATE usage_records, usage_hourly;
INSERT INTO usage_records (usage_id, attempt, request_id, user_id, key_id, model_id, model, engine, endpoint, stream, outcome,
    estimated, prompt_tokens, cached_prompt_tokens, completion_tokens, start_time, body_hash, served_model, cost)
SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID), 1, '', CAST(lpad(to_hex(1000000 + n % 1000), 32, '0') AS UUID),
    CAST(lpad(to_hex(2000000 + n % 2000), 32, '0') AS UUID), CAST(lpad(to_hex(3000000 + n % 20), 32, '0') AS UUID),
    'model-' || (n % 20), 'http://10.0.0.1:8000', 'chat/completions', TRUE, 1, FALSE, 100, 60, 20,
    to_timestamp(1748736000 + n * (31536000.0 / $rows)), decode(repeat('00', 32), 'hex'), '', 21000000
    FROM generate_series(1, $rows) AS n;
INSERT INTO usage_hourly (hour, user_id, key_id, model, endpoint, finished, cancelled, failed, crashed, prompt_tokens,
    cached_prompt_tokens, completion_tokens, estimated_tokens, served_model, engine, input_micros, unpriced)
SELECT date_trunc('hour', start_time, 'UTC'), user_id, key_id, model, endpoint, count(*), 0, 0, 0, sum(prompt_tokens),
    sum(cached_prompt_tokens), sum(completion_tokens), 0, model, engine, sum(cost) / 1000000, 0
    FROM usage_records GROUP BY user_id, key_id, model, endpoint, engine, 1;
ANALYZE usage_records;
ANALYZE usage_hourly;
SQL
"$bin/usage" --address "$address" --token "$work/token" read
