"""A preset (the lecture's, unless told otherwise) over several seeds: test F1 as median (minimum to maximum).

    python benchmarks/lecture_seeds.py DATA --vectors FILE --seeds 0 1 2 3 4 --root runs/lecture
    python benchmarks/lecture_seeds.py DATA --preset conll2003 --vectors FILE --more-vectors FILE --root runs/conll2003

Each seed is `python cli.py train-ner --preset … --deterministic` in a process of its own, ``--jobs`` of them at a
time with one thread each. Options that are not its own go to train-ner. Finished runs are taken as they are, and one that
was cut off is resumed, so that it can be stopped and started again.
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


def one(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train one seed, if its run is not there already; returns its manifest."""
    folder = Path(options.root) / f"{options.name}_{seed}"
    manifest = folder / "manifest.json"
    if not manifest.is_file() or json.loads(manifest.read_text())["status"] != "finished":
        command = [sys.executable, str(ROOT / "cli.py"), "train-ner", "--no-progress"]
        if manifest.is_file():
            command += ["--resume", str(folder)]
        else:
            command += ["--preset", options.preset, "--data", options.data, "--vectors", options.vectors]
            command += ["--seed", str(seed), "--threads", "1", "--deterministic", "--run", str(folder), *options.extra]
        folder.parent.mkdir(parents=True, exist_ok=True)
        with open(folder.parent / f"{folder.name}.log", "a") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log)
    return dict(json.loads(manifest.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--vectors", default="none")
    parser.add_argument("--preset", default="lecture")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--root", default="runs/lecture")
    parser.add_argument("--name", default="seed")
    parser.add_argument("--jobs", type=int, default=2)
    record.add_option(parser)
    options, extra = parser.parse_known_args()
    options.extra = extra
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = list(pool.map(lambda seed: one(options, seed), options.seeds))
    scores = [float(run["metrics"]["test_f1"]) for run in runs]
    listed = ", ".join(f"{seed}: {score:.4f}" for seed, score in zip(options.seeds, scores, strict=True))
    print(f"test F1 median {statistics.median(scores):.4f} ({min(scores):.4f} to {max(scores):.4f}); {listed}")
    keep(options, runs, scores)


def keep(options: argparse.Namespace, runs: list[dict[str, Any]], scores: list[float]) -> None:
    """The record: of the sample, the lecture's preset, or CoNLL-2003's."""
    subject = {"default": "sample", "lecture": "lecture"}.get(options.preset, "conll")
    vectors = "random vectors" if options.vectors == "none" else "our vectors"
    row = f"--preset {options.preset}" if subject == "conll" else vectors
    figures: dict[str, record.Figure] = {"test F1": scores}
    if all("best_val_f1" in run["metrics"] for run in runs):
        figures["valid F1"] = [float(run["metrics"]["best_val_f1"]) for run in runs]
    weights = {f"seed {seed}": str(run["weights_sha256"]) for seed, run in zip(options.seeds, runs, strict=True)}
    data = [options.data, *([] if options.vectors == "none" else [options.vectors])]
    record.write(
        options.record, subject, {row: figures}, modules=record.TAGGER, threads=1, data=data, weights=weights
    )  # fmt: skip


if __name__ == "__main__":
    main()
