#!/usr/bin/env bash
# Measures what an open stream costs the gateway in memory.
#
#   benches/open-streams.sh [options of `open-streams`, such as --streams 5000]
#
# Each stream takes two of the gateway's files: `ulimit -n` must allow twice as many and 300. PROFILE=debug measures an
# unoptimized build, KEEP=1 keeps the logs.
set -euo pipefail
cd "$(dirname "$0")/.."

. benches/processes.sh
engine_port=${ENGINE_PORT:-18000} gateway_port=${GATEWAY_PORT:-18080}
[ "$profile" = release ] && release=--release || release=
[ -n "${BUILT:-}" ] || cargo build --quiet $release -p tollgate -p benches --bin tollgate --bin mock-engine --bin open-streams

"$bin/mock-engine" --listen "127.0.0.1:$engine_port" --hold 3 >"$work/engine.log" 2>&1 & started+=("$!")
wait_for "http://127.0.0.1:$engine_port/health" "$work/engine.log"
# Held streams look like an engine that hangs, which is what a real one would be judged by.
export TOLLGATE_ENGINES="http://127.0.0.1:$engine_port" TOLLGATE_LOG=warn TOLLGATE_DATA_DIR="$work/data"
export TOLLGATE_INFERENCE__ENGINE__MAX_IN_FLIGHT=50000 TOLLGATE_INFERENCE__ENGINE__PROBE__SILENCE=1h
export TOLLGATE_INFERENCE__ENGINE__IDLE_TIMEOUT=1h
"$bin/tollgate" up --listen "127.0.0.1:$gateway_port" >"$work/gateway.log" 2>&1 & gateway=$!
started+=("$gateway")
wait_for "http://127.0.0.1:$gateway_port/health/ready" "$work/gateway.log"
"$bin/open-streams" --url "http://127.0.0.1:$gateway_port" --credentials "$work/data/first-run.json" --pid "$gateway" "$@"
