#!/bin/sh
# Runs every fuzz target for some seconds each (default 600), from its seeds and the inputs that
# earlier runs have kept. A finding stops it and is in artifacts/. Needs a nightly compiler,
# cargo-fuzz, tar and zstd.
#
#   fuzz/run.sh [SECONDS [TARGET…]]
#   fuzz/run.sh keep [TARGET ...]    # packs corpus/ into kept/, which is in version control
set -eu
cd "$(dirname "$0")"
seconds=${1:-600}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- proc cgroup records scripts arguments
for target; do
    if [ "$seconds" = keep ]; then
        tar -C corpus --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - "$target" |
            zstd -19 -qfo "kept/$target.tar.zst"
        continue
    fi
    mkdir -p "corpus/$target"
    # What is there already stays as it is.
    zstd -dcq "kept/$target.tar.zst" | tar -C corpus --skip-old-files -xf -
    cargo +nightly fuzz run --fuzz-dir . "$target" "corpus/$target" "seeds/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=65536
done
