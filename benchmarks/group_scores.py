"""A group as one tagger: strict F1 of its averaged probabilities on labeled files.

    python benchmarks/group_scores.py GROUP --row 'the five runs as one group' --test FILE [--valid FILE] [--record NAME]

Each score is that of `evaluate`, with one thread. Give ``--valid`` only for a group that was not trained on that file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import record  # noqa: E402


def main() -> None:
    """Score, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("group", type=Path, help="folder of a finished group")
    parser.add_argument("--row", required=True, help="the row's name in RESULTS.md")
    parser.add_argument("--test", type=Path, required=True, help="labeled file")
    parser.add_argument("--valid", type=Path, help="labeled file")
    parser.add_argument("--note", default="", help="what a reader must know beside the figures")
    record.add_option(parser)
    given = parser.parse_args()
    files = {"test F1": given.test, **({"valid F1": given.valid} if given.valid else {})}
    figures: dict[str, record.Figure] = {name: f1(given.group, file) for name, file in files.items()}
    print(f"{given.row}: " + ", ".join(f"{name} {value:.4f}" for name, value in figures.items()))
    runs = [path.parent for path in sorted(given.group.glob("seed_*/manifest.json"))]
    manifests = {run.name: json.loads((run / "manifest.json").read_text()) for run in runs}
    weights = {f"seed {name.removeprefix('seed_')}": str(each["weights_sha256"]) for name, each in manifests.items()}
    record.write(
        given.record, "conll", {given.row: figures}, modules=record.PREDICT, threads=1, data=files.values(), weights=weights,
        note=given.note,
    )  # fmt: skip


def f1(group: Path, file: Path) -> float:
    """Strict F1 of the group on a labeled file."""
    command = [sys.executable, str(ROOT / "cli.py"), "evaluate", str(group), str(file), "--json", "--threads", "1"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(done.stdout)["strict"]["micro avg"]["f1-score"])


if __name__ == "__main__":
    main()
