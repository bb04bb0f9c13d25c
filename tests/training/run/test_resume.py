"""Stopping and going on: anywhere, by time and by signal, with the command that is printed; and what is refused."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import cli
from ner.config import TaggerConfig
from ner.train import train_tagger
from training import checkpoint, files, intervals
from training.checkpoint import ResumeStore
from training.config import TrainConfig
from training.digest import weights_sha256
from training.errors import ConfigError, Preempted, ReproducibilityError
from training.loop.callback import Callback
from training.run import environment
from training.run import preemption as resume
from training.run.experiment import RunOptions
from training.run.folder import read_jsonl, read_manifest
from word2vec.config import Word2VecConfig
from word2vec.train import train_word2vec

TAGGER = "--vectors none --max-epochs 1 --hidden-size 8 --word-dim 8 --batch-size 24 --no-progress --threads 1".split()
WORDS = "--dim 8 --epochs 1 --batch-words 512 --no-progress --threads 1".split()
SETTINGS: dict[str, Any] = {
    "vectors": "none", "max_epochs": 2, "hidden_size": 8, "word_dim": 8, "batch_size": 16, "accumulate_grad_batches": 3,
    "val_check_interval": 0.5, "patience": 9, "characters": "cnn", "char_hidden": 6, "subwords": 30, "subword_dim": 4,
    "decoder": "crf", "threads": 1, "checkpoint_every": "never", "ledger_every": 1, "progress": False,
}  # fmt: skip


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(each) for each in arguments], catch_exceptions=False)


def said(result: Result, message: str, code: int) -> None:
    assert result.exit_code == code, result.output
    assert message in result.output, result.output
    assert "Traceback" not in result.output


@pytest.fixture
def hook() -> Iterator[None]:
    yield
    files.fault_hook = None


# -- the tagger, left at a batch ------------------------------------------------------------------------------------


def config(data: Path, **changes: Any) -> TaggerConfig:
    return TaggerConfig(data=str(data), **{**SETTINGS, **changes})


@pytest.fixture(scope="module")
def whole(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that was never stopped."""
    return train_tagger(config(small_data), RunOptions(path=str(tmp_path_factory.mktemp("whole") / "run")))


class StopAt(Callback):
    """Asks for a stop in the ``count``-th call."""

    def __init__(self, count: int) -> None:
        self.count, self.calls, self.stopped_at = count, 0, ""

    def _count(self, trainer: Any, task: Any, *arguments: Any) -> None:
        if not trainer.sanity_checking:
            self.calls += 1
            if self.calls == self.count:
                self.stopped_at = trainer.stage
                trainer.keep_going.stop("the test says so")


class StopInValidation(StopAt):
    def on_validation_batch_end(self, *arguments: Any, **rest: Any) -> None:
        self._count(*arguments)


class StopInTraining(StopAt):
    def on_train_batch_end(self, *arguments: Any) -> None:
        self._count(*arguments)


def ends_alike(resumed: Path, whole: Path) -> None:
    """The same weights, metrics, ledger, outputs and best checkpoint; the last checkpoint's weights too."""
    assert read_manifest(resumed)["weights_sha256"] == read_manifest(whole)["weights_sha256"]
    for name in ("metrics.jsonl", "ledger.jsonl", "predictions.conll", "test_report.txt", "indexer.json"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name
    contents = [
        {path.name: weights_sha256(checkpoint.load(path)["weights"]) for path in (each / "checkpoints").glob("*.ckpt")}
        for each in (resumed, whole)
    ]
    assert contents[0] == contents[1]


# 120 sentences in batches of 16: 7 batches an epoch, windows of 3, 3 and 1; validations after batches 3, 6, 10 and 13.
LEFT: list[tuple[type[StopAt], int]] = [
    (StopInTraining, 1), (StopInTraining, 2), (StopInTraining, 3), (StopInTraining, 7), (StopInTraining, 8),
    (StopInTraining, 13), (StopInValidation, 1), (StopInValidation, 2), (StopInValidation, 5), (StopInValidation, 9),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "count"), LEFT)
def test_left_in_an_epoch_a_validation_or_a_window_it_ends_in_the_same_bits(
    small_data: Path, whole: Path, tmp_path: Path, kind: type[StopAt], count: int
) -> None:
    stop = kind(count)
    with pytest.raises(Preempted, match="the test says so") as caught:
        train_tagger(config(small_data), RunOptions(path=str(tmp_path / "run"), callbacks=(stop,)))
    assert caught.value.run == str(tmp_path / "run")
    assert stop.stopped_at == ("validate" if kind is StopInValidation else "stepped")
    assert read_manifest(tmp_path / "run")["status"] == "stopped"
    resumed = train_tagger(config(small_data), RunOptions(resume=str(tmp_path / "run")))
    ends_alike(resumed, whole)
    assert "changes" not in read_manifest(resumed)


def test_left_many_times_it_ends_in_the_same_bits(small_data: Path, whole: Path, tmp_path: Path) -> None:
    options, stops = RunOptions(path=str(tmp_path / "run"), callbacks=(StopInTraining(1),)), 0
    while True:
        try:
            resumed = train_tagger(config(small_data), options)
            break
        except Preempted:
            stops += 1
            kind = StopInValidation if stops % 3 == 0 else StopInTraining
            options = RunOptions(resume=str(tmp_path / "run"), callbacks=(kind(1),))
    assert stops > 10
    ends_alike(resumed, whole)


class Kill(Callback):
    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.total_batches == 8:
            raise KeyboardInterrupt


@pytest.mark.parametrize("every", ["never", "2", "0s"])
def test_killed_with_and_without_a_checkpoint_it_ends_in_the_same_bits(
    small_data: Path, whole: Path, tmp_path: Path, every: str
) -> None:
    path, told = tmp_path / "run", list[str]()
    with pytest.raises(KeyboardInterrupt):
        train_tagger(config(small_data, checkpoint_every=every), RunOptions(path=str(path), callbacks=(Kill(),)))
    assert bool(ResumeStore(path / "checkpoints").paths()) == (every != "never")
    assert len(read_jsonl(path / "ledger.jsonl")) > 8
    resumed = train_tagger(config(small_data), RunOptions(resume=str(path), tell=told.append))
    assert any("resuming from" in line for line in told) == (every != "never")
    steps = [(line["epoch"], line["batch"]) for line in read_jsonl(path / "ledger.jsonl") if "batch" in line]
    assert len(steps) == len(set(steps)) == 14
    ends_alike(resumed, whole)


# -- when checkpoints are written -----------------------------------------------------------------------------------


class Clock:
    """Time that passes by 40 seconds a batch."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("every", "steps"), [("5m", [8, 16, 24]), ("1m", [2, 4, 6]), ("0.5h", []), ("4", [4, 8, 12]), ("never", [])]
)
def test_checkpoints_come_by_steps_or_by_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: str, steps: list[int]
) -> None:
    clock, saved = Clock(), list[int]()
    monkeypatch.setattr(time, "monotonic", clock)

    class Moment:
        stage, global_step = "batch", 0

    keeper = resume.Keeper(None, None, every=every, max_time="")  # type: ignore[arg-type]

    def save(trainer: Any) -> None:
        saved.append(trainer.global_step)
        keeper.last_step, keeper.last_time = trainer.global_step, clock.now

    keeper.save = save  # type: ignore[method-assign]
    for _ in range(30):
        clock.now += 40
        Moment.global_step += 1
        keeper(Moment())  # type: ignore[arg-type]
    assert saved[:3] == steps


def test_by_default_five_minutes_of_work_can_be_lost() -> None:
    for defaults in (TrainConfig(), TaggerConfig(), Word2VecConfig()):
        assert defaults.checkpoint_every == "5m"
        assert intervals.seconds(defaults.checkpoint_every, "") == 300


@pytest.mark.parametrize("every", ["0", "", "often", "-1", "5 m"])
def test_nonsense_is_refused(every: str) -> None:
    with pytest.raises(ConfigError, match="checkpoint_every: expected"):
        resume.Keeper(None, None, every=every, max_time="")  # type: ignore[arg-type]


# -- by signal and by time, with the command that is printed --------------------------------------------------------


def printed_command(result: Result) -> list[str]:
    """The words of the command to go on with, without "python cli.py"."""
    line = next(line for line in result.output.splitlines() if line.startswith("resume with: "))
    words = shlex.split(line.removeprefix("resume with: "))
    assert words[0] == "python"
    assert Path(words[1]).name == "cli.py"
    return words[2:]


@pytest.fixture(scope="module")
def commands(
    small_data: Path, small_text: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[list[Any], Path]]:
    """What trains, and the run that this left when nothing stopped it."""
    found: dict[str, tuple[list[Any], Path]] = {}
    for kind, words in (("train-ner", ["--data", small_data, *TAGGER]), ("train-w2v", ["--corpus", small_text, *WORDS])):
        path = tmp_path_factory.mktemp("expected") / "whole"
        expected = run(kind, *words, "--run", path)
        assert expected.exit_code == 0, expected.output
        found[kind] = ([kind, *words], path)
    return found


@pytest.mark.parametrize("signaled", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", ["train-ner", "train-w2v"])
def test_signals_stop_resumably_and_the_printed_command_works(
    commands: dict[str, tuple[list[Any], Path]], tmp_path: Path, hook: None, kind: str, signaled: signal.Signals
) -> None:
    path = tmp_path / "my run's folder"
    start, expected = commands[kind]

    def send(point: str) -> None:
        if point == "checkpoint:end":
            files.fault_hook = None
            os.kill(os.getpid(), signaled)

    files.fault_hook = send
    stopped = run(*start, "--run", path, "--checkpoint-every", 2)
    said(stopped, f"{signaled.name} received", 75)
    went_on = run(*printed_command(stopped))
    assert went_on.exit_code == 0, went_on.output
    assert read_manifest(path)["weights_sha256"] == read_manifest(expected)["weights_sha256"]
    assert (path / "metrics.jsonl").read_bytes() == (expected / "metrics.jsonl").read_bytes()
    again = run(kind, "--resume", path)
    said(again, f"{path} is finished: weights ", 0)
    before = {each: each.read_bytes() for each in path.rglob("*") if each.is_file()}
    other = run(kind, "--resume", path, "--lr", "0.5")
    said(other, f"{path}: the run is finished, with other settings (config.lr: ", 1)
    assert {each: each.read_bytes() for each in path.rglob("*") if each.is_file()} == before


def test_a_time_limit_stops_a_run_of_a_name_of_its_own(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is made up by the program, below a folder whose name has spaces; cli.py is called by its path."""
    place = tmp_path / "a b"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["/opt/same bits/cli.py"])
    result = run("train-ner", "--data", small_data, *TAGGER, "--max-time", "0s")
    said(result, "the time limit of 0 s is reached", 75)
    assert "resume with: python '/opt/same bits/cli.py' train-ner --resume runs/ner/version_0\n" in result.output
    words = printed_command(result)
    for _ in range(20):
        result = run(*words)
        if result.exit_code != 75:
            break
        assert printed_command(result) == words
    assert result.exit_code == 0, result.output
    said(run(*words), "is finished", 0)


@pytest.mark.parametrize("kind", ["train-ner", "train-w2v"])
def test_a_ledger_that_was_changed_is_not_gone_on_with(
    commands: dict[str, tuple[list[Any], Path]], tmp_path: Path, kind: str
) -> None:
    """Any digit of any of its lines: the chain of their digests breaks there."""
    path = tmp_path / "run"
    stopped = run(*commands[kind][0], "--run", path, "--ledger-every", 1, "--max-time", "0s")
    while stopped.exit_code == 75 and len((path / "ledger.jsonl").read_bytes().splitlines()) < 3:
        stopped = run(kind, "--resume", path)
    assert stopped.exit_code == 75
    lines = (path / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    for number in (1, len(lines) // 2 + 1):
        line = lines[number - 1]
        at = line.index(b'"chain": "') + 12
        other = line[:at] + (b"0" if line[at : at + 1] != b"0" else b"1") + line[at + 1 :]
        (path / "ledger.jsonl").write_bytes(b"".join([*lines[: number - 1], other, *lines[number:]]))
        said(run(kind, "--resume", path), f"{path / 'ledger.jsonl'}:{number}: the ledger's chain is broken here", 2)
    (path / "ledger.jsonl").write_bytes(b"".join(lines))
    assert run(kind, "--resume", path, "--max-time", "1h").exit_code == 0


# -- what is refused ------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(small_data: Path, tmp_path: Path) -> Path:
    """A run that was stopped after its first batch, on data of its own."""
    shutil.copytree(small_data, tmp_path / "data")
    path = tmp_path / "run"
    assert run("train-ner", "--data", tmp_path / "data", "--run", path, *TAGGER, "--max-time", "0s").exit_code == 75
    return path


def other_data(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    train = stopped.parent / "data" / "train.conll"
    text = train.read_text(encoding="utf-8")
    train.write_text(f"{text}\n{text.split()[-2]} O\n", encoding="utf-8")
    return []


def other_settings(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return ["--lr", "0.5"]


def other_code(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    code = {**environment.code(), "source_sha256": "ab" * 32}
    monkeypatch.setattr(environment, "code", lambda: code)
    return []


def other_versions(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    version = environment._version
    monkeypatch.setattr(environment, "_version", lambda name: "0.0" if name == "numpy" else version(name))
    return []


Change = Callable[[Path, pytest.MonkeyPatch], list[str]]
CHANGED: list[tuple[Change, str]] = [
    (other_data, r"inputs\.train: \w{12}… → \w{12}…"),
    (other_settings, r"config\.lr: 0\.008 → 0\.5"),
    (other_code, r"source: \w{12}… → abababababab…"),
    (other_versions, r"packages\.numpy: [\d.]+ → 0\.0"),
]


@pytest.mark.parametrize(("change", "message"), CHANGED)
def test_what_has_changed_is_refused_or_recorded(
    stopped: Path, monkeypatch: pytest.MonkeyPatch, change: Change, message: str
) -> None:
    arguments = change(stopped, monkeypatch)
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    refused = run("train-ner", "--resume", stopped, "--max-time", "1h", *arguments)
    said(refused, "it would not end in the same bits; undo that, or resume with --allow-changes", 1)
    assert re.search(message, refused.output)
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before, "nothing was touched"
    allowed = run("train-ner", "--resume", stopped, "--max-time", "0s", "--allow-changes", *arguments)
    said(allowed, "resuming although it has changed: ", 75)
    (recorded,) = read_manifest(stopped)["changes"]
    assert recorded["step"] == 1
    assert re.search(message, recorded["changed"][0])
    settings = json.loads((stopped / "config.json").read_text())
    assert settings == read_manifest(stopped)["config"]
    assert settings["lr"] == (0.5 if arguments else 0.008)
    # From here on the run is the changed one, and goes on without being told so again.
    finished = run("train-ner", "--resume", stopped, "--max-time", "1h")
    said(finished, "finished: ", 0)
    assert len(read_manifest(stopped)["changes"]) == 1
    said(run("diff", stopped, stopped), "was resumed at step 1 with changes: ", 0)


def test_a_run_killed_before_its_first_checkpoint_is_guarded_too(small_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    settings = config(small_data)
    with pytest.raises(KeyboardInterrupt):
        train_tagger(settings, RunOptions(path=str(path), callbacks=(Kill(),)))
    with pytest.raises(ReproducibilityError, match=r"config\.seed: 0 → 1"):
        train_tagger(config(small_data, seed=1), RunOptions(resume=str(path)))


def test_a_checkpoint_that_does_not_fit_is_one_line(stopped: Path, tmp_path: Path) -> None:
    before = read_manifest(stopped)
    said(run("train-ner", "--resume", stopped, "--allow-changes", "--hidden-size", 9), "is of another model", 1)
    after = read_manifest(stopped)
    assert {**after, "status": "stopped"} == before
    assert run("train-ner", "--resume", stopped, "--max-time", "1h").exit_code == 0


def test_another_machine_is_told_and_recorded(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "cpu_model", lambda: "an abacus")
    result = run("train-ner", "--resume", stopped, "--max-time", "1h")
    said(result, "the machine or its settings have changed, and the bits may change with them: environment.cpu: ", 0)
    assert "→ an abacus" in read_manifest(stopped)["changes"][0]["changed"][0]


def test_what_cannot_be_resumed_is_one_line(stopped: Path, tmp_path: Path) -> None:
    said(run("train-w2v", "--resume", stopped), "expected a run of kind w2v, got ner; resume it with train-ner", 1)
    said(run("train-ner", "--resume", tmp_path), "expected a run folder with a manifest.json in it", 2)
    said(run("train-ner", "--resume", tmp_path / "gone"), "gone: expected a run folder, got nothing", 2)
    (tmp_path / "data" / "train.conll").unlink()
    assert run("train-ner", "--resume", stopped).exit_code == 2


def test_word_vectors_of_another_corpus_are_refused(small_text: Path, tmp_path: Path) -> None:
    text, path = tmp_path / "text.txt", tmp_path / "run"
    shutil.copyfile(small_text, text)
    assert run("train-w2v", "--corpus", text, "--run", path, *WORDS, "--max-time", "0s").exit_code == 75
    text.write_text(text.read_text(encoding="utf-8") + "More.\n", encoding="utf-8")
    said(run("train-w2v", "--resume", path, "--max-time", "1h"), "inputs.corpus 0: ", 1)


def test_the_library_itself_refuses_runs_of_another_kind(stopped: Path) -> None:
    from training.errors import CheckpointError

    with pytest.raises(CheckpointError, match="expected a run of kind w2v, got ner"):
        train_word2vec(Word2VecConfig(), RunOptions(resume=str(stopped)))
