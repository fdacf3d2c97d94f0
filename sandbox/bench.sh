#!/bin/sh
# What a run costs, on a machine that does nothing else. One JSON document on standard output; what
# is going on, on standard error.
#
#   sandbox/bench.sh [RUNS] > FILE      RUNS of each short command (default 500)
#
# hyperfine runs blocks of a tenth of the runs of each command, by turns, so that all commands have
# the same machine. `launches` (sandbox/examples) does what hyperfine does not: launches at a rate
# that does not wait for the end of others, and the time at which the launcher knows the end. Both
# are built as the command is shipped: static, with musl, at a fixed address, optimised as a whole.
# `floor.c` makes the same system calls in C, step by step: what of it is the kernel's.
# sandbox/bench.py makes ratios of medians from it, with an interval by resampling the blocks.
set -eu
cd "$(dirname "$0")/.."
runs=${1:-500}
case $PWD in
/tmp/*) echo "not below /tmp, which a run has for itself" >&2; exit 125 ;;
esac
for tool in hyperfine bwrap python3 cc findmnt; do
    command -v $tool >/dev/null || { echo "needs $tool" >&2; exit 125; }
done
target=$(uname -m)-unknown-linux-musl
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
    echo "needs rustup target add $target" >&2
    exit 125
fi
RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static" \
    cargo build --quiet --locked --profile shipped --target "$target" \
    -p sandbox --bin allgone --example launches
built=$PWD/target/$target/shipped
allgone=$built/allgone launches=$built/examples/launches
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cc -O2 -static -o "$out/floor" sandbox/floor.c

# Something to compile that takes a second.
i=0
while [ $i -lt 800 ]; do
    echo "int f$i(int a, int b) {"
    echo "int s = $i; for (int i = 0; i < a; i++) s += i % (b + $i); return s; }"
    i=$((i + 1))
done > "$out/unit.c"
loop='i=0; while [ $i -lt 500 ]; do /bin/true; i=$((i + 1)); done'
compile="cc -O1 -c $out/unit.c -o /dev/null"
bwrap='bwrap --unshare-all --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp true'

# The same commands in another order each time.
block=0
each=$(((runs + 9) / 10))
few=$(((runs + 99) / 100))
measure() { # NAME RUNS COMMAND…
    name=$1 count=$2
    shift 2
    hyperfine --shell=none --style none --warmup 3 --runs "$count" \
        --export-json "$out/$name.$block.json" "$@" >&2
}
while [ $block -lt 10 ]; do
    echo "block $block of 10" >&2
    set -- "true" "timeout 30 true" "$bwrap" \
        "$allgone run --bare --timeout 30 -- true" "$allgone run --timeout 30 -- true" \
        "$allgone run --closed --timeout 30 -- true" \
        "$allgone run --tier traced --timeout 30 -- true"
    turn=0
    while [ $turn -lt $block ]; do
        first=$1
        shift
        set -- "$@" "$first"
        turn=$((turn + 1))
    done
    measure short "$each" "$@"
    measure loop "$((few < 2 ? 2 : few))" "sh -c '$loop'" \
        "$allgone run --tier traced -- sh -c '$loop'" "$allgone run --bare -- sh -c '$loop'"
    measure compile "$((few < 2 ? 2 : few))" "$compile" "$allgone run --tier traced -- $compile"
    block=$((block + 1))
done
echo "the end is known" >&2
"$launches" known "$allgone" "$runs" > "$out/known.lines"
cgroups=$(findmnt -n -o TARGET -t cgroup2 | head -n 1)
own=$(sed -n 's/^0:://p' /proc/self/cgroup)
"$out/floor" "$runs" "$cgroups$own" > "$out/floor.lines"
echo "50 launches a second, all processors busy" >&2
# shellcheck disable=SC2086
"$launches" rate 50 "$((runs / 25 > 2 ? runs / 25 : 2))" "$(nproc)" -- timeout 30 true \
    -- $bwrap \
    -- "$allgone" run --bare --timeout 30 true \
    -- "$allgone" run --timeout 30 true > "$out/rate.lines"
python3 sandbox/bench.py "$out" "$allgone"
