"""The promises of a resumable run, tried on Lightning 2.6 and on samebits with the same toy task.

    OMP_NUM_THREADS=1 python benchmarks/lightning_promises.py

The task: 64 sequences of 12 tokens in batches of 4, shuffled every epoch; embedding, dropout, LSTM, linear layer; Adam;
three epochs of 16 steps; a validation after each epoch. Lightning is used as its documentation recommends:
``seed_everything(7, workers=True)`` in every process, ``Trainer(deterministic=True)``, ``ModelCheckpoint`` every 5 steps
with ``save_last=True``, and ``fit(ckpt_path="last")`` to go on. Both keep a checkpoint of every fifth step. Every try is a
process of its own, forked from one that has imported both and computed nothing. The table is made of what was measured.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, OnExceptionCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks import record
from training import checkpoint
from training.checkpoint import ResumeStore
from training.config import TrainConfig
from training.digest import weights_sha256
from training.errors import SamebitsError
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.trainer import Trainer
from training.randomness import keep_mask, permutation, uniform
from training.run.experiment import RunOptions, open_run
from training.run.inputs import Inputs

SEQUENCES, LENGTH, WORDS, LABELS, BATCH, EPOCHS, SAVE_EVERY = 64, 12, 50, 5, 4, 3, 5
STEPS = EPOCHS * SEQUENCES // BATCH
TOKENS = torch.from_numpy(permutation(SEQUENCES * LENGTH, 1, "tokens").copy()).reshape(SEQUENCES, LENGTH) % WORDS
TAGS = TOKENS * 7 % LABELS


class Net(nn.Module):
    """Tokens (B, T) to scores (B, T, LABELS)."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.lstm, self.out = nn.Embedding(WORDS, 16), nn.LSTM(16, 16, batch_first=True), nn.Linear(16, LABELS)

    def loss(self, tokens: Tensor, tags: Tensor, dropout: Callable[[Tensor], Tensor]) -> Tensor:
        hidden, _ = self.lstm(dropout(self.words(tokens)))
        return nn.functional.cross_entropy(self.out(dropout(hidden)).flatten(0, 1), tags.flatten())


# -- Lightning -------------------------------------------------------------------------------------------------------


class LightningToy(pl.LightningModule):
    """Dropout as everyone uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.dropout = Net(), nn.Dropout(0.5)

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        loss = self.net.loss(batch[0], batch[1], self.dropout)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        self.log("val", self.net.loss(batch[0], batch[1], self.dropout))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


class LightningAt(pl.Callback):
    """Calls ``act`` after step ``step``."""

    def __init__(self, step: int, act: Callable[[Any], object]) -> None:
        self.step, self.act = step, act

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step:
            self.act(trainer)


def lightning_fit(
    folder: Path, *, at: int = 0, act: Callable[[Any], object] = id, on_exception: bool = False, **settings: Any
) -> str:
    """Train, or go on from the last checkpoint in ``folder``; the digest of the weights."""
    pl.seed_everything(7, workers=True, verbose=False)
    data = TensorDataset(TOKENS, TAGS)
    callbacks: list[pl.Callback] = [
        ModelCheckpoint(folder, filename="{step}", every_n_train_steps=SAVE_EVERY, save_top_k=-1, save_last=True)
    ]
    callbacks += [OnExceptionCheckpoint(folder)] if on_exception else []
    callbacks += [LightningAt(at, act)] if at else []
    trainer = pl.Trainer(
        max_epochs=EPOCHS, deterministic=True, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=callbacks, default_root_dir=folder, **settings,
    )  # fmt: skip
    module = LightningToy()
    loaders = DataLoader(data, BATCH, shuffle=True), DataLoader(data, BATCH)
    trainer.fit(module, *loaders, ckpt_path="last")
    return weights_sha256(module.net)


def lightning_last(folder: Path) -> Path:
    """The checkpoint that it would go on from."""
    return folder / "last.ckpt"


# -- samebits --------------------------------------------------------------------------------------------------------


class Shuffled:
    """Batches in an order that is a function of the epoch."""

    def plan(self, epoch: int) -> list[tuple[Tensor, Tensor]]:
        order = torch.from_numpy(permutation(SEQUENCES, 7, "order", epoch))
        return [(TOKENS[part], TAGS[part]) for part in order.split(BATCH)]


class OurToy(Task):
    """The same with dropout masks that are functions of (epoch, batch)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()
        with torch.no_grad():
            for i, parameter in enumerate(self.net.parameters()):
                parameter.copy_(uniform(tuple(parameter.shape), -0.25, 0.25, 7, "initial", i))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        layer = iter(range(2))

        def dropout(x: Tensor) -> Tensor:
            return x * keep_mask(tuple(x.shape), 0.5, 7, f"dropout {next(layer)}", self.current_epoch, batch_idx)

        loss = self.net.loss(*batch, dropout)
        self.log("loss", loss, batch_size=len(batch[0]))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log("val", self.net.loss(*batch, lambda x: x), batch_size=len(batch[0]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


class OurAt(Callback):
    """Calls ``act`` after step ``step``."""

    def __init__(self, step: int, act: Callable[[Any], object]) -> None:
        self.step, self.act = step, act

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step:
            self.act(trainer)


def our_fit(folder: Path, *, at: int = 0, act: Callable[[Any], object] = id, **settings: Any) -> str:
    """Train, or go on from the last checkpoint in ``folder``; the digest of the weights."""
    config = TrainConfig(
        seed=7, device="cpu", threads=1, deterministic=True, max_epochs=EPOCHS, checkpoint_every=str(SAVE_EVERY),
        keep_checkpoints=True, progress=False, **settings,
    )  # fmt: skip
    run = folder / "run"
    callbacks = (OurAt(at, act),) if at else ()
    place: dict[str, Any] = {"resume": str(run)} if run.exists() else {"path": str(run)}
    with open_run("toy", config, RunOptions(**place, callbacks=callbacks, tell=print), Inputs()) as opened:
        task = OurToy()
        Trainer(opened, enable_checkpointing=False).fit(task, Shuffled(), Shuffled())
        return weights_sha256(task.net)


def our_last(folder: Path) -> Path:
    """The checkpoint that it would go on from."""
    return ResumeStore(folder / "run" / "checkpoints").paths()[0]


# -- trying ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """One of the two."""

    name: str
    fit: Callable[..., str]
    last: Callable[[Path], Path]
    stop: Callable[[Any], None]


def lightning_stop(trainer: Any) -> None:
    trainer.should_stop = True


def our_stop(trainer: Any) -> None:
    trainer.keep_going.stop("the try says so")


SIDES = (
    Side(f"Lightning {version('lightning')}", lightning_fit, lightning_last, lightning_stop),
    Side("samebits", our_fit, our_last, our_stop),
)


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, the weights' digest if it came to the end, what it printed and raised."""

    code: int
    weights: str
    said: str


def attempt(fit: Callable[..., str], folder: Path, **arguments: Any) -> Ended:
    """``fit`` in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    result, log = folder / "result", folder / "log"
    result.unlink(missing_ok=True)
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        with open(log, "w") as stream, contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            try:
                result.write_text(fit(folder, **arguments))
                code = 0
            except SystemExit as ended:
                code = 0 if ended.code is None else ended.code if isinstance(ended.code, int) else 1
            except SamebitsError as error:  # as the command line does
                print(f"{type(error).__name__}: {error}")
                code = error.exit_code
            except BaseException:
                traceback.print_exc()
            stream.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Ended(code, result.read_text() if result.exists() else "", log.read_text())


def kill(number: int) -> Callable[[Any], None]:
    return lambda trainer: os.kill(os.getpid(), number)


def same(got: Ended, whole: Ended) -> str:
    """ "same bits", or what came instead."""
    if not got.weights:
        return f"did not go on ({last_line(got)})"
    return "same bits" if got.weights == whole.weights else "other weights"


def last_line(ended: Ended) -> str:
    lines = [line for line in ended.said.splitlines() if line.strip()]
    return lines[-1][:110] if lines else f"exit code {ended.code}"


def twice(side: Side, folder: Path, whole: Ended) -> str:
    """Run again undisturbed."""
    return same(attempt(side.fit, folder / "again"), whole)


def resumed(side: Side, folder: Path, whole: Ended) -> str:
    """(a) stopped in the middle of an epoch, and resumed."""
    found = []
    for step in (10, 20, 40):
        place = folder / f"stop-{step}"
        attempt(side.fit, place, at=step, act=side.stop)
        found.append(same(attempt(side.fit, place), whole))
    return tally(found)


def killed(side: Side, folder: Path, whole: Ended) -> str:
    """(b) SIGKILL after a random step."""
    found = []
    for step in sorted(random.Random(0).sample(range(1, STEPS), 10)):
        place = folder / f"kill-{step}"
        attempt(side.fit, place, at=step, act=kill(signal.SIGKILL))
        found.append(same(attempt(side.fit, place), whole))
    return tally(found)


def watched(side: Side, folder: Path, whole: Ended) -> str:
    """(c) another val_check_interval."""
    found = [same(attempt(side.fit, folder / f"val-{f}", val_check_interval=f), whole) for f in (0.25, 0.5)]
    found.append(same(attempt(side.fit, folder / "no-sanity", num_sanity_val_steps=0), whole))
    return tally(found)


def terminated(side: Side, folder: Path, whole: Ended, **arguments: Any) -> str:
    """(d) SIGTERM after step 22, which is no multiple of 5."""
    place = folder / f"term-{len(arguments)}"
    ended = attempt(side.fit, place, at=22, act=kill(signal.SIGTERM), **arguments)
    written = sorted(place.rglob("*.ckpt"))
    steps = [step_of(path) for path in written]
    kept = "checkpoint of step 22" if 22 in steps else f"no checkpoint of it (last: step {max(steps, default=0)})"
    if arguments and 22 in steps:  # its own name: what a user would give as ckpt_path
        shutil.copy(written[steps.index(22)], place / "last.ckpt")
    return f"exit code {ended.code}; {kept}; resumed: {same(attempt(side.fit, place), whole)}"


def step_of(path: Path) -> int:
    content = torch.load(path, weights_only=True, map_location="cpu")
    return int(content.get("global_step", content.get("progress", {}).get("global_step", 0)))


def damaged(side: Side, folder: Path, whole: Ended, how: str) -> str:
    """(e) the last checkpoint truncated, or one bit of its tensors flipped, after a kill at step 22."""
    place = folder / f"damaged-{how}"
    attempt(side.fit, place, at=22, act=kill(signal.SIGKILL))
    path = side.last(place)
    data = bytearray(path.read_bytes())
    if how == "truncated":
        data = data[: len(data) // 2]
    else:
        tensor = next(t for t in tensors(torch.load(path, weights_only=True)) if t.numel() > 100)
        at = data.find(tensor.numpy().tobytes())
        data[at + 42] ^= 1
    path.write_bytes(bytes(data))
    got = attempt(side.fit, place)
    noticed = "noticed" if not got.weights or "damaged" in got.said else "not noticed"
    return f"{noticed}; {same(got, whole)}"


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for each in inner for tensor in tensors(each)]


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.target,)


def hostile(side: Side, folder: Path, whole: Ended) -> str:
    """(f) a checkpoint with a pickled object that runs code, and, for ours, with the digest that fits it."""
    place = folder / "hostile"
    attempt(side.fit, place, at=22, act=kill(signal.SIGKILL))
    path, target = side.last(place), place / "owned"
    torch.save({**torch.load(path, weights_only=True), "extra": Hostile(str(target))}, path)
    if checkpoint.digest_path(path).exists():
        from training.files import sha256_file

        checkpoint.digest_path(path).write_text(sha256_file(path) + "\n")
    got = attempt(side.fit, place)
    return f"{'its code ran' if target.exists() else 'its code did not run'}; {same(got, whole)}"


def tally(found: list[str]) -> str:
    """ "3 of 3 same bits", or how many of what."""
    kinds = dict.fromkeys(found)
    return ", ".join(f"{found.count(kind)} of {len(found)} {kind}" for kind in kinds)


TRIES: list[tuple[str, Callable[[Side, Path, Ended], str]]] = [
    ("run again, undisturbed", twice),
    ("stopped within an epoch (steps 10, 20, 40) and resumed", resumed),
    ("SIGKILL after 10 random steps, resumed from the last checkpoint", killed),
    ("val_check_interval 0.25 and 0.5 for 1.0; no sanity check", watched),
    ("SIGTERM after step 22", terminated),
    ("last checkpoint truncated", lambda side, folder, whole: damaged(side, folder, whole, "truncated")),
    ("one bit of its weights flipped", lambda side, folder, whole: damaged(side, folder, whole, "flipped")),
    ("a checkpoint with a hostile pickle", hostile),
]


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    record.add_option(parser)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="promises-") as temporary:
        rows = [[name] for name, _ in TRIES] + [["SIGTERM, with OnExceptionCheckpoint"]]
        for side in SIDES:
            folder = Path(temporary) / side.name.split()[0]
            whole = attempt(side.fit, folder / "whole")
            assert whole.weights, whole.said
            for row, (_, attempt_it) in zip(rows, TRIES, strict=False):
                row.append(attempt_it(side, folder, whole))
            more = terminated(side, folder, whole, on_exception=True) if side.name != "samebits" else "as without"
            rows[-1].append(more)
    print("| tried | " + " | ".join(side.name for side in SIDES) + " |\n| --- | --- | --- |")
    for row in rows:
        print("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |")
    names = [side.name for side in SIDES]
    found: record.Rows = {name: dict(zip(names, cells, strict=True)) for name, *cells in rows}
    record.write(given.record, "promises", found, modules=record.RUN, threads=1)


if __name__ == "__main__":
    main()
