"""What is frozen, and what is in eval mode, is as it was when a fit that was left goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.training.loop.test_metric_objects import fit
from tests.training.toytask import Kept, Line, Shuffled, trainer
from training import checkpoint
from training.digest import weights_sha256
from training.errors import CheckpointError


class Thaws(Line):
    """Trains its head alone in the first epoch, with a part in eval mode all the time, and one from the second on."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.fixed = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
        self.layer.requires_grad_(False)
        self.fixed.eval()

    def loss(self, batch: Tensor) -> Tensor:
        loss: Tensor = super().loss(self.fixed(self.norm(batch) if len(batch) > 1 else batch))
        return loss

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == 1:
            self.layer.requires_grad_(True)
            self.out.bias.requires_grad_(False)
            self.norm.eval()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=0.05)


def test_left_at_any_batch_it_goes_on_with_what_is_frozen() -> None:
    whole, settings = Kept(), {"max_epochs": 2, "val_check_interval": 0.5}
    task, _, boundaries = fit(Thaws(), None, settings, whole)
    for leave_at in range(0, boundaries, 2):
        log = Kept()
        _, state, _ = fit(Thaws(), None, settings, log, leave_at=leave_at)
        resumed, _, _ = fit(Thaws(), None, settings, log, state)
        assert log.lines == whole.lines
        assert weights_sha256(resumed) == weights_sha256(task)
        assert [m.training for m in resumed.modules()] == [m.training for m in task.modules()]
        assert [p.requires_grad for p in resumed.parameters()] == [p.requires_grad for p in task.parameters()]


def test_a_checkpoint_of_a_validations_end_holds_the_modes_of_before(tmp_path: Path) -> None:
    settings = {"max_epochs": 2, "val_check_interval": 0.5}
    task, _, _ = fit(Thaws(), tmp_path, settings, Kept())
    paths = sorted(tmp_path.glob("*.ckpt"))
    assert len(paths) == 4
    for path in paths:
        resumed, _, _ = fit(Thaws(), None, settings, Kept(), dict(checkpoint.load(path)))
        assert weights_sha256(resumed) == weights_sha256(task)


def test_strict_loading_is_the_tasks() -> None:
    class Partial(Line):
        def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            del checkpoint["weights"]["out.bias"]

    made, task = trainer(max_epochs=1), Partial()
    made.fit(task, Shuffled())
    state = made.state()
    with pytest.raises(CheckpointError, match=r"Missing key\(s\).*out.bias"):
        trainer(max_epochs=2).fit(Partial(), Shuffled(), state=state)
    lenient = Partial()
    lenient.strict_loading = False
    trainer(max_epochs=2).fit(lenient, Shuffled(), state=state)
