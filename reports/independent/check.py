#!/usr/bin/env python3
"""A second computation of what `report render` writes, in another language and from the definitions
in METHODOLOGY.md alone.

Reads the raw trials of three datasets and compares counts, medians, quantiles with their intervals,
and ratios and differences of medians with the generated CSV, digit by digit. What depends on random
draws (intervals of ratios, p-values, and the words made of them) is not computed again here.

Needs Python 3.8, its standard library, and the program `zstd` (or Python's own module, from 3.14 on).

    python3 reports/independent/check.py [--generated DIR] [DATASET ...]

Ends with 0 if everything agrees, with 1 if something differs, with 2 if it could not be compared.
"""

import argparse
import csv
import functools
import io
import json
import math
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATASETS = ["latency", "kill-64", "verdicts"]
NEVER = math.inf


def unpacked(path):
    """The content of a file that zstd compressed."""
    try:
        return subprocess.run(["zstd", "-dcq", str(path)], check=True, stdout=subprocess.PIPE).stdout
    except FileNotFoundError:
        try:
            from compression import zstd
        except ImportError:
            sys.exit("neither the program zstd nor Python's compression.zstd is here: install zstd")
        return zstd.decompress(path.read_bytes())


def records(path):
    return [json.loads(line) for line in unpacked(path).splitlines()]


# --- The definitions ---------------------------------------------------------------------------


def is_broken(trial):
    return trial["outcome"] in ("broken", "interrupted")


def latency(trial, deadline):
    """From the last exit stamp to the verdict; of a kill, from the decision to `populated 0`."""
    stamps, outcome = trial["stamps"], trial["outcome"]
    if outcome in ("missed", "survived"):
        return NEVER
    if outcome in ("right", "removed"):
        verdict = trial["verdict"]
        said = verdict["decided_ns"] if verdict["kind"] == "empty" else verdict["at_ns"]
        late = 0
        if stamps.get("intended_ns") is not None:
            late = max(0, stamps["spawn_ns"] - stamps["intended_ns"])
        return max(0, said - stamps["over_lower_ns"]) + late
    if outcome == "emptied":
        took = stamps["unpopulated_ns"] - decision(trial)
        return took if took <= deadline else NEVER
    return None


def decision(trial):
    if trial["stamps"].get("ready_ns") is not None:
        return trial["stamps"]["ready_ns"]
    return trial["kill"].get("begun_ns") or trial["kill"]["first_signal_ns"]


def holding(trial):
    signal = trial["kill"]["first_signal_ns"] if trial["kill"] else 0
    if trial["outcome"] not in ("emptied", "survived") or not signal:
        return None
    return max(0, signal - decision(trial))


def dying(trial):
    signal = trial["kill"]["first_signal_ns"] if trial["kill"] else 0
    if trial["outcome"] != "emptied" or not signal:
        return None
    return max(0, trial["stamps"]["unpopulated_ns"] - signal)


def launch(trial):
    asked = trial["counters"].get("asked_ns") or trial["stamps"]["spawn_ns"]
    running = trial["stamps"].get("running_ns")
    if asked is None or running is None or running < asked:
        return None
    return running - asked


def nearest_rank(values, permille):
    return sorted(values)[max(1, -(-len(values) * permille // 1000)) - 1]


def median(values):
    values = [value for value in values if value is not None]
    return nearest_rank(values, 500) if values else None


@functools.lru_cache(maxsize=None)
def ranks(n, permille):
    """Order statistics between which the quantile lies with 95 %, in whole numbers."""
    low = high = None
    below, total = 0, 1000**n
    for k in range(n + 1):
        below += math.comb(n, k) * permille**k * (1000 - permille) ** (n - k)
        if 40 * below <= total:
            low = k + 1
        if 40 * below >= 39 * total:
            high = k + 1
            break
    return low, high if high is not None and high <= n else None


def quantile(values, permille):
    """Value and both ends; nothing where too few trials lie beyond it."""
    n = len(values)
    beyond = 10 if permille > 990 else 1
    if n == 0 or (permille > 500 and n * (1000 - permille) < beyond * 1000):
        return None, None, None
    low, high = ranks(n, permille)
    at = sorted(values)
    return nearest_rank(values, permille), at[low - 1] if low else None, at[high - 1] if high else None


def outliers(values):
    if not values:
        return 0
    first, third = nearest_rank(values, 250), nearest_rank(values, 750)
    if third == NEVER:
        return 0
    return sum(value > third + 3 * (third - first) for value in values)


# --- A dataset ---------------------------------------------------------------------------------


def row_of(thing):
    """What makes a row one; in the kill plane detectors take turns within it."""
    params = json.dumps(thing["params"], sort_keys=True)
    detector = thing["detector"] if thing["plane"] == "detect" else ""
    return thing["plane"], thing["scenario"], params, detector, thing["strategy"]


def computed(data):
    """All figures of a dataset, by label, mechanism and twin."""
    plan = json.loads(unpacked(data / "plan.json.zst"))
    deadline = plan["deadline_ns"] or NEVER
    rows = {}
    for trial in records(data / "trials.jsonl.zst"):
        rows.setdefault((row_of(trial), trial["twin"]), []).append(trial)
    labels = {row_of(row): row["label"] for row in plan["rows"]}
    pools = {}
    for (key, _), trials in rows.items():
        found = [latency(trial, deadline) for trial in trials if not is_broken(trial)]
        name = labels[key], key[4] or key[3]
        pools.setdefault(name, []).extend(value for value in found if value is not None)
    figures = {}
    for (key, twin), trials in rows.items():
        name = labels[key], key[4] or key[3]
        figures[name + (twin,)] = figures_of(trials, deadline)
    return figures, pools


def figures_of(trials, deadline):
    whole = [trial for trial in trials if not is_broken(trial)]
    values = [latency(trial, deadline) for trial in whole]
    values = [value for value in values if value is not None]
    count = lambda *outcomes: sum(trial["outcome"] in outcomes for trial in whole)
    out = {
        "n": len(whole),
        "broken": len(trials) - len(whole),
        "held": sum(trial["held"] for trial in whole),
        "right": count("right", "removed"),
        "early": count("early"),
        "missed": count("missed"),
        "emptied": count("emptied"),
        "survived": count("survived"),
    }
    judged = ["right", "early", "missed", "emptied", "survived"]
    out["other"] = out["n"] - sum(out[name] for name in judged)
    for name, permille in (("p50", 500), ("p90", 900), ("p99", 990)):
        at, low, high = quantile(values, permille)
        out.update({f"{name}_ns": at, f"{name}_low_ns": low, f"{name}_high_ns": high})
    out["p999_ns"] = quantile(values, 999)[0]
    seen = [value for value in values if value < NEVER]
    out["max_ns"] = max(seen) if seen else None
    out["outliers"] = outliers(values)
    out["launch_ns"] = median(launch(trial) for trial in whole)
    out["prepare_ns"] = median(trial["counters"]["prepare_ns"] for trial in whole) or None
    out["cpu_ns"] = median(trial["cpu_ns"] for trial in whole)
    out["wakeups"] = median(trial["counters"]["wakeups"] for trial in whole)
    out["survivors_max"] = max(len(trial["survivors"]) for trial in trials)
    out["signals"] = median(trial["kill"]["signals"] for trial in whole if trial["kill"])
    out["holding_ns"] = median(holding(trial) for trial in whole)
    out["dying_ns"] = median(dying(trial) for trial in whole)
    return out


def compared(row, pools):
    """Ratio and difference of the medians of both mechanisms, twins as one."""
    if not row["reference"]:
        return {"ratio": None, "difference_ns": None}
    of = median(pools[row["label"], row["strategy"] or row["detector"]])
    to = median(pools[row["label"], row["reference"]])
    if of is None or to is None or NEVER in (of, to):
        return {"ratio": None, "difference_ns": None}
    return {"ratio": f"{of / to:.4f}", "difference_ns": of - to}


def written(value):
    return "" if value is None or value == NEVER else str(value)


def differences(text, figures, pools):
    """Where the CSV says something else; and how many figures were compared."""
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("#")]
    found, fields, left = [], 0, set(figures)
    for row in csv.DictReader(io.StringIO("".join(lines))):
        name = row["label"], row["strategy"] or row["detector"], int(row["twin"])
        if name not in figures:
            found.append(f"{name}: no such row in the trials")
            continue
        left.discard(name)
        for field, value in {**figures[name], **compared(row, pools)}.items():
            fields += 1
            if row[field] != written(value):
                found.append(f"{name}, {field}: the CSV has {row[field] or 'nothing'}, computed {value}")
    found.extend(f"{name}: not in the CSV" for name in sorted(left))
    return found, fields


def one_digit_changed(text):
    """The same file with another last digit of the first median."""
    lines = text.splitlines(keepends=True)
    head = next(at for at, line in enumerate(lines) if not line.startswith("#"))
    column = next(csv.reader([lines[head]])).index("p50_ns")
    for at in range(head + 1, len(lines)):
        fields = next(csv.reader([lines[at]]))
        if fields[column]:
            old = fields[column]
            fields[column] = old[:-1] + str((int(old[-1]) + 1) % 10)
            out = io.StringIO()
            csv.writer(out, lineterminator="\n").writerow(fields)
            return "".join(lines[:at]) + out.getvalue() + "".join(lines[at + 1 :])
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generated", type=pathlib.Path, default=ROOT / "reports/generated")
    parser.add_argument("datasets", nargs="*", default=DATASETS)
    args = parser.parse_args()
    failed = False
    for name in args.datasets:
        figures, pools = computed(ROOT / "reports/data" / name)
        text = (args.generated / f"{name}.csv").read_text()
        found, fields = differences(text, figures, pools)
        for difference in found:
            print(f"{name}: {difference}")
        # A comparison that cannot fail would say nothing.
        if not found and len(differences(one_digit_changed(text), figures, pools)[0]) != 1:
            print(f"{name}: a changed digit was not found")
            return 2
        failed |= bool(found)
        if not found:
            print(f"{name}: {len(figures)} rows, {fields} figures agree; one changed digit is found")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, KeyError, ValueError, subprocess.CalledProcessError) as error:
        print(f"could not compare: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(2)
