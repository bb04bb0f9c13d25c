"""ask: what a finished run's steps had is what a callback saw as they were taken, to the bit; the ledger proves it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

import cli
import ner.task
from ner import TaggerConfig, train_tagger
from training import Callback, Watch
from training.callbacks.watch import Watched
from training.digest import weights_sha256
from training.run.experiment import RunOptions
from word2vec import Word2VecConfig, train_word2vec

TAGGER: dict[str, Any] = {
    "vectors": "none", "max_epochs": 2, "hidden_size": 8, "word_dim": 8, "batch_size": 20, "progress": False, "threads": 1,
    "test_weights": "last",
}  # fmt: skip
WORDS: dict[str, Any] = {"dim": 8, "max_epochs": 2, "batch_words": 512, "progress": False, "threads": 1}
KINDS: dict[str, dict[str, Any]] = {
    "tagger": {"checkpoint_every": "3", "keep_checkpoints": True, "ledger_every": 1},
    "tagger in parts": {"accumulate_grad_batches": 2, "shards": 2, "gradient_clip_val": 0.1, "val_check_interval": 3,
                        "checkpoint_every": "1", "keep_checkpoints": True, "ledger_every": 3},
    "words": {"checkpoint_every": "3", "keep_checkpoints": True, "ledger_every": 2},
}  # fmt: skip
NAMES = {
    "tagger": ["batch", "loss", "gradient_norm", "lstm", "linear.bias", "lstm.weight_ih_l0.grad", "linear.weight[0:2, -1]"],
    "words": ["batch", "loss", "input.grad", "model.output", "output[0:3]"],
}


class Live(Callback):
    """What a user would have written at the time: the bits of one gradient, by epoch and batch."""

    def __init__(self) -> None:
        self.bits: dict[tuple[int, int], str] = {}

    def on_before_optimizer_step(self, trainer: Any, task: Any, optimizer: Any) -> None:
        model = task.model
        gradient = model.gradients["input"].values if hasattr(model, "gradients") else model.lstm.weight_ih_l0.grad
        digest = weights_sha256({"": gradient.detach().clone()})
        self.bits[trainer.current_epoch, trainer.batch_idx] = digest[:16]


@dataclasses.dataclass
class Known:
    """A run, and what was seen while it was trained."""

    path: Path
    names: list[str]
    live: Live
    watched: list[Watched]
    digest: str


def folder_digest(folder: Path) -> str:
    """All names and bytes below a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(str(path.relative_to(folder)).encode() + (path.read_bytes() if path.is_file() else b""))
    return found.hexdigest()


@pytest.fixture(scope="module")
def known(small_data: Path, small_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Known]:
    """A run of each kind, trained when it is first asked for."""
    made: dict[str, Known] = {}

    def of(kind: str) -> Known:
        if kind not in made:
            path, live = tmp_path_factory.mktemp("ask") / "run", Live()
            names = NAMES[kind.split()[0]]
            watch = Watch(names)
            options = RunOptions(path=str(path), callbacks=(watch, live))
            if kind == "words":
                train_word2vec(Word2VecConfig(corpus=(str(small_text),), **WORDS, **KINDS[kind]), options)
            else:
                train_tagger(TaggerConfig(data=str(small_data), **TAGGER, **KINDS[kind]), options)
            made[kind] = Known(path, names, live, watch.found, folder_digest(path))
        return made[kind]

    return of


def ask(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, ["ask", *map(str, arguments)], catch_exceptions=False)


def watching(names: list[str]) -> list[str]:
    return [each for name in names for each in ("--watch", name)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_answers_are_what_was_seen_at_the_time(known: Callable[[str], Known], kind: str) -> None:
    """Random steps of each kind of run, from a checkpoint or the start: the text of every batch, and the gradient's bits."""
    run, rng = known(kind), random.Random(kind)
    last = max(each.step for each in run.watched)
    for first in (1, rng.randint(2, last - 1), last):
        until = rng.randint(first, min(last, first + 2))
        result = ask(run.path, "--steps", f"{first}:{until}", *watching(run.names))
        assert result.exit_code == 0, result.output
        assert "these are the run's own numbers" in result.output
        assert ("repeated from the checkpoint" in result.output) == (first > 4)
        at = [each for each in run.watched if _is_of(each, run.watched, first, until)]
        for each in at:
            text = "\n".join(f"  {line}" for line in each.lines())
            assert text in result.stdout, (each.step, text)
            if (each.epoch, each.batch) in run.live.bits:
                assert f"; bits {run.live.bits[each.epoch, each.batch]}" in text
        assert result.stdout.count("as in the run's ledger") == len(at)
    assert folder_digest(run.path) == run.digest


def _is_of(batch: Watched, all_of_them: list[Watched], first: int, last: int) -> bool:
    """Whether a batch is part of one of these steps: it ends with one, or adds to its gradients."""
    before = max((each.step for each in all_of_them if (each.epoch, each.batch) < (batch.epoch, batch.batch)), default=0)
    return before + 1 <= last and max(batch.step, before + 1) >= first


def test_a_batch_is_told_in_the_words_of_its_kind(known: Callable[[str], Known]) -> None:
    sentences = known("tagger").watched[0].values["batch"]
    assert len(sentences) > 10
    assert all("train.conll:" in line for line in sentences)
    assert any("[LOC " in line or "[PER " in line for line in sentences)
    count, words = known("words").watched[0].values["batch"]
    assert "words of the text" in count
    assert len(words.split()) > 100


@pytest.mark.parametrize(
    ("steps", "name", "message"),
    [
        ("0", "loss", "--steps: expected steps from 1 to 12"),
        ("12:13", "loss", "--steps: expected steps from 1 to 12, the first one first, got 12:13"),
        ("5:4", "loss", "the first one first, got 5:4"),
        ("x", "loss", "--steps: expected a step, or FIRST:LAST, from 1 to 12, got 'x'"),
        (":", "loss", "got ':'"),
        ("", "loss", "got ''"),
        ("9:10", "lstm.weight_ih_l0.grda", "the nearest are model.lstm.weight_ih_l0.grad"),
        ("1", "linear.wieght", "model.linear.weight"),
        ("1", "linear.bias[99]", "expected indices within"),
        ("1:2:0", "loss", "got '1:2:0'"),
        ("9" * 5000, "loss", "--steps: expected a step, or FIRST:LAST"),
        ("1", "linear.bias[1:2:0]", "expected indices such as"),
    ],
)
def test_what_cannot_be_asked_is_one_line(known: Callable[[str], Known], steps: str, name: str, message: str) -> None:
    run = known("tagger")
    result = ask(run.path, "--steps", steps, "--watch", name)
    assert result.exit_code == 2, result.output
    assert message in result.output
    errors = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.output
    assert folder_digest(run.path) == run.digest


@pytest.mark.parametrize(("steps", "count"), [("11:", 2), (":2", 2), ("7", 1), (" 7 ", 0)])
def test_steps_may_be_open(known: Callable[[str], Known], steps: str, count: int) -> None:
    result = ask(known("tagger").path, "--steps", steps, "--watch", "loss")
    assert result.output.count("  loss ") == count, result.output


def test_a_run_that_cannot_be_repeated_is_told_so(known: Callable[[str], Known], tmp_path: Path) -> None:
    """It says where it parts from the run, and ends with 1."""

    class Faster(ner.task.TaggerTask):
        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            super().on_train_batch_end(outputs, batch, batch_idx)
            if self.global_step == 2:
                with torch.no_grad():
                    self.model.linear.bias[0] += 1e-6

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ner.train.TaggerTask", Faster)
        result = ask(known("tagger").path, "--steps", "2:4", "--watch", "loss")
    assert result.exit_code == 1, result.output
    lines = result.output.splitlines()
    assert sum("): as in the run's ledger" in line for line in lines) == 1
    assert sum("): not as in the run's ledger" in line for line in lines) == 2
    assert "first difference at epoch 0, batch 2, step 3" in result.output


def test_a_ledger_that_was_changed_proves_nothing(known: Callable[[str], Known], tmp_path: Path) -> None:
    shutil.copytree(known("tagger").path, tmp_path / "run")
    ledger = tmp_path / "run" / "ledger.jsonl"
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    lines[0]["loss"] = (1.0).hex()
    ledger.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = ask(tmp_path / "run", "--steps", "1", "--watch", "loss")
    assert result.exit_code == 1
    assert "nothing proves that these are the run's own numbers" in result.output


def test_a_run_without_a_ledger_proves_nothing(small_data: Path, tmp_path: Path) -> None:
    config = TaggerConfig(data=str(small_data), **{**TAGGER, "max_epochs": 1}, ledger_every=0)
    train_tagger(config, RunOptions(path=str(tmp_path / "run")))
    result = ask(tmp_path / "run", "--steps", "2", "--watch", "loss")
    assert result.exit_code == 0, result.output
    assert result.output.count("  loss ") == 1
    assert "nothing proves that these are its own numbers: its ledger has no line of these steps" in result.output
    beyond = ask(tmp_path / "run", "--steps", "99", "--watch", "loss")
    assert beyond.exit_code == 2
    assert "expected batches of the steps that were asked for, got none" in beyond.output
