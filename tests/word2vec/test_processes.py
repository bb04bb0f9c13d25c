"""Word vectors trained in several processes: the same files for any number of them, and after any end."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import processes
from training import checkpoint
from training.digest import weights_sha256
from training.errors import SamebitsError
from training.loop.callback import Callback
from training.parallel.group import Group
from training.run.experiment import RunOptions
from word2vec import train
from word2vec.config import Word2VecConfig
from word2vec.text import corpus
from word2vec.train import train_word2vec

ROOT = Path(__file__).resolve().parent.parent.parent
WRITTEN = ("metrics.jsonl", "ledger.jsonl", "vectors.txt", "vectors.bin", "vocab.tsv")
SKIPGRAM, CBOW = {"architecture": "skipgram"}, {"architecture": "cbow"}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of random words."""
    words = np.random.default_rng(5).zipf(1.5, size=(150, 9)) % 40
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("".join(" ".join(f"w{word}" for word in sentence) + "\n" for sentence in words))
    return path


def small(text: Path, **changes: Any) -> Word2VecConfig:
    settings = {
        "corpus": (str(text),), "tokenize": False, "min_count": 1, "sample": 0.0, "dim": 14, "max_epochs": 2,
        "batch_words": 128, "threads": 1, "shards": 4, "ledger_every": 3, "log_every_n_steps": 4, "progress": False,
    }  # fmt: skip
    return Word2VecConfig.from_dict({**settings, **changes})


def act(config: Word2VecConfig, folder: Path, *callbacks: Callback) -> Callable[[], None]:
    """Train in ``folder``, or go on there; an error is one line and its exit code, as from a command."""
    resume = folder.exists()

    def acted() -> None:
        try:
            train_word2vec(
                config, RunOptions("" if resume else str(folder), resume=str(folder) if resume else "", callbacks=callbacks)
            )
        except SamebitsError as error:
            if not error.silent:
                print(f"error: {error}")
            raise SystemExit(error.exit_code) from None

    return acted


def run(place: Path, world: int, config: Word2VecConfig, name: str = "") -> Path:
    """A run by so many processes, from its beginning or from where it was left, to its end."""
    folder = place / (name or f"by-{world}")
    ended = processes.run(place, world, act(config, folder))
    assert {done.code for done in ended} == {0}, ended
    return folder


def codes(place: Path, world: int, config: Word2VecConfig, name: str, *callbacks: Callback) -> list[int]:
    """How the processes end in a run with these callbacks."""
    return [done.code for done in processes.run(place, world, act(config, place / name, *callbacks))]


def said_by(run: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    return manifest


def assert_same(run: Path, other: Path) -> None:
    """What both have written is the same byte for byte."""
    assert said_by(run)["weights_sha256"] == said_by(other)["weights_sha256"]
    for name in WRITTEN:
        assert (run / name).read_bytes() == (other / name).read_bytes(), name
    assert not list(run.glob("corpus.ids*"))


@pytest.mark.parametrize(
    ("objective", "worlds"),
    [
        ({**SKIPGRAM, "deterministic": True}, (2, 4)),
        ({**CBOW, "any_threads": True}, (4,)),
        ({**CBOW, "loss": "hierarchical", "evaluate": True}, (2,)),
        ({**SKIPGRAM, "loss": "softmax"}, (4,)),
    ],
    ids=str,
)
def test_any_number_of_processes_writes_the_same_run(
    tmp_path: Path, text: Path, objective: dict[str, Any], worlds: tuple[int, ...]
) -> None:
    if objective.get("evaluate"):
        (tmp_path / "pairs.txt").write_text("w1 w2 9\nw3 w4 1\nw5 w6 3\nw7 w8 4\n")
        objective = {**objective, "evaluate": (str(tmp_path / "pairs.txt"),)}
    config = small(text, **objective)
    first = run(tmp_path, 1, config)
    for world in worlds:
        assert_same(run(tmp_path, world, config), first)


class At(Callback):
    """Does something after a step, in one of the processes or all."""

    def __init__(self, step: int, do: Callable[[], object]) -> None:
        self.step, self.do = step, do

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step:
            self.do()


def in_rank(rank: int | None, do: Callable[[], object]) -> Callable[[], object]:
    """Where a process has that rank; in all for None."""
    return lambda: do() if rank is None or os.environ.get("RANK", "0") == str(rank) else None


def kill_itself(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    """A run that was never left, by one process."""
    return run(tmp_path_factory.mktemp("whole"), 1, small(text))


@pytest.mark.parametrize(
    ("world", "killed", "then"), [(4, None, 1), (2, 1, 4), (4, 0, 2), (1, 0, 4)], ids=lambda value: str(value)
)
def test_killed_it_goes_on_with_another_number_of_processes(
    tmp_path: Path, text: Path, whole: Path, world: int, killed: int | None, then: int
) -> None:
    config = small(text, checkpoint_every="3")
    step = int(np.random.default_rng([world, then]).integers(4, 20))
    ended = codes(tmp_path, world, config, "run", At(step, in_rank(killed, kill_itself(signal.SIGKILL))))
    assert [code == -9 for code in ended] == [killed in (None, rank) for rank in range(world)]
    assert {code for code in ended if code != -9} <= {75}
    assert_same(run(tmp_path, then, config, "run"), whole)


def test_told_to_stop_all_leave_at_one_batch(tmp_path: Path, text: Path, whole: Path) -> None:
    config = small(text)
    ended = codes(tmp_path, 2, config, "run", At(7, in_rank(1, kill_itself(signal.SIGTERM))))
    assert ended == [75, 75]
    (path,) = (tmp_path / "run" / "checkpoints").glob("resume-*.ckpt")
    weights = checkpoint.load(path)["weights"]
    assert {name: tuple(table.shape) for name, table in weights.items()} == {
        "model.input": (40, 14),
        "model.output": (40, 14),
    }
    assert_same(run(tmp_path, 4, config, "run"), whole)


def test_a_checkpoint_does_not_tell_how_many_processes_there_were(tmp_path: Path, text: Path) -> None:
    config, states = small(text, checkpoint_every="7"), []
    for world in (1, 4):
        assert set(codes(tmp_path, world, config, f"{world}", At(9, kill_itself(signal.SIGKILL)))) == {-9}
        (path,) = (tmp_path / f"{world}" / "checkpoints").glob("resume-*.ckpt")
        states.append(checkpoint.load(path))
    assert states[0].keys() == states[1].keys()
    assert weights_sha256(states[0]["weights"]) == weights_sha256(states[1]["weights"])
    for name in states[0].keys() - {"weights", "state_dict", "run"}:
        assert states[0][name] == states[1][name], name


def test_a_gradient_that_is_not_finite_in_one_process_stops_all_before_the_step(tmp_path: Path, text: Path) -> None:
    class Spoilt(Callback):
        """From the third step on, of the gradients of the last columns one is NaN."""

        def on_train_batch_start(self, trainer: Any, task: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 3 and "input_3" in dict(task.model.named_parameters()):
                step = task.model.step

                def spoilt(*arguments: Any) -> Any:
                    loss = step(*arguments)
                    task.model.gradients["input_3"].values[-1, -1] = np.nan
                    return loss

                task.model.step = spoilt

    ended = processes.run(tmp_path, 4, act(small(text), tmp_path / "run", Spoilt()))
    assert [done.code for done in ended] == [1] * 4
    (line,) = [done.said for done in ended if done.said]
    assert "epoch 0, batch 3, step 3: the gradient of input_3 is not finite; no step was taken" in line
    kept = checkpoint.load(tmp_path / "run" / "checkpoints" / "nonfinite.ckpt")
    assert all(table.isfinite().all() and table.shape == (40, 14) for table in kept["weights"].values())


@pytest.mark.parametrize("loss", ["negative", "hierarchical", "softmax"])
@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
def test_a_step_has_one_sum_and_one_message(tmp_path: Path, text: Path, architecture: str, loss: str) -> None:
    """Each of them waits for the other processes; stops and what is not finite travel together, lengths with the scores."""

    class Counts(Callback):
        """How often processes meet in each step."""

        def __init__(self) -> None:
            self.met: list[str] = []
            for name in ("gather", "sum"):
                setattr(Group, name, self.counting(name, getattr(Group, name)))

        def counting(self, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
            def counted(group: Group, value: Any) -> Any:
                self.met.append(name)
                return plain(group, value)

            return counted

        def on_train_batch_start(self, trainer: Any, task: Any, batch: Any, batch_idx: int) -> None:
            self.met.clear()

        def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            assert self.met == ["sum", "gather"], self.met

    config = small(text, limit_train_batches=5, max_epochs=1, architecture=architecture, loss=loss)
    ended = processes.run(tmp_path, 2, lambda: act(config, tmp_path / "run", Counts())())
    assert [done.code for done in ended] == [0, 0], ended


@pytest.mark.parametrize("apart", [False, True])
def test_the_text_is_read_once_and_sent_to_other_machines(
    tmp_path: Path, text: Path, whole: Path, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = corpus.encode

    def encode(*arguments: Any, **named: Any) -> Any:
        with (tmp_path / "read").open("a") as file:
            file.write(os.environ.get("RANK", "0"))
        return read(*arguments, **named)

    monkeypatch.setattr(train, "encode", encode)
    if apart:
        monkeypatch.setattr(platform, "node", lambda: f"host-{os.environ['RANK']}")
    assert_same(run(tmp_path, 2, small(text)), whole)
    assert (tmp_path / "read").read_text() == "0"


def test_what_is_wrong_with_the_text_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"fine\n\xff\n")
    ended = processes.run(tmp_path, 2, act(small(tmp_path / "text"), tmp_path / "run"))
    assert [done.code for done in ended] == [2, 2]
    assert [len(done.said.splitlines()) for done in ended] == [1, 0]
    assert "text:2: expected UTF-8" in ended[0].said
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA is Linux's")
def test_tables_that_one_process_has_no_memory_for_are_trained_by_four(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.word2vec.limited", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    ((code, said),) = found["1"]
    assert code == 1
    assert said.startswith("not enough memory")
    assert [code for code, _ in found["4"]] == [0] * 4, found["4"]
    assert (tmp_path / "by-4" / "vectors.bin").stat().st_size > 60_000 * 256 * 4
