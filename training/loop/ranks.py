"""Lightning's functions for the first process of several. There is one, which is the first."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from training.bar import say

F = TypeVar("F", bound=Callable[..., Any])


def rank_zero_only(fn: F, default: Any = None) -> F:
    """``fn``: what the first process does."""
    return fn


def rank_zero_info(*args: Any, **kwargs: Any) -> None:
    """A line to standard error, above the progress bar; as the functions of ``logging`` take it."""
    text = str(args[0]) if args else ""
    say(text % args[1:] if args[1:] else text)


def rank_zero_warn(message: str, stacklevel: int = 4, category: type[Warning] = UserWarning, **kwargs: Any) -> None:
    """A warning."""
    warnings.warn(message, category, stacklevel=stacklevel - 1)
