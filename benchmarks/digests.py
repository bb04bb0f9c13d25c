"""The digests of a few short runs, to show that a change changes no bit: run it before the change and after it.

    python benchmarks/digests.py [--json FILE]

Skip-gram, CBOW and the softmaxes, the tagger's presets, --any-threads and --portable, on data/sample: of each run the first
characters of the SHA-256 of its weights and of the files that repeat byte for byte. About two minutes on two free cores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = ("metrics.jsonl", "ledger.jsonl", "predictions.conll", "test_report.txt", "test_report.html")
SHOWN = 16  # characters of a digest

W2V, NER = "train-w2v --epochs", "train-ner --max-epochs 1"
RUNS = {
    "skip-gram": f"{W2V} 2",
    "skip-gram, any threads": f"{W2V} 1 --any-threads",
    "skip-gram, portable": f"{W2V} 1 --portable",
    "CBOW": f"{W2V} 1 --architecture cbow",
    "skip-gram, hierarchical softmax": f"{W2V} 1 --loss hierarchical",
    "CBOW, hierarchical softmax": f"{W2V} 1 --architecture cbow --loss hierarchical",
    "skip-gram, softmax": f"{W2V} 1 --loss softmax --limit-train-batches 30",
    "tagger, lecture": f"{NER} --preset lecture --vectors VECTORS --deterministic --val-check-interval .5",
    "tagger": f"{NER} --vectors VECTORS --deterministic",
    "tagger, any threads": f"{NER} --vectors VECTORS --any-threads --limit-train-batches 40",
    "tagger, portable": f"{NER} --vectors VECTORS --portable --limit-train-batches 40",
    "tagger, character LSTM": f"{NER} --vectors none --characters lstm --deterministic --limit-train-batches 40",
}


def digests(folder: Path) -> dict[str, str]:
    """A run's digests by name: its weights, then the files that it has of FILES."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    found = {"weights": str(manifest["weights_sha256"])}
    for name in FILES:
        if (folder / name).is_file():
            found[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return {name: digest[:SHOWN] for name, digest in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the digests to this file, too")
    arguments = parser.parse_args()
    found: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="digests-") as scratch:
        vectors = f"{scratch}/skip-gram/vectors.bin"
        for name, command in RUNS.items():
            folder = Path(scratch) / name
            words = [vectors if word == "VECTORS" else word for word in command.split()]
            subprocess.run([sys.executable, "cli.py", *words, "--run", str(folder), "--quiet"], cwd=ROOT, check=True)
            found[name] = digests(folder)
            print(f"{name}: {' '.join(f'{file}={digest}' for file, digest in found[name].items())}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
