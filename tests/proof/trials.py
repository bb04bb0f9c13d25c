"""Trials: a real run is killed and resumed in child processes, and what it leaves is compared with a run never stopped.

The children are forked from one process with one thread that has imported everything, so that a trial takes about half
a second. A kill is SIGKILL, sent by the child to itself when it reaches a named point, or by the parent at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import mmap
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from ner.config import TaggerConfig
from ner.lm.config import LanguageModelConfig
from ner.lm.train import train_language_model
from ner.train import train_tagger
from training import checkpoint, files
from training.checkpoint import ResumeStore
from training.config import TrainConfig
from training.errors import Preempted
from training.files import sha256_file
from training.loop.callback import Callback
from training.run.experiment import RunOptions
from training.run.folder import Run, read_manifest
from word2vec.config import Word2VecConfig
from word2vec.train import train_word2vec

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
COMMON = {"device": "cpu", "threads": 1, "deterministic": True, "progress": False, "log_every_n_steps": 2}
PHASES = (
    "starting or going back", "training", "validation", "writing a checkpoint", "test and report", "finishing",
)  # fmt: skip


def small_inputs(folder: Path, sentences: int = 150, paragraphs: int = 150) -> None:
    """A part of the sample: train, valid and test for the tagger, text.txt for word2vec."""
    for name, count in (("train", sentences), ("valid", sentences // 3), ("test", sentences // 3)):
        parts = (SAMPLE / f"{name}.conll").read_text(encoding="utf-8").split("\n\n")[:count]
        (folder / f"{name}.conll").write_text("\n\n".join(parts) + "\n\n", encoding="utf-8")
    lines = (SAMPLE / "text.txt").read_text(encoding="utf-8").splitlines()[:paragraphs]
    (folder / "text.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def tagger(inputs: Path, **changes: Any) -> TaggerConfig:
    """Dropout, shuffling, LSTM, early stopping, validations within epochs and within accumulation windows."""
    settings = {
        **COMMON, "vectors": "none", "lr": 2e-3, "max_epochs": 2, "hidden_size": 12, "word_dim": 8, "batch_size": 4,
        "val_check_interval": 0.3, "accumulate_grad_batches": 3, "patience": 6, "shuffle_valid": True,
        "checkpoint_every": "3",
    }  # fmt: skip
    return TaggerConfig(data=str(inputs), **{**settings, **changes})


def word2vec(inputs: Path, **changes: Any) -> Word2VecConfig:
    """Skip-gram with negative sampling, subsampling and drawn windows; a ledger line every second step."""
    settings = {
        **COMMON, "dim": 12, "max_epochs": 2, "batch_words": 512, "min_count": 1, "ledger_every": 2, "checkpoint_every": "3"
    }  # fmt: skip
    return Word2VecConfig(corpus=(str(inputs / "text.txt"),), **{**settings, **changes})


def language_model(inputs: Path, **changes: Any) -> LanguageModelConfig:
    """Dropout, validations within epochs, accumulation windows, a rate that falls step by step."""
    settings = {
        **COMMON, "dim": 6, "hidden_size": 8, "projection_dim": 16, "max_epochs": 2, "batch_words": 300, "min_count": 2,
        "val_check_interval": 0.5, "accumulate_grad_batches": 2, "valid_every": 10, "checkpoint_every": "3",
    }  # fmt: skip
    return LanguageModelConfig(corpus=(str(inputs / "text.txt"),), **{**settings, **changes})


def train(config: TrainConfig, options: RunOptions) -> Path:
    """The library call for these settings."""
    functions: dict[type[TrainConfig], Callable[[Any, RunOptions], Path]] = {
        TaggerConfig: train_tagger,
        Word2VecConfig: train_word2vec,
        LanguageModelConfig: train_language_model,
    }
    return functions[type(config)](config, options)


# -- points and kills ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kill:
    """Where a child kills itself: the ``nth`` time (from 1) that a point whose name begins with ``point`` is reached.

    ``half`` first writes a part of a line to the file that is about to get one, as a kill inside a write may.
    """

    point: str
    nth: int = 1
    half: bool = False
    number: signal.Signals = signal.SIGKILL

    def __str__(self) -> str:
        name = "" if self.number == signal.SIGKILL else f"{self.number.name} at "
        return f"{name}{self.point} #{self.nth}" + (", half a line" if self.half else "")


class Watch(Callback):
    """Names the points of a fit, beside those of training/files.py, and says in which phase the run is."""

    def __init__(self, reach: Callable[[str], None], phase: Callable[[str], None]) -> None:
        self.reach, self.phase = reach, phase

    def on_train_start(self, trainer: Any, task: Any) -> None:
        self.phase("training")

    def on_after_backward(self, trainer: Any, task: Any) -> None:
        self.reach("backward" + (" in an open window" if trainer.accumulating else ""))

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.reach("training batch")

    def on_validation_start(self, trainer: Any, task: Any) -> None:
        self.phase("validation")

    def on_validation_batch_end(
        self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if not trainer.sanity_checking:
            self.reach("validation batch")

    def on_validation_end(self, trainer: Any, task: Any) -> None:
        self.phase("starting or going back" if trainer.sanity_checking else "training")

    def on_fit_end(self, trainer: Any, task: Any) -> None:
        self.phase("test and report")

    def on_test_batch_end(
        self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.reach("test batch")


class FinalState(Callback):
    """Writes the digest of each part of the state at the fit's end to ``path``: optimizers, counters, callbacks."""

    last = True

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_fit_end(self, trainer: Any, task: Any) -> None:
        state = trainer.state()
        del state["run"]  # sizes of files, of which some hold times
        self.path.write_text(json.dumps({name: digest(value) for name, value in state.items()}))


def digest(value: Any) -> str:
    """SHA-256 of a nest of dicts, lists, tensors and plain values, bit for bit."""
    found = hashlib.sha256()

    def add(each: Any) -> None:
        if isinstance(each, Mapping):
            for name in sorted(each, key=str):
                add(str(name))
                add(each[name])
        elif isinstance(each, list | tuple):
            found.update(f"{len(each)}[".encode())
            for item in each:
                add(item)
        elif isinstance(each, torch.Tensor):
            flat = each.detach().cpu().contiguous()
            found.update(f"{flat.dtype}{tuple(flat.shape)}".encode() + flat.reshape(-1).view(torch.uint8).numpy().tobytes())
        else:
            found.update((each.hex() if isinstance(each, float) else repr(each)).encode() + b";")

    add(value)
    return found.hexdigest()


class Child:
    """A run, from its beginning or resumed, in a forked process."""

    def __init__(self, config: TrainConfig, folder: Path, kill: Kill | None = None, points: list[str] | None = None) -> None:
        self.config, self.folder, self.kill, self.points = config, folder, kill, points
        self.log = folder.with_name(folder.name + ".log")
        self.memory = mmap.mmap(-1, 1)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._live()

    @property
    def phase(self) -> str:
        """Where the run is, or was when it ended."""
        return PHASES[self.memory[0]]

    def wait(self) -> int:
        """The exit code, or minus the signal that ended it."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def wait_until(self, seconds: float) -> int | None:
        """As ``wait``; None where it still runs after so many seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return self.wait()
            time.sleep(0.001)
        return None

    def _live(self) -> None:
        code = 1
        with open(self.log, "a", encoding="utf-8") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            try:
                self._run()
                code = 0
            except Preempted as stopped:
                print(stopped)
                code = stopped.exit_code
            except BaseException:
                traceback.print_exc()
            log.flush()
        os._exit(code)

    def _run(self) -> None:
        counts: Counter[str] = Counter()
        finish, writing = Run.finish, list[str]()

        def set_phase(name: str) -> None:
            self.memory[0] = PHASES.index(name)

        def reach(name: str) -> None:
            if name == "checkpoint:begin" or (name.startswith("write:") and name.endswith(".ckpt")):
                writing.append(self.phase)
                set_phase("writing a checkpoint")
            elif writing and (name == "checkpoint:end" or (name.startswith("renamed:") and name.endswith(".ckpt"))):
                set_phase(writing.pop())
            if self.points is not None:
                with open(self.folder.with_name(self.folder.name + ".points"), "a", encoding="utf-8") as stream:
                    stream.write(name + "\n")
            if self.kill is None or not name.startswith(self.kill.point):
                return
            counts["reached"] += 1
            if counts["reached"] == self.kill.nth:
                if self.kill.half:
                    with open(self.folder / name.partition(":")[2], "a", encoding="utf-8") as stream:
                        stream.write('{"step": 1, "tra')
                os.kill(os.getpid(), self.kill.number)

        def watched(run: Run, *arguments: Any) -> None:
            set_phase("finishing")
            reach("finish")
            finish(run, *arguments)

        files.fault_hook, Run.finish = reach, watched  # type: ignore[assignment,method-assign]
        begun = (self.folder / "manifest.json").is_file()
        where: dict[str, Any] = {"resume": str(self.folder)} if begun else {"path": str(self.folder)}
        state = FinalState(self.folder.with_name(self.folder.name + ".state"))
        train(self.config, RunOptions(**where, callbacks=(Watch(reach, set_phase), state), tell=print))


def points_of(config: TrainConfig, folder: Path) -> list[str]:
    """Run to the end; the points that it reached, in order."""
    child = Child(config, folder, points=[])
    code = child.wait()
    if code != 0:
        raise RuntimeError(f"the run that is not stopped ended with {code}:\n{child.log.read_text()}")
    return folder.with_name(folder.name + ".points").read_text().splitlines()


def has_checkpoint(folder: Path) -> bool:
    """Whether there is something to resume from."""
    return any(not checkpoint.verify(path) for path in ResumeStore(folder / "checkpoints").paths())


# -- what a run leaves -----------------------------------------------------------------------------------------------


def outcome(run: Path) -> dict[str, Any]:
    """All that must not depend on whether the run was stopped: weights, states, files, TensorBoard's view."""
    manifest = read_manifest(run)
    left_out = ("seconds", "argv", "environment", "files", "unsealed", "seal")  # times, places, torch.save's bytes
    found: dict[str, Any] = {f"manifest: {name}": value for name, value in manifest.items() if name not in left_out}
    found["state at the end of the fit"] = json.loads(run.with_name(run.name + ".state").read_text())
    for path in sorted(p for p in run.rglob("*") if p.is_file()):
        name = str(path.relative_to(run))
        if path.name.startswith(("events.", "resume-")) or path.name in ("timings.jsonl", "manifest.json"):
            continue
        if path.suffix == ".ckpt":
            found[name] = digest(checkpoint.load(path))
        elif path.suffix == ".sha256":
            found[name] = "digest"
        else:
            found[name] = sha256_file(path)
    found["checkpoints to resume from"] = len(ResumeStore(run / "checkpoints").paths())
    found["digests alone"] = [p.name for p in run.rglob("*.sha256") if not p.with_suffix("").exists()]
    return {**found, **tensorboard(run)}


def tensorboard(run: Path) -> dict[str, Any]:
    """Each tag as TensorBoard shows it: scalars in bits, texts by digest; of times, only whether a step is there twice."""
    events = EventAccumulator(str(run), size_guidance={"tensors": 0})
    events.Reload()
    found: dict[str, Any] = {}
    for tag in events.Tags()["tensors"]:
        values = [(event.step, event.tensor_proto.SerializeToString().hex()) for event in events.Tensors(tag)]
        if tag.startswith("time/"):
            if len(values) > len(dict(values)):
                found[f"tensorboard: {tag}: a step is there twice"] = values
        elif not tag.startswith("_hparams_"):  # they hold the time of day
            found[f"tensorboard: {tag}"] = values
    return found


def differences(whole: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The names of what is not the same."""
    return [name for name in sorted({*whole, *other}) if whole.get(name) != other.get(name)]


def warm_up(folder: Path) -> None:
    """Import, by one run of each, all that a run imports when it first needs it: a forked child then has it."""
    for config in (tagger(folder, max_epochs=1), word2vec(folder, max_epochs=1), language_model(folder, max_epochs=1)):
        with contextlib.redirect_stdout(io.StringIO()):
            train(config, RunOptions(path=str(folder / f"warm-{type(config).__name__}"), callbacks=()))
    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError("expected one thread, to fork; set OMP_NUM_THREADS=1")


def resumed(config: TrainConfig, folder: Path, **changes: Any) -> int:
    """Run on to the end; the exit code."""
    return Child(replace(config, **changes), folder).wait()
