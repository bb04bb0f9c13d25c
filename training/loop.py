"""The loop: fit, validate, test, predict. What runs when is Lightning 2.6's; where it differs, docs/lightning.md says so.

A fit can be left at any training batch and taken up there: ``stage`` and ``batch_idx`` say where it is, ``state`` and
``load_state`` hold the rest, and nothing random is drawn from a generator, so that there is nothing else to restore.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from training import cadence, optimization
from training.core import TrainerCore
from training.task import Task

SKIP_EPOCH = -1


class Batches(Protocol):
    """Where batches come from: an epoch's plan is made before it starts, from (seed, epoch) alone."""

    def plan(self, epoch: int) -> Sequence[Any]:
        """The epoch's batches; ``plan[i]`` makes batch i when it is asked for."""
        ...


class FixedBatches:
    """The same batches in the same order in every epoch."""

    def __init__(self, batches: Sequence[Any]) -> None:
        self.batches = batches

    def plan(self, epoch: int) -> Sequence[Any]:
        return self.batches


class Trainer(TrainerCore):
    """Runs a Task. Counters: ``current_epoch`` (completed), ``global_step`` (optimizer steps), ``batch_idx``."""

    # -- fit ----------------------------------------------------------------------------------------------------------

    def fit(self, task: Task, train: Batches, val: Batches | None = None, *, state: dict[str, Any] | None = None) -> None:
        """Train ``task``; with ``state`` (from ``Trainer.state``) go on exactly where that was taken."""
        self.fitting = True
        try:
            with self._attached(task, "fit"):
                self._check_limits(train, val)
                self.call("on_fit_start")
                if state is not None:
                    self.load_state(state)
                elif val is not None:
                    self._sanity_check(val)
                if not self._done():
                    self.call("on_train_start")
                    while not self._done():
                        self._train_epoch(train, val)
                    self.call("on_train_end")
                self.call("on_fit_end")
        finally:
            self.fitting = False

    def _train_epoch(self, train: Batches, val: Batches | None) -> None:
        """One epoch, or what is left of it: ``stage`` says which of its steps comes next."""
        plan = train.plan(0 if self.config.overfit_batches else self.current_epoch)
        if self.stage == "start":
            self.call("on_train_epoch_start")
            self.batch_idx, self.stage = 0, "batch"
        while self.stage in ("batch", "validate", "finish"):
            if self.stage == "batch":
                if self._train_batch(plan[self.batch_idx]) == SKIP_EPOCH:
                    break
                self.stage = "validate"
            if self.stage == "validate":
                if val is not None and self._validation_due():
                    self._validate_in_fit(val)
                self.stage = "finish"
            last = self.batch_idx + 1 >= self.num_training_batches
            self._finish_batch()
            if last or self._steps_reached() or (self.should_stop and self._can_stop_early()):
                self.stage = "end"
            self._boundary()
        self._in_batch = False
        if self.stage != "log":
            self.epochs_processed += 1
            self.stage = "log"  # a checkpoint saved in these hooks goes on behind them
            self.call("on_train_epoch_end")
        self._log_epoch(full=self.batch_idx >= self.num_training_batches)
        self.current_epoch += 1
        self.batch_idx, self.stage = 0, "start"
        self._boundary()

    def _train_batch(self, batch: Any) -> int | None:
        batch = self._place(batch)
        self._in_batch = True
        self.train_results.start_batch()
        if self.call("on_train_batch_start", batch, self.batch_idx) == SKIP_EPOCH:
            optimization.step_schedulers(self, "step", on_plateau=False)
            return SKIP_EPOCH
        if self.task.automatic_optimization:
            outputs = optimization.automatic_step(self, batch, self.batch_idx)
        else:
            result = self.step("training_step", batch, self.batch_idx)
            outputs = {} if result is None else result if isinstance(result, dict) else {"loss": result}
        optimization.step_schedulers(self, "step", on_plateau=False)
        if self.batch_idx + 1 >= self.num_training_batches:
            optimization.step_schedulers(self, "epoch", on_plateau=False)
        self.call("on_train_batch_end", outputs, batch, self.batch_idx)
        self._collect()
        if self.should_log and not (self.accumulating and self.task.automatic_optimization):
            self.log_metrics(self.train_results.collect(on_step=True)["log"])
        return None

    def _finish_batch(self) -> None:
        optimization.step_schedulers(self, "step", on_plateau=True)
        if not self.accumulating:
            self.batches_that_stepped += 1
        self.batch_idx += 1
        self.total_batches += 1
        self.stage = "batch"

    def _log_epoch(self, full: bool) -> None:
        self._collect()
        if full:
            optimization.step_schedulers(self, "epoch", on_plateau=True)
        self.batches_that_stepped -= 1  # an epoch's metrics carry the step of its last batch
        self.log_metrics(self.train_results.collect(on_step=False)["log"])
        self.batches_that_stepped += 1
        self.train_results.reset()

    def _validate_in_fit(self, val: Batches) -> None:
        in_batch, self._in_batch = self._in_batch, False
        if not self.accumulating:
            self.hook = "on_validation_model_zero_grad"
            self.task.on_validation_model_zero_grad()
        try:
            self._evaluate("validation", val, self.num_val_batches)
        finally:
            self.results, self._in_batch = self.train_results, in_batch

    def _sanity_check(self, val: Batches) -> None:
        steps = self.config.num_sanity_val_steps
        n = self.num_val_batches if steps < 0 else min(steps, self.num_val_batches)
        if n == 0 or self.fast_dev_run:
            return
        self.sanity_checking = True
        try:
            self.call("on_sanity_check_start")
            self._evaluate("validation", val, n)
            self.call("on_sanity_check_end")
        finally:
            self.sanity_checking = False
            self.eval_results.reset()
            self.results = self.train_results
            self._callback_metrics.clear()
            self._bar_metrics.clear()

    # -- validate, test, predict --------------------------------------------------------------------------------------

    def validate(self, task: Task, val: Batches) -> list[dict[str, float]]:
        """Run validation once; returns [metrics] as plain numbers."""
        return self._run_evaluation(task, "validation", "validate", val, self.config.limit_val_batches)

    def test(self, task: Task, source: Batches) -> list[dict[str, float]]:
        """Run the test; returns [metrics] as plain numbers."""
        return self._run_evaluation(task, "test", "test", source, self.config.limit_test_batches)

    def predict(self, task: Task, source: Batches) -> list[Any]:
        """What ``predict_step`` returns for each batch, in order."""
        with self._attached(task, "predict"):
            plan = source.plan(self.current_epoch)
            return self._evaluation_loop("predict", plan, len(plan))

    def _run_evaluation(
        self, task: Task, kind: str, stage: str, source: Batches, limit: int | float
    ) -> list[dict[str, float]]:
        with self._attached(task, stage):
            n = len(source.plan(self.current_epoch))
            limit = self.fast_dev_run or limit
            return [self._evaluate(kind, source, cadence.limit_batches(limit, n, f"limit_{stage[:4]}_batches"))]

    def _evaluate(self, kind: str, source: Batches, n: int) -> dict[str, float]:
        """The hooks and steps of one evaluation, then its metrics to callbacks and loggers."""
        self.results = self.eval_results
        self.eval_results.reset()
        self._evaluation_loop(kind, source.plan(self.current_epoch), n)
        return self._evaluated

    def _evaluation_loop(self, kind: str, plan: Sequence[Any], n: int) -> list[Any]:
        modes = [(module, module.training) for module in self.task.modules()]
        self.hook = f"on_{kind}_model_eval"
        getattr(self.task, self.hook)()
        self._evaluated: dict[str, float] = {}
        outputs = []
        with torch.no_grad():
            self.call(f"on_{kind}_start")
            self.call(f"on_{kind}_epoch_start")
            for i in range(n):
                if self.fitting and self.keep_going is not None:
                    self.keep_going(self)
                batch = self._place(plan[i])
                self.eval_results.start_batch()
                self._in_batch = True
                self.call(f"on_{kind}_batch_start", batch, i, 0)
                output = self.step(f"{kind}_step", batch, i)
                if kind == "predict":
                    outputs.append(output)
                self.call(f"on_{kind}_batch_end", output, batch, i, 0)
                if not self.sanity_checking:
                    self._collect()
                    self.log_metrics(self.eval_results.collect(on_step=True)["log"], self.eval_batches)
                    self.eval_batches += 1
                    self.validated = True
                self._in_batch = False
            self.call(f"on_{kind}_epoch_end")
            if kind != "predict" and not self.sanity_checking:
                self._collect()
                self._evaluated = self.eval_results.collect(on_step=False)["log"]
                self.log_metrics(self._evaluated)
            if self.fitting:
                self.stage = "finish" if self.stage == "validate" else self.stage
            self.call(f"on_{kind}_end")
        for module, mode in modes:
            module.training = mode
        return outputs
