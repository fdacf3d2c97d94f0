#!/bin/sh
# Runs every fuzz target for some seconds each (default 600), from its seeds and the corpus of
# earlier runs. A finding stops it and is in artifacts/. Needs a nightly compiler and cargo-fuzz.
#
#   fuzz/run.sh [SECONDS [TARGET…]]
set -eu
cd "$(dirname "$0")"
seconds=${1:-600}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- proc cgroup records scripts arguments
for target; do
    mkdir -p "corpus/$target"
    cargo +nightly fuzz run --fuzz-dir . "$target" "corpus/$target" "seeds/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=65536
done
