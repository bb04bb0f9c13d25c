"""How good train-w2v's and gensim's vectors are, run by run, with the settings of w2v_speed.py.

Each run is a process of its own. Its scores are appended to FOLDER/runs.jsonl and its vectors kept in FOLDER, under a name
made of the settings; what is there already is not computed again. ``--summary`` shows medians and ranges by setting.

Example:
  python benchmarks/w2v_quality.py text8like.txt --folder results --tool gensim --lr 0.025 0.05 --seeds 0 1 2 --sets EN-*.txt
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record, w2v_speed
from training.files import sha256_file

COLUMNS = {
    "EN-WS-353-ALL": "WordSim-353", "EN-MEN-TR-3k": "MEN", "EN-SIMLEX-999": "SimLex-999", "questions-words": "analogies",
}  # fmt: skip
"""What RESULTS calls the sets."""


def main() -> None:
    arguments = parser().parse_args()
    if arguments.one:
        one(arguments)
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.summary:
        summary(arguments)
        return
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for rate in arguments.lr:
            name = w2v_speed.name_of(arguments, arguments.tool, rate, seed)
            if name in {run["name"] for run in w2v_speed.recorded(arguments.folder)}:
                continue
            own = ["--one", name, "--rate", str(rate), "--seed", str(seed)]
            done = subprocess.run([sys.executable, __file__, *sys.argv[1:], *own], check=False)
            if done.returncode:
                sys.exit(f"{name}: exit code {done.returncode}")


def parser() -> argparse.ArgumentParser:
    command = w2v_speed.parser()
    command.description = __doc__
    command.add_argument("--tool", choices=["samebits", "gensim"], default="samebits")
    command.add_argument("--summary", action="store_true", help="show what is there, by setting")
    command.set_defaults(seeds=1)
    return command


def one(arguments: argparse.Namespace) -> None:
    """Train once in this process, score, write down."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        train = w2v_speed.samebits if arguments.tool == "samebits" else w2v_speed.gensim
        _, _, cpu, path = train(arguments, Path(place))
        w2v_speed.record(arguments, arguments.one, path, cpu)
    print(w2v_speed.recorded(arguments.folder)[-1], flush=True)


def summary(arguments: argparse.Namespace) -> None:
    """Medians with minimum and maximum of all seeds, by setting; all of them are one record."""
    groups: dict[str, list[dict[str, Any]]] = {}
    kept = [run["name"] for run in w2v_speed.recorded(arguments.folder)]
    for run in w2v_speed.recorded(arguments.folder):
        groups.setdefault(run["name"].rsplit(" seed=", 1)[0], []).append(run)
    for name, runs in sorted(groups.items()):
        print(f"{name}: {len(runs)} runs, median {statistics.median(run['cpu'] for run in runs):.0f} s of processor time")
        for key in runs[0]["scores"]:
            values = [run["scores"][key] for run in runs]
            print(f"  {key}: {statistics.median(values):.4f} ({min(values):.4f} to {max(values):.4f})")
    rows: record.Rows = {
        shown(name): {COLUMNS.get(key, key): [run["scores"][key] for run in runs] for key in runs[0]["scores"]}
        for name, runs in groups.items()
    }
    ours = {name: sha256_file(w2v_speed.kept_at(arguments.folder, name)) for name in kept if name.startswith("samebits")}
    modules, data = (*record.WORDS, *record.VECTORS), [arguments.corpus, *arguments.sets]
    record.write(
        arguments.record, "words-quality", rows, modules=modules, threads=arguments.threads, data=data,
        weights={name.partition(" ")[2]: digest for name, digest in ours.items()},
    )  # fmt: skip


def shown(name: str) -> str:
    """What RESULTS calls the runs of a setting: skip-gram, 100-d, gensim, lr 0.05."""
    tool, shape, setting = name.split(" ", 2)
    architecture, loss, dim = shape.split("-")[:3]
    words = [
        "skip-gram" if architecture == "skipgram" else "CBOW",
        *(["hierarchical softmax"] if loss == "hierarchical" else []),
    ]
    return ", ".join(
        [*words, f"{dim[1:]}-d", "ours" if tool == "samebits" else tool, *setting.replace("lr=", "lr ").split(",")]
    )


if __name__ == "__main__":
    main()
