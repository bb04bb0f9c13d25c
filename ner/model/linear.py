"""A linear layer whose initial weights are the same on every machine."""

from __future__ import annotations

from torch import Tensor, nn

from training.randomness import uniform


class Linear(nn.Module):
    """x W^T + b, with initial weights uniform in ±1/sqrt(inputs) as in nn.Linear, from (seed, "init/name")."""

    def __init__(self, inputs: int, outputs: int, *, seed: int, name: str) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(uniform((outputs, inputs), -bound, bound, seed, f"init/{name}.weight"))
        self.bias = nn.Parameter(uniform((outputs,), -bound, bound, seed, f"init/{name}.bias"))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight, self.bias)
