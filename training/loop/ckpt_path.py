"""What ``ckpt_path`` stands for: "best", "last", or a path."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training import checkpoint
from training.bar import say
from training.errors import ConfigError
from training.loop.callback import Callback


def _last(callback: Any) -> list[Path]:
    """What a callback may have written as the last one: ``last.ckpt``, ``last-v1.ckpt``, …, by its own names for them."""
    folder, name = getattr(callback, "dirpath", None), getattr(callback, "CHECKPOINT_NAME_LAST", "last")
    if not folder:
        return []
    pattern = re.sub(r"\{.*?\}", "*", name) + "*" + getattr(callback, "FILE_EXTENSION", ".ckpt")
    return [path for path in Path(folder).glob(pattern) if path.exists()]  # not a link that points nowhere


def checkpoint_path(name: str | Path, callbacks: Sequence[Callback]) -> Path | None:
    """The path that "best" or "last" stands for; another name is a path itself. None, and a warning, for no last one.

    What a callback keeps is told by its attributes ``best_model_path`` and ``dirpath``, as ModelCheckpoint has them.
    """
    if name in ("", "hpc"):
        raise ConfigError(f"ckpt_path={name!r}: expected the path of a checkpoint, best or last")
    if name not in ("best", "last"):
        return Path(name)
    keeping = [callback for callback in callbacks if hasattr(callback, "best_model_path")]
    if name == "best":
        if not keeping:
            raise ConfigError("ckpt_path='best': expected a ModelCheckpoint among the callbacks, got none")
        if not keeping[0].best_model_path:
            raise ConfigError("ckpt_path='best': expected the ModelCheckpoint to have saved a file, it has not")
        if len(keeping) > 1:
            say(f"ckpt_path='best': of {len(keeping)} ModelCheckpoints the first one's best is taken")
        return Path(keeping[0].best_model_path)
    paths = sorted({path for callback in keeping for path in _last(callback)})
    if not paths:  # as in Lightning no error, so that it can be asked for before there is one
        warnings.warn(
            "ckpt_path='last': expected a last.ckpt, got none, so that nothing is loaded; use "
            "ModelCheckpoint(save_last=True)",
            stacklevel=5,
        )
        return None
    return max(paths, key=lambda path: (checkpoint.load(path)["progress"]["global_step"], str(path)))
