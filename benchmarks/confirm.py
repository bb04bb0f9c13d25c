"""Shows that figures of trained runs hold for the code as it is, without training all of them again.

    python benchmarks/confirm.py NAME RUN [--from STEP] [--to-step STEP]

RUN is one of the runs that the record NAME was made from: its weights are among the record's. `verify` trains it again, or
the steps that are named, with this tree. If it finds the same bits, then the record says so, and is stale no more.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import record  # noqa: E402


def main() -> None:
    """Verify, and write what was found into the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("run", type=Path)
    parser.add_argument(
        "--from", dest="first", type=int, help="begin at the checkpoint of this step, which the run has kept"
    )
    parser.add_argument("--to-step", type=int, help="end with this step")
    given = parser.parse_args()
    path = record.FOLDER / f"{given.name}.json"
    one = json.loads(path.read_text(encoding="utf-8"))
    manifest = json.loads((given.run / "manifest.json").read_text(encoding="utf-8"))
    seed = next((key for key, digest in one["weights"].items() if digest == manifest.get("weights_sha256")), None)
    if seed is None:
        sys.exit(f"{path}: expected a record with the weights of {given.run}, got none of its digests")
    options = [] if given.first is None else ["--from", str(given.first)]
    options += [] if given.to_step is None else ["--to-step", str(given.to_step)]
    done = subprocess.run([sys.executable, str(ROOT / "cli.py"), "verify", str(given.run), *options], cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(f"{given.run}: `verify` ended with {done.returncode}, so {path} stays as it was")
    steps = f"{seed}, steps {(given.first or 0) + 1} to {given.to_step or 'the last'}"
    record.save(path, confirmed(one, steps))


def confirmed(one: dict[str, Any], steps: str) -> dict[str, Any]:
    """The record, with what was run again, and the code that did it."""
    globs = one["modules"]
    found = {"commit": record.commit(globs), "digest": record.digest(globs), "date": record.now(), "steps": steps}
    return {**one, "confirmed": found}


if __name__ == "__main__":
    main()
