# Everything that is run by hand; CI runs ./test.

default:
    @just --list

# Format all code.
fmt:
    cargo fmt --all

# Format, contract, dependency and lint checks.
lint:
    ./test lint

# All tests.
test:
    ./test

# The suite on embedded defaults.
run *ARGS:
    cargo run --release -- {{ARGS}}

# Lints the contract.
proto:
    buf lint

# Licences, sources, bans and duplicates of the crates used.
deny:
    cargo deny check bans licenses sources

# The gateway beside the bare engine and nginx: `just bench --rounds 1 --seconds 3` for a first look.
bench *ARGS:
    benches/run.sh {{ARGS}}

# What a decision costs at 1,000 to 1,000,000 grants.
bench-check *ARGS:
    cargo bench -p benches --bench check -- {{ARGS}}

# What a decision about limits costs.
bench-limits *ARGS:
    cargo bench -p benches --bench limits -- {{ARGS}}

# What a round over a thousand alert rules costs.
bench-alerts *ARGS:
    cargo bench -p benches --bench alerts -- {{ARGS}}

# What a scrape of ten thousand series costs.
bench-scrape *ARGS:
    cargo bench -p benches --bench scrape -- {{ARGS}}

# What a million grants take to load and to hold.
bench-load:
    cargo bench -p benches --bench policy_load

# Permissions away under load, without one refused inference: `just away --seconds 600`.
away *ARGS:
    cargo run -p benches --bin away -- {{ARGS}}

# Goodput against fairness over the weight of cost, and batch work filling what others leave: `just frontier trace.csv`.
frontier TRACE *ARGS:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --release -q -p tollgate
    simulate() { "${CARGO_TARGET_DIR:-target}/release/tollgate" simulate --trace "{{TRACE}}" {{ARGS}} "$@"; }
    for weight in 0 1 3 10 30; do
      echo "weight $weight"
      simulate --load 2 --users noisy --weight "$weight" | grep -E '^(policy|tollgate) .*[0-9]'
    done
    # Parts of load 1: three eighths of what is not batch is interactive.
    for classes in interactive=0.11,default=0.19 interactive=0.19,default=0.31 interactive=0.26,default=0.44; do
      echo "$classes,batch=1.5, of which the batch work is one user's"
      simulate --classes "$classes,batch=1.5" --users jobs --policy tollgate,fifo | grep -E '^(policy|tollgate|fifo) '
    done

# A replay while one of two engines is killed every 30 s: `just killed --trace azure-llm-2023-conv.csv`.
killed *ARGS:
    cargo run --release -p benches --bin killed -- {{ARGS}}

# What a batch leaves to others, in real time, beside a gateway without one: `just spare --trace azure-llm-2023-conv.csv`.
spare *ARGS:
    cargo run --release -p benches --bin spare -- {{ARGS}}

# One workload simulated and replayed in real time, side by side: `just agree --trace azure-llm-2023-conv.csv`.
agree *ARGS:
    cargo run --release -p benches --bin agree -- {{ARGS}}

# The engine suite against a live vLLM: `just test-vllm http://127.0.0.1:8123`.
test-vllm URL *ARGS:
    TOLLGATE_TEST_VLLM={{URL}} cargo test -p inference --test '*' -- --nocapture {{ARGS}}

# A fuzz target under libFuzzer: `just fuzz page_token`, or `just fuzz page_token 2000000` for that many runs.
fuzz NAME RUNS="-1":
    fuzz/run {{NAME}} {{RUNS}}

# Lines of code per file before its tests, the longest first: a report for review, not a limit.
sizes:
    @git ls-files '*.rs' | while read -r file; do \
      printf '%5d %s\n' "$(awk '/^#\[cfg\(test\)\]/{exit} {n++} END{print n+0}' "$file")" "$file"; done | sort -rn | head -30
