"""train-w2v beside gensim on the same text: words a second, in alternating runs.

Raw words a second = words in the file × epochs ÷ wall time of training; the time from file to vectors is shown too, and
words per second of CPU time, which says more on a machine that others use. Each run is a process of its own.

Example:
  python benchmarks/w2v_speed.py text8like.txt --lr 0.075 --gensim-lr 0.05
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record as records


def main() -> None:
    arguments = parser().parse_args()
    if arguments.one:
        print(json.dumps(one(arguments)))
        return
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    found: dict[str, list[dict[str, Any]]] = {}
    names = [f"samebits lr={lr}" for lr in arguments.lr] + [f"gensim lr={lr}" for lr in arguments.gensim_lr]
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for name in names:
            tool, _, lr = name.partition(" lr=")
            command = [sys.executable, __file__, *sys.argv[1:], "--one", tool, "--seed", str(seed), "--rate", lr]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{name}: {done.stderr.strip()}")
            result = json.loads(done.stdout.splitlines()[-1])
            found.setdefault(name, []).append(result)
            print(f"seed {seed}, {name}: {show(result)}", flush=True)
    print("\nmedians [minimum … maximum] of", arguments.seeds, "runs")
    for name, results in found.items():
        keys = list(results[0])
        lines = []
        for key in keys:
            values = [r[key] for r in results]
            lines.append(f"{key} {statistics.median(values):.4g} [{min(values):.4g} … {max(values):.4g}]")
        print(f"{name}: {'; '.join(lines)}")
    keep(arguments, found)


def keep(arguments: argparse.Namespace, found: dict[str, list[dict[str, Any]]]) -> None:
    """The record: the first rate of each tool."""
    if arguments.record is None:
        return
    both = [next(runs for name, runs in found.items() if name.startswith(tool)) for tool in ("samebits", "gensim")]
    ours, theirs = ({key: [run[key] for run in runs] for key in runs[0]} for runs in both)
    epochs = "one epoch" if arguments.epochs == 1 else f"{arguments.epochs} epochs"
    loss = "hierarchical softmax, " if arguments.loss == "hierarchical" else ""
    kind = {"skipgram": "skip-gram", "cbow": "CBOW"}[arguments.architecture]
    ratios = [a / b for a, b in zip(ours["words/s"], theirs["words/s"], strict=True)]
    figures: dict[str, records.Figure] = {
        "text, MB": Path(arguments.corpus).stat().st_size / 1e6,
        "ours, words/s": ours["words/s"], "gensim, words/s": theirs["words/s"], "ratio": ratios,
        "ours, file to vectors, s": ours["file to vectors, s"], "gensim, file to vectors, s": theirs["file to vectors, s"],
        "ours, words/CPU s": ours["words per CPU second"], "gensim, words/CPU s": theirs["words per CPU second"],
        "ours, MB": ours["resident, MB"], "gensim, MB": theirs["resident, MB"],
    }  # fmt: skip
    rows = {f"{kind}, {loss}{arguments.dim}-d, {epochs}": figures}
    data, threads = [arguments.corpus], arguments.threads
    records.write(arguments.record, "words-speed", rows, modules=records.WORDS, threads=threads, data=data)


def parser() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = command.add_argument
    add("corpus", help="plain text, a sentence a line, words separated by spaces")
    add("--seeds", type=int, default=3)
    add("--first-seed", type=int, default=0)
    add("--threads", type=int, default=2, help="our threads and gensim's workers")
    add("--epochs", type=int, default=5)
    add("--dim", type=int, default=100)
    add("--architecture", choices=["skipgram", "cbow"], default="skipgram")
    add("--loss", choices=["negative", "hierarchical"], default="negative")
    add("--sample", type=float, default=1e-4)
    add("--min-count", type=int, default=5)
    add("--lr", type=float, nargs="*", default=[0.05], help="our learning rates")
    add("--gensim-lr", type=float, nargs="*", default=[0.025, 0.05])
    add("--sets", nargs="*", default=[], help="similarity and analogy sets to score the vectors on")
    add("--option", nargs="*", default=[], metavar="NAME=VALUE", help="more settings for ours")
    add("--folder", type=Path, help="keep each run's vectors and scores there, as w2v_quality.py does")
    add("--one", help=argparse.SUPPRESS)
    add("--seed", type=int, default=0, help=argparse.SUPPRESS)
    add("--rate", type=float, default=0.05, help=argparse.SUPPRESS)
    records.add_option(command)
    return command


def one(arguments: argparse.Namespace) -> dict[str, float]:
    """Train once in this process; figures by name."""
    with tempfile.TemporaryDirectory() as folder:
        run = samebits if arguments.one == "samebits" else gensim
        began = time.perf_counter()
        words, training, cpu, path = run(arguments, Path(folder))
        whole = time.perf_counter() - began
        raw = words * arguments.epochs
        figures = {
            "words/s": raw / training,
            "words per CPU second": raw / cpu,
            "file to vectors, s": whole,
            "resident, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        if arguments.folder:
            record(arguments, name_of(arguments, arguments.one, arguments.rate, arguments.seed), path, cpu)
        return figures


def samebits(arguments: argparse.Namespace, folder: Path) -> tuple[int, float, float, Path]:
    """Words in the text, seconds of wall and CPU time in the training loop, and the vectors."""
    from training.loop.callback import Callback
    from training.run.experiment import RunOptions
    from word2vec.config import Word2VecConfig
    from word2vec.train import train_word2vec

    class Clock(Callback):
        def on_train_start(self, *_: Any) -> None:
            self.wall, self.cpu = time.perf_counter(), time.process_time()

        def on_train_end(self, *_: Any) -> None:
            self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu

    clock = Clock()
    more = {key: json.loads(value) for key, _, value in (each.partition("=") for each in arguments.option)}
    config = Word2VecConfig.from_dict(
        {
            "corpus": [arguments.corpus], "tokenize": False, "min_count": arguments.min_count, "dim": arguments.dim,
            "architecture": arguments.architecture, "loss": arguments.loss, "sample": arguments.sample,
            "max_epochs": arguments.epochs, "lr": arguments.rate, "seed": arguments.seed, "threads": arguments.threads,
            "deterministic": True, **more,
        }
    )  # fmt: skip
    run = train_word2vec(config, RunOptions(path=str(folder / "run"), callbacks=(clock,)))
    words = json.loads((run / "manifest.json").read_text())["text"]["words"]
    return words, clock.wall, clock.cpu, run / "vectors.bin"


def gensim(arguments: argparse.Namespace, folder: Path) -> tuple[int, float, float, Path]:
    """The same for gensim in corpus_file mode."""
    from gensim.models import Word2Vec

    hierarchical = arguments.loss == "hierarchical"
    model = Word2Vec(
        vector_size=arguments.dim, window=5, negative=0 if hierarchical else 5, hs=int(hierarchical),
        sample=arguments.sample, min_count=arguments.min_count, workers=arguments.threads,
        sg=int(arguments.architecture == "skipgram"), alpha=arguments.rate, seed=arguments.seed, epochs=arguments.epochs,
    )  # fmt: skip
    model.build_vocab(corpus_file=arguments.corpus)
    wall, cpu = time.perf_counter(), time.process_time()
    model.train(
        corpus_file=arguments.corpus, total_examples=model.corpus_count, total_words=model.corpus_total_words,
        epochs=arguments.epochs,
    )  # fmt: skip
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    model.wv.save_word2vec_format(str(folder / "gensim.bin"), binary=True)
    return model.corpus_total_words, wall, cpu, folder / "gensim.bin"


def name_of(arguments: argparse.Namespace, tool: str, rate: float, seed: int) -> str:
    """What tells a run from all others."""
    shape = f"{arguments.architecture}-{arguments.loss}-d{arguments.dim}-e{arguments.epochs}-s{arguments.sample:g}"
    options = "".join(f",{each}" for each in arguments.option) if tool == "samebits" else ""
    return f"{tool} {shape} lr={rate:g}{options} seed={seed}"


def record(arguments: argparse.Namespace, name: str, path: Path, cpu: float) -> None:
    """Keep the vectors of a run in the folder, and append their scores to its runs.jsonl."""
    if name in {run["name"] for run in recorded(arguments.folder)}:
        return
    kept = kept_at(arguments.folder, name)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    shutil.move(path, kept)
    found = {"name": name, "scores": scores(kept, arguments.sets), "cpu": round(cpu, 1), "date": time.strftime("%F %T")}
    with open(arguments.folder / "runs.jsonl", "a") as stream:
        stream.write(json.dumps(found) + "\n")


def kept_at(folder: Path, name: str) -> Path:
    """Where the vectors of a run are kept."""
    return folder / (name.replace(" ", "_").replace("/", "_") + ".bin")


def recorded(folder: Path) -> list[dict[str, Any]]:
    """The runs that are written down in a folder."""
    path = folder / "runs.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def scores(path: Path, sets: list[str]) -> dict[str, float]:
    """Spearman's correlation or the accuracy among the first 30,000 words, by the name of the set."""
    from word2vec.vectors.evaluate import as_metrics, evaluate, read_set
    from word2vec.vectors.vectors import WordVectors

    vectors = WordVectors.load(path) if sets else None
    found: dict[str, float] = {}
    for each in sets:
        questions = read_set(each)
        assert vectors is not None
        restrict = 30_000 if hasattr(questions, "sections") else None
        found |= as_metrics([evaluate(vectors, questions, restrict=restrict)])
    return found


def show(result: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in result.items())


if __name__ == "__main__":
    main()
