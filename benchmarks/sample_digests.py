"""The digests of the weights that the demo's two commands train here: on two threads, or with --portable on one.

python benchmarks/sample_digests.py
python benchmarks/sample_digests.py --portable   # the same on every x86-64 CPU
ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/sample_digests.py
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import record  # noqa: E402


def main() -> None:
    """Train, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portable", action="store_true", help="train both with --portable")
    record.add_option(parser)
    given = parser.parse_args()
    level = ["--portable"] if given.portable else ["--threads", "2"]
    with tempfile.TemporaryDirectory(prefix="samebits-digests-") as place:
        vectors, tagger = Path(place) / "vectors", Path(place) / "tagger"
        found = {
            "vectors": trained(vectors, "train-w2v", *level),
            "tagger": trained(tagger, "train-ner", "--vectors", str(vectors / "vectors.bin"), "--deterministic", *level),
        }
    row = "any x86-64, --portable" if given.portable else record.kind()
    print(f"{row}: vectors {found['vectors']}, tagger {found['tagger']}")
    modules = (*record.TAGGER, *record.WORDS, *(record.PORTABLE if given.portable else ()))
    rows = {row: {name: digest[:8] for name, digest in found.items()}}
    record.write(given.record, "sample-digests", rows, modules=modules, threads=1 if given.portable else 2, weights=found)


def trained(run: Path, *words: str) -> str:
    """The digest of the weights of the run that a command trains."""
    command = [sys.executable, str(ROOT / "cli.py"), *words, "--run", str(run), "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{words[0]} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return str(json.loads((run / "manifest.json").read_text(encoding="utf-8"))["weights_sha256"])


if __name__ == "__main__":
    main()
