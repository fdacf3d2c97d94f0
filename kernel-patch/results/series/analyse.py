#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tables from the CSV lines of measure.c.

usage: analyse.py NAME=LOG...

Ratios are of medians of trials interleaved in one boot; the upper bound is the
97.5th percentile of 2000 bootstrap resamples. All times are emulated.
"""
import random
import statistics
import sys

random.seed(1)


def load(path):
    rows = []
    for line in open(path, errors="replace"):
        fields = line.strip().split(",")
        if fields[0] in ("lat", "frz", "rmd", "stm", "stmflips", "missed"):
            rows.append(fields)
    return rows


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(p * len(values)))]


def ratio(a, b):
    boots = sorted(
        statistics.median(random.choices(a, k=len(a)))
        / statistics.median(random.choices(b, k=len(b)))
        for _ in range(2000)
    )
    return statistics.median(a) / statistics.median(b), boots[1950]


def main():
    for arg in sys.argv[1:]:
        name, path = arg.split("=", 1)
        rows = load(path)
        cells = {}
        for r in rows:
            if r[0] in ("lat", "frz"):
                cells.setdefault((r[0], r[2]), {}).setdefault(r[1], []).append(int(r[3]))
        for (kind, arg2), by in sorted(cells.items()):
            what = f"lifetime {arg2} us" if kind == "lat" else f"freeze, kill {arg2} tasks"
            for det, v in sorted(by.items()):
                line = f"{name:14} {what:22} {det:22} n {len(v):4} median {statistics.median(v)/1000:9.0f} us  p90 {percentile(v, .9)/1000:9.0f}  p99 {percentile(v, .99)/1000:9.0f}"
                if kind == "lat" and det != "pidfd-main":
                    r, up = ratio(v, by["pidfd-main"])
                    line += f"  / pidfd {r:6.2f} (<= {up:.2f})"
                print(line)
        lost = {}
        for r in rows:
            if r[0] == "rmd":
                lost.setdefault((r[1], r[2]), []).append(int(r[3]))
        for (det, jobs), v in sorted(lost.items()):
            print(f"{name:14} rmdir, {jobs} job(s)        {det:22} n {len(v):4} never woken {v.count(0)}")
        storms = {}
        for r in rows:
            if r[0] == "stm":
                storms.setdefault(r[1], []).append(int(r[2]))
        for r in rows:
            if r[0] == "stmflips":
                t = storms.get(r[1], [])
                secs = int(r[2])
                worst = max((sum(1 for u in t if s <= u < s + 16_000_000) for s in t), default=0)
                print(f"{name:14} storm {secs} s, {r[3]} flips  {r[1]:22} wake-ups {len(t)}, mean {len(t) * 0.016 / secs:.2f} per 16 ms, worst window of 16 ms {worst}")
        print(f"{name:14} missed: {sum(1 for r in rows if r[0] == 'missed')}")


main()
