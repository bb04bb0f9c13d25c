"""The loop: fit. What runs when is Lightning 2.6's; where it differs, docs/lightning.md says so.

``stage`` says where in an epoch the run is, so that a fit can be left and taken up there:

    start      between epochs
    batch      batch ``batch_idx`` comes next
    stepped    its step was taken, and its on_train_batch_end hooks have run or are running
    validate   a validation comes next, if one is due
    finish     the validation is over, and its on_validation_end hooks have run or are running
    end        the epoch's batches are over
    log        its on_train_epoch_end hooks have run or are running
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from training import checkpoint, storable
from training.callbacks.model_checkpoint import ModelCheckpoint
from training.errors import ConfigError, NonFiniteError
from training.loop import cadence, nonfinite
from training.loop.evaluate import Batches, Evaluator, FixedBatches, Sources, overrides, source_list
from training.loop.hooks import takes, takes_index
from training.loop.schedulers import step_schedulers
from training.loop.snapshot import restore, restore_gradients, restore_weights
from training.loop.task import Task

__all__ = ["Batches", "FixedBatches", "Sources", "Trainer"]

SKIP_EPOCH = -1


class Trainer(Evaluator):
    """Runs a Task: fit here; validate, test and predict in training/loop/evaluate.py."""

    def fit(self, task: Task, train: Batches, val: Sources | None = None, *, state: dict[str, Any] | None = None) -> None:
        """Train ``task``; with ``state`` (from ``Trainer.state``) go on exactly where that was taken."""
        sources = source_list(val) if val is not None else []
        self.fitting, self.should_stop, self.cut = True, False, None
        self.resumed_from = Path(state.path).resolve() if isinstance(state, checkpoint.Loaded) else None
        try:
            self._check_limits(task, train, sources)
            with self._attached(task, "fit", state), torch.enable_grad():
                if state is not None:
                    restore(self, state)
                self.call("on_fit_start")
                task.zero_grad()
                self._check_storable()
                if state is None:
                    self._sanity_check(sources)
                else:
                    restore_gradients(self, state)
                if state is not None or not self._done():  # left after its last batch, it still has its end to come
                    self.call("on_train_start")
                    while not self._done():
                        self._train_epoch(train, sources)
                    nonfinite.check_weights(self)
                    self.call("on_train_end")
                self.call("on_fit_end")
        finally:
            self.fitting = False

    def replay(self, task: Task, path: str | Path, batch_type: Any = None) -> NonFiniteError | None:
        """Run the batch of a ``nonfinite.ckpt`` again, with the weights that it met there (see training/loop/nonfinite.py).

        Returns the error that it ends in once more; None where it does not, and the step is taken. ``task`` is left with
        those weights and the batch's gradients. ``batch_type`` is the batch's class, if a dataclass or a named tuple.
        """
        found = checkpoint.load(Path(path))
        with self._attached(task, "fit"), torch.enable_grad():
            restore_weights(self, found)
            self.num_training_batches = found["num_training_batches"]
            self.accumulating = self.accumulates()
            self.call("on_fit_start")
            task.zero_grad()
            batch = self.place(nonfinite.rebuilt(found["batch"], batch_type))
            try:
                self.take_step(self, batch, self.batch_idx)
            except NonFiniteError as error:
                error.batch, error.ids, error.path = batch, found["ids"], Path(path)
                return error
        return None

    def _train_epoch(self, train: Batches, val: list[Batches]) -> None:
        """One epoch, or what is left of it."""
        self.forget_hooks()
        plan = train.plan(0 if self.config.overfit_batches else self.current_epoch)
        if self.stage == "start":
            self.call("on_train_epoch_start")
            self.batch_idx = 0
            self.stage = self._next_stage()
        while self.stage not in ("end", "log"):
            if self.stage == "batch":
                self._train_batch(plan[self.batch_idx])
            if self.stage == "stepped":
                if self.loggers:
                    self._log_step()
                self.stage = "validate"
            if self.stage == "validate":
                if self.validates:
                    self._validate_if_due(val)
                self.stage = "finish"
            if self.stage == "finish":
                self._finish_batch()
                self.stage = self._next_stage()
            if self.keep_going is not None:
                self.boundary()
        if self.stage == "end":
            if self.uncollected:
                self.collect()
            self.in_batch = False
            self.epochs_processed += 1
            self.stage = "log"
            if self.batch_idx < self.num_training_batches and self.global_step >= self.step_limit and not self.should_stop:
                self.cut = {"batch_idx": self.batch_idx, "results": self.train_results.state()}
            self.call("on_train_epoch_end")
        self._log_epoch()
        self.current_epoch += 1
        self.batch_idx, self.stage = 0, "start"
        self.boundary()

    def _train_batch(self, batch: Any) -> None:
        """A batch's step and its hooks."""
        batch = self.place(batch)
        if self.may_skip and self.in_batch and self.uncollected:
            self.collect()  # now, since what is logged in a batch that is then skipped does not count
        self.in_batch = self.uncollected = True
        self.accumulating = self.accumulate_grad_batches > 1 and self.accumulates()
        if batch is None:
            self._finish_step(None, None)
            return
        if self.call("on_train_batch_start", batch, self.batch_idx) == SKIP_EPOCH:
            self.total_batches += 1
            self.uncollected = False
            step_schedulers(self, "step", on_plateau=False, last=True)
            step_schedulers(self, "epoch", on_plateau=False)
            self.batch_idx, self.stage = self.num_training_batches, "end"
            return
        try:
            outputs = self.take_step(self, batch, self.batch_idx)
        except NonFiniteError as error:
            nonfinite.keep(self, batch, error)
            raise
        self._finish_step(outputs, batch)

    def _finish_step(self, outputs: Any, batch: Any) -> None:
        """What comes after a batch's step, or for a batch that is None, and so is skipped, in its place."""
        if self.schedulers:
            step_schedulers(self, "step", on_plateau=False)
            if self.batch_idx + 1 == self.num_training_batches:
                step_schedulers(self, "epoch", on_plateau=False)
        self.stage = "stepped"
        self.call("on_train_batch_end", outputs, batch, self.batch_idx)

    def _log_step(self) -> None:
        if not self.accumulating and self.should_log:
            self.log_metrics(self.collect())

    def _validate_if_due(self, val: list[Batches]) -> None:
        stopping = self.should_stop and self._can_stop_early()
        every = self.check_val_every_n_epoch
        if not cadence.validation_due(
            self.batch_idx, self.total_batches, self.current_epoch, self.validation_interval, every, stopping
        ):
            return
        if self.keep_going is not None:
            self.resume_point = self.state()  # left inside the validation, the run goes on from its beginning
        if not self.accumulating:
            self.keep_norm()
            self.call("on_validation_model_zero_grad")
        self._evaluate("validation", val, self._limits("val", val))

    def _finish_batch(self) -> None:
        if self.schedulers:
            step_schedulers(self, "step", on_plateau=True)
        if not self.accumulating:
            self.batches_that_stepped += 1
        self.batch_idx += 1
        self.total_batches += 1

    def _log_epoch(self) -> None:
        metrics = self.collect()
        if self.batch_idx == self.num_training_batches:
            step_schedulers(self, "epoch", on_plateau=True)
        self.batches_that_stepped -= 1  # an epoch's metrics carry the step of its last batch
        self.log_metrics(metrics)
        self.batches_that_stepped += 1
        self.train_results.reset()

    # -- limits -------------------------------------------------------------------------------------------------------

    def _check_limits(self, task: Task, train: Batches, val: list[Batches]) -> None:
        """Numbers of batches, and the interval between validations; ConfigError before anything has run."""
        if not overrides(task, "training_step"):
            raise ConfigError(f"fit: expected {type(task).__name__} to have a training_step, got none")
        if not takes(task.training_step, 2 if takes_index(task.training_step) else 1):
            raise ConfigError(f"training_step of {type(task).__name__}: expected (batch, batch_idx) or (batch)")
        config = self.config
        if not task.automatic_optimization and (config.gradient_clip_val > 0 or config.accumulate_grad_batches != 1):
            raise ConfigError(
                "gradient_clip_val and accumulate_grad_batches: not possible with automatic_optimization = False; "
                "clip and accumulate in training_step"
            )
        if val and not overrides(task, "validation_step"):
            warnings.warn("fit: there are batches to validate on, but no validation_step: no validation", stacklevel=3)
        if len(train.plan(0)) == 0:
            raise ConfigError("fit: expected training batches, got none")
        self.may_skip = overrides(task, "on_train_batch_start")
        n = self.num_training_batches = self._limits("train", [train])[0]
        self.validates = bool(val) and self.limits["val"][1] > 0 and overrides(task, "validation_step")
        self.num_val_batches = sum(self._limits("val", val)) if self.validates else 0
        if n and self.limits["val"][1]:
            every = self.check_val_every_n_epoch
            self.validation_interval = cadence.validation_interval(self.val_check_interval, n, every)

    def _check_storable(self) -> None:
        """ConfigError for what a checkpoint can't hold, before anything is trained that could then not be saved.

        on_save_checkpoint is called for it, which may need what only training makes: then the first checkpoint tells.
        """
        saves = any(isinstance(each, ModelCheckpoint) for each in self.callbacks) and not self.fast_dev_run
        if self.keep_going is None and not saves:
            return
        try:
            state = self.state()
        except Exception:
            return
        storable.encode(state)

    def _sanity_check(self, val: list[Batches]) -> None:
        """A few validation batches, to fail early; their metrics are wiped."""
        most = self.config.num_sanity_val_steps
        if most == 0 or self.fast_dev_run or not self.validates:
            return
        self.sanity_checking = True
        try:
            self.call("on_sanity_check_start")
            self._evaluate("validation", val, [n if most < 0 else min(most, n) for n in self._limits("val", val)])
            self.call("on_sanity_check_end")
        finally:
            self.sanity_checking = False
        for values in (self.callback_values, self.bar_values, self.logged_values):
            values.clear()

    def _next_stage(self) -> str:
        """ "batch", or "end" where the epoch's batches, max_steps or a stop is reached."""
        over = self.batch_idx >= self.num_training_batches or self.global_step >= self.step_limit
        return "end" if over or (self.should_stop and self._can_stop_early()) else "batch"

    def _done(self) -> bool:
        """Whether fit ends here; never inside an epoch that was begun."""
        if self.stage != "start":
            return False
        return (
            self.num_training_batches == 0
            or self.global_step >= self.step_limit
            or (self.max_epochs != -1 and self.epochs_processed >= self.max_epochs)
            or (self.should_stop and self._can_stop_early())
        )

    def _can_stop_early(self) -> bool:
        min_epochs, min_steps = self.config.min_epochs, self.config.min_steps
        # As in Lightning: min_steps alone also asks for a first epoch, so that a stop before it is not one.
        return self.epochs_processed >= (min_epochs or bool(min_steps)) and self.global_step >= min_steps
