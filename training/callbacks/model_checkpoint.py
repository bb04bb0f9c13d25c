"""ModelCheckpoint: keeps the best checkpoints, or the newest, under names made from a template. As Lightning 2.6's.

Which names are taken is remembered (and stands in the checkpoints), not looked up on the disk: a run that is resumed
from an earlier point writes over the files that it wrote after that point, and ends with the same files as a run that
was never disturbed. Names are kept relative to the folder, so that a run folder can be moved. A fit that goes on from one
of these files is another fit: it looks at the disk, takes no name that is there, and never deletes that file.

A state may have been made by somebody else, to have other files deleted. What it names is deleted, or written over, only
where the template makes such names, a Trainer wrote the file, and no other ModelCheckpoint lists it.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from training import checkpoint
from training.errors import CheckpointError, ConfigError
from training.files import is_inside
from training.loop.callback import Callback
from training.loop.task import Task
from training.loop.view import TrainerView
from training.values import argument
from training.visible import shortened

DEFAULT_NAME = "{epoch}-{step}"
LAST, EXTENSION = "last", ".ckpt"
NUMBER = r"[ +-]*([0-9a-fA-F][0-9a-fA-FxX.,_]*([eE][+-]?[0-9]+)?|nan|inf|NAN|INF)%?"  # as a template may write it


class ModelCheckpoint(Callback):
    """Saves after each validation, or where validation runs just once an epoch, at the epoch's end.

    Args:
        dirpath: the folder; None takes the Trainer's ``checkpoint_dir``.
        filename: a template such as ``"{epoch:02d}-{val_loss:.3f}"``; None is ``"{epoch}-{step}"``.
        monitor: the logged metric that says which are best; None keeps the newest.
        mode: "min" or "max". A tie keeps the older file; NaN counts as worst.
        save_top_k: how many to keep; -1 all, 0 none. Without ``monitor`` only -1, 0 and 1 make sense.
        save_last: also write ``last.ckpt`` whenever something was saved, and at the end of training.
        save_weights_only: leave out what a resume needs.
        every_n_epochs, every_n_train_steps: how often; one of them. Neither is every epoch.
        save_on_train_epoch_end: True at an epoch's end, False after validation, None as said above.
        auto_insert_metric_name: ``{epoch}`` becomes ``epoch=3``, not ``3``.
        enable_version_counter: a name that is taken gets ``-v1``, ``-v2``, …; otherwise it is written over.

    Raises:
        ConfigError: for no numbers, settings that contradict each other, and a ``filename`` that leads out of the folder; in
            the fit, for a metric that was not logged.

    Example:
        >>> from training import ModelCheckpoint
        >>> best = ModelCheckpoint(filename="{epoch:02d}-{val_loss:.3f}", monitor="val_loss", save_top_k=2, save_last=True)
        >>> best.format_checkpoint_name({"epoch": 7, "val_loss": 0.25})
        'epoch=07-val_loss=0.250.ckpt'

    After the fit ``best_model_path``, ``best_model_score`` and ``last_model_path`` say what was kept; so does
    ``Trainer.test(task, source, ckpt_path="best")``.

    Source: Lightning 2.6's ``ModelCheckpoint``.
    """

    monitors = last = True

    def __init__(
        self,
        dirpath: str | Path | None = None,
        filename: str | None = None,
        monitor: str | None = None,
        mode: str = "min",
        save_top_k: int = 1,
        save_last: bool = False,
        save_weights_only: bool = False,
        every_n_epochs: int | None = None,
        every_n_train_steps: int | None = None,
        save_on_train_epoch_end: bool | None = None,
        auto_insert_metric_name: bool = True,
        enable_version_counter: bool = True,
    ) -> None:
        save_top_k = argument(save_top_k, int, "ModelCheckpoint: save_top_k")
        every_n_epochs = argument(every_n_epochs, int | None, "ModelCheckpoint: every_n_epochs", least=0)
        every_n_train_steps = argument(every_n_train_steps, int | None, "ModelCheckpoint: every_n_train_steps", least=0)
        _check(monitor, mode, save_top_k, every_n_epochs, every_n_train_steps)
        if filename and not is_inside(filename):
            raise ConfigError(
                f"ModelCheckpoint: filename: expected names inside the folder, got {shortened(filename, 80)!r}"
            )
        self.dirpath = None if dirpath is None else Path(dirpath).expanduser().resolve()
        self.filename, self.monitor, self.mode = filename, monitor, mode
        self.save_top_k, self.save_last, self.save_weights_only = save_top_k, save_last, save_weights_only
        neither = every_n_epochs is None and every_n_train_steps is None
        self.every_n_epochs = 1 if neither else every_n_epochs or 0
        self.every_n_train_steps = every_n_train_steps or 0
        self.save_on_train_epoch_end = save_on_train_epoch_end
        self.auto_insert_metric_name = auto_insert_metric_name
        self.enable_version_counter = enable_version_counter
        self.best_model_path = self.kth_best_model_path = self.last_model_path = ""
        self.best_model_score: float | None = None
        self.current_score: float | None = None
        self.best_k_models: dict[str, float] = {}
        self._taken: set[str] = set()
        self._own: set[str] = set()  # files that were written here, or that a state named and that can be from here
        self._obsolete = ""  # to be deleted as soon as the file that takes its place is written
        self._saved_step = 0
        self._saved_path = ""
        self._deferred = False
        self._resumed_from: Path | None = None

    # -- when ---------------------------------------------------------------------------------------------------------

    def setup(self, trainer: TrainerView, task: Task, stage: str) -> None:
        if self.dirpath is None:
            if trainer.checkpoint_dir is None:
                if stage != "fit":
                    return  # nothing is written
                raise ConfigError("ModelCheckpoint: expected dirpath=…, or a Trainer with checkpoint_dir=…, got neither")
            self.dirpath = Path(trainer.checkpoint_dir).resolve()
        if stage == "fit" and not trainer.fast_dev_run:
            there = {str(path) for path in self.dirpath.rglob(f"*{EXTENSION}")}
            self._taken |= {path for path in there if is_inside(self._relative(path))}

    def on_fit_start(self, trainer: TrainerView, task: Task) -> None:
        self._resumed_from = None
        if trainer.resumed_from is None:
            self._remove_obsolete()
            return
        # A file that somebody resumes from, perhaps again, or in another folder, or in a fit of other settings: as in
        # Lightning, whatever is on the disk keeps its name, and what is remembered of another folder is not of this one.
        self._obsolete = ""
        assert self.dirpath is not None
        self._taken = {str(path) for path in self.dirpath.rglob(f"*{EXTENSION}")}
        self._resumed_from = trainer.resumed_from
        if not self._resumed_from.exists():
            self._resumed_from = self.dirpath / self._resumed_from.name  # moved, with its folder
        elif self.dirpath not in self._resumed_from.parents:
            self.best_k_models = {}
            self.best_model_path = self.kth_best_model_path = self.last_model_path = ""
            self.best_model_score = self.current_score = None

    def on_train_batch_end(self, trainer: TrainerView, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.every_n_train_steps < 1 or trainer.global_step % self.every_n_train_steps != 0:
            return
        if not task.automatic_optimization and self._skip(trainer):
            return
        if self.monitor is not None:
            # What is monitored may come from a validation that has not run yet, or is about to.
            fresh_to_come = (
                task.automatic_optimization
                and not self._at_epoch_end(trainer)
                and batch_idx + 1 == trainer.num_training_batches
                and trainer.validates_this_epoch
            )
            if self.monitor not in self._candidates(trainer) or fresh_to_come:
                self._deferred = True
                return
        if not self._skip(trainer):
            self._save_best(trainer)
            self._save_last(trainer)

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

    def _save_by_epoch(self, trainer: TrainerView) -> None:
        if self.every_n_epochs >= 1 and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._save_best(trainer)
        if self._saved_step == trainer.global_step:
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
        return trainer.num_val_batches == 0 or trainer.validates_once_an_epoch

    # -- what ---------------------------------------------------------------------------------------------------------

    def _save_best(self, trainer: TrainerView) -> None:
        candidates = self._candidates(trainer)
        if self.save_top_k == 0:
            return
        if self.monitor is None:
            path = self._free_name(trainer, self.format_checkpoint_name(candidates), self.best_model_path)
            previous, self.best_model_path = self.best_model_path, path
            self._save(trainer, path, previous if self.save_top_k == 1 else "")
        elif self.monitor in candidates:
            self._save_if_better(trainer, candidates)
        elif trainer.validated:
            raise ConfigError(
                f"ModelCheckpoint: expected the metric {self.monitor!r} to be logged, got "
                f"{', '.join(trainer.metrics) or 'none'}"
            )

    def _save_if_better(self, trainer: TrainerView, candidates: dict[str, float]) -> None:
        assert self.monitor is not None
        current = candidates[self.monitor]
        full = len(self.best_k_models) == self.save_top_k
        if full:
            worst = self.best_k_models[self.kth_best_model_path]
            if not (current < worst if self.mode == "min" else current > worst):
                return
        if math.isnan(current):
            current = math.inf if self.mode == "min" else -math.inf
        replaced = self.kth_best_model_path if full else ""
        self.best_k_models.pop(replaced, None)
        # With all kept, as in Lightning: only a new name is looked at, not one that is written again.
        complete = len(self.best_k_models) + 1 if self.save_top_k == -1 else self.save_top_k
        path = self._free_name(trainer, self.format_checkpoint_name(candidates), replaced)
        self.current_score = self.best_k_models[path] = current
        best, worst_of = (min, max) if self.mode == "min" else (max, min)
        if len(self.best_k_models) == complete:
            self.kth_best_model_path = worst_of(self.best_k_models, key=lambda name: self.best_k_models[name])
        self.best_model_path = best(self.best_k_models, key=lambda name: self.best_k_models[name])
        self.best_model_score = self.best_k_models[self.best_model_path]
        self._save(trainer, path, replaced)

    def _save_last(self, trainer: TrainerView) -> None:
        if not self.save_last:
            return
        path = self._free_name(trainer, self.format_checkpoint_name({}, LAST), self.last_model_path)
        previous, self.last_model_path = self.last_model_path, path
        self._save(trainer, path, previous)

    def _save(self, trainer: TrainerView, path: str, replaced: str) -> None:
        """Write ``path``; then delete ``replaced``. The state in the file is that of after both."""
        self._taken.add(path)
        self._saved_step, self._saved_path = trainer.global_step, path
        assert self.dirpath is not None
        kept = self._resumed_from is not None and Path(replaced).resolve() == self._resumed_from
        kept = kept or replaced not in self._own or replaced in self._listed_by_others(trainer)
        self._own = (self._own - {replaced}) | {path}
        if replaced != path and self.dirpath in Path(replaced).parents and not kept:
            for each in trainer.callbacks:
                if isinstance(each, ModelCheckpoint):
                    each._taken.discard(replaced)
            self._obsolete = replaced
        trainer.save_checkpoint(path, weights_only=self.save_weights_only)
        self._remove_obsolete()

    def _remove_obsolete(self) -> None:
        if self._obsolete:
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

    def format_checkpoint_name(self, metrics: dict[str, float], filename: str | None = None) -> str:
        """The template filled in, with the folder and ``.ckpt``; a metric that is not there counts as 0."""
        template = filename or self.filename or DEFAULT_NAME
        values: dict[str, Any] = dict(metrics)
        # Longest first: of "epoch" and "epoch_test", replacing the shorter would spoil the longer.
        for group in sorted(re.findall(r"(\{.*?)[:\}]", template), key=len, reverse=True):
            name = group[1:]
            if self.auto_insert_metric_name:
                template = template.replace(group, f"{name}={{{name}")
            template = template.replace(group, f"{{0[{name}]")
            values.setdefault(name, 0)
        name = template.format(values) + EXTENSION
        return name if self.dirpath is None else str(self.dirpath / name)

    def _free_name(self, trainer: TrainerView, path: str, own: str) -> str:
        """``path``, or its first ``-vN`` that no checkpoint has; ``own`` may be written over, if it is."""
        if not self.enable_version_counter:
            return path
        taken = {name for each in trainer.callbacks if isinstance(each, ModelCheckpoint) for name in each._taken}
        free, n = path, 0
        while free in taken and not (free == own and own in self._own):
            n += 1
            free = f"{path.removesuffix(EXTENSION)}-v{n}{EXTENSION}"
        return free

    # -- state --------------------------------------------------------------------------------------------------------

    def state_key(self) -> str:
        return f"ModelCheckpoint({self.monitor}, {self.mode}, {self.every_n_train_steps}, {self.every_n_epochs})"

    def state_dict(self) -> dict[str, Any]:
        return {
            **{name: self._relative(getattr(self, name)) for name in PATHS},
            "best_k_models": {self._relative(path): score for path, score in self.best_k_models.items()},
            "taken": sorted(self._relative(path) for path in self._taken),
            **{name: getattr(self, name) for name in VALUES},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Whoever made the state chose the names in it: those of files that would be read, written over or deleted."""
        paths = {name: self._absolute(state[name], name) for name in PATHS}
        best = {self._absolute(path, "best_k_models"): score for path, score in state["best_k_models"].items()}
        assert self.dirpath is not None
        taken = {str(self.dirpath / path) for path in state["taken"] if is_inside(path)}  # these are but compared
        if not all(isinstance(score, int | float) for score in best.values()):
            raise TypeError("best_k_models: expected a number for each name")
        if len(best) == self.save_top_k and paths["kth_best_model_path"] not in best:
            raise ValueError(f"kth_best_model_path: expected one of best_k_models, got {state['kth_best_model_path']!r}")
        self.best_k_models, self._taken = best, taken
        for name, value in (*paths.items(), *((name, state[name]) for name in VALUES)):
            setattr(self, name, value)
        self._own = {path for path in self._named() if self._can_have_written(path)}
        if self._obsolete not in self._own:
            self._obsolete = ""

    def _relative(self, path: str) -> str:
        assert self.dirpath is not None
        return str(Path(path).relative_to(self.dirpath)) if path and self.dirpath in Path(path).parents else path

    def _absolute(self, path: Any, entry: str) -> str:
        assert self.dirpath is not None
        return "" if path == "" else str(checkpoint.named(self.dirpath, path, f"the checkpoint's {entry}"))

    def _can_have_written(self, path: str) -> bool:
        """Whether a file is there that a Trainer wrote, under a name that the template or ``save_last`` makes."""
        parts = re.split(r"\{([^:}]*)[^}]*\}", self.filename or DEFAULT_NAME)  # what stands there, and names of metrics
        values = [f"{re.escape(name)}={NUMBER}" if self.auto_insert_metric_name else NUMBER for name in parts[1::2]]
        stem = "".join(f"{re.escape(text)}{value}" for text, value in zip(parts[::2], [*values, ""], strict=True))
        stems = f"{stem}|{LAST}" if self.save_last else stem
        if not re.fullmatch(rf"({stems})(-v[0-9]+)?{re.escape(EXTENSION)}", self._relative(path)):
            return False
        try:
            return checkpoint.written_at(Path(path)) >= 0
        except CheckpointError:
            return False  # damaged, or gone


PATHS = ("best_model_path", "kth_best_model_path", "last_model_path", "_obsolete", "_saved_path")
VALUES = ("best_model_score", "current_score", "_saved_step", "_deferred")


def _check(monitor: str | None, mode: str, top_k: int, n_epochs: int | None, n_steps: int | None) -> None:
    if mode not in ("min", "max"):
        raise ConfigError(f"ModelCheckpoint: mode: expected min or max, got {mode!r}")
    if top_k < -1:
        raise ConfigError(f"ModelCheckpoint: save_top_k: expected -1 (all), 0 (none) or more, got {top_k}")
    if monitor is None and top_k not in (-1, 0, 1):
        raise ConfigError(f"ModelCheckpoint: save_top_k={top_k} needs monitor=…, the metric that says which are best")
    if n_epochs and n_steps:
        raise ConfigError("ModelCheckpoint: expected every_n_epochs or every_n_train_steps, got both")
