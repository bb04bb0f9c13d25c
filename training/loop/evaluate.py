"""Validation, test and prediction: the same pass over batches, in eval mode and without gradients."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from training import checkpoint
from training.callbacks.model_checkpoint import LAST, ModelCheckpoint
from training.errors import ConfigError
from training.loop import cadence
from training.loop.device import map_tensors
from training.loop.hooks import overridden, takes, takes_index
from training.loop.session import TrainerCore
from training.loop.tables import results_table
from training.loop.task import Task

Metrics = dict[str, float]


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


Sources = Batches | Sequence[Batches]


class Evaluator(TrainerCore):
    """The Trainer's validate, test and predict."""

    def validate(
        self, task: Task | None, val: Sources, *, ckpt_path: str | Path | None = None, verbose: bool = True
    ) -> list[Metrics]:
        """Run validation once; returns the metrics of each source, as plain numbers. Arguments as of ``test``."""
        return self._run("validate", "validation", task, val, ckpt_path, verbose)

    def test(
        self, task: Task | None, source: Sources, *, ckpt_path: str | Path | None = None, verbose: bool = True
    ) -> list[Metrics]:
        """Run the test; returns the metrics of each source, as plain numbers, and prints them where ``verbose``.

        ``ckpt_path`` loads weights first: a path, or "best" or "last" of what a ModelCheckpoint wrote. With ``task`` None
        it is the task of the last call, and "best". [] where there are no batches.
        """
        return self._run("test", "test", task, source, ckpt_path, verbose)

    def predict(self, task: Task | None, source: Sources, *, ckpt_path: str | Path | None = None) -> list[Any]:
        """What ``predict_step`` returns for each batch, in order; of several sources, a list of those lists."""
        sources = source_list(source)
        with self._attached(*self._chosen(task, "predict")):
            own = overrides(self.task, "predict_step") or overrides(self.task, "forward")
            if self.task.predict_step is None or not own:
                name = type(self.task).__name__
                raise ConfigError(f"predict: expected {name} to have a predict_step, or forward, got none")
            self._load_weights(ckpt_path, task)
            self.task.zero_grad()
            lengths = [len(each.plan(self.current_epoch)) for each in sources]
            limits = [min(n, self.fast_dev_run or n) for n in lengths]
            _, outputs = self._evaluate("predict", sources, limits)
        return outputs[0] if len(outputs) == 1 else outputs

    def _run(
        self, stage: str, kind: str, task: Task | None, source: Sources, ckpt_path: str | Path | None, verbose: bool
    ) -> list[Metrics]:
        sources, split = source_list(source), stage[:3] if stage == "validate" else stage
        with self._attached(*self._chosen(task, stage)):
            if not overrides(self.task, f"{kind}_step"):
                raise ConfigError(f"{stage}: expected {type(self.task).__name__} to have a {kind}_step, got none")
            self._load_weights(ckpt_path, task)
            self.task.zero_grad()
            metrics, _ = self._evaluate(kind, sources, self._limits(split, sources))
        if verbose and metrics:
            print(results_table(metrics, stage))
        return metrics

    def _chosen(self, task: Task | None, stage: str) -> tuple[Task, str]:
        if task is None and self._task is None:
            raise ConfigError(f"{stage}: expected a task, since none was run before; got None")
        return task or self.task, stage

    def _limits(self, split: str, sources: Sequence[Batches]) -> list[int]:
        """How many batches of each source to run."""
        name, limit = self.limits[split]
        return [cadence.limit_batches(limit, len(each.plan(self.current_epoch)), name) for each in sources]

    # -- the pass -----------------------------------------------------------------------------------------------------

    def _evaluate(
        self, kind: str, sources: Sequence[Batches], limits: Sequence[int]
    ) -> tuple[list[Metrics], list[list[Any]]]:
        """One pass: each source's metrics, and for "predict" its outputs; ([], []) where there are no batches.

        As in Lightning, without gradients inside of a fit, and in inference mode otherwise.
        """
        if sum(limits) == 0:
            return [], []
        self._check_signatures(kind, len(sources))
        with torch.no_grad() if self.fitting else torch.inference_mode():
            return self._pass(kind, sources, limits)

    def _check_signatures(self, kind: str, sources: int) -> None:
        """ConfigError where the step or a batch's hook does not take what it is called with."""
        step = getattr(self.task, f"{kind}_step")
        wanted = [(f"{kind}_step", 2 if sources > 1 or takes_index(step) else 1, "batch, batch_idx")]
        for hook, count, named in (("start", 2, "batch, batch_idx"), ("end", 3, "outputs, batch, batch_idx")):
            wanted.append((f"on_{kind}_batch_{hook}", count, named))
        for name, count, named in wanted:
            function = getattr(self.task, name)
            if function is None or takes(function, count + (sources > 1)):
                continue
            if sources > 1:
                raise ConfigError(f"{name}: with {sources} sources, expected ({named}, dataloader_idx)")
            raise ConfigError(f"{name}: with one source, expected ({named}); give a default to what comes after")

    def _pass(self, kind: str, sources: Sequence[Batches], limits: Sequence[int]) -> tuple[list[Metrics], list[list[Any]]]:
        modes = [(module, module.training) for module in self.task.modules()]
        self.collect()  # what training logged, before evaluation's results take its place
        in_batch, self.results = self.in_batch, self.eval_results
        self.call(f"on_{kind}_model_eval")
        self.call(f"on_{kind}_start")
        self.call(f"on_{kind}_epoch_start")
        metrics, outputs = [], []
        for i, (source, n) in enumerate(zip(sources, limits, strict=True)):
            several = (i,) if len(sources) > 1 else ()
            self.results.loader = i if several else None
            outputs.append(self._run_batches(kind, source.plan(self.current_epoch), n, several) if n else [])
            if n:
                metrics.append({} if self.sanity_checking else self.collect())
        self.results.loader = None
        self.call(f"on_{kind}_epoch_end")
        closing = self.collect()
        metrics = [{**each, **closing} for each in metrics]
        if not self.sanity_checking:
            self.log_metrics({name: value for each in reversed(metrics) for name, value in each.items()})
            if self.fitting:
                self.stage, self.resume_point = "finish", None
        self.call(f"on_{kind}_end")
        self.eval_results.reset()
        self.in_batch, self.results = in_batch, self.train_results
        if overrides(self.task, f"on_{kind}_model_train"):
            self.call(f"on_{kind}_model_train")
        else:
            for module, mode in modes:
                module.training = mode
        return metrics, outputs

    def _run_batches(self, kind: str, plan: Sequence[Any], n: int, several: tuple[int, ...]) -> list[Any]:
        outputs, source = [], several[0] if several else 0
        for i in range(n):
            if self.fitting and not self.sanity_checking:
                self.boundary()
            batch = self.place(plan[i])
            self.in_batch = True
            self.call(f"on_{kind}_batch_start", batch, i, *several)
            output = self.step(f"{kind}_step", batch, i, *several)
            self.call(f"on_{kind}_batch_end", output, batch, i, *several)
            if kind == "predict":
                outputs.append(output if self.device.type == "cpu" else map_tensors(output, torch.Tensor.cpu))
            if not self.sanity_checking:
                step = self.eval_steps.get(source, 0)
                if self.loggers:
                    self.log_metrics(self.results.collect(on_step=True)["log"], step)
                self.eval_steps[source], self.validated = step + 1, True
        self.collect()
        self.in_batch = False
        return outputs

    # -- weights ------------------------------------------------------------------------------------------------------

    def _load_weights(self, ckpt_path: str | Path | None, task: Task | None) -> None:
        """Load the weights that are to be evaluated; without ``task`` and ``ckpt_path`` the best."""
        if ckpt_path is None and task is not None:
            return
        path = self._checkpoint_path("best" if ckpt_path is None else ckpt_path)
        if path is None:
            return
        found = checkpoint.load(path)
        self.call_own("on_load_checkpoint", found)
        self.task.load_state_dict(found["weights"])

    def _checkpoint_path(self, name: str | Path) -> Path | None:
        """The path that "best" or "last" stands for; another name is a path itself. None, and a warning, for no last one."""
        if name in ("", "hpc"):
            raise ConfigError(f"ckpt_path={name!r}: expected the path of a checkpoint, best or last")
        if name not in ("best", "last"):
            return Path(name)
        callbacks = [callback for callback in self.callbacks if isinstance(callback, ModelCheckpoint)]
        if name == "best":
            if not callbacks:
                raise ConfigError("ckpt_path='best': expected a ModelCheckpoint among the callbacks, got none")
            if not callbacks[0].best_model_path:
                raise ConfigError("ckpt_path='best': expected the ModelCheckpoint to have saved a file, it has not")
            return Path(callbacks[0].best_model_path)
        paths = sorted({path for c in callbacks if c.dirpath for path in c.dirpath.glob(f"{LAST}*.ckpt")})
        if not paths:  # as in Lightning no error, so that it can be asked for before there is one
            warnings.warn(
                "ckpt_path='last': expected a last.ckpt, got none, so that nothing is loaded; use "
                "ModelCheckpoint(save_last=True)",
                stacklevel=5,
            )
            return None
        return max(paths, key=lambda path: (checkpoint.load(path)["progress"]["global_step"], str(path)))


def overrides(task: Task, name: str) -> bool:
    """Whether the task has a ``name`` of its own, by its class or set on itself; one that is None is none."""
    return overridden(task, name, Task)


def source_list(source: Sources) -> list[Batches]:
    """One source of batches, or several, as a list."""
    return list(source) if isinstance(source, Sequence) else [source]
