#!/usr/bin/env bash
# Measures permission checks over gRPC beside bare tonic calls, each server alone on core 0, and batches of grants.
#
#   benches/permissions.sh [options of `questions`, such as --rounds 5 --seconds 5]
#
# DATABASE=postgres://… measures on PostgreSQL instead of SQLite; PROFILE=debug an unoptimized build; KEEP=1 keeps logs.
set -euo pipefail
cd "$(dirname "$0")/.."

. benches/processes.sh
port=${PERMISSIONS_PORT:-18101} admin=${ADMIN_PORT:-18102} bare=${BARE_PORT:-18100}

echo "tgs_$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')" >"$work/token"
export TOLLGATE_SERVICE_TOKEN__FILE="$work/token" TOLLGATE_DATA_DIR="$work/data" TOLLGATE_LOG=warn
export TOLLGATE_PORTS__PERMISSIONS="127.0.0.1:$port" TOLLGATE_PORTS__PERMISSIONS_ADMIN="127.0.0.1:$admin"
if [ -n "${DATABASE:-}" ]; then export TOLLGATE_PERMISSIONS__DATABASE="$DATABASE"; fi

taskset -c 0 "$bin/tollgate" permissions >"$work/permissions.log" 2>&1 & permissions=$!
started+=("$permissions")
taskset -c 0 "$bin/bare-tonic" --listen "127.0.0.1:$bare" >"$work/bare.log" 2>&1 & server=$!
started+=("$server")
wait_for "http://127.0.0.1:$admin/health/ready" "$work/permissions.log"
taskset -c 1 "$bin/questions" --tollgate "http://127.0.0.1:$port" --tollgate-pid "$permissions" \
    --bare "http://127.0.0.1:$bare" --bare-pid "$server" --credentials "$work/data/first-run.json" "$@"
