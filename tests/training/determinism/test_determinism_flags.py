"""What deterministic sets, and that it is undone."""

from __future__ import annotations

import os

import pytest
import torch

from training.config import TrainConfig
from training.determinism.flags import CUBLAS, determinism


@pytest.mark.parametrize("given", ["", ":4096:8"])
def test_the_workspace_of_cublas_is_set_unless_the_user_did(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CUBLAS, given)  # so that it is put back
    if not given:
        monkeypatch.delenv(CUBLAS)
    with determinism(TrainConfig(deterministic=True, device="cpu")):
        assert os.environ[CUBLAS] == (given or ":16:8")
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
