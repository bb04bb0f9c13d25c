"""How good the tagger is on little data: F1 on the *validation* split and processor time, corpus by corpus.

    python benchmarks/small_data.py cut conll2003/eng.train conll2003/eng.testa --to corpora
    python benchmarks/small_data.py cut factrueval2016/devset.conll --to corpora --name russian --sizes 1500 --kinds plain
    python benchmarks/small_data.py run corpora/* --results small.jsonl --name before --settings batch_size=16 max_epochs=12
    python benchmarks/small_data.py run corpora/* --results small.jsonl --name "own vectors" --vectors-from train TEXT
    python benchmarks/small_data.py table small.jsonl --record NAME

``cut`` takes the first sentences of a file, in whole documents, for training, and the first --valid of another one (of the
same one what follows, if only one is given) for validation. Kinds: ``plain``; ``flat``, without documents; ``lower``, and
lower-cased; ``noisy``, flat with typing errors. ``run`` trains with the defaults, or with other settings; of the test split
there is nothing here. Runs that the results have already are not done again.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import click

import cli
from benchmarks import record
from ner.commands.vectors_from import with_trained_vectors
from ner.config import TaggerConfig
from ner.corpus.conll import Sentence, write_conll
from ner.corpus.labeled import read_labeled
from ner.train import train_tagger
from training.run.experiment import RunOptions

TYPOS, HASHTAGS, LOWERED = (
    0.12,
    0.03,
    0.4,
)  # shares of words of 4 characters or more, of capitalized ones, of capitalized ones


def mistyped(word: str, random_: random.Random) -> str:
    """The word as someone in a hurry writes it: letters swapped, dropped or doubled, a missing capital, a hash sign."""
    if word[0].isupper():
        draw = random_.random()
        word = f"#{word}" if draw < HASHTAGS else word.lower() if draw < HASHTAGS + LOWERED else word
    if len(word) < 4 or random_.random() >= TYPOS:
        return word
    at = random_.randrange(1, len(word) - 1)
    kind = random_.randrange(3)
    middle = (word[at + 1] + word[at], word[at + 1], 2 * word[at] + word[at + 1])[kind]
    return word[:at] + middle + word[at + 2 :]


def noisy(words: Sequence[str], random_: random.Random) -> list[str]:
    """The words with typing errors."""
    return [mistyped(word, random_) for word in words]


def lowered(words: Sequence[str], random_: random.Random) -> list[str]:
    """The words lower-cased."""
    return [word.lower() for word in words]


KINDS: dict[str, Callable[[Sequence[str], random.Random], list[str]] | None] = {
    "plain": None, "flat": lambda words, _: list(words), "lower": lowered, "noisy": noisy,
}  # fmt: skip


def first(sentences: Sequence[Sentence], size: int) -> list[Sentence]:
    """The first ``size`` sentences, -DOCSTART- rows not counted, and the rest of their last document."""
    taken: list[Sentence] = []
    count = 0
    for sentence in sentences:
        if count >= size and (sentence.document == 0 or sentence.document != taken[-1].document):
            break
        taken.append(sentence)
        count += not sentence.is_docstart
    return taken


def written(kind: str, sentences: Iterable[Sentence], path: Path, purpose: str) -> None:
    """Words and tags of the sentences; of all kinds but the plain one without documents."""
    change, random_ = KINDS[kind], random.Random(f"{kind} {purpose}")
    kept = [s for s in sentences if change is None or not s.is_docstart]
    changed = [tuple(s.words if change is None else change(s.words, random_)) for s in kept]
    write_conll(path, [Sentence(words, s.tags) for words, s in zip(changed, kept, strict=True)])


def cut(options: argparse.Namespace) -> None:
    """Write the corpora, a folder each: NAME-KIND-SIZE with train.conll and valid.conll."""
    sentences = read_labeled(options.files[0]).sentences
    for size in options.sizes:
        train = first(sentences, size)
        rest = read_labeled(options.files[1]).sentences if len(options.files) > 1 else sentences[len(train) :]
        for kind in options.kinds:
            folder = Path(options.to) / f"{options.name}-{kind}-{size}"
            folder.mkdir(parents=True, exist_ok=True)
            written(kind, train, folder / "train.conll", "train")
            written(kind, first(rest, options.valid), folder / "valid.conll", "valid")


def one(corpus: Path, name: str, settings: dict[str, Any], texts: Sequence[str] = ()) -> dict[str, Any]:
    """Train once, with vectors of the texts if there are any; the line of the results."""
    files = {"train": str(corpus / "train.conll"), "valid": str(corpus / "valid.conll"), "test": str(corpus / "valid.conll")}
    config = TaggerConfig.from_dict(
        {
            **files,
            "threads": 1,
            "deterministic": True,
            "progress": False,
            "limit_test_batches": 0,
            "ledger_every": 0,
            **settings,
        }
    )
    with tempfile.TemporaryDirectory(prefix="small-") as scratch:
        start = time.process_time()
        if texts:
            with click.Context(cli.main, obj=cli.KINDS):
                config = with_trained_vectors(replace(config, vectors="auto"), texts, RunOptions(root=scratch))
        run = train_tagger(config, RunOptions(path=f"{scratch}/run"))
        seconds = time.process_time() - start
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    curve = [round(line["val_f1"], 4) for line in lines if "val_f1" in line]
    return {
        "corpus": corpus.name, "name": name, "seed": config.seed, "val_f1": max(curve), "best": 1 + curve.index(max(curve)),
        "validations": len(curve), "seconds": round(seconds, 1), "settings": settings, "curve": curve,
    }  # fmt: skip


def finished(path: Path) -> list[dict[str, Any]]:
    """The lines of the results."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def run(options: argparse.Namespace) -> None:
    """Every corpus with every seed."""
    results = Path(options.results)
    settings = {name: json.loads(value) for name, value in (each.split("=") for each in options.settings)}
    done = {(line["corpus"], line["name"], line["seed"]) for line in finished(results)}
    for seed in options.seeds:
        for corpus in map(Path, options.corpora):
            if (corpus.name, options.name, seed) in done:
                continue
            line = one(corpus, options.name, {"vectors": options.vectors, **settings, "seed": seed}, options.vectors_from)
            print(*(line[key] for key in ("corpus", "name", "seed", "val_f1", "best", "validations", "seconds")), flush=True)
            with results.open("a") as stream:
                stream.write(json.dumps(line) + "\n")


def table(options: argparse.Namespace) -> None:
    """A line for each corpus and name: F1 and processor time, the median with the least and the most."""
    lines = finished(Path(options.results))
    rows: dict[str, dict[str, list[float]]] = {}
    for line in sorted(lines, key=lambda line: (line["corpus"], line["name"] != "before", line["seed"])):
        row = rows.setdefault(f"{line['corpus']}, {line['name']}", {"valid F1": [], "processor s": []})
        row["valid F1"].append(line["val_f1"])
        row["processor s"].append(line["seconds"])
    for name, row in rows.items():
        scores, seconds = row["valid F1"], row["processor s"]
        shown = f"{statistics.median(scores):.3f} ({min(scores):.3f} to {max(scores):.3f})"
        print(f"{name}: F1 {shown}, {statistics.median(seconds):.0f} processor s")
    record.write(options.record, "little-data", rows, modules=record.TAGGER, threads=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    cutting = commands.add_parser("cut")
    cutting.add_argument("files", nargs="+", help="the training file, and the validation file")
    cutting.add_argument("--to", required=True)
    cutting.add_argument("--name", default="english")
    cutting.add_argument("--sizes", type=int, nargs="+", default=[100, 500, 2000])
    cutting.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    cutting.add_argument("--valid", type=int, default=1000)
    running = commands.add_parser("run")
    running.add_argument("corpora", nargs="+")
    running.add_argument("--results", required=True)
    running.add_argument("--vectors", default="none")
    running.add_argument("--vectors-from", nargs="*", default=[], metavar="TEXT", help="as of train-ner")
    running.add_argument("--name", default="default")
    running.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    running.add_argument("--settings", nargs="*", default=[], metavar="NAME=VALUE", help="in place of the defaults")
    showing = commands.add_parser("table")
    showing.add_argument("results")
    record.add_option(showing)
    options = parser.parse_args()
    {"cut": cut, "run": run, "table": table}[options.command](options)


if __name__ == "__main__":
    main()
