#!/usr/bin/env python3
"""Counts what the recorded windows of hostile trials show, from the stamps and not from the verdict
that the harness gave.

A window is one run of `scenario run all`: each adversary under each mechanism that applies, once.
What a mechanism claims is read from the tables of SOUNDNESS.md. Counted against it are:

early       a detector that is never early said "empty" before the last exit of the tree began
lost        it had not said it at its deadline, although the tree was over and its cgroup there
survivors   a strategy that leaves nothing alive left a process alive
strangers   a strategy that hits no other process ended one outside of the tree

unless the trial's expectation, which is written down before the trial, names the reason (a process
outside of the mechanism's scope). The rest is compared too: `unheld` trials did something else than
was expected of them, whatever they claim; `broken` ones show nothing.

Needs Python 3.8 and the program `zstd`.

    python3 reports/independent/hostile.py            # the table of reports/hostile/README.md
    python3 reports/independent/hostile.py --check    # compares it with that file
"""

import json
import pathlib
import re
import sys

from check import unpacked

ROOT = pathlib.Path(__file__).resolve().parents[2]
WINDOWS = ROOT / "reports" / "hostile"
COLUMNS = "trials detect kill early lost survivors strangers unheld broken".split()


def claims():
    """Ids of detectors that are never early, of strategies that leave nothing, that hit nothing."""
    text = (ROOT / "SOUNDNESS.md").read_text()
    detectors, rest = text.split("## Kill strategies")[:2]
    strategies = rest.split("\n## ")[0]

    def rows(part):
        found = re.findall(r"^\| \[([^\]]+)\]\S* (\|.*)$", part, re.M)
        return {name: [cell.strip() for cell in row.split("|")[1:-1]] for name, row in found}

    never_early = {name for name, row in rows(detectors).items() if row[1] == "no"}
    leaves_nothing = {name for name, row in rows(strategies).items() if row[2] == "yes"}
    hits_nothing = {name for name, row in rows(strategies).items() if row[3] == "no other process"}
    assert never_early and leaves_nothing and hits_nothing
    return never_early, leaves_nothing, hits_nothing


def ended_before(stamps, verdict):
    """Whether the tree was certainly over when the detector gave up."""
    return stamps["over_upper_ns"] is not None and stamps["over_upper_ns"] <= verdict["at_ns"]


def count(trials, never_early, leaves_nothing, hits_nothing):
    n = dict.fromkeys(COLUMNS, 0)
    for trial in trials:
        n["trials"] += 1
        n[trial["plane"]] += 1
        if trial["outcome"] in ("broken", "interrupted"):
            n["broken"] += 1
            continue
        n["unheld"] += not trial["held"]
        stamps, expected = trial["stamps"], trial["expected"]
        if trial["plane"] == "detect" and trial["detector"] in never_early:
            verdict = trial["verdict"]
            if verdict["kind"] == "empty":
                begun = stamps["over_lower_ns"]
                early = begun is None or verdict["decided_ns"] < begun
                n["early"] += early and "early" not in expected
            elif verdict["kind"] != "site-removed" and ended_before(stamps, verdict):
                n["lost"] += not expected.startswith(("may be lost", "never fires"))
        elif trial["plane"] == "kill":
            if trial["strategy"] in leaves_nothing and "leave" not in expected:
                n["survivors"] += bool(trial["survivors"])
            if trial["strategy"] in hits_nothing:
                n["strangers"] += bool(trial["canaries_hit"]) and "leave" not in expected
    return n


def notices(trials, stated):
    """Whether a trial that is made to speak against each claim is counted."""
    never_early, leaves_nothing, hits_nothing = stated

    def first(plane, names):
        key = {"detect": "detector", "kill": "strategy"}[plane]
        ends = {"detect": ("sound", "right"), "kill": ("empties", "emptied")}[plane]
        fits = lambda t: (t["expected"], t["outcome"]) == ends and t[key] in names
        found = next(t for t in trials if t["plane"] == plane and fits(t))
        return json.loads(json.dumps(found))

    early, lost = first("detect", never_early), first("detect", never_early)
    early["verdict"]["decided_ns"] = early["stamps"]["over_lower_ns"] - 1
    lost["verdict"] = {"kind": "deadline-passed", "at_ns": lost["stamps"]["over_upper_ns"] + 1}
    survivor, stranger = first("kill", leaves_nothing), first("kill", hits_nothing)
    survivor["survivors"] = [1]
    stranger["canaries_hit"] = ["control"]
    made = {"early": early, "lost": lost, "survivors": survivor, "strangers": stranger}
    return all(
        count([trial], *stated)[name] == (name == column)
        for column, trial in made.items()
        for name in made
    )


def table():
    stated = claims()
    lines = ["| window | " + " | ".join(COLUMNS) + " |", "|" + "---|" * (len(COLUMNS) + 1)]
    total = dict.fromkeys(COLUMNS, 0)

    def row(name, n):
        lines.append(f"| {name} | " + " | ".join(str(n[column]) for column in COLUMNS) + " |")

    for path in sorted(WINDOWS.glob("*.jsonl.zst")):
        trials = [json.loads(line) for line in unpacked(path).splitlines()]
        if not notices(trials, stated):
            sys.exit(f"{path}: a trial that speaks against a claim would not be counted")
        n = count(trials, *stated)
        for column in COLUMNS:
            total[column] += n[column]
        row(path.name.split(".")[0], n)
    row("all", total)
    return "\n".join(lines)


def main():
    made = table()
    if "--check" not in sys.argv[1:]:
        print(made)
        return 0
    readme = (WINDOWS / "README.md").read_text()
    if made in readme:
        print("reports/hostile: the table is the one that the trials give")
        return 0
    print(f"reports/hostile/README.md has another table than this:\n{made}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
