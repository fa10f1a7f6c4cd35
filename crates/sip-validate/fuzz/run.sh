#!/usr/bin/env bash
# Fuzzes sip-validate with libFuzzer on stable Rust: run.sh [SECONDS [TARGET...]]
# Each target starts from the kept seeds and works in target/fuzz-corpus; a find is left in target/fuzz-finds and fails the run.
# Needs a C++ compiler, for libFuzzer itself.
set -euo pipefail
cd "$(dirname "$0")"

SECONDS_EACH=${1:-20}
shift || true
targets=("$@")
((${#targets[@]})) || targets=(uri host message-udp message-stream)
# The longest input: two datagrams' worth for messages, so that limits are passed; names are short.
declare -A longest=([uri]=4096 [host]=1024 [message-udp]=70000 [message-stream]=90000)

base=${CARGO_TARGET_DIR:-../../../target}
mkdir -p "$base"
base=$(cd "$base" && pwd)
# Coverage of edges and comparisons, as cargo-fuzz asks for it with a nightly compiler; no sanitizer: nothing here is unsafe.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
# A named target keeps the flags away from build scripts.
host=$(rustc --print host-tuple)
CARGO_TARGET_DIR=$base/fuzz cargo build --quiet --locked --target "$host"

# The kept corpus: one archive, a folder for each target.
seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
tar -xzf seeds.tar.gz -C "$seeds"

for target in "${targets[@]}"; do
    corpus=$base/fuzz-corpus/$target finds=$base/fuzz-finds
    mkdir -p "$corpus" "$finds"
    log=$base/fuzz-$target.log
    echo "fuzzing $target for $SECONDS_EACH s"
    "$base/fuzz/$host/debug/$target" -max_total_time="$SECONDS_EACH" -max_len="${longest[$target]}" -len_control=20 -timeout=10 \
        -rss_limit_mb=1024 -dict=sip.dict -print_final_stats=1 -artifact_prefix="$finds/$target-" \
        "$corpus" "$seeds/$target" >"$log" 2>&1 || {
        tail -40 "$log"
        echo "$target: a find is in $finds" >&2
        exit 1
    }
    grep -P '\t(INITED|DONE) ' "$log" | sed 's/^/  /'
    grep -E 'number_of_executed_units|peak_rss_mb' "$log" | sed 's/^stat::/  /'
done
