"""One training run from its folder to its manifest: what all kinds of training have in common."""

from __future__ import annotations

import dataclasses
import json
import math
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training import checkpoint
from training.checkpoint import Checkpoint, ResumeStore
from training.config import TrainConfig
from training.determinism.flags import determinism
from training.determinism.unkept import Unkept
from training.digest import weights_sha256
from training.errors import (
    CheckpointError,
    ConfigError,
    DiskError,
    OutOfMemory,
    Preempted,
    ReproducibilityError,
    StreamError,
    as_ours,
)
from training.files import atomic_write, inside
from training.job_progress import JobProgress
from training.loop.callback import Callback
from training.loop.device import choose_device
from training.loop.session import MetricsLogger
from training.loop.task import Task
from training.parallel.group import Group, join
from training.parallel.launch import begun, note
from training.parallel.loss import heard
from training.run import environment, manifest, seal
from training.run.folder import Run
from training.run.inputs import Inputs
from training.run.ledger import Ledger
from training.run.lock import check_free
from training.run.preemption import Keeper, Position, go_back
from training.run.script import Script, own_code
from training.run.shadow import shadow
from training.run.throughput import Throughput
from training.visible import one_line


@dataclass(frozen=True)
class RunOptions:
    """Where a run goes and who hears of it; nothing here can change its numbers."""

    path: str = ""
    """The run's folder; "" for the next ``root/kind/version_N``."""
    root: str = "runs"
    argv: tuple[str, ...] = ()
    resume: str = ""
    """A run's folder to go on with."""
    folder: str = ""
    """Where the settings' relative paths begin; "" for here (see training/run/places.py)."""
    allow_changes: bool = False
    """Resume although inputs, settings, code or versions have changed."""
    callbacks: tuple[Callback, ...] = ()
    tell: Callable[[str], None] = field(default=lambda line: None)
    progress: JobProgress | None = None
    """Called by long work outside of training: (what, done, total)."""
    script: Script | None = None
    """The user's program that makes the run, for ``verify``."""

    @property
    def number(self) -> int:
        """The how-manieth run of its program it is; 0 for a command's."""
        return 0 if self.script is None else self.script.number

    def restarted(self) -> RunOptions:
        """As they are; once lost processes were started again, they go on with the run that was begun."""
        found = "" if self.resume else begun(self.number, self.path)
        return dataclasses.replace(self, resume=found, path="") if found else self


class Experiment:
    """An open run: its folder, and what a Trainer needs to log, checkpoint and keep the ledger there.

    ``Trainer(run)`` trains in it.
    """

    def __init__(self, run: Run, config: TrainConfig, options: RunOptions, unkept: Unkept | None = None) -> None:
        self.run, self.config, self.options = run, config, options
        self.unkept = unkept or Unkept(options.tell)
        """What of its level's promise the run does not keep; the manifest has it, too."""
        self.unkept.changed = self._keep_unkept
        if self.unkept.lines:
            self._keep_unkept()
        self.store = ResumeStore(inside(run.path, "checkpoints"), keep=config.keep_checkpoints)
        self.keeper = Keeper(run, self.store, every=config.checkpoint_every, max_time=config.max_time)
        self.checkpoint: Checkpoint | None = None
        self.resumed: tuple[list[str], dict[str, Any]] | None = None
        """What has changed since the run was left, and the manifest's facts as they are now."""
        self.fitted = False
        """Whether a fit was begun: a run has one."""
        self.is_own = False
        """Whether a user's program opened it, not a command."""
        self.task: Task | None = None
        """What is trained."""
        self.results: dict[str, float] = {}
        """What was logged, for the manifest."""

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.run.path

    def callbacks(self) -> list[Callback]:
        """What keeps the run's promises: times, the place in its files, the ledger; then those of the options."""
        every = self.config.ledger_every
        own: list[Callback] = [Throughput(self.run), Position(self.run, self._loaded)]
        own += [Ledger(self.run, every, writes=self.keeper.writes)] if every else []
        return [*own, *self.options.callbacks]

    def loggers(self) -> list[MetricsLogger]:
        """Who writes what is logged: metrics.jsonl and TensorBoard."""
        return [self.run]

    def begin_fit(self) -> Checkpoint | None:
        """The state that a resumed run goes on with, None at its beginning. ConfigError for a second fit."""
        if self.fitted:
            raise ConfigError(
                f"{self.run.path}: a run has one fit, and this run's is over; open another experiment for another fit"
            )
        self.fitted = True
        return self.checkpoint

    def finish(self, task: Task, metrics: Mapping[str, float]) -> str:
        """Write checkpoints/model.ckpt (weights and hyperparameters), and seal the run with its results; returns the seal.

        Results that are not finite are left out, and told.
        """
        finite = self.finite(metrics)
        weights = dict(task.state_dict())
        checkpoint.save(self.run.path / seal.MODEL, {"weights": weights, **task.hyperparameters_state()})
        digest = weights_sha256(weights)
        self.run.manifest["code"]["own"] = own_code(self.options.script) or self.run.manifest["code"].get("own", {})
        sealed = self.run.finish(digest, {**self.run.manifest.get("metrics", {}), **finite})
        self.options.tell(f"weights: SHA-256 {digest}")
        self.options.tell(f"seal: SHA-256 {sealed}")
        return sealed

    def finite(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The results that can be kept; what is not finite is told."""
        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        if odd := sorted({*metrics} - {*finite}):
            self.options.tell(f"results that are not finite are not kept: {', '.join(odd)}")
        return finite

    def _keep_unkept(self) -> None:
        """At once, as a run that is killed may not come there again."""
        before = self.run.manifest.get("unkept", [])
        self.run.manifest["unkept"] = [*before, *(line for line in self.unkept.lines if line not in before)]
        self.run.write_manifest()

    def _loaded(self) -> None:
        """The manifest of a run that goes on: as things are now, with what has changed and at which step."""
        if self.resumed is None:
            return
        run, (changes, now) = self.run, self.resumed
        run.manifest |= now
        if changes:
            step = self.checkpoint["progress"]["global_step"] if self.checkpoint else 0
            run.manifest.setdefault("changes", []).append({"step": step, "changed": changes})
            run.manifest["config"] = self.config.to_dict()
            atomic_write(run.path / "config.json", json.dumps(self.config.to_dict(), indent=2) + "\n")
        run.set_status("running")


@contextmanager
def open_run(
    kind: str, config: TrainConfig, options: RunOptions, inputs: Inputs, *, weights_apart: bool = False
) -> Iterator[Experiment]:
    """Set torch's flags, open the run's folder (or go on with one), and leave a true status behind however it ends.

    ``weights_apart``: each process has a part of the weights; a checkpoint's are mapped into memory in process 0 alone, and
    the task deals them out.
    ReproducibilityError where a resumed run's inputs, settings, code or versions are not those it began with.
    """
    group = join(config)
    device = choose_device(config.device)
    unkept = Unkept(options.tell if group.writes else lambda line: None)
    with determinism(config, unkept) as level:
        described = environment.describe(inputs, device, level, options.folder, own_code(options.script))
        if options.script is not None:
            described["script"] = dataclasses.asdict(options.script)
        begun = manifest.digest([kind, config.settings(), _identity(described)])
        check_alike(group, kind, config, described)
        if not group.writes:
            options = dataclasses.replace(options, tell=lambda line: None)
        with as_ours(), _folder(kind, config, options, {**described, "begun": begun}, group) as run:
            opened = Experiment(run, config, options, unkept)
            opened.keeper.alone, opened.keeper.writes = group.world == 1, group.writes
            run.scratch += [] if config.keep_checkpoints else ["checkpoints/resume-*"]
            if options.resume:
                opened.store.mapped = weights_apart
                changes, opened.checkpoint = _gone_back(opened, described, group)
                opened.keeper.last_step = opened.checkpoint["progress"]["global_step"] if opened.checkpoint else 0
                opened.resumed = changes, described
            with _refused(opened), _status(run), opened.keeper.signals():
                options.tell(one_line(f"run: {run.path} (determinism: {level})"))
                yield opened
            if run.manifest["status"] == "finished":
                opened.store.clear()


def _gone_back(opened: Experiment, described: dict[str, Any], group: Group) -> tuple[list[str], Checkpoint | None]:
    """What has changed, and the checkpoint to go on from, whose weights process 0 alone has if they are apart."""
    found: list[Checkpoint | None] = []

    def look() -> tuple[list[str], Checkpoint | None]:
        changes = _changes(opened.run, opened.config, described, opened.options)
        found.append(go_back(opened.run, opened.store, opened.options.tell))
        checkpoint = found[0]
        if checkpoint is not None and opened.store.mapped:
            checkpoint = {**checkpoint, **{name: {} for name in ("weights", "state_dict") if name in checkpoint}}
        return changes, checkpoint

    changes, told = group.first(look)
    return changes, found[0] if found else told


def check_alike(group: Group, kind: str, config: TrainConfig, described: Mapping[str, Any]) -> None:
    """ReproducibilityError where a process has other settings, inputs, code or versions than the first."""
    own = {"kind": kind, "settings": config.settings(), **_identity(described)}
    (first, _), *others = group.gather((own, platform.node()))
    for rank, (theirs, machine) in enumerate(others, 1):
        if changed := [_line(*difference) for difference in manifest.differences(first, theirs)]:
            raise group.shared(
                ReproducibilityError(
                    f"process {rank} on {machine}: expected the same as in process 0, got differences ({'; '.join(changed)})"
                )
            )


@contextmanager
def _folder(kind: str, config: TrainConfig, options: RunOptions, described: dict[str, Any], group: Group) -> Iterator[Run]:
    """The run's folder, a new one or the one to go on with, kept from other processes; process 0 alone writes there."""
    made: list[Run] = []

    def opened() -> Path:
        if options.resume:
            made.append(Run.take_up(Path(options.resume)))
        else:
            folder = {"path": options.path, "root": options.root}
            made.append(Run.create(kind, config, **folder, argv=options.argv, facts=described))
        return made[0].path

    kept_at = group.first(opened)
    run = made[0] if made else shadow(kind, config, described, kept_at)
    if made:
        note(options.number, run.path)
    try:
        yield run
    finally:
        run.unlock()


@contextmanager
def _refused(opened: Experiment) -> Iterator[None]:
    """Settings that turn out not to fit the data, before anything was trained, leave no new folder behind."""
    try:
        yield
    except ConfigError:
        if not opened.keeper.trained and not opened.options.resume:
            shutil.rmtree(opened.run.path, ignore_errors=True)
        raise


@contextmanager
def _status(run: Run) -> Iterator[None]:
    """Leave a true status behind, as far as the disk takes one, and the files closed."""
    try:
        with as_ours(), heard(lambda lost: _leave(run, lost)):
            yield
    except BaseException as error:
        _leave(run, error)
        with suppress(OSError):
            run.close()
        raise
    run.close()


def _leave(run: Run, error: BaseException) -> None:
    """Leave a true status behind, and let the error say which run it is."""
    if isinstance(error, Preempted | DiskError | OutOfMemory | StreamError):
        error.run, error.kind = str(run.kept_at), str(run.manifest["kind"])
    if run.manifest["status"] != "finished":
        with suppress(OSError):
            run.set_status("stopped" if isinstance(error, Preempted) else "failed")


def reopen(path: str, kind: str) -> Run:
    """A run of this kind, to go on with. DataError for what is no run, CheckpointError for another kind, or one in use."""
    run = Run.reopen(Path(path))
    check_free(run.path)
    if seal.is_sealed(run.manifest):
        seal.check(run.path, run.manifest, ())
    if run.manifest.get("kind") != kind:
        found = run.manifest.get("kind")
        raise CheckpointError(f"{run.path}: expected a run of kind {kind}, got {found}; resume it as one of that kind")
    return run


def already_finished(options: RunOptions, kind: str, config: TrainConfig) -> Path | None:
    """The run to resume if it is finished, having said so; None if work is left. Errors as of ``reopen``."""
    return join(config).first(lambda: _finished(options, kind)) if options.resume else None


def _finished(options: RunOptions, kind: str) -> Path | None:
    run = reopen(options.resume, kind)
    if run.manifest["status"] != "finished":
        return None
    kept = any(ResumeStore.pattern.fullmatch(Path(name).name) for name in run.manifest.get("files", {}))
    keep = kept or bool(run.manifest["config"].get("keep_checkpoints"))
    store = ResumeStore(inside(run.path, "checkpoints"), keep=keep)
    store.clear()  # where it was killed before it did that itself
    store.tidy()
    options.tell(f"{run.path} is finished: weights {run.manifest.get('weights_sha256')}")
    return run.path


def _changes(run: Run, config: TrainConfig, now: dict[str, Any], options: RunOptions) -> list[str]:
    """What is not as it was when the run was left; ReproducibilityError where that is not allowed.

    Another machine, or another number of threads, is told but not refused: whether it changes bits depends on the level.
    """
    if "environment" not in run.manifest:
        return []  # it was killed before it had begun
    manifest.check_described(run.manifest, run.path)
    changed = other_settings(run, config)
    changed += [_line(*difference) for difference in manifest.differences(_identity(run.manifest), _identity(now))]
    if changed and not options.allow_changes:
        allow = "--allow-changes" if options.script is None else "allow_changes=True"
        raise ReproducibilityError(
            f"{run.path}: the run began with something else ({'; '.join(changed)}): it would not end in the same "
            f"bits; undo that, or resume with {allow}"
        )
    for line in changed:
        options.tell(f"resuming although it has changed: {line}")
    moved = [
        _line(*difference)
        for difference in manifest.differences(run.manifest["environment"], now["environment"], "environment.")
        if not difference[0].startswith(("environment.packages.", "environment.system"))
    ]
    for line in moved:
        options.tell(f"the machine or its settings have changed, and the bits may change with them: {line}")
    return changed + moved


def other_settings(run: Run, config: TrainConfig) -> list[str]:
    """The settings that are not those that the run began with, a line each."""
    settings = config.settings()
    completed = config.completed(run.manifest["config"])
    was = {name: completed[name] for name in settings}
    return [_line(*difference) for difference in manifest.differences(was, settings, "config.")]


def _identity(described: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "inputs": {name: each["sha256"] for name, each in described["inputs"].items()},
        "source": described["code"]["source_sha256"],
        "own code": dict(described["code"].get("own", {})),
        "packages": described["environment"]["packages"],
    }


def _line(name: str, old: Any, new: Any) -> str:
    return f"{name}: {manifest.plain(old)} → {manifest.plain(new)}"
