"""Whether --portable keeps its promise on CPUs that this machine does not have; and what differs without it.

    python benchmarks/portable_proof.py [--qemu qemu-x86_64] [--cpu Nehalem Haswell EPYC] [--steps 5]

The same few steps of the tagger (BiLSTM, character CNN, CRF, dropout) and of word2vec, on data/sample, with --deterministic
and with --portable: on this CPU; on it with instruction sets hidden from the outside (what GLIBC_TUNABLES,
ATEN_CPU_CAPABILITY and NPY_DISABLE_CPU_FEATURES can hide); and under qemu's user-mode emulation of other CPUs, another
vendor's among them. The settings of a portable run are put into the environment here, since a process that starts itself
anew leaves the emulator. Printed: the digest of the weights. Without --portable some must differ, or the comparison could
not have failed.
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

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import record  # noqa: E402
from training.determinism.portable import SETTINGS  # noqa: E402

HIDDEN = {
    "AVX-512 hidden": {"ATEN_CPU_CAPABILITY": "avx2", "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
                       "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "AVX2 and FMA hidden": {"ATEN_CPU_CAPABILITY": "default",
                            "NPY_DISABLE_CPU_FEATURES": SETTINGS["NPY_DISABLE_CPU_FEATURES"],
                            "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41",
                            "GLIBC_TUNABLES": SETTINGS["GLIBC_TUNABLES"]},
}  # fmt: skip
TASKS = {
    "tagger": "train-ner --vectors none --decoder crf --characters cnn --max-epochs 1 --limit-val-batches 2 "
              "--limit-test-batches 2 --num-sanity-val-steps 0 --no-train-f1 --limit-train-batches",
    "word2vec": "train-w2v --epochs 1 --limit-train-batches",
    "word2vec, CBOW": "train-w2v --architecture cbow --epochs 1 --limit-train-batches",
}  # fmt: skip


def digest(task: str, steps: int, mode: str, start: list[str], outside: dict[str, str]) -> str:
    """The digest of the weights after ``steps`` steps; or what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*start, sys.executable, str(ROOT / "cli.py"), *TASKS[task].split(), str(steps), "--threads", "1", mode]
        environment = {**os.environ, **outside, **(SETTINGS if mode == "--portable" else {})}
        done = subprocess.run(
            [*command, "--no-progress", "--run", f"{folder}/run"], env=environment, cwd=ROOT, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "TCG doesn't support" not in line]
            return f"failed ({done.returncode}): {lines[-1] if lines else 'no message'}"
        return str(json.loads(Path(folder, "run", "manifest.json").read_text())["weights_sha256"])[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qemu", default="qemu-x86_64")
    parser.add_argument("--cpu", nargs="*", default=["Nehalem", "Haswell", "EPYC"])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS))
    record.add_option(parser)
    given = parser.parse_args()
    places: dict[str, tuple[list[str], dict[str, str]]] = {"this CPU": ([], {})}
    places |= {name: ([], outside) for name, outside in HIDDEN.items()}
    if shutil.which(given.qemu):
        places |= {f"qemu {cpu}": ([given.qemu, "-cpu", cpu], {}) for cpu in given.cpu}
    else:
        print(f"{given.qemu} is not installed: other CPUs are not tried")
    broken, rows = False, dict[str, dict[str, record.Figure]]()
    for task in given.tasks:
        for mode in ("--deterministic", "--portable"):
            print(f"{task}, {given.steps} steps, {mode}")
            found = {}
            for name, (start, outside) in places.items():
                found[name] = digest(task, given.steps, mode, start, outside)
                print(f"  {name:22} {found[name]}", flush=True)
            kinds = len(set(found.values()))
            print(f"  → {kinds} different result{'s' if kinds > 1 else ''}")
            rows.setdefault(f"{task}, {given.steps} steps, {len(places)} CPUs", {})[f"with {mode}"] = kinds
            broken |= mode == "--portable" and kinds > 1
    record.write(given.record, "portable", rows, modules=(*record.TAGGER, *record.WORDS, *record.PORTABLE), threads=1)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
