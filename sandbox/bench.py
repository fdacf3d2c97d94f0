"""Makes one JSON document from what sandbox/bench.sh has measured.

A ratio is one of medians over all runs. Its interval (95 %) comes from resampling the blocks, with a
fixed seed: runs within a block share the machine's mood, so they are not resampled one by one.
"""

import glob
import json
import os
import random
import statistics
import subprocess
import sys

out, allgone = sys.argv[1:3]


def text(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def blocks(name):
    """For each command its times in seconds, block by block."""
    times = {}
    for path in sorted(glob.glob(f"{out}/{name}.*.json")):
        with open(path, encoding="utf-8") as file:
            for result in json.load(file)["results"]:
                times.setdefault(result["command"], []).append(result["times"])
    return times


def short_name(command):
    return command.replace(allgone, "allgone").replace(out + "/", "")


def median_of(some):
    return statistics.median(time for block in some for time in block)


def figures(times):
    rows = []
    for command, some in times.items():
        pooled = sorted(time for block in some for time in block)
        p99 = pooled[max(0, -(-len(pooled) * 99 // 100) - 1)]
        row = {"command": short_name(command), "n": len(pooled)}
        row |= {"median_ms": 1e3 * median_of(some), "p99_ms": 1e3 * p99, "min_ms": 1e3 * pooled[0]}
        rows.append(row)
    return rows


def ratio(name, times, one, other, limit):
    """Of the command whose name begins with `one` to the other's."""

    def find(start):
        (found,) = (some for command, some in times.items() if short_name(command).startswith(start))
        return found

    upper, lower = find(one), find(other)
    chance = random.Random(18)
    resampled = []
    for _ in range(2000):
        picks = [chance.randrange(len(upper)) for _ in upper]
        above = median_of([upper[pick] for pick in picks])
        below = median_of([lower[pick] for pick in picks])
        resampled.append(above / below)
    resampled.sort()
    interval = [resampled[50], resampled[-51]]
    value = median_of(upper) / median_of(lower)
    return {"name": name, "ratio": value, "interval_95": interval, "limit": limit}


def lines(name):
    with open(f"{out}/{name}.lines", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def known_ratio(known, name, limit):
    median = {row["name"]: row["from_the_stamp_to_knowing"]["median_us"] for row in known}
    ratio_of = median[name] / median["waitpid"]
    return {"name": f"the end is known, {name}, of waitpid", "ratio": ratio_of, "limit": limit}


def main():
    short, loop, compiled, known = blocks("short"), blocks("loop"), blocks("compile"), lines("known")
    rate = lines("rate")
    for row in rate:
        row["command"] = short_name(row["command"])
    bare, default, traced = "allgone run --bare", "allgone run --timeout", "allgone run --tier traced"
    closed = "allgone run --closed"
    document = {
        "kernel": text("uname", "-r"),
        "processors": os.cpu_count(),
        "bwrap": text("bwrap", "--version"),
        "hyperfine": text("hyperfine", "--version"),
        "timeout": text("timeout", "--version").splitlines()[0],
        "compiler": text("cc", "--version").splitlines()[0],
        "commit": text("git", "rev-parse", "HEAD"),
        "changed": text("git", "status", "--porcelain", "--untracked-files=no") != "",
        "allgone_bytes": os.path.getsize(allgone),
        "ratios": [
            ratio("--bare of `timeout 30 true`", short, bare, "timeout", 0.95),
            ratio("default of bwrap", short, default, "bwrap", 0.55),
            ratio("closed of bwrap", short, closed, "bwrap", 0.70),
            ratio("traced of `timeout 30 true`", short, traced, "timeout", None),
            ratio("traced, a shell's loop of 500 `true`", loop, traced, "sh -c", 2.5),
            ratio("--bare, the same loop", loop, bare, "sh -c", None),
            ratio("traced, a compile", compiled, traced, "cc", 1.1),
            known_ratio(known, "bare", 2.0),
            known_ratio(known, "default", 3.0),
            known_ratio(known, "traced", None),
        ],
        "at_50_a_second": rate,
        "known": known,
        "the_same_calls_in_c": lines("floor"),
        "commands": figures(short) + figures(loop) + figures(compiled),
    }
    print(json.dumps(document, indent=1))


main()
