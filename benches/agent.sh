#!/usr/bin/env bash
# How much memory and processor time a node agent takes beside an engine: ./benches/agent.sh [SECONDS]
#
# A suite, a simulated engine and an agent run on this machine; the agent looks every 10 s, as it does by default. What it
# takes is read from /proc after it has warmed up, and again after so many seconds (60). Bounds: 15 MB, 0.5 % of a core.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
tollgate=${TOLLGATE_BIN:-target/release/tollgate}
agent_program=${TOLLGATE_AGENT_BIN:-$(dirname "$tollgate")/tollgate-agent}
folder=$(mktemp -d)
pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$folder"; }
trap finish EXIT

free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
engine=$(free) edge=$(free) monitoring=$(free) inference=$(free) admin=$(free)
printf 'tgs_%064d' 7 >"$folder/token"
export TOLLGATE_SERVICE_TOKEN__FILE=$folder/token
"$tollgate" engine --listen "127.0.0.1:$engine" --task both >"$folder/engine.log" 2>&1 & pids+=($!)
TOLLGATE_ENGINES=http://127.0.0.1:$engine TOLLGATE_PORTS__PERMISSIONS=127.0.0.1:0 \
  TOLLGATE_PORTS__MONITORING=127.0.0.1:$monitoring TOLLGATE_PORTS__INFERENCE=127.0.0.1:$inference \
  "$tollgate" up --data-dir "$folder/data" --listen "127.0.0.1:$edge" >"$folder/up.log" 2>&1 & pids+=($!)
until curl -fs "http://127.0.0.1:$edge/health/ready" >/dev/null; do sleep 0.2; done
TOLLGATE_UPSTREAM__MONITORING=http://127.0.0.1:$monitoring TOLLGATE_UPSTREAM__INFERENCE=http://127.0.0.1:$inference \
  TOLLGATE_PORTS__AGENT_ADMIN=127.0.0.1:$admin TOLLGATE_AGENT__ENGINE=http://127.0.0.1:$engine TOLLGATE_AGENT__GPU=off \
  "$agent_program" >"$folder/agent.log" 2>&1 & agent=$!; pids+=("$agent")
until grep -q '"to":"ready"\|to=ready' "$folder/agent.log"; do sleep 0.2; done

ticks() { awk '{ print $14 + $15 }' "/proc/$agent/stat"; }
before=$(ticks)
sleep "$seconds"
after=$(ticks)
resident=$(awk '/^VmRSS/ { print $2 }' "/proc/$agent/status")
own=$(awk '/^RssAnon/ { print $2 }' "/proc/$agent/status")
python3 - "$resident" "$own" "$((after - before))" "$seconds" "$(getconf CLK_TCK)" <<'P'
import sys
resident, own, ticks, seconds, hertz = map(int, sys.argv[1:])
percent = 100 * ticks / hertz / seconds
print(f"resident {resident / 1024:.1f} MB (of its own {own / 1024:.1f} MB, the rest is the program), {percent:.2f} % of a core over {seconds} s")
sys.exit(0 if resident <= 15 * 1024 and percent <= 0.5 else "above its bound of 15 MB or 0.5 %")
P
