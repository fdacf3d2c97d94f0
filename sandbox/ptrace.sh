#!/bin/sh
# What a tracer of every system call costs beside mounts: ptrace.sh BINARY [RUNS]. BINARY is the
# shipped build. Prints the median of each in milliseconds, and of its ratios to the same alone,
# turn by turn.
set -eu
binary=$1
runs=${2:-20}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
cat > "$dir/work.c" <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
int main(void) { for (int i = 0; i < 9; i++) printf("%d\n", rand()); return 0; }
C
chmod 644 "$dir/work.c"

# What is done: by a shell without its own `true`, and by a compiler.
loop='i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i + 1)); done'
compile="cc -O2 -o /tmp/out$$ $dir/work.c && rm /tmp/out$$"

# How long one takes, in nanoseconds, if it succeeds.
timed() {
    begin=$(date +%s%N)
    "$@" > /dev/null 2>&1 || { echo "ptrace.sh: $1 has failed" >&2; exit 1; }
    end=$(date +%s%N)
    echo $((end - begin))
}

# The median of a column of numbers.
middle() {
    sort -g "$1" | sed -n "$((runs / 2 + 1))p"
}

# All of them by turns, so that what else happens hits all of them alike.
measure() {
    name=$1
    script=$2
    n=0
    while [ "$n" -lt "$runs" ]; do
        timed sh -c "$script" >> "$dir/$name.alone"
        timed "$binary" run --closed --ro "$dir" -- sh -c "$script" >> "$dir/$name.closed"
        timed "$binary" run --explain --ro "$dir" -- sh -c "$script" >> "$dir/$name.explain"
        n=$((n + 1))
    done
    for way in alone closed explain; do
        # Each is compared with the one alone of its own turn: other load hits both of them.
        paste "$dir/$name.$way" "$dir/$name.alone" | awk '{ print $1 / $2 }' > "$dir/ratios"
        echo "$name $way $(middle "$dir/$name.$way") $(middle "$dir/ratios")" |
            awk -v n="$runs" \
                '{ printf "%s %s %.1f ms, %.2f of alone (n = %d)\n", $1, $2, $3 / 1e6, $4, n }'
    done
}

cd /
measure loop "$loop"
measure compile "$compile"
