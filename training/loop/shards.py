"""A batch's step in shards: each has a forward and a backward of its own, and all are added up over one fixed tree.

The number of shards is a setting of the experiment. The number of processes that share them is not: a process runs its
shards one after another, as one process would run all, and sums follow the tree (see training/parallel/tree.py). Users' code
draws from generators that are set for each shard.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from training.data.tensors import first_dimensions, map_tensors
from training.errors import ConfigError, portable
from training.loop.finite import check_loss
from training.loop.kept import Watch, unsent
from training.loop.logged_metrics import number, reduction
from training.loop.session import Session
from training.parallel.exchange import exchanged
from training.parallel.group import Group
from training.parallel.tree import Tree

NONE, DENSE, SPARSE = range(3)
SMALL = 2**16
"""Buffers of so many numbers or fewer are kept from before each shard; larger ones must not change."""


@dataclass
class Told:
    """What a shard's step leaves behind beside its gradients, for all processes to know."""

    shard: int
    count: int = 0
    """What its loss is a mean over."""
    loss: float | None = None
    outputs: dict[str, Any] = field(default_factory=dict)
    logged: list[tuple[str, str, float, float, Any]] = field(default_factory=list)
    """(hook, name, value, weight, arguments) of each call of ``log``."""
    gradients: list[int] = field(default_factory=list)
    """What each parameter got: NONE, DENSE or SPARSE."""
    counters: dict[str, list[int]] = field(default_factory=dict)
    """Whole-number buffers that it changed, such as the batches that a batch norm has seen."""
    buffers: list[str] = field(default_factory=list)
    """The others that it changed, such as running means."""
    attributes: list[str] = field(default_factory=list)
    """Those of the task that it set."""
    error: Exception | None = None


class ShardLog:
    """In place of ``Session.results`` while a shard runs: keeps what is logged, to be folded with that of the others.

    Else it is as they are.
    """

    def __init__(self, results: Any, told: Told, batch: Any) -> None:
        self.results, self.told, self.batch, self.batch_size = results, told, batch, None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.results, name)

    def log(self, hook: str, name: str, value: Any, batch_size: int | None, arguments: Any) -> None:
        """As of Results."""
        if callable(getattr(value, "compute", None)):
            raise ConfigError(
                f"log({name!r}): with shards, expected a number or a scalar tensor from {hook}, got a metric object, which "
                "would see a part of the batch; return what it needs, and update it in on_train_batch_end"
            )
        sizes = first_dimensions(self.batch)
        weight = batch_size if batch_size is not None else sizes[0] if len(sizes) == 1 else self.told.count
        self.told.logged.append((hook, name, float(number(name, value)), weight, arguments))


def forward_backward(
    session: Session, batch: Any, batch_idx: int, forward: Callable[[Any], tuple[Tensor | None, dict[str, Any]]]
) -> tuple[Tensor | None, dict[str, Any]]:
    """Gradients of the batch's mean loss, added to those that are there; returns the loss and the outputs for the hooks.

    ``forward`` runs training_step on a part of the batch.
    """
    task, group, shards = session.task, session.group, session.group.shards
    parts = cut(task, batch, shards)
    counts = [0 if part is None else task.loss_count(part) for part in parts]
    parameters = [p for p in task.parameters() if p.requires_grad]
    held = [p.grad for p in parameters]
    buffers, tree, told, watch = Buffers(task), Tree(), list[Told](), Watch(session, batch)
    for shard in group.own:
        for p in parameters:
            p.grad = None
        found = Told(shard, counts[shard])
        told.append(found)
        if parts[shard] is not None and not any(each.error for each in told):
            _run(session, forward, parts[shard], batch_idx, found, found.count / max(1, sum(counts)), watch)
        found.gradients = [NONE if p.grad is None else SPARSE if p.grad.is_sparse else DENSE for p in parameters]
        tree.add([*(p.grad for p in parameters), *buffers.end(found)])
    told = all_told(session, told)
    _set_gradients(group, parameters, tables(task, parameters), held, tree.total(), told, buffers)
    session.seed("shards", session.progress.current_epoch, batch_idx)
    outputs = finish(session, told, sum(counts), batch)
    return outputs.get("loss"), outputs


def finish(session: Session, told: list[Told], count: int, batch: Any) -> dict[str, Any]:
    """Take in what the shards of ``batch`` logged and returned; returns the outputs for the hooks."""
    _log(session, told)
    outputs = _folded(session, told, count)
    session.task.fold_shards(outputs, batch)
    return outputs


def all_told(session: Session, told: list[Told]) -> list[Told]:
    """What the shards of all processes tell, in their order; the first error is raised."""
    told = [each for some in session.tell_all(told) for each in some]
    for each in told:
        if each.error is not None:
            raise each.error
    for name in dict.fromkeys(name for each in told for name in each.attributes):
        session.tell_once(
            f"training_step sets {name}: with shards this lasts only for the shard; return from "
            "training_step what is to last, and use it in on_train_batch_end"
        )
    return told


def cut(task: Any, batch: Any, shards: int) -> list[Any]:
    """The batch's parts, one a shard; None for an empty one. A batch that has nothing in it is the first part as it is."""
    parts = list(task.cut_batch(batch, shards))
    if len(parts) != shards:
        raise ConfigError(f"cut_batch: expected {shards} parts, one a shard, got {len(parts)}")
    return [batch, *parts[1:]] if all(part is None for part in parts) else parts


def sent(session: Session, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a shard returned beside its loss, as all processes are told. ConfigError for what can't be."""
    found = {k: map_tensors(v, lambda t: t.detach().cpu()) for k, v in outputs.items() if k != "loss"}
    if session.group.world > 1 and (why := unsent(found)):
        raise ConfigError(
            f"training_step: expected it to return what can be sent to other processes, got something else: {why}"
        )
    return found


def tables(task: Any, parameters: list[torch.nn.Parameter]) -> dict[int, bool]:
    """The numbers of the parameters that are tables, of which a batch touches a few rows; whether their sum is made dense.

    It is for tables with a ``by_rows``, whose gradients are sparse in a part of a batch alone.
    """
    made = {
        id(m.weight): hasattr(m, "by_rows")
        for m in task.modules()
        if isinstance(m, torch.nn.Embedding) or hasattr(m, "by_rows")
    }
    return {i: made[id(p)] for i, p in enumerate(parameters) if id(p) in made}


def _run(session: Session, forward: Any, part: Any, batch_idx: int, told: Told, share: float, watch: Watch) -> None:
    """A shard's forward and backward; an error is told to the other processes before it is raised."""
    progress = session.progress
    session.seed("shard", progress.current_epoch, batch_idx, told.shard)
    results = session.results
    session.results, session.shard = ShardLog(results, told, part), told.shard  # type: ignore[assignment]
    try:
        loss, outputs = forward(part)
        told.outputs = sent(session, outputs)
        if loss is not None:
            told.loss = float(outputs["loss"])
            check_loss(loss, progress.where)
            session.backward(loss * share)
        told.attributes = watch.names(watch.take())
    except Exception as error:
        told.error = portable(error, session.group.rank, session.group.world)
    finally:
        session.results, session.shard = results, None


class Buffers:
    """The task's buffers: each shard finds them as they were before the batch, and they become the mean of what it leaves.

    Whole numbers, which count, become the largest.
    """

    def __init__(self, task: Any) -> None:
        self._all = dict(task.named_buffers())
        self._kept = {name: each.clone() for name, each in self._all.items() if each.numel() <= SMALL}
        self._versions = {name: each._version for name, each in self._all.items() if name not in self._kept}

    def end(self, told: Told) -> list[Tensor | None]:
        """After a shard: what it left of ``means``, and back to what was before."""
        if lost := [name for name, version in self._versions.items() if self._all[name]._version != version]:
            raise ConfigError(f"shards: the buffer {lost[0]} changes in training_step, and is too large to be kept for each")
        left: list[Tensor | None] = []
        for name, before in self._kept.items():
            now = self._all[name]
            changed = not torch.equal(now, before)  # torch's own batch norm does not count up a buffer's version
            if now.is_floating_point():
                left.append(now.clone())
                told.buffers += [name] if changed else []
            elif changed:
                told.counters[name] = now.flatten().tolist()
            if changed:
                now.copy_(before)
        return left

    def swap(self) -> dict[str, Tensor]:
        """What has changed, and back to what was before."""
        found = {name: now.clone() for name, before in self._kept.items() if not torch.equal(now := self._all[name], before)}
        for name in found:
            self._all[name].copy_(self._kept[name])
        return found

    def mean(self, name: str, total: Tensor, shards: int) -> None:
        """The buffer becomes the mean of what the shards left."""
        self._all[name].copy_(total / shards)

    def count(self, name: str, values: list[int]) -> None:
        """Likewise of whole numbers."""
        buffer = self._all[name]
        buffer.copy_(torch.tensor(values, dtype=buffer.dtype).view(buffer.shape))

    def buffer(self, name: str) -> Tensor:
        """The buffer of that name."""
        found: Tensor = self._all[name]
        return found

    @property
    def means(self) -> list[str]:
        """The names of what ``end`` returns."""
        return [name for name, each in self._kept.items() if each.is_floating_point()]


def _set_gradients(
    group: Group,
    parameters: list[torch.nn.Parameter],
    by_rows: dict[int, bool],
    held: list[Tensor | None],
    totals: list[Tensor | None],
    told: list[Told],
    buffers: Buffers,
) -> None:
    """What the shards of this process came to, added to what the others' came to."""
    n = len(parameters)
    present = [i for i in range(n) if any(each.gradients[i] != NONE for each in told)]
    changed = {name for each in told for name in each.buffers}
    means = {n + i: name for i, name in enumerate(buffers.means) if name in changed}
    shapes: list[Tensor] = [*parameters, *(buffers.buffer(name) for name in buffers.means)]
    sparse = {i for each in told for i, kind in enumerate(each.gradients) if kind == SPARSE}
    summed = exchanged(group, {i: (totals[i], shapes[i], i in by_rows or i in sparse) for i in [*present, *means]})
    for i, p in enumerate(parameters):
        value, before = summed.get(i), held[i]
        if value is not None and value.is_sparse and by_rows.get(i):
            value = value.to_dense()
        p.grad = before if value is None else value if before is None else before + value
    for i, name in means.items():
        buffers.mean(name, summed[i], group.shards)
    _count(told, buffers)


def set_buffers(group: Group, totals: list[Tensor | None], told: list[Told], buffers: Buffers) -> None:
    """The buffers alone: ``totals`` are the sums of what this process's shards left."""
    changed = {name for each in told for name in each.buffers}
    means = {i: name for i, name in enumerate(buffers.means) if name in changed}
    summed = exchanged(group, {i: (totals[i], buffers.buffer(name), False) for i, name in means.items()})
    for i, name in means.items():
        buffers.mean(name, summed[i], group.shards)
    _count(told, buffers)


def _count(told: list[Told], buffers: Buffers) -> None:
    for name in sorted({name for each in told for name in each.counters}):
        found = [each.counters[name] for each in told if name in each.counters]
        buffers.count(name, [max(column) for column in zip(*found, strict=True)])


def _log(session: Session, told: list[Told]) -> None:
    """``log`` with what the shards logged, in their order: their first calls for a name are one, and so on."""
    found: dict[tuple[str, str, int], list[tuple[float, float, Any]]] = {}
    for each in told:
        calls: Counter[tuple[str, str]] = Counter()
        for hook, name, value, weight, arguments in each.logged:
            found.setdefault((hook, name, calls[hook, name]), []).append((value, weight, arguments))
            calls[hook, name] += 1
    before = session.hook
    for (hook, name, _), values in found.items():
        if len({arguments for _, _, arguments in values}) > 1:
            raise ConfigError(f"log({name!r}) in {hook}: the same name was logged with other arguments in another shard")
        session.hook, weights = hook, sum(weight for _, weight, _ in values)
        folded = _reduced(reduction(values[0][2][4]), [(value, weight) for value, weight, _ in values])
        session.log_value(name, folded, weights, values[0][2])  # type: ignore[arg-type]
    session.hook = before


def _reduced(how: str, values: Sequence[tuple[float, float]]) -> float:
    if how == "sum":
        return sum(value for value, _ in values)
    if how in ("min", "max"):
        return math.nan if any(math.isnan(v) for v, _ in values) else (min if how == "min" else max)(v for v, _ in values)
    weights = sum(weight for _, weight in values)
    if not weights:
        return sum(value for value, _ in values) / len(values)
    return sum(value * weight for value, weight in values if weight) / weights


def _folded(session: Session, told: list[Told], count: int) -> dict[str, Any]:
    """The batch's loss, and what its shards returned beside it."""
    losses = [(each.loss, each.count) for each in told if each.loss is not None]
    parts = [each.outputs for each in told]
    extra = {name: joined([each[name] for each in parts if name in each]) for each in parts for name in each}
    if not losses:
        return extra
    return {"loss": torch.tensor(sum(value * n for value, n in losses) / max(1, count), device=session.device), **extra}


def joined(values: list[Any]) -> Any:
    """What the shards returned under one name: tensors with a row an example become one, all else a list."""
    if all(isinstance(each, Tensor) and each.dim() for each in values):
        return torch.cat(values)
    return values
