"""Lightning's names for what a checkpoint holds: for hooks and tools that look for ``checkpoint["state_dict"]``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from training.checkpoint import NAMES


@contextmanager
def both_names(checkpoint: dict[str, Any]) -> Iterator[None]:
    """While hooks look at the checkpoint its parts have both names; what they put in place of one is that part.

    The names stay, each part once: torch.save writes the tensors of both a single time.
    """
    progress = checkpoint.get("progress")
    if isinstance(progress, dict):
        checkpoint["epoch"], checkpoint["global_step"] = progress.get("current_epoch"), progress.get("global_step")
    shown = {name: checkpoint[own] for name, own in NAMES.items() if own in checkpoint}
    checkpoint |= shown
    yield
    for name, before in shown.items():
        after = checkpoint.get(name, before)
        if after is not before:
            checkpoint[NAMES[name]] = after
        checkpoint[name] = checkpoint[NAMES[name]]
