"""Whether `ask` answers for random steps of finished runs what was seen as they were taken, bit for bit.

    python benchmarks/ask.py [--steps 100] [--seed 1]

A tagger and word vectors are trained on data/sample, and a callback keeps the bits of a gradient, of activations or a table,
and the loss of every step. Then `ask` is asked about random steps of each run. About three minutes on one core.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from click.testing import CliRunner

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import cli  # noqa: E402
from benchmarks import record  # noqa: E402
from ner import TaggerConfig, train_tagger  # noqa: E402
from training import Callback  # noqa: E402
from training.digest import weights_sha256  # noqa: E402
from training.run.experiment import RunOptions  # noqa: E402
from word2vec import Word2VecConfig, train_word2vec  # noqa: E402

SAMPLE = ROOT / "data" / "sample"
ASKED = {
    "ner": ("lstm.weight_ih_l0.grad", "linear", "loss"),
    "w2v": ("input.grad", "model.output", "loss"),
}


class Live(Callback):
    """Keeps, by step, what a user would have logged had he known that he would ask for it."""

    def __init__(self) -> None:
        self.seen: dict[int, dict[str, str]] = {}
        self._now: dict[str, str] = {}

    def on_fit_start(self, trainer: Any, task: Any) -> None:
        if hasattr(task.model, "linear"):
            task.model.linear.register_forward_hook(lambda module, inputs, output: self._keep("linear", output))

    def on_train_batch_start(self, trainer: Any, task: Any, batch: Any, batch_idx: int) -> None:
        if not hasattr(task.model, "linear"):
            self._keep("model.output", task.model.output)

    def on_before_optimizer_step(self, trainer: Any, task: Any, optimizer: Any) -> None:
        if hasattr(task.model, "linear"):
            self._keep("lstm.weight_ih_l0.grad", task.model.lstm.weight_ih_l0.grad)
        else:
            self._keep("input.grad", task.model.gradients["input"].values)

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.seen[trainer.global_step] = {**self._now, "loss": repr(float(outputs["loss"]))}
        self._now = {}

    def _keep(self, name: str, tensor: Any) -> None:
        self._now[name] = weights_sha256({"": tensor.detach()})[:16]


def train(folder: Path) -> dict[str, Live]:
    """A run of each kind below ``folder``, and what was seen of it."""
    seen = {kind: Live() for kind in ASKED}
    kept: dict[str, Any] = {"checkpoint_every": "20", "keep_checkpoints": True, "progress": False, "threads": 1}
    options = {kind: RunOptions(path=str(folder / kind), callbacks=(live,)) for kind, live in seen.items()}
    train_tagger(TaggerConfig(data=str(SAMPLE), vectors="none", max_epochs=2, **kept), options["ner"])
    words = Word2VecConfig(corpus=(str(SAMPLE / "text.txt"),), max_epochs=2, dim=50, batch_words=2048, **kept)
    train_word2vec(words, options["w2v"])
    return seen


def answered(run: Path, kind: str, step: int) -> dict[str, str]:
    """What `ask` says of a step: the bits of tensors, the loss."""
    names = [each for name in ASKED[kind] for each in ("--watch", name)]
    done = CliRunner().invoke(cli.main, ["ask", str(run), "--steps", str(step), *names], catch_exceptions=False)
    if done.exit_code or "these are the run's own numbers" not in done.output:
        raise SystemExit(f"{kind}, step {step}: {done.output}")
    found = {}
    for name in ASKED[kind]:
        if match := re.search(rf"^  {re.escape(name)} (?:.*bits )?(\S+)$", done.output, re.MULTILINE):
            found[name] = match[1]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--steps", type=int, default=100, help="how many random steps are asked about, of both runs together"
    )
    parser.add_argument("--seed", type=int, default=1)
    record.add_option(parser)
    given = parser.parse_args()
    rng, same = random.Random(given.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        seen = train(Path(folder))
        for number in range(given.steps):
            kind = list(ASKED)[number % len(ASKED)]
            step = rng.randint(1, max(seen[kind].seen))
            live, found = seen[kind].seen[step], answered(Path(folder) / kind, kind, step)
            same += found == live
            if found != live:
                print(f"{kind}, step {step}: expected {live}, got {found}")
    print(f"{same} of {given.steps} random steps: the same bits as seen live, three things each")
    rows: record.Rows = {"random steps": {"asked about": given.steps, "the same bits as seen live": same}}
    record.write(given.record, "ask", rows, modules=(*record.TAGGER, *record.WORDS), threads=1)
    raise SystemExit(same != given.steps)


if __name__ == "__main__":
    main()
