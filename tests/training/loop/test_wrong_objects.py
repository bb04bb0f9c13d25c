"""What a program passes to the Trainer in place of the right kind of object: one line, before or at the first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from training import ModelCheckpoint, Task, Trainer
from training.errors import ConfigError

QUIET: dict[str, Any] = {
    "max_epochs": 1, "enable_progress_bar": False, "logger": False, "enable_model_summary": False,
}  # fmt: skip


class Small(Task):
    """A linear layer whose step returns what the test wants of its output."""

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self.layer, self.loss = nn.Linear(2, 1), loss

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> Any:
        return self.loss(self.layer(batch))

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.log("val_loss", self.layer(batch).mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(task: Task, **more: Any) -> None:
    source: Any = torch.utils.data.DataLoader(torch.ones(4, 2), batch_size=2)  # type: ignore[arg-type]
    Trainer(**QUIET, **more).fit(task, source, source)


@pytest.mark.parametrize("given", [5, [5], "x", [None], ModelCheckpoint, [ModelCheckpoint], [[]], (5,), {"a": 1}, print])
def test_callbacks_that_are_none(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"callbacks: expected .*Callback.*, got "):
        Trainer(**QUIET, callbacks=given)


@pytest.mark.parametrize("given", [5, [5], "x", [None], print, {"a": 1}])
def test_loggers_that_are_none(given: Any) -> None:
    with pytest.raises(ConfigError, match="logger: expected True, False, a logger or a list of loggers, got "):
        Trainer(**{**QUIET, "logger": given})


@pytest.mark.parametrize("given", [None, [], (), ModelCheckpoint(), [ModelCheckpoint()]])
def test_callbacks(given: Any) -> None:
    Trainer(**QUIET, callbacks=given)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda out: out, r"expected a loss of one number, got a tensor of shape \(2, 1\)"),
        (lambda out: {"loss": out}, "expected a loss of one number"),
        (lambda out: out[:0], r"shape \(0, 1\)"),
        (lambda out: torch.tensor(3), "got one of torch.int64 without a gradient"),
        (lambda out: out.mean().detach(), "got one of torch.float32 without a gradient: detached"),
    ],
)
def test_a_loss_that_no_gradient_can_be_of(loss: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"training_step: .*{message}"):
        fit(Small(loss), enable_checkpointing=False)


@pytest.mark.parametrize(
    "filename", ["{epoch:q}", "{epoch", "{}", "{0}", "}{", 5, "{epoch:02d", "{epoch:1000000d}", "{x:w}-{epoch}", ["a"]]
)
def test_a_template_that_is_none(filename: Any) -> None:
    with pytest.raises(ConfigError, match="ModelCheckpoint: filename: expected a te"):
        ModelCheckpoint(filename=filename)


@pytest.mark.parametrize("filename", ["{val_loss:d}", "{val_loss[0]}", "{val_loss:s}"])
def test_a_template_that_the_metrics_do_not_fit(filename: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ModelCheckpoint: filename: expected a template that the metrics fit"):
        fit(Small(torch.mean), callbacks=ModelCheckpoint(dirpath=tmp_path, filename=filename))


@pytest.mark.parametrize(
    "filename", ["{epoch:02d}-{val_loss:.3f}", "{val_loss.foo}", "{epoch:x}", "{step:,}", "{val_loss:%}", "a/{epoch}", "x"]
)
def test_a_template(filename: str, tmp_path: Path) -> None:
    fit(Small(torch.mean), callbacks=ModelCheckpoint(dirpath=tmp_path, filename=filename))
    assert list(tmp_path.rglob("*.ckpt"))
