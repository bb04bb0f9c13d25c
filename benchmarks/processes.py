"""The digests of runs that 1, 2, 4 and 8 processes share: the same in each column, or the promise is broken.

    python benchmarks/processes.py [--shards 8] [--only NAME]

The programs of examples/, the tagger's presets and word vectors by columns, cut short: of each run the first characters of
the SHA-256 of its weights and of the files that repeat byte for byte. Then a run that is killed, and resumed by another
number of processes. Processes are forked, and meet as torchrun's do. Ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import cli
import training
from benchmarks import record
from tests.running import Kill, KillAt
from training import TrainConfig, Trainer
from training.parallel.group import leave

ROOT = Path(__file__).resolve().parent.parent
FILES = ("metrics.jsonl", "ledger.jsonl", "predictions.conll", "test_report.txt", "vectors.bin")
WORLDS = (1, 2, 4, 8)
SHOWN = 12  # characters of a digest
NER = "--max-epochs 1 --limit-train-batches 15 --limit-val-batches 10 --val-check-interval .5 --threads 1"
EXAMPLES = {
    "digits": "digits.py --epochs 1 --workers 0",
    "GAN": "gan.py --epochs 1 --points 600",
    "autoencoder": "autoencoder.py --epochs 2 --waves 200",
    "transformer": "transformer.py --steps 20 --sums 800 --validate-every 20",
}
TAGGER = {
    "tagger, lecture": f"train-ner --preset lecture --deterministic {NER} --vectors none --quiet",
    "tagger": f"train-ner --deterministic {NER} --vectors none --quiet",
    "tagger, portable": f"train-ner --portable {NER} --vectors none --quiet",
    "tagger, conll2003": f"train-ner --preset conll2003 --deterministic {NER} --vectors none --quiet",
}
W2V = "train-w2v --epochs 1 --limit-train-batches 15 --ledger-every 5 --threads 1 --quiet"
VECTORS = {
    "skip-gram": f"{W2V} --deterministic",
    "skip-gram, portable": f"{W2V} --portable",
    "skip-gram, softmax": f"{W2V} --deterministic --loss softmax",
    "skip-gram, hierarchical softmax": f"{W2V} --deterministic --loss hierarchical",
    "CBOW": f"{W2V} --deterministic --architecture cbow",
    "CBOW, softmax": f"{W2V} --deterministic --architecture cbow --loss softmax",
    "CBOW, hierarchical softmax": f"{W2V} --deterministic --architecture cbow --loss hierarchical",
}


def example(words: list[str], shards: int, folder: Path, kill: int = 0) -> None:
    """A program of examples/, with shards in its settings, from ``folder``."""
    training.TrainConfig = partial(TrainConfig, shards=shards)  # type: ignore[misc, assignment]
    if kill:
        made = Trainer.__init__

        def killing(self: Any, *arguments: Any, callbacks: Any = (), **named: Any) -> None:
            made(self, *arguments, callbacks=[*callbacks, KillAt(Kill(kill))], **named)

        Trainer.__init__ = killing  # type: ignore[method-assign]
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    sys.argv = words
    runpy.run_path(str(ROOT / "examples" / words[0]), run_name="__main__")


def command(words: list[str], shards: int, folder: Path) -> None:
    """A command that trains; its run is ``folder``/run/version_0."""
    sys.argv = ["cli.py", *words, "--shards", str(shards), "--run", str(folder / "run" / "version_0")]
    sys.orig_argv = [sys.executable, str(ROOT / "cli.py"), *sys.argv[1:]]  # as which --portable begins anew
    cli.main()


def together(act: Callable[[], None], world: int) -> None:
    """Call ``act`` in so many processes, and wait for them."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]

    def run(rank: int) -> None:
        if world > 1:
            os.environ.update(
                RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world),
                MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
            )  # fmt: skip
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        if rank:
            os.dup2(nowhere, 2)
        torch.set_num_threads(1)
        try:
            act()
        except SystemExit:
            pass
        finally:
            leave()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        started: list[ForkProcess] = [
            multiprocessing.get_context("fork").Process(target=run, args=(i,)) for i in range(world)
        ]
        for each in started:
            each.start()
    for each in started:
        each.join()


def digests(folder: Path) -> str:
    """Of the run in ``folder``, in one line."""
    (run,) = folder.rglob("version_0")
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    found = {"weights": str(manifest["weights_sha256"])}
    found |= {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in FILES if (run / name).is_file()}
    return " ".join(f"{name.partition('.')[0]} {digest[:SHOWN]}" for name, digest in found.items())


def row(run: Callable[[Path], Callable[[], None]], worlds: tuple[int, ...]) -> dict[int, str]:
    """The digests by number of processes."""
    found = {}
    for world in worlds:
        with tempfile.TemporaryDirectory(prefix="processes-") as scratch:
            folder = Path(scratch) / "runs"
            folder.mkdir()
            together(run(folder), world)
            found[world] = digests(folder)
    return found


def killed(shards: int, first: int, second: int) -> str:
    """The GAN, killed in its eighth batch, and resumed by ``second`` processes."""
    words = EXAMPLES["GAN"].split()
    words += ["--checkpoint-every", "3"]
    with tempfile.TemporaryDirectory(prefix="processes-") as scratch:
        folder = Path(scratch) / "runs"
        together(lambda: example(words, shards, folder, kill=8), first)
        together(lambda: example([*words, "--resume", "runs/gan/version_0"], shards, folder), second)
        return digests(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--only", default="", help="rows whose names begin so")
    record.add_option(parser)
    given = parser.parse_args()
    torch.optim.SGD([torch.zeros(1)])  # imports what takes a second, once
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    worlds = tuple(world for world in WORLDS if world <= given.shards)
    programs: dict[str, Callable[[Path], Callable[[], None]]] = {}
    for name, line in EXAMPLES.items():
        words = line.split()
        programs[name] = lambda folder, words=words: partial(example, words, given.shards, folder)  # type: ignore[misc]
    for name, line in {**TAGGER, **VECTORS}.items():
        words = line.split()
        programs[name] = lambda folder, words=words: partial(command, words, given.shards, folder)  # type: ignore[misc]
    found: dict[str, dict[int, str]] = {}
    for name, run in programs.items():
        if name.startswith(given.only):
            found[name] = row(run, worlds)
            same = len(set(found[name].values())) == 1
            print(
                f"{name}: {'the same' if same else 'NOT THE SAME'} for {', '.join(map(str, worlds))} processes", flush=True
            )
            for line in dict.fromkeys(found[name].values()):
                print(f"    {line}", flush=True)
    if "GAN" in found:
        for first, second in ((4, 1), (1, 8), (8, 2)):
            if max(first, second) > given.shards:
                continue
            line = killed(given.shards, first, second)
            name = f"GAN, killed in {first}, resumed in {second}"
            found[name] = {second: line}
            print(f"{name}: {'the same' if line == found['GAN'][1] else 'NOT THE SAME'}\n    {line}", flush=True)
    rows: record.Rows = {name: _cells(by_world) for name, by_world in found.items()}
    modules = (*record.PROCESSES, *record.TAGGER, "examples/*.py")
    record.write(given.record, "processes", rows, modules=modules, threads=1)
    if any(len(set(by_world.values())) > 1 for by_world in found.values()):
        sys.exit(1)


def _cells(by_world: dict[int, str]) -> dict[str, str]:
    """The digests by name; "NOT THE SAME" where processes disagree."""
    if len(set(by_world.values())) > 1:
        return {"weights": "NOT THE SAME"}
    words = next(iter(by_world.values())).split()
    return dict(zip((name.partition("_")[2] or name for name in words[::2]), words[1::2], strict=True))


if __name__ == "__main__":
    main()
