# Sourced by the benches: where the programs are, what was started, and how it ends. PROFILE chooses the build, KEEP=1 keeps logs.

profile=${PROFILE:-release}
bin=${CARGO_TARGET_DIR:-target}/$profile
work=$(mktemp -d)
started=()

stop() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    if [ -n "${KEEP:-}" ]; then echo "logs are in $work" >&2; else rm -rf "$work"; fi
}
trap stop EXIT

wait_for() {
    for _ in $(seq "${PATIENCE:-600}"); do
        curl -fsS -o /dev/null "$1" 2>/dev/null && return
        sleep 0.1
    done
    echo "$1 does not answer:" >&2
    tail -n 20 "$2" >&2
    exit 1
}
