"""What each part of the tagger is worth: F1 on the *validation* split, variant by variant and seed by seed.

    python benchmarks/ablations.py DATA --vectors FILE --more-vectors FILE --results ablations.jsonl --root runs/ablations
    python benchmarks/ablations.py DATA --vectors FILE … --variants full "no CRF" --seeds 0
    python benchmarks/ablations.py DATA --vectors FILE … --name "wide" --seeds 0 1 -- --hidden-size 300
    python benchmarks/ablations.py --results ablations.jsonl --table

Each run is `train-ner` with the preset in a process of its own, one thread each, ``--jobs`` at a time. The test split is
never looked at (`--limit-test-batches 0`). Finished runs are lines of the results' file and are not done again, so that
the script can be stopped and started; a run that was cut off is resumed. Options after ``--`` go to train-ner.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import record  # noqa: E402

PRESET = "conll2003"

# One part at a time is taken away from the preset, or put in its place what the field has.
VARIANTS: dict[str, list[str]] = {
    "full": [],
    "no CRF (softmax)": ["--decoder", "softmax"],
    "no characters": ["--characters", "none"],
    "character LSTM": ["--characters", "lstm"],
    "no features": ["--features-dim", "0"],
    "no mentions": ["--no-mentions"],
    "no topic": ["--topic-dim", "0"],
    "no averaging": ["--average", "0"],
    "constant learning rate": ["--lr-schedule", "constant"],
    "no dropout": ["--dropout", "0"],
    "no word dropout": ["--word-dropout", "0"],
    "all vectors trained": ["--tune-min-count", "1"],
    "no vector trained": ["--freeze-vectors"],
    "128 units": ["--hidden-size", "128"],
    "no affix vectors": ["--no-affix-vectors"],
    "first view alone": ["--more-vectors", ""],
    "no vectors": ["--vectors", "none", "--more-vectors", ""],
}


def vector_options(options: argparse.Namespace, variant: list[str]) -> list[str]:
    """The vectors' options, and the variant's in their place where it has some: an empty --more-vectors takes all away."""
    found: list[str] = []
    if "--vectors" not in variant:
        found += ["--vectors", options.vectors]
    if "--more-vectors" not in variant:
        found += [part for path in options.more_vectors for part in ("--more-vectors", path)]
    rest = list(variant)
    while "" in rest:
        at = rest.index("")
        del rest[at - 1 : at + 1]
    return found + rest


def one(options: argparse.Namespace, name: str, variant: list[str], seed: int) -> dict[str, Any]:
    """Train one variant with one seed, or go on with it; returns its line of the results."""
    folder = Path(options.root) / f"{name.replace(' ', '_').replace('(', '').replace(')', '')}_{seed}"
    if (folder / "manifest.json").is_file():
        command = ["--resume", str(folder)]
    else:
        command = ["--preset", options.preset, "--data", options.data, *vector_options(options, variant), *options.extra]
        command += ["--limit-test-batches", "0", "--no-train-f1", "--seed", str(seed), "--threads", "1", "--deterministic"]
        command += ["--run", str(folder)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f"{folder.name}.log", "a") as log:
        whole = [sys.executable, str(ROOT / "cli.py"), "train-ner", "--no-progress", *command]
        subprocess.run(whole, check=True, stdout=log, stderr=log)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    curve = [round(line["val_f1"], 4) for line in lines if "val_f1" in line]
    return {
        "variant": name, "seed": seed, "val_f1": max(curve), "epoch": 1 + curve.index(max(curve)), "curve": curve,
        "options": command,
    }  # fmt: skip


def read(path: str) -> list[dict[str, Any]]:
    """The finished runs."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()] if Path(path).is_file() else []


def table(lines: list[dict[str, Any]]) -> str:
    """Markdown: a row for each variant, in the order of their first runs."""
    rows = ["| variant | valid F1: median (minimum to maximum) | seeds | best epoch |", "| --- | --- | --- | --- |"]
    for name in dict.fromkeys(line["variant"] for line in lines):
        mine = [line for line in lines if line["variant"] == name]
        scores, epochs = [line["val_f1"] for line in mine], [line["epoch"] for line in mine]
        middle = f"{statistics.median(scores):.4f} ({min(scores):.4f} to {max(scores):.4f})"
        rows.append(f"| {name} | {middle} | {len(mine)} | {statistics.median(epochs):g} |")
    return "\n".join(rows)


def keep(options: argparse.Namespace) -> None:
    """The record, of all runs that there are."""
    rows: dict[str, dict[str, record.Figure]] = {}
    lines = read(options.results)
    for name in dict.fromkeys(line["variant"] for line in lines):
        mine = [line for line in lines if line["variant"] == name]
        rows[name] = {
            "valid F1": [line["val_f1"] for line in mine], "best epoch": statistics.median(line["epoch"] for line in mine)
        }  # fmt: skip
    data = [options.data] if options.data else []
    record.write(options.record, "conll-parts", rows, modules=record.TAGGER, threads=1, data=data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?")
    parser.add_argument("--vectors", default="none")
    parser.add_argument("--more-vectors", nargs="*", default=[])
    parser.add_argument("--preset", default=PRESET)
    parser.add_argument("--results", default="runs/ablations/results.jsonl")
    parser.add_argument("--root", default="runs/ablations")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--name", help="a variant of your own, of the options after --")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--table", action="store_true", help="only show what there is")
    record.add_option(parser)
    given = sys.argv[1:]
    at = given.index("--") if "--" in given else len(given)
    options = parser.parse_args(given[:at])
    options.extra = given[at + 1 :]
    if options.table:
        print(table(read(options.results)))
        keep(options)
        return
    if options.data is None:
        parser.error("expected the folder with the data")
    chosen: dict[str, list[str]] = {options.name: []} if options.name else {n: VARIANTS[n] for n in options.variants}
    done = {(line["variant"], line["seed"]) for line in read(options.results)}
    todo = [(name, seed) for seed in options.seeds for name in chosen if (name, seed) not in done]
    Path(options.results).parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        for line in pool.map(lambda run: one(options, run[0], chosen[run[0]], run[1]), todo):
            with open(options.results, "a") as stream:
                stream.write(json.dumps(line) + "\n")
    print(table(read(options.results)))
    keep(options)


if __name__ == "__main__":
    main()
