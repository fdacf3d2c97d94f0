#!/usr/bin/env python3
"""Compares two builds of `scenario`: did a change of the code make a mechanism slower?

Both builds play the same rows on the same machine by turns. Rounds are short, the order within a
round is drawn, and a round's trials stay together, so that a drift of the machine meets both builds
alike. For each row it prints the ratio of medians (second build to first) with a bootstrap interval
over rounds, and says which ratios lie above a bound after Holm's correction over all rows.

    python3 reports/independent/builds.py OLD NEW [--rounds 40] [--trials 5] [--bound 1.05] [--keep DIR]

OLD and NEW are programs (`target/release/scenario` of two checkouts). Needs root or a delegated
cgroup as any run, Python 3.8 and its standard library. Ends with 1 if a ratio lies above the bound.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

from check import latency, launch, nearest_rank

DEADLINE = "10s"
DETECTORS = "waitpid-main,pidfd-main,cgroup-events-poll,cgroup-procs-poll,subreaper,cgroup-events-inotify"
STRATEGIES = "cgroup-kill,cgroup-kill-sweep,freeze-kill,procs-loop,term-grace-kill"
PLAN = [
    ["exit-now", "--kill", "none", "--detector", DETECTORS, "--set", "lifetime=0,1ms,20ms"],
    ["sleepers", "--detector", "none", "--kill", STRATEGIES, "--set", "sleepers=63", "--tasks", "200"],
    ["sleepers", "--detector", "none", "--kill", STRATEGIES, "--set", "sleepers=999", "--tasks", "1200"],
]
DRAWS = 4_000


def play(program, place, trials, seed):
    """All rows once, by one build: the times of each row."""
    times = {}
    for number, part in enumerate(PLAN):
        out = place / str(number)
        few = max(1, trials // 5) if "sleepers=999" in part else trials
        command = [program, *part, "--trials", str(few), "--seed", str(seed), "--quiet",
                   "--deadline", DEADLINE, "--out", str(out)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
        for line in (out / "trials.jsonl").read_text().splitlines():
            trial = json.loads(line)
            mechanism = trial["strategy"] if trial.get("kill") else trial["detector"]
            row = (trial["scenario"], json.dumps(trial["params"], sort_keys=True), mechanism)
            for what, took in (("latency", latency(trial, 10_000_000_000)), ("launch", launch(trial))):
                if took is not None:
                    times.setdefault((*row, what), []).append(took)
    return times


def median(rounds):
    return nearest_rank([value for values in rounds for value in values], 500)


def compare(old, new, draw):
    """The ratio of medians, its draws in order."""
    ratios = []
    for _ in range(DRAWS):
        a = median(draw.choices(old, k=len(old)))
        b = median(draw.choices(new, k=len(new)))
        ratios.append(b / max(a, 1))
    return median(new) / max(median(old), 1), sorted(ratios)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--bound", type=float, default=1.05)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=pathlib.Path, help="keep the raw trials here")
    args = parser.parse_args()
    if args.rounds < 10:
        parser.error("fewer than 10 rounds say nothing: an interval is made of rounds")
    draw = random.Random(args.seed)
    seen = {args.old: {}, args.new: {}}
    with tempfile.TemporaryDirectory() as made:
        place = args.keep or pathlib.Path(made)
        for turn in range(args.rounds):
            order = [args.old, args.new]
            draw.shuffle(order)
            for program in order:
                name = "old" if program == args.old else "new"
                times = play(program, place / f"{turn}-{name}", args.trials, turn)
                for row, values in times.items():
                    seen[program].setdefault(row, []).append(values)
            print(f"\rround {turn + 1} of {args.rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    rows = []
    for row in sorted(set(seen[args.old]) & set(seen[args.new])):
        old, new = seen[args.old][row], seen[args.new][row]
        ratio, ratios = compare(old, new, draw)
        above = sum(1 for r in ratios if r <= args.bound)
        p = (above + 1) / (len(ratios) + 1)
        low, high = nearest_rank(ratios, 25), nearest_rank(ratios, 975)
        rows.append((p, row, ratio, low, high, median(old), median(new), sum(map(len, new))))
    missing = set(seen[args.old]) ^ set(seen[args.new])
    rejected, holm = set(), True
    for rank, (p, row, *_) in enumerate(sorted(rows)):
        holm = holm and p <= 0.05 / (len(rows) - rank)
        if holm:
            rejected.add(row)
    print("| scenario | axes | mechanism | what | n | old | new | new ÷ old |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for p, row, ratio, low, high, old, new, n in sorted(rows, key=lambda r: r[1]):
        mark = f" above {args.bound}" if row in rejected else ""
        print(f"| {row[0]} | {row[1]} | {row[2]} | {row[3]} | {n} "
              f"| {old / 1000:.1f} us | {new / 1000:.1f} us "
              f"| {ratio:.3f} [{low:.3f}, {high:.3f}]{mark} |")
    print(f"\n{len(rows)} ratios, {len(rejected)} above {args.bound} after Holm's correction; "
          f"largest {max(r[2] for r in rows):.3f}.")
    if missing:
        print(f"Played by one build alone: {sorted(missing)}")
    return 1 if rejected or missing else 0


if __name__ == "__main__":
    sys.exit(main())
