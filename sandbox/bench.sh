#!/bin/sh
# What a run costs, beside timeout and bubblewrap, in one interleaved measurement by hyperfine.
# Builds the command as it is shipped: static, at a fixed address, optimised as a whole.
# Usage: sandbox/bench.sh [RUNS]     (on a machine that does nothing else)
set -eu
cd "$(dirname "$0")/.."
runs=${1:-500}
target=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static" \
    cargo build --quiet --profile shipped --bin allgone --target "$target"
allgone=$PWD/target/$target/shipped/allgone
command -v hyperfine >/dev/null || { echo "needs hyperfine (Debian: hyperfine)" >&2; exit 125; }
set -- \
    -n 'true' 'true' \
    -n 'timeout 30 true' 'timeout 30 true' \
    -n 'allgone run --bare' "$allgone run --bare --timeout 30 -- true" \
    -n 'allgone run' "$allgone run --timeout 30 -- true"
if command -v bwrap >/dev/null; then
    bwrap --version
    set -- "$@" -n 'bwrap' \
        'bwrap --unshare-all --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp true'
fi
uname -r
ls -l "$allgone"
exec hyperfine --shell=none --warmup 50 --runs "$runs" "$@"
