#!/usr/bin/env bash
# Validates the two series with the kernel lab. Anyone can repeat it:
# `cargo lab setup && cargo lab fetch --source 7.3`, then
#
#   kernel-patch/series/validate.sh [STAGE]...   (no stage: all, in this order)
#
#   check      git am of each series on its base; checkpatch.pl --strict; get_maintainer.pl against
#              the Cc list of the cover letter
#   sparse     sparse and W=1 on kernel/cgroup/ and fs/kernfs/: what they say of the base and of
#              each tip must be the same
#   compile    after every patch, kernel/cgroup/ and fs/kernfs/ for HZ 100, 250, 1000 and every
#              preemption model of the tree
#   tips       both tips linked and booted: HZ 100 with full, 250 with lazy, 1000 with real-time
#              preemption
#   boots      the base, then the tree after every single patch: built as user-mode Linux and booted
#   patches    the base, then the tree after every single patch: built as user-mode Linux, booted,
#              the tree's own selftests and the project's integration tests run
#   selftests  those of cgroup and pidfd, several times on base and tip: old cases must end alike,
#              new ones fail or skip on the base and pass on the tip; those that watch over what was
#              right before pass on both
#   storm      a kernel with lockdep, KASAN, PROVE_RCU and atomic-sleep checks, emulated and in
#              user-mode Linux: ten minutes each of a cgroup that flips without a pause
#   debug      user-mode Linux with the same checks: a process enters and leaves a cgroup of each
#              hierarchy, mounted as v1, hybrid and v2; the emulated kernel: every scenario of the
#              project, and selftests. The lab sees to it that lockdep is on at the end of each boot
#   compare    base and patched, boots taking turns, virtual time: the table of the cover letters
#   cost       what a job that nothing watches costs with series A alone, in instructions
#   rt         the same questions to PREEMPT_RT
#
# Writes kernel-patch/results/series/draft-3/validation/STAGE.txt, and ends with the first stage
# that is not as it should be. It takes some hours; RANGE="5 7" limits `patches` and `compile` to
# those two patches and all between, PART=ring (or selftests) `patches` to these;
# ONLY=cgroup/test_cpu limits the selftests of `patches`, and the second half of `selftests`, to
# these programs; RUNS=5 is how often `selftests` runs them; SPARSE=PATH is another sparse than the
# installed one; OUT=DIR is where the answers go, with all that a failed ring said in
# patches.failed.txt.
set -euo pipefail
cd "$(dirname "$0")/../.."
A='kernel-patch/series/a-prompt-depopulation'
B='kernel-patch/series/b-job-handle'
OUT=${OUT:-kernel-patch/results/series/draft-3/validation}
SOURCE=${SOURCE:-7.3}
SPARSE=${SPARSE:-sparse}
KNOWN='kernel-patch/config/known-failures.txt'
stages=("$@")
((${#stages[@]} > 0)) || stages=(check sparse compile tips boots patches selftests storm \
    debug compare cost rt)
for stage in "${stages[@]}"; do
    case $stage in check | sparse | compile | tips | boots | patches | selftests | storm | debug \
        | compare | cost | rt) ;; *) echo "unknown stage: $stage" >&2; exit 2 ;; esac
done
mkdir -p "$OUT"
cargo build --release --quiet --package lab --bin lab
lab=${CARGO_TARGET_DIR:-target}/release/lab

# Without the cover letters.
series_files() { find "$1" -maxdepth 1 -name '0*.patch' ! -name '*cover-letter*' | sort; }
patch_files() { series_files "$A"; series_files "$B"; }
count=$(patch_files | wc -l)
read -r first last <<<"${RANGE:-0 $count}"

tree() {
    local path
    path=$("$lab" kernels | awk -v v="$SOURCE" '$1 == "source" && index($2, v) == 1 { print $3 }' \
        | tail -n 1)
    [ -n "$path" ] \
        || { echo "no source $SOURCE: run \`cargo lab fetch --source $SOURCE\`" >&2; exit 1; }
    echo "$path"
}

header() { printf '# %s: %s, %s, %s\n' "$1" "$(basename "$(tree)")" "$(date -u +%Y-%m-%d)" \
    "$(qemu-system-x86_64 --version | head -n 1)"; }

# --- git am, checkpatch, maintainers --------------------------------------------------------------

# The tree as one commit with the id that the cover letters name; the lab's builds stay outside.
git_tree() {
    local from message
    from=$(tree)
    scratch=$(dirname "$(dirname "$from")")/validate
    rm -rf "$scratch"
    mkdir "$scratch"
    message=$(sed -n 's/.*"\(package\|version\)": "\(.*\)".*/\2/p' "$from.json" | paste -sd' ')
    find "$from" -mindepth 1 -maxdepth 1 ! -name 'lab-*' -exec cp -al -t "$scratch" {} +
    export GIT_AUTHOR_NAME=base GIT_AUTHOR_EMAIL=base@localhost GIT_AUTHOR_DATE=2026-01-01T00:00:00Z
    export GIT_COMMITTER_NAME=base GIT_COMMITTER_EMAIL=base@localhost \
        GIT_COMMITTER_DATE=2026-01-01T00:00:00Z
    export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
    git -C "$scratch" init -q
    # It is thrown away again: no time for compression.
    git -C "$scratch" config core.compression 0
    git -C "$scratch" config gc.auto 0
    git -C "$scratch" add -Af .
    git -C "$scratch" commit -q -m "$message"
}

check() {
    local base want patch status=0 files
    header check
    git_tree
    base=$(git -C "$scratch" rev-parse HEAD)
    want=$(sed -n 's/^base-commit: //p' "$A"/0000-*.patch)
    echo "base-commit: $base ($([ "$base" = "$want" ] && echo as the cover letter has it \
        || echo "the cover letter has $want"))"
    [ "$base" = "$want" ] || status=1
    for series in "$A" "$B"; do
        mapfile -t files < <(series_files "$PWD/$series")
        if git -C "$scratch" am -q "${files[@]}"; then
            echo "git am $(basename "$series"): applies, $(git -C "$scratch" rev-list \
                --count "$base"..HEAD) commits above the base"
        else
            echo "git am $(basename "$series"): does not apply"
            return 1
        fi
    done
    # The distribution's Python has the distribution's modules.
    local PATH=/usr/bin:$PATH
    python3 -c 'import ply' 2>/dev/null \
        || echo 'checkpatch: SPDX tags are not checked, python3-ply is not installed'
    for patch in $(patch_files); do
        echo "== checkpatch.pl --strict $patch"
        # Without history a commit id cannot be looked up, and a draft carries no Signed-off-by on
        # purpose.
        (cd "$scratch" && scripts/checkpatch.pl --strict --no-summary --terse \
            --ignore MISSING_SIGN_OFF,UNKNOWN_COMMIT_ID,FROM_SIGN_OFF_MISMATCH "$OLDPWD/$patch" \
                2>/dev/null) | sed "s#$PWD/##" || true
    done >"$OUT/checkpatch.tmp"
    cat "$OUT/checkpatch.tmp"
    # The one exception: a new selftest file lies in a directory that MAINTAINERS has already.
    if grep -E ': (ERROR|WARNING|CHECK):' "$OUT/checkpatch.tmp" \
        | grep -v 'does MAINTAINERS need updating'; then status=1; fi
    rm -f "$OUT/checkpatch.tmp"
    for series in "$A" "$B"; do
        echo "== get_maintainer.pl $(basename "$series"), beside the Cc list of its cover letter"
        mapfile -t files < <(series_files "$PWD/$series")
        (cd "$scratch" && scripts/get_maintainer.pl --no-git --no-git-fallback --no-fixes \
            --no-rolestats "${files[@]}") |
            sed 's/.*<\(.*\)>.*/\1/' | sort -u | while read -r address; do
            grep -qF "$address" "$series"/0000-*.patch && echo "in the list       $address" \
                || echo "NOT in the list   $address"
        done
    done >"$OUT/maintainers.tmp"
    cat "$OUT/maintainers.tmp"
    ! grep -q '^NOT in the list' "$OUT/maintainers.tmp" || status=1
    rm -f "$OUT/maintainers.tmp"
    echo "check: $([ "$status" = 0 ] && echo as it should be || echo NOT as it should be)"
    return "$status"
}

# --- Every patch, every preemption model, every HZ ------------------------------------------------

compile() {
    local n=0 patch hz model
    header compile
    git_tree
    for patch in $(patch_files); do
        n=$((n + 1))
        git -C "$scratch" am -q "$PWD/$patch"
        ((n >= first && n <= last)) || continue
        for hz in hz100 hz250 hz1000; do
            for model in preempt-lazy preempt-full preempt-rt; do
                "$lab" build --tree "$scratch" --config "$hz,$model" \
                    --only kernel/cgroup/,fs/kernfs/ >/dev/null
                echo "patch $n $hz $model: kernel/cgroup and fs/kernfs compile"
            done
        done
    done
}

# --- What the tools say ---------------------------------------------------------------------------

# Warnings without line numbers, which move.
warnings() {
    local directory
    directory=$("$lab" build --tree "$scratch" --config "$1" --make C=2 --make CHECK="$SPARSE" \
        --make W=1 --only kernel/cgroup/,fs/kernfs/ | sed 's/.* compiled in //')
    grep -E '^(\.\./)*[a-z0-9/_.-]+:[0-9]+:.*(warning|error):' "$directory/lab-build.log" \
        | sed -E 's#^(\.\./)*##; s/:[0-9]+:[0-9]+:/:/' | sort || true
}

sparse() {
    local said status=0 files
    header sparse
    # This tree wants a sparse that knows __typeof_unqual__: 0.6.5~rc1 (Debian testing; `make CC=gcc
    # sparse` in its source package) or later.
    echo "sparse $("$SPARSE" --version), $(gcc --version | head -n 1)"
    git_tree
    said=$(mktemp -d)
    # A tree that says nothing at all would prove nothing: a fault is put in, and has to be found.
    # (sed makes a new file; the old one is a
    # link to that of the lab's tree.)
    sed -i -e '$a #include <linux/compiler.h>\nint lab_fault(int __user *p);' \
        -e '$a int lab_fault(int __user *p) { return *p; }' "$scratch/kernel/cgroup/freezer.c"
    warnings hz250 >"$said/fault"
    git -C "$scratch" checkout -q kernel/cgroup/freezer.c
    if grep -q 'freezer.c.*dereference of noderef' "$said/fault"; then
        echo 'a fault that was put in is found'
    else
        echo 'a fault that was put in is NOT found'
        status=1
    fi
    warnings hz250 >"$said/base"
    echo "base: $(wc -l <"$said/base") warnings"
    for series in "$A" "$B"; do
        mapfile -t files < <(series_files "$PWD/$series")
        git -C "$scratch" am -q "${files[@]}"
        warnings hz250 >"$said/tip"
        echo "with $(basename "$series"): $(wc -l <"$said/tip") warnings, $(comm -13 "$said/base" \
            "$said/tip" | wc -l) of them new"
        if comm -13 "$said/base" "$said/tip" | grep .; then status=1; fi
    done
    rm -rf "$said"
    echo "sparse: $([ "$status" = 0 ] && echo clean || echo NOT clean)"
    return "$status"
}

# --- Both tips, linked and booted -----------------------------------------------------------------

tips() {
    local config kernel series
    header tips
    # No word: `small`, which is HZ 250 and lazy.
    for config in hz100,preempt-full '' hz1000,preempt-rt; do
        series=()
        for one in "$A" "$B"; do
            series+=(--series "$one")
            kernel=$("$lab" build --source "$SOURCE" "${series[@]}" ${config:+--config "$config"} \
                | awk 'NR == 1 { print $1 }')
            echo "$(basename "$one"), ${config:-hz250,preempt-lazy}"
            "$lab" boot -k "$kernel" 2>/dev/null
        done
    done
}

# --- Boots after every patch ----------------------------------------------------------------------

boots() {
    header boots
    "$lab" each --source "$SOURCE" --series "$A" --series "$B" --config um
}

# --- Tests after every patch ----------------------------------------------------------------------

# The kernel's selftests, and the project's ring. A selftest that fails is asked twice more, alone,
# and it is said which and how often; a
# patch counts as green only if the first answer was.
patches() {
    local n name part all=0
    [ "$first" -gt 0 ] || header patches
    for ((n = first; n <= last; n++)); do
        local series=()
        name='base'
        if ((n > 0)); then
            series=(--series "$A" --series "$B" --patches "$n")
            name=$(patch_files | sed -n "${n}p" \
                | sed 's#.*/\([ab]\)-.*/00\([01][0-9]\)-\(.*\)\.patch#\1 \2 \3#')
        fi
        for part in ${PART:-selftests ring}; do
            # The base is there to compare with; what fails there is no fault of a patch.
            "after_$part" "$name" "${series[@]}" || ((n == 0)) || all=1
        done
    done
    return "$all"
}

after_selftests() {
    local name=$1 line again status=0 later
    shift
    line=$(ask_tests --no-integration ${ONLY:+--only "$ONLY"} "$@") || status=$?
    echo "$name: $(colour "$status"): $(grep '^selftests:' <<<"$line" || tail -n 3 <<<"$line")"
    for again in 1 2; do
        grep -q '^not ok' <<<"$line" || break
        grep '^not ok' <<<"$line" | sed 's/^/    /'
        later=0
        line=$(ask_tests --no-integration \
            --only "$(sed -n 's/^not ok \([a-z]*\/[a-z0-9_]*\): .*/\1/p' <<<"$line" | sort -u \
            | paste -sd,)" "$@") || later=$?
        echo "    asked again ($again): $(colour "$later")"
    done
    return "$status"
}

after_ring() {
    local name=$1 line status=0
    shift
    line=$(ask_tests --no-selftests "$@") || status=$?
    echo "$name: $(colour "$status"): ring: $(grep '^test result:' <<<"$line" \
        || tail -n 3 <<<"$line")"
    grep -E '^test .* \.\.\. FAILED' <<<"$line" | sed 's/^/    /' || true
    [ "$status" = 0 ] || printf '    %s\n' "${line//$'\n'/$'\n'    }" >>"$OUT/patches.failed.txt"
    return "$status"
}

colour() { [ "$1" = 0 ] && echo green || echo "RED ($1)"; }

ask_tests() {
    "$lab" test --source "$SOURCE" "$@" --config um --limit 1200 --known "$KNOWN" 2>&1
}

# New cases that watch over what was right before: the state in the end, a bound on wake-ups,
# inotify on a file that nobody has open.
GUARDS=test_final_state,test_storm_bounded,test_rmdir_inotify,test_rmdir_inotify_two_jobs
GUARDS+=,test_rmdir_other_file

# The series' own programs in virtual time, where what depends on a tick of 4 ms always comes out
# alike; the others in user-mode Linux.
selftests() {
    header selftests
    compare_selftests --accel virtual-time --only cgroup/test_events,cgroup/test_kill \
        --guards "$GUARDS"
    compare_selftests --config um \
        --only "${ONLY:-cgroup/test_core,cgroup/test_freezer,cgroup/test_pids,$(pidfd_programs)}"
}

compare_selftests() {
    local out
    out=$(mktemp -d)
    "$lab" compare --source "$SOURCE" --series "$A" --series "$B" --selftests \
        --selftest-runs "${RUNS:-3}" "$@" --boots 1 -n 1 --out "$out" |
        sed -n '/^## Selftests/,$p'
    rm -rf "$out"
}

pidfd_programs() {
    find "$(tree)/tools/testing/selftests/pidfd" -name 'pidfd_*.c' ! -name '*helper*' -printf \
        'pidfd/%f\n' | sed 's/\.c$//' | sort | paste -sd,
}

# --- The kernel that watches itself ---------------------------------------------------------------

# Any report of its own on the console ends a run with an error.
debug_kernel() {
    "$lab" build --source "$SOURCE" --series "$A" --series "$B" --config "$1" \
        | awk 'NR == 1 { print $1 }'
}

# The emulated processor is slow and has every preemption point; user-mode Linux flips many times
# faster.
storm() {
    local config kernel
    header storm
    for config in debug um,debug; do
        kernel=$(debug_kernel "$config")
        echo "kernel: $kernel"
        "$lab" run -k "$kernel" --memory 2048 --limit 900 -- lab-probe -n 10 storm \
            --storm-s "${STORM_S:-600}" |
            sed 's/"samples_ns":\[[^]]*\]/"samples_ns":"not kept"/'
    done
}

# Every scenario, watched and killed by what the series changes.
debug() {
    local kernel mode
    header debug
    kernel=$(debug_kernel um,debug)
    echo "kernel: $kernel"
    for mode in v1 hybrid v2; do
        "$lab" run -k "$kernel" --memory 2048 --cgroup "$mode" -- lab-probe -n 20 hierarchies 2>&1
    done
    kernel=$(debug_kernel debug)
    echo "kernel: $kernel"
    "$lab" run -k "$kernel" --memory 2048 --limit 3600 -- scenario all --trials 1 --deadline 60s \
        --quiet \
        --detector cgroup-events-poll,cgroup-events-inotify,cgroup-kill-poll \
            --kill cgroup-kill,cgroup-kill-release,freeze-kill
    "$lab" test --source "$SOURCE" --series "$A" --series "$B" --config debug --memory 2048 \
        --no-integration --limit 900 --known "$KNOWN" \
        --only cgroup/test_core,cgroup/test_events,cgroup/test_freezer \
        --only cgroup/test_kill,pidfd/pidfd_test 2>&1
}

# --- Before and after -----------------------------------------------------------------------------

compare() {
    local series kernel status=0
    header compare
    "$lab" compare --source "$SOURCE" --series "$A" --series "$B" --boots 3 -n 50 \
        --out "$OUT/compare"
    # A loss is rare or it is certain: a thousand times, then.
    for series in '' "--series $A --series $B"; do
        # shellcheck disable=SC2086
        kernel=$("$lab" build --source "$SOURCE" $series | awk 'NR == 1 { print $1 }')
        echo "lost, 1000 tries each: $kernel"
        "$lab" run -k "$kernel" --accel virtual-time --limit 3600 -- lab-probe -n 1000 lost \
            | sed 's/,"samples_ns":\[[^]]*\]//'
    done
    # The harness's own detectors, on the patched kernel; a base has nothing to poll.
    "$lab" run -k "$kernel" --accel virtual-time --limit 3600 -- scenario measure exit-now \
        --set lifetime=0,1ms --kill none \
        --detector cgroup-kill-poll,cgroup-events-poll,pidfd-main,waitpid-main --trials 200 \
            --seed 6 --quiet
    kernel=$("$lab" build --source "$SOURCE" | awk 'NR == 1 { print $1 }')
    echo "harness, cgroup-kill-poll: $kernel"
    "$lab" run -k "$kernel" --accel virtual-time -- scenario exit-now --detector cgroup-kill-poll \
        || status=$?
    # A required feature is missing, says the command.
    [ "$status" = 3 ]
}

cost() {
    header cost
    "$lab" cost --source "$SOURCE" --series "$A" --config lean --raw "$OUT/cost.jsonl"
}

rt() {
    header rt
    "$lab" compare --source "$SOURCE" --series "$A" --series "$B" --config hz1000,preempt-rt \
        --boots 3 -n 50 --out "$OUT/compare-rt"
}

for stage in "${stages[@]}"; do
    "$stage" 2>&1 | if [ "$stage" = patches ] \
        && [ "$first" -gt 0 ]; then tee -a "$OUT/$stage.txt"; else tee "$OUT/$stage.txt"; fi
done
