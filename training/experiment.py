"""One training run from its folder to its manifest: what ``train_word2vec`` and ``train_tagger`` have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training import manifest
from training.callbacks import Callback
from training.checkpoint import Checkpoint, ResumeStore
from training.config import TrainConfig
from training.determinism import determinism
from training.device import choose_device
from training.errors import CheckpointError, Preempted, ReproducibilityError
from training.files import sha256_file
from training.ledger import Ledger
from training.loop import Batches, Trainer
from training.resume import Keeper, go_back
from training.run import Run
from training.task import Task
from training.throughput import Throughput


@dataclass(frozen=True)
class RunOptions:
    """Where a run goes and who hears of it; nothing here can change its numbers."""

    path: str = ""
    """The run's folder; "" for the next ``root/kind/version_N``."""
    root: str = "runs"
    argv: tuple[str, ...] = ()
    resume: str = ""
    """A run's folder to go on with."""
    allow_changes: bool = False
    """Resume although inputs, settings, code or versions have changed."""
    callbacks: tuple[Callback, ...] = ()
    tell: Callable[[str], None] = field(default=lambda line: None)
    progress: Callable[[str, int, int], None] | None = None
    """Called by long work outside of training: (what, done, total)."""


class Experiment:
    """An open run: its folder, and a Trainer that logs, checkpoints and keeps the ledger there."""

    def __init__(self, run: Run, config: TrainConfig, options: RunOptions, identity: dict[str, Any]) -> None:
        self.run, self.config, self.options = run, config, options
        self.store = ResumeStore(run.path / "checkpoints")
        self.keeper = Keeper(run, self.store, every=config.checkpoint_every, max_time=config.max_time, identity=identity)
        self.checkpoint: Checkpoint | None = None

    def trainer(self, callbacks: Sequence[Callback] = ()) -> Trainer:
        """A Trainer with this run's loggers and callbacks, and then ``callbacks``."""
        every = self.config.ledger_every
        own: list[Callback] = [Throughput(self.run), *([Ledger(self.run, every)] if every else [])]
        return Trainer(
            self.config,
            callbacks=[*own, *self.options.callbacks, *callbacks],
            loggers=[self.run],
            keep_going=self.keeper,
            checkpoint_dir=self.run.path / "checkpoints",
        )

    def fit(self, trainer: Trainer, task: Task, train: Batches, val: Batches | None = None) -> None:
        """Train, from the beginning or from the checkpoint that a resumed run goes on with."""
        trainer.fit(task, train, val, state=self.checkpoint)


@contextmanager
def experiment(
    kind: str, config: TrainConfig, options: RunOptions, inputs: Mapping[str, str | Path]
) -> Iterator[Experiment]:
    """Set torch's flags, open the run's folder (or go on with one), and leave a true status behind however it ends.

    ReproducibilityError where a resumed run's inputs, settings, code or versions are not those it began with.
    """
    device = choose_device(config.device)
    with determinism(config.deterministic, config.threads) as level:
        environment = manifest.environment(device, level)
        identity = {
            "config": config.fingerprint(),
            "inputs": {name: sha256_file(path) for name, path in inputs.items()},
            "source": manifest.code()["source_sha256"],
            "packages": environment["packages"],
        }
        if options.resume:
            run = Run.reopen(Path(options.resume))
            experiment = Experiment(run, config, options, identity)
            experiment.checkpoint = go_back(run, experiment.store, options.tell)
            _check_identity(experiment.checkpoint, identity, options)
            run.set_status("running")
        else:
            run = Run.create(kind, config, path=options.path, root=options.root, argv=options.argv)
            for name, path in inputs.items():
                run.add_input(name, path)
            run.manifest["environment"] = environment
            run.write_manifest()
            experiment = Experiment(run, config, options, identity)
        options.tell(f"run: {run.path} (determinism: {level})")
        try:
            with experiment.keeper.signals():
                yield experiment
        except Preempted:
            run.set_status("stopped")
            raise
        except BaseException:
            run.set_status("failed")
            raise
        finally:
            run.close()


def already_finished(options: RunOptions, kind: str) -> Path | None:
    """The run to resume if it is finished, having said so; None if work is left. CheckpointError for another kind."""
    if not options.resume:
        return None
    run = Run.reopen(Path(options.resume))
    if run.manifest.get("kind") != kind:
        raise CheckpointError(f"{run.path}: expected a run of kind {kind}, got {run.manifest.get('kind')}")
    if run.manifest["status"] != "finished":
        return None
    options.tell(f"{run.path} is finished: weights {run.manifest.get('weights_sha256')}")
    return run.path


def _check_identity(checkpoint: Checkpoint | None, now: dict[str, Any], options: RunOptions) -> None:
    if checkpoint is None:
        return
    changed = [f"{name}: {old} → {new}" for name, old, new in manifest.differences(checkpoint["identity"], now)]
    if changed and not options.allow_changes:
        raise ReproducibilityError(
            f"{options.resume}: the run began with something else ({'; '.join(changed)}): it would not end in the same "
            "bits; undo that, or resume with --allow-changes"
        )
    for line in changed:
        options.tell(f"resuming although it has changed: {line}")
