"""What a teacher and unlabeled text give on small data: F1 on the validation split of one tagger, a group, and its students.

    python benchmarks/distillation.py eng.train eng.testa --sentences 1000 --text FILE --lines 20000 --vectors FILE

The group has three runs on the first ``--sentences`` sentences; a student learns from the group alone, or from ``--lines``
of the text, too. The test split is never looked at. Finished runs in ``--root`` are not done again, so that the script can
be stopped and started.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import group_scores, record  # noqa: E402

MEMBERS = 3  # of the group
SINGLE, GROUP, TAUGHT, WITH_TEXT = "one tagger", "a group of three", "a student, no text", "a student, with text"


def first_sentences(source: Path, count: int, target: Path) -> None:
    """The first ``count`` sentences of a CoNLL file, and the -DOCSTART- rows before them."""
    blocks, found = source.read_text(encoding="utf-8").strip().split("\n\n"), list[str]()
    for block in blocks:
        if count == 0:
            break
        found.append(block)
        count -= not block.startswith("-DOCSTART-")
    target.write_text("\n\n".join(found) + "\n", encoding="utf-8")


def first_lines(source: Path, count: int, target: Path) -> None:
    """The first ``count`` lines of a text."""
    with open(source, encoding="utf-8") as lines:
        target.write_text("".join(islice(lines, count)), encoding="utf-8")


def samebits(root: Path, *arguments: str) -> str:
    """What a command prints, run in ``root``."""
    command = [sys.executable, str(ROOT / "cli.py"), *arguments]
    return subprocess.run(command, check=True, cwd=root, stdout=subprocess.PIPE, text=True).stdout


def train(root: Path, name: str, *arguments: str) -> None:
    """Train a run or a group in ``root/name``, go on with it, or leave it as it is; with its processor time beside it."""
    if (root / f"{name}.seconds").is_file():
        return
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = (root / name).is_dir()
    (root / f"{name}.log").write_text(
        samebits(root, "train-ner", *(["--resume", name] if begun else [*arguments, "--run", name]))
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    (root / f"{name}.seconds").write_text("" if begun else f"{seconds:.0f}")


def valid_f1(run: Path) -> float:
    """The best F1 on the validation split."""
    return float(json.loads((run / "manifest.json").read_text(encoding="utf-8"))["metrics"]["best_val_f1"])


def seconds(root: Path, names: list[str]) -> list[float]:
    """Processor time of the runs that were trained in one go."""
    return [float(text) for name in names if (text := (root / f"{name}.seconds").read_text())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("valid", type=Path)
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--valid-sentences", type=int, default=10**9)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--lines", type=int, default=20_000)
    parser.add_argument(
        "--share", default="1", help="the text's sentences in an epoch, as a multiple of the training sentences"
    )
    parser.add_argument("--vectors", default="none")
    parser.add_argument("--seeds", type=int, default=3, help="of the students")
    parser.add_argument("--root", type=Path, default=Path("runs/distillation"))
    record.add_option(parser)
    given = parser.parse_args()
    root: Path = given.root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    first_sentences(given.train, given.sentences, root / "train.conll")
    first_sentences(given.valid, given.valid_sentences, root / "valid.conll")
    first_lines(given.text, given.lines, root / "text.txt")
    vectors = "none" if given.vectors == "none" else str(Path(given.vectors).resolve())
    shared = ["--train", "train.conll", "--valid", "valid.conll", "--test", "valid.conll", "--vectors", vectors]
    shared += ["--limit-test-batches", "0", "--threads", "1", "--deterministic", "--no-progress"]
    train(root, "group", *shared, "--seeds", str(MEMBERS))
    text = ["--unlabeled", "text.txt", "--unlabeled-share", given.share]
    students = {TAUGHT: list[str](), WITH_TEXT: list[str]()}
    for seed in range(given.seeds):
        for kind, name, more in ((TAUGHT, f"taught_{seed}", []), (WITH_TEXT, f"text_{seed}", text)):
            train(root, name, *shared, "--teacher", "group", *more, "--seed", str(seed))
            students[kind].append(name)
    f1, cost = "valid F1", "processor time of a run, s"
    rows: dict[str, dict[str, record.Figure]] = {
        SINGLE: {f1: [valid_f1(root / "group" / f"seed_{seed}") for seed in range(MEMBERS)]},
        GROUP: {f1: group_scores.f1(root / "group", root / "valid.conll"), cost: seconds(root, ["group"])},
    }
    rows |= {
        kind: {f1: [valid_f1(root / name) for name in names], cost: seconds(root, names)} for kind, names in students.items()
    }
    print(json.dumps(rows, indent=1))
    modules = [*record.TAGGER, "ner/distillation/*.py", "ner/tagging/*.py"]
    record.write(given.record, "distillation", rows, modules=modules, threads=1, data=[given.train, given.valid, given.text])


if __name__ == "__main__":
    main()
