"""ModelCheckpoint: keeps the best checkpoints, or the newest, under names made from a template. As Lightning 2.6's.

Which names are taken is remembered (and stands in the checkpoints), not looked up on the disk: a run that is resumed
from an earlier point writes over the files that it wrote after that point, and ends with the same files as a run that
was never disturbed. Names are kept relative to the folder, so that a run folder can be moved. A fit that goes on from one
of these files is another fit: it looks at the disk, takes no name that is there, and never deletes that file.

A state may have been made by somebody else, to have other files deleted. What it names is deleted, or written over, only
where the template makes such names, a Trainer wrote the file, and no other ModelCheckpoint lists it.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from training import checkpoint
from training.bar import is_first, say
from training.callbacks.on_exception_checkpoint import save_quietly
from training.errors import CheckpointError, ConfigError, DiskError
from training.files import atomic_link, atomic_write, is_inside
from training.loop.callback import Checkpoint
from training.loop.loggers import checkpoint_folder
from training.loop.task import Task
from training.loop.view import TrainerView
from training.values import argument, shown, template_fault
from training.visible import shortened
from training.yaml import as_yaml

NUMBER = r"[ +-]*([0-9a-fA-F][0-9a-fA-FxX.,_]*([eE][+-]?[0-9]+)?|nan|inf|NAN|INF)%?"  # as a template may write it


class ModelCheckpoint(Checkpoint):
    """Saves after each validation or, if validation runs just once per epoch, at the epoch's end.

    Args:
        dirpath: the folder; None takes the Trainer's ``checkpoint_dir``, else a folder beside what its first logger writes,
            else ``checkpoints`` in its ``default_root_dir``.
        filename: a template such as ``"{epoch:02d}-{val_loss:.3f}"``; None is ``"{epoch}-{step}"``.
        monitor: the logged metric that says which are best; None keeps the newest.
        verbose: print to standard error what is saved, and what is not among the best.
        save_last: also write ``last.ckpt`` whenever something was saved, and at the end of training. "link" makes it a
            relative symbolic link to the newest file instead of a second one; inside of a run's folder, whose files are
            opened without following links, a hard link.
        save_top_k: how many to keep; -1 all, 0 none. Without ``monitor`` only -1, 0 and 1 make sense.
        save_on_exception: also save when an error ends the training, except a stop that can be resumed exactly anyway.
            After an error within a batch the state lies within that batch: a fit resumed from there counts what the
            batch had logged, or added to the gradients, twice.
        save_weights_only: leave out what a resume needs.
        mode: "min" or "max". A tie keeps the older file; NaN counts as worst.
        auto_insert_metric_name: ``{epoch}`` becomes ``epoch=3``, not ``3``.
        every_n_train_steps: save every N steps. Give at most one of this, ``train_time_interval`` and
            ``every_n_epochs``; with none of them it saves every epoch.
        train_time_interval: save after the first batch that ends this long after the last save was due. What is saved
            then depends on the clock, and so do the files that are kept. In a resumed fit, the time before counts.
        every_n_epochs: save every N epochs.
        save_on_train_epoch_end: True at an epoch's end, False after validation, None as described above.
        enable_version_counter: a name that is taken gets ``-v1``, ``-v2``, …; otherwise the file is overwritten.

    Raises:
        ConfigError: for arguments that are not numbers, settings that contradict each other, and a ``filename`` that leads
            out of the folder; in the fit, for a metric that was not logged.

    Example:
        >>> from training import ModelCheckpoint
        >>> best = ModelCheckpoint(filename="{epoch:02d}-{val_loss:.3f}", monitor="val_loss", save_top_k=2, save_last=True)
        >>> best.format_checkpoint_name({"epoch": 7, "val_loss": 0.25})
        'epoch=07-val_loss=0.250.ckpt'

    After the fit ``best_model_path``, ``best_model_score`` and ``last_model_path`` say what was kept; so does
    ``Trainer.test(task, source, ckpt_path="best")``. The names are made with CHECKPOINT_JOIN_CHAR, CHECKPOINT_EQUALS_CHAR,
    CHECKPOINT_NAME_LAST, FILE_EXTENSION and STARTING_VERSION, which a subclass or an instance may change.

    Source: Lightning 2.6's ``ModelCheckpoint``.
    """

    CHECKPOINT_JOIN_CHAR = "-"
    CHECKPOINT_EQUALS_CHAR = "="
    CHECKPOINT_NAME_LAST = "last"
    FILE_EXTENSION = ".ckpt"
    STARTING_VERSION = 1

    def __init__(
        self,
        dirpath: str | Path | None = None,
        filename: str | None = None,
        monitor: str | None = None,
        verbose: bool = False,
        save_last: bool | str | None = None,
        save_top_k: int = 1,
        save_on_exception: bool = False,
        save_weights_only: bool = False,
        mode: str = "min",
        auto_insert_metric_name: bool = True,
        every_n_train_steps: int | None = None,
        train_time_interval: timedelta | None = None,
        every_n_epochs: int | None = None,
        save_on_train_epoch_end: bool | None = None,
        enable_version_counter: bool = True,
    ) -> None:
        save_top_k = argument(save_top_k, int, "ModelCheckpoint: save_top_k")
        every_n_epochs = argument(every_n_epochs, int | None, "ModelCheckpoint: every_n_epochs", least=0)
        every_n_train_steps = argument(every_n_train_steps, int | None, "ModelCheckpoint: every_n_train_steps", least=0)
        _check(monitor, mode, save_top_k, save_last)
        _check_triggers(every_n_train_steps, train_time_interval, every_n_epochs)
        if not isinstance(filename, str | None):
            raise ConfigError(f"ModelCheckpoint: filename: expected a text, or None, got {shown(filename)}")
        if filename and template_fault(filename):
            raise ConfigError(
                f"ModelCheckpoint: filename: expected a template such as '{{epoch:02d}}-{{val_loss:.3f}}', got "
                f"{shortened(filename, 80)!r} ({template_fault(filename)})"
            )
        if filename and not is_inside(filename):
            raise ConfigError(
                f"ModelCheckpoint: filename: expected names inside the folder, got {shortened(filename, 80)!r}"
            )
        self.dirpath = dirpath
        self.filename, self.monitor, self.mode, self.verbose = filename, monitor, mode, verbose
        self.save_top_k, self.save_last, self.save_weights_only = save_top_k, save_last, save_weights_only
        self.save_on_exception = save_on_exception
        none = every_n_epochs is None and every_n_train_steps is None and train_time_interval is None
        self.every_n_epochs = 1 if none else every_n_epochs or 0
        self.every_n_train_steps = every_n_train_steps or 0
        self.train_time_interval = train_time_interval
        self.save_on_train_epoch_end = save_on_train_epoch_end
        self.auto_insert_metric_name = auto_insert_metric_name
        self.enable_version_counter = enable_version_counter
        self.best_model_path = self.kth_best_model_path = self.last_model_path = ""
        self.best_model_score: Tensor | None = None
        self.current_score: Tensor | None = None
        self.best_k_models: dict[str, Tensor] = {}
        self.kth_value = _score(float("inf" if mode == "min" else "-inf"))
        self._taken: set[str] = set()
        self._own: set[str] = set()  # files that were written here, or that a state named and that can be from here
        self._obsolete = ""  # to be deleted as soon as the file that takes its place is written
        self._saved_step = 0
        self._saved_path = ""
        self._deferred = False
        self._waited = 0.0  # seconds since a save by time was due, when the state was taken that the fit goes on from
        self._due_since: float | None = None  # on the clock of this process
        self._resumed_from: Path | None = None
        self._training = False

    @property
    def dirpath(self) -> str | None:
        """The folder of the files; None where it is not known yet."""
        return None if self._folder is None else str(self._folder)

    @dirpath.setter
    def dirpath(self, folder: str | Path | None) -> None:
        self._folder = None if not folder else Path(folder).expanduser().resolve()

    # -- when ---------------------------------------------------------------------------------------------------------

    def setup(self, trainer: TrainerView, task: Task, stage: str) -> None:
        if self._folder is None:
            beside = trainer.checkpoint_dir or checkpoint_folder(trainer.loggers)
            if beside is None and stage != "fit":
                return  # nothing is written
            self._folder = trainer.first(Path(beside or Path(trainer.default_root_dir) / "checkpoints").resolve)
        self._training, self._due_since = False, None
        if stage == "fit" and not trainer.fast_dev_run:
            self._taken |= {path for path in self._on_disk(trainer) if is_inside(self._relative(path))}

    def on_fit_start(self, trainer: TrainerView, task: Task) -> None:
        self._resumed_from = None
        if trainer.resumed_from is None:
            self._remove_obsolete()
            return
        # A file that somebody resumes from, perhaps again, or in another folder, or in a fit of other settings: as in
        # Lightning, whatever is on the disk keeps its name, and what is remembered of another folder is not of this one.
        self._obsolete = ""
        assert self._folder is not None
        self._taken = self._on_disk(trainer)
        self._saved_path = ""
        self._resumed_from = trainer.resumed_from
        if not self._resumed_from.exists():
            self._resumed_from = self._folder / self._resumed_from.name  # moved, with its folder
        elif self._folder not in self._resumed_from.parents:
            self.best_k_models = {}
            self.best_model_path = self.kth_best_model_path = self.last_model_path = ""
            self.best_model_score = self.current_score = None

    def on_train_start(self, trainer: TrainerView, task: Task) -> None:
        self._training, self._due_since = True, monotonic() - self._waited

    def on_train_batch_end(self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
        by_steps = self.every_n_train_steps >= 1 and trainer.global_step % self.every_n_train_steps == 0
        if not self._time_is_over(trainer) and not by_steps:
            return
        if not task.automatic_optimization and self._skip(trainer):
            return
        if self.monitor is not None:
            # What is monitored may come from a validation that has not run yet, or is about to.
            fresh_to_come = (
                task.automatic_optimization
                and not self._at_epoch_end(trainer)
                and trainer.is_last_batch
                and trainer.validates_this_epoch
            )
            if self.monitor not in self._candidates(trainer) or fresh_to_come:
                self._deferred = True
                return
        if not self._skip(trainer):
            self._save_best(trainer)
            self._save_last(trainer)

    def _on_disk(self, trainer: TrainerView) -> set[str]:
        """The checkpoints that are in the folder, as process 0 sees it."""
        folder = self._folder
        assert folder is not None
        return trainer.first(lambda: {str(path) for path in folder.rglob(f"*{self.FILE_EXTENSION}")})

    def _time_is_over(self, trainer: TrainerView) -> bool:
        """Whether a save by time is due, by the clock of process 0; then the time begins anew."""
        if self.train_time_interval is None or self._due_since is None:
            return False
        due = self._due_since + self.train_time_interval.total_seconds()
        if not trainer.first(lambda: monotonic() >= due):
            return False
        self._due_since = monotonic()
        return True

    def on_train_epoch_end(self, trainer: TrainerView, task: Task) -> None:
        if not self._skip(trainer) and self._at_epoch_end(trainer):
            self._save_by_epoch(trainer)

    def on_validation_end(self, trainer: TrainerView, task: Task) -> None:
        if self._skip(trainer) or self._at_epoch_end(trainer):
            return
        if self._deferred:
            self._deferred = False
            self._save_best(trainer)
            self._save_last(trainer)
        else:
            self._save_by_epoch(trainer)

    def on_train_end(self, trainer: TrainerView, task: Task) -> None:
        if self.save_last and not self._saved_path and not trainer.fast_dev_run:
            self._save_last(trainer)

    def on_exception(self, trainer: TrainerView, task: Task, exception: BaseException) -> None:
        if not self.save_on_exception or not self._training or self._skip(trainer):
            return

        def save() -> str:
            candidates = self._candidates(trainer)
            path = self._free_name(trainer, self.format_checkpoint_name(candidates), "")
            self._save(trainer, path, "")
            self._save_last(trainer)
            return path

        save_quietly(save, exception)

    def _save_by_epoch(self, trainer: TrainerView) -> None:
        if self.every_n_epochs >= 1 and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._save_best(trainer)
        if self._saved_step == trainer.global_step or (self.save_last == "link" and self._saved_path):
            self._save_last(trainer)

    def _skip(self, trainer: TrainerView) -> bool:
        return (
            bool(trainer.fast_dev_run)
            or not trainer.fitting
            or trainer.sanity_checking
            or self._saved_step == trainer.global_step
        )

    def _at_epoch_end(self, trainer: TrainerView) -> bool:
        if self.save_on_train_epoch_end is not None:
            return self.save_on_train_epoch_end
        if trainer.check_val_every_n_epoch != 1:
            return False
        return sum(trainer.num_val_batches) == 0 or trainer.validates_once_an_epoch

    # -- what ---------------------------------------------------------------------------------------------------------

    def _save_best(self, trainer: TrainerView) -> None:
        candidates = self._candidates(trainer)
        if self.save_top_k == 0:
            return
        if self.monitor is None:
            path = self._free_name(trainer, self.format_checkpoint_name(candidates), self.best_model_path)
            previous, self.best_model_path = self.best_model_path, path
            if self.verbose:
                say(f"ModelCheckpoint: epoch {trainer.current_epoch}, step {trainer.global_step}: saving {path}")
            self._save(trainer, path, previous if self.save_top_k == 1 else "")
        elif self.monitor in candidates:
            self._save_if_better(trainer, candidates)
        elif trainer.validated:
            raise ConfigError(
                f"ModelCheckpoint: expected the metric {self.monitor!r} to be logged, got "
                f"{', '.join(trainer.metrics) or 'none'}"
            )

    def check_monitor_top_k(self, trainer: TrainerView, current: float | Tensor | None = None) -> bool:
        """Whether a checkpoint with this value is among those to be kept."""
        if current is None:
            return False
        if self.save_top_k == -1 or len(self.best_k_models) < self.save_top_k:
            return True
        worst = self.best_k_models[self.kth_best_model_path]
        return bool(_score(current) < worst if self.mode == "min" else _score(current) > worst)

    def _save_if_better(self, trainer: TrainerView, candidates: dict[str, float]) -> None:
        assert self.monitor is not None
        current, at = _score(candidates[self.monitor]), f"epoch {trainer.current_epoch}, step {trainer.global_step}"
        if not self.check_monitor_top_k(trainer, current):
            if self.verbose:
                say(f"ModelCheckpoint: {at}: {self.monitor} = {current:.5f} is not in the top {self.save_top_k}")
            return
        if current.isnan():
            current = _score(float("inf" if self.mode == "min" else "-inf"))
        # With all kept, as in Lightning: only a new name is looked at, not one that is written again.
        complete = len(self.best_k_models) + 1 if self.save_top_k == -1 else self.save_top_k
        replaced = self.kth_best_model_path if len(self.best_k_models) == complete else ""
        self.best_k_models.pop(replaced, None)
        path = self._free_name(trainer, self.format_checkpoint_name(candidates), replaced)
        self.current_score = self.best_k_models[path] = current
        best, worst_of = (min, max) if self.mode == "min" else (max, min)
        if len(self.best_k_models) == complete:
            self.kth_best_model_path = worst_of(self.best_k_models, key=lambda name: self.best_k_models[name])
            self.kth_value = self.best_k_models[self.kth_best_model_path]
        self.best_model_path = best(self.best_k_models, key=lambda name: self.best_k_models[name])
        self.best_model_score = self.best_k_models[self.best_model_path]
        if self.verbose:
            say(f"ModelCheckpoint: {at}: {self.monitor} = {current:.5f}, best {self.best_model_score:.5f}: saving {path}")
        self._save(trainer, path, replaced)

    def _save_last(self, trainer: TrainerView) -> None:
        if not self.save_last:
            return
        name = self.format_checkpoint_name(self._candidates(trainer), self.CHECKPOINT_NAME_LAST)
        path = self._free_name(trainer, name, self.last_model_path)
        previous, self.last_model_path = self.last_model_path, path
        target = Path(self._saved_path)
        if self.save_last == "link" and self.save_top_k != 0 and self._saved_path and trainer.first(target.exists):
            self._link(trainer, path, previous)
        else:
            self._save(trainer, path, previous)

    def _save(self, trainer: TrainerView, path: str, replaced: str) -> None:
        """Write ``path``; then delete ``replaced``. The state in the file is that of after both."""
        self._taken.add(path)
        self._saved_step, self._saved_path = trainer.global_step, path
        self._give_up(trainer, replaced, path)
        trainer.save_checkpoint(path, weights_only=self.save_weights_only)
        self._remove_obsolete()
        for logger in trainer.loggers:
            if callable(told := getattr(logger, "after_save_checkpoint", None)):
                told(self)

    def _link(self, trainer: TrainerView, path: str, replaced: str) -> None:
        """Make ``path`` a link to the newest file, with its digest; then delete ``replaced``."""
        target = Path(self._saved_path)
        if path == self._saved_path:
            return
        self._taken.add(path)
        self._give_up(trainer, replaced, path)
        assert self._folder is not None
        in_run = any((folder / "manifest.json").is_file() for folder in (self._folder, *self._folder.parents))
        try:
            for source, name in ((checkpoint.digest_path(target), checkpoint.digest_path(Path(path))), (target, Path(path))):
                if is_first() and source.exists():
                    atomic_link(source, name, symbolic=not in_run)
        except OSError as error:
            raise DiskError(f"{path}: the link to {target.name} could not be made ({error.strerror})") from error
        self._remove_obsolete()

    def _give_up(self, trainer: TrainerView, replaced: str, path: str) -> None:
        """``replaced`` is to be deleted once ``path`` is written: if it is another in the folder, and not resumed from."""
        assert self._folder is not None
        name = Path(replaced).parent.resolve() / Path(replaced).name  # of a link the link, not what it stands for
        # One that is gone is nobody's: a run that was killed deleted it, and has gone back to when it was there.
        there = bool(replaced) and trainer.first(partial(os.path.lexists, replaced))
        foreign = there and replaced not in self._own
        kept = name == self._resumed_from or foreign or replaced in self._listed_by_others(trainer)
        self._own = (self._own - {replaced}) | {path}
        if replaced != path and self._folder in Path(replaced).parents and not kept:
            for each in trainer.callbacks:
                if isinstance(each, ModelCheckpoint):
                    each._taken.discard(replaced)
            self._obsolete = replaced

    def _remove_obsolete(self) -> None:
        if self._obsolete:
            if is_first():
                checkpoint.remove(Path(self._obsolete))
            self._obsolete = ""

    def _listed_by_others(self, trainer: TrainerView) -> set[str]:
        """The files that other callbacks of this kind keep."""
        others = [each for each in trainer.callbacks if isinstance(each, ModelCheckpoint) and each is not self]
        return {path for each in others for path in each._named()}

    def _named(self) -> set[str]:
        """All files that the state names as kept, or as to be deleted."""
        return {*self.best_k_models, *(getattr(self, name) for name in PATHS)} - {""}

    # -- names --------------------------------------------------------------------------------------------------------

    def _candidates(self, trainer: TrainerView) -> dict[str, float]:
        found = dict(trainer.metrics)
        return {
            **found,
            "epoch": int(found.get("epoch", trainer.current_epoch)),
            "step": int(found.get("step", trainer.global_step)),
        }

    def format_checkpoint_name(
        self,
        metrics: dict[str, Any],
        filename: str | None = None,
        ver: int | None = None,
        prefix: str | None = None,
    ) -> str:
        """The template filled in, with the folder and ``.ckpt``; a metric that is not there counts as 0.

        ``filename`` is another template; ``ver`` 2 adds ``-v2``; ``prefix`` comes first, with a dash.
        """
        template = filename or self.filename or self._default_name
        values: dict[str, Any] = dict(metrics)
        # Longest first: of "epoch" and "epoch_test", replacing the shorter would spoil the longer.
        for group in sorted(re.findall(r"(\{.*?)[:\}]", template), key=len, reverse=True):
            name = group[1:]
            if self.auto_insert_metric_name:
                template = template.replace(group, f"{name}{self.CHECKPOINT_EQUALS_CHAR}{{{name}")
            template = template.replace(group, f"{{0[{name}]")
            values.setdefault(name, 0)
        try:
            parts = [*([] if prefix is None else [prefix]), template.format(values), *([] if ver is None else [f"v{ver}"])]
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ConfigError(
                f"ModelCheckpoint: filename: expected a template that the metrics fit, got "
                f"{shortened(filename or self.filename or self._default_name, 80)!r} ({shortened(str(error), 80)})"
            ) from None
        full = self.CHECKPOINT_JOIN_CHAR.join(parts) + self.FILE_EXTENSION
        return full if self._folder is None else str(self._folder / full)

    @property
    def _default_name(self) -> str:
        return f"{{epoch}}{self.CHECKPOINT_JOIN_CHAR}{{step}}"

    def file_exists(self, filepath: str | Path, trainer: TrainerView) -> bool:
        """Whether a checkpoint has this name. In a fit that is remembered, and not looked up on the disk: see above."""
        if not trainer.fitting:
            return Path(filepath).exists()
        return any(str(filepath) in each._taken for each in trainer.callbacks if isinstance(each, ModelCheckpoint))

    def _free_name(self, trainer: TrainerView, path: str, own: str) -> str:
        """``path``, or its first ``-vN`` that no checkpoint has; ``own`` may be written over, if it is."""
        free, version = path, self.STARTING_VERSION
        while self.enable_version_counter and not (free == own and own in self._own) and self.file_exists(free, trainer):
            stem = path.removesuffix(self.FILE_EXTENSION)
            free = f"{stem}{self.CHECKPOINT_JOIN_CHAR}v{version}{self.FILE_EXTENSION}"
            version += 1
        return free

    def to_yaml(self, filepath: str | Path | None = None) -> None:
        """Write the kept checkpoints' paths and scores; None is ``best_k_models.yaml`` in the folder."""
        if filepath is None and self._folder is None:
            raise ConfigError("ModelCheckpoint.to_yaml: expected a path, since no fit has given the folder yet; got None")
        path = Path(filepath) if filepath is not None else Path(str(self._folder)) / "best_k_models.yaml"
        atomic_write(path, as_yaml({name: score.item() for name, score in self.best_k_models.items()}))

    # -- state --------------------------------------------------------------------------------------------------------

    @property
    def state_key(self) -> str:
        return self._generate_state_key(
            monitor=self.monitor,
            mode=self.mode,
            every_n_train_steps=self.every_n_train_steps,
            every_n_epochs=self.every_n_epochs,
            train_time_interval=self.train_time_interval,
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            **{name: self._relative(getattr(self, name)) for name in PATHS},
            "best_k_models": {self._relative(path): score.item() for path, score in self.best_k_models.items()},
            "taken": sorted(self._relative(path) for path in self._taken),
            **{name: None if (score := getattr(self, name)) is None else score.item() for name in SCORES},
            "_saved_step": self._saved_step,
            "_deferred": self._deferred,
            "_waited": self._waiting(),
        }

    def _waiting(self) -> float:
        """How long ago the last save by time was; where none is asked for, nothing of the clock gets into a state."""
        if self.train_time_interval is None or self._due_since is None:
            return self._waited
        return monotonic() - self._due_since

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Whoever made the state chose the names in it: those of files that would be read, written over or deleted."""
        paths = {name: self._absolute(state[name], name) for name in PATHS}
        best = {self._absolute(path, "best_k_models"): score for path, score in state["best_k_models"].items()}
        assert self._folder is not None
        taken = {str(self._folder / path) for path in state["taken"] if is_inside(path)}  # these are but compared
        if not all(isinstance(score, int | float) for score in best.values()):
            raise TypeError("best_k_models: expected a number for each name")
        if len(best) == self.save_top_k and paths["kth_best_model_path"] not in best:
            raise ValueError(f"kth_best_model_path: expected one of best_k_models, got {state['kth_best_model_path']!r}")
        self.best_k_models, self._taken = {path: _score(score) for path, score in best.items()}, taken
        for name in SCORES:
            setattr(self, name, None if state[name] is None else _score(state[name]))
        for name, value in paths.items():
            setattr(self, name, value)
        self._saved_step, self._deferred = int(state["_saved_step"]), bool(state["_deferred"])
        self._waited = float(state["_waited"])
        self.kth_value = self.best_k_models.get(self.kth_best_model_path, self.kth_value)
        self._own = {path for path in self._named() if self._can_have_written(path)}
        if self._obsolete not in self._own:
            self._obsolete = ""

    def _relative(self, path: str) -> str:
        assert self._folder is not None
        return str(Path(path).relative_to(self._folder)) if path and self._folder in Path(path).parents else path

    def _absolute(self, path: Any, entry: str) -> str:
        assert self._folder is not None
        where, may_be_link = f"the checkpoint's {entry}", self.save_last == "link"
        return "" if path == "" else str(checkpoint.named(self._folder, path, where, self.FILE_EXTENSION, may_be_link))

    def _can_have_written(self, path: str) -> bool:
        """Whether a file is there that a Trainer wrote, under a name that the template or ``save_last`` makes."""
        templates = [self.filename or self._default_name, *([self.CHECKPOINT_NAME_LAST] if self.save_last else [])]
        stems = "|".join(self._pattern(template) for template in templates)
        version = rf"({re.escape(self.CHECKPOINT_JOIN_CHAR)}v[0-9]+)?"
        if not re.fullmatch(rf"({stems}){version}{re.escape(self.FILE_EXTENSION)}", self._relative(path)):
            return False
        if Path(path).is_symlink():
            return self.save_last == "link"  # deleted or written over, it is but a name
        try:
            return checkpoint.written_at(Path(path)) >= 0
        except CheckpointError:
            return False  # damaged, or gone

    def _pattern(self, template: str) -> str:
        """A regular expression for the names that the template makes."""
        parts = re.split(r"\{([^:}]*)[^}]*\}", template)  # what stands there, and names of metrics
        equals = re.escape(self.CHECKPOINT_EQUALS_CHAR)
        values = [f"{re.escape(name)}{equals}{NUMBER}" if self.auto_insert_metric_name else NUMBER for name in parts[1::2]]
        return "".join(f"{re.escape(text)}{value}" for text, value in zip(parts[::2], [*values, ""], strict=True))


PATHS = ("best_model_path", "kth_best_model_path", "last_model_path", "_obsolete", "_saved_path")
SCORES = ("best_model_score", "current_score")


def _score(value: float | Tensor) -> Tensor:
    """As metrics are, float64 without dimensions."""
    return torch.as_tensor(value, dtype=torch.float64)


def _check(monitor: str | None, mode: str, top_k: int, save_last: Any) -> None:
    if mode not in ("min", "max"):
        raise ConfigError(f"ModelCheckpoint: mode: expected min or max, got {mode!r}")
    if save_last not in (True, False, None, "link"):
        raise ConfigError(f"ModelCheckpoint: save_last: expected True, False or link, got {save_last!r}")
    if top_k < -1:
        raise ConfigError(f"ModelCheckpoint: save_top_k: expected -1 (all), 0 (none) or more, got {top_k}")
    if monitor is None and top_k not in (-1, 0, 1):
        raise ConfigError(f"ModelCheckpoint: save_top_k={top_k} needs monitor=…, the metric that says which are best")


def _check_triggers(n_steps: int | None, interval: timedelta | None, n_epochs: int | None) -> None:
    if interval is not None and not isinstance(interval, timedelta):
        raise ConfigError(f"ModelCheckpoint: train_time_interval: expected a timedelta, got {type(interval).__name__}")
    given = {"every_n_train_steps": n_steps, "every_n_epochs": n_epochs}
    named = [name for name, value in given.items() if value] + (["train_time_interval"] if interval is not None else [])
    if len(named) > 1:
        raise ConfigError(f"ModelCheckpoint: expected every_n_… or train_time_interval alone, got {' and '.join(named)}")
