#!/usr/bin/env bash
# Measures the gateway beside the bare engine, a bare server and a bare proxy of the same libraries, nginx and two routers for vLLM, each alone on core 0; everything else shares
# core 1.
#
#   benches/run.sh [options of `compare`, such as --rounds 5 --seconds 20]
#
# Of nginx (Debian), vllm-router and sglang-router (PyPI) those are measured that are on the PATH. GATEWAY=none leaves the gateway out, PROFILE=debug measures an unoptimized build, KEEP=1 keeps the logs.
set -euo pipefail
cd "$(dirname "$0")/.."

. benches/processes.sh
engine_port=${ENGINE_PORT:-18000} nginx_port=${NGINX_PORT:-18001} gateway_port=${GATEWAY_PORT:-18080}

# Starts the gateway on core 0 with the mock engine behind it; permissions and monitoring, which no request waits for,
# run on core 1. Sets gateway_pids to the processes on the request path, and credentials to a file with api_key and model.
start_gateway() {
    export TOLLGATE_ENGINES="http://127.0.0.1:$engine_port" TOLLGATE_LOG=warn TOLLGATE_DATA_DIR="$work/data"
    credentials=$work/data/first-run.json
    # The first start makes the account, the key and the model, and is stopped again.
    "$bin/tollgate" up --listen "127.0.0.1:$gateway_port" >"$work/up.log" 2>&1 &
    local up=$!
    wait_for "http://127.0.0.1:$gateway_port/health/ready" "$work/up.log"
    kill "$up"; wait "$up" || true
    echo "tgs_$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')" >"$work/token"
    export TOLLGATE_SERVICE_TOKEN__FILE="$work/token"
    taskset -c 1 "$bin/tollgate" permissions >"$work/permissions.log" 2>&1 & started+=("$!")
    taskset -c 1 "$bin/tollgate" monitoring >"$work/monitoring.log" 2>&1 & started+=("$!")
    TOLLGATE_PORTS__INFERENCE="127.0.0.1:$gateway_port" \
        taskset -c 0 "$bin/tollgate" inference >"$work/gateway.log" 2>&1 &
    gateway_pids=$!
    started+=("$gateway_pids")
    wait_for "http://127.0.0.1:7102/health/ready" "$work/gateway.log"
}

start_engine() {
    taskset -c 1 "$bin/mock-engine" --listen "127.0.0.1:$engine_port" >"$work/engine.log" 2>&1 &
    started+=("$!")
    wait_for "http://127.0.0.1:$engine_port/health" "$work/engine.log"
}

# A plain reverse proxy with one worker: connections to the engine are kept, chunks are passed on as they come.
start_nginx() {
    mkdir -p "$work/nginx"
    cat >"$work/nginx/nginx.conf" <<NGINX
daemon off;
worker_processes 1;
pid $work/nginx/pid;
error_log $work/nginx/error.log warn;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path $work/nginx/body;
    proxy_temp_path $work/nginx/proxy;
    fastcgi_temp_path $work/nginx/fastcgi;
    uwsgi_temp_path $work/nginx/uwsgi;
    scgi_temp_path $work/nginx/scgi;
    keepalive_requests 1000000000;
    upstream engine {
        server 127.0.0.1:$engine_port;
        keepalive 512;
        keepalive_requests 1000000000;
    }
    server {
        listen 127.0.0.1:$nginx_port;
        location / {
            proxy_pass http://engine;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }
    }
}
NGINX
    taskset -c 0 nginx -c "$work/nginx/nginx.conf" -e "$work/nginx/error.log" >"$work/nginx.log" 2>&1 &
    local master=$!
    started+=("$master")
    wait_for "http://127.0.0.1:$nginx_port/health" "$work/nginx.log"
    nginx_pids=$(pgrep -P "$master" | paste -sd,)
}

# A router of vLLM's or SGLang's makers, as it comes, without a key: $1 is its name, the rest how it is started.
start_router() {
    local name=$1 port=$2
    shift 2
    taskset -c 0 "$@" --worker-urls "http://127.0.0.1:$engine_port" --host 127.0.0.1 --port "$port" \
        --policy round_robin --log-level error --prometheus-port "$((port + 10))" >"$work/$name.log" 2>&1 &
    local pid=$!
    started+=("$pid")
    wait_for "http://127.0.0.1:$port/v1/models" "$work/$name.log"
    arguments+=(--target "$name=http://127.0.0.1:$port,$pid")
}

# The least that a gateway of hyper's server and client can cost, and of its server alone: $1 is the name.
start_bare() {
    local name=$1 port=$2
    shift 2
    taskset -c 0 "$bin/bare-proxy" --listen "127.0.0.1:$port" --engine "127.0.0.1:$engine_port" "$@" \
        >"$work/bare-$port.log" 2>&1 &
    local pid=$!
    started+=("$pid")
    wait_for "http://127.0.0.1:$port/health" "$work/bare-$port.log"
    arguments+=(--target "$name=http://127.0.0.1:$port,$pid")
}

arguments=()
[ "$profile" = release ] && release=--release || release=
cargo build --quiet $release -p benches --bin mock-engine --bin compare --bin bare-proxy
start_engine
arguments+=(--target "bare engine=http://127.0.0.1:$engine_port")
start_bare "bare server" "${BARE_SERVER_PORT:-18005}" --alone
start_bare "bare proxy" "${BARE_PROXY_PORT:-18004}"
if command -v nginx >/dev/null; then
    start_nginx
    arguments+=(--target "nginx=http://127.0.0.1:$nginx_port,$nginx_pids")
fi
if command -v vllm-router >/dev/null; then start_router vllm-router "${VLLM_ROUTER_PORT:-18002}" vllm-router; fi
if command -v sglang-router >/dev/null; then
    start_router sglang-router "${SGLANG_ROUTER_PORT:-18003}" sglang-router launch
fi
if [ "${GATEWAY:-}" != none ]; then
    cargo build --quiet $release -p tollgate
    start_gateway
    arguments+=(--target "tollgate=http://127.0.0.1:$gateway_port,$gateway_pids" --credentials "$credentials")
fi
taskset -c 1 "$bin/compare" "${arguments[@]}" "$@"
