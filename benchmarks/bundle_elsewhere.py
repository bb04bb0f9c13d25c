"""Whether a bundle tags elsewhere as it does here: with other code and packages, another home, and on other CPUs.

    PYTHONPATH=. python benchmarks/bundle_elsewhere.py BUNDLE FILE --clone CLONE --cpu Nehalem Haswell EPYC

CLONE is a clone with an environment of its own (`make .venv/.run`). There, and under qemu's user-mode emulation of other
CPUs, a process in an empty folder, with an empty HOME and one thread, tags FILE (CoNLL). Printed: how many tags differ
from those of this process, and the largest difference of a confidence.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import record  # noqa: E402

WORK = """
import json, sys
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from ner.corpus.conll import read_conll
from ner.tagging.tagger import TrainedTagger
tagger = TrainedTagger.load(sys.argv[2])
sentences = [s.words for s in read_conll(sys.argv[3], columns=tagger.columns, docstart="drop")][: int(sys.argv[4])]
found = tagger.predict(sentences)
print(json.dumps([[each.tags, each.confidences] for each in found]))
"""


def tagged(start: list[str], code: Path, bundle: Path, file: Path, sentences: int) -> Any:
    """Tags and confidences of each sentence, as a process found them; or what went wrong."""
    with tempfile.TemporaryDirectory() as empty:
        environment = {"HOME": empty, "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [*start, "-c", WORK, str(code), str(bundle), str(file), str(sentences)], env=environment, cwd=empty,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        lines = done.stderr.splitlines()
        return f"failed ({done.returncode}): {lines[-1] if lines else 'no message'}"
    return json.loads(done.stdout)


def compared(here: Any, there: Any) -> str:
    """Different tags, and the largest difference of a confidence where the tags are the same."""
    if isinstance(there, str):
        return there
    words = sum(len(tags) for tags, _ in here)
    both = [each for (ours, _), (theirs, _) in zip(here, there, strict=True) for each in zip(ours, theirs, strict=True)]
    wrong = sum(a != b for a, b in both)
    gaps = [abs(a - b) for (t, x), (u, y) in zip(here, there, strict=True) if t == u for a, b in zip(x, y, strict=True)]
    bits = "the same bits" if here == there else f"confidences differ by at most {max(gaps, default=0.0):.1e}"
    return f"{wrong} of {words:,} tags differ; {len(gaps):,} confidences: {bits}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--clone", type=Path)
    parser.add_argument("--qemu", default="qemu-x86_64")
    parser.add_argument("--cpu", nargs="*", default=["Nehalem", "Haswell", "EPYC"])
    parser.add_argument("--sentences", type=int, default=10**9)
    record.add_option(parser)
    given = parser.parse_args()
    bundle, file = given.bundle.resolve(), given.file.resolve()
    here = tagged([sys.executable], ROOT, bundle, file, given.sentences)
    rows: dict[str, dict[str, record.Figure]] = {}

    def show(where: str, there: Any) -> None:
        rows[where] = {bundle.name: compared(here, there)}
        print(f"{where}: {rows[where][bundle.name]}", flush=True)

    show("here, again", tagged([sys.executable], ROOT, bundle, file, given.sentences))
    python, code = sys.executable, ROOT
    if given.clone:
        code = given.clone.resolve()
        python = str(code / ".venv" / "bin" / "python")
        show("the clone", tagged([python], code, bundle, file, given.sentences))
    if not shutil.which(given.qemu):
        print(f"{given.qemu} is not installed: other CPUs are not tried")
        given.cpu = []
    for cpu in given.cpu:
        show(f"qemu {cpu}", tagged([given.qemu, "-cpu", cpu, python], code, bundle, file, given.sentences))
    record.write(given.record, "bundle", rows, modules=record.PREDICT, threads=1, data=[file])


if __name__ == "__main__":
    main()
