"""Lightning's functions for the first process of several."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

from training.bar import is_first, say

F = TypeVar("F", bound=Callable[..., Any])


def rank_zero_only(fn: F, default: Any = None) -> F:
    """``fn`` in the first process; in the others it does nothing, and returns ``default``."""

    @functools.wraps(fn)
    def first(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs) if is_first() else default

    return cast(F, first)


def rank_zero_info(*args: Any, **kwargs: Any) -> None:
    """A line to standard error, above the progress bar; as the functions of ``logging`` take it."""
    text = str(args[0]) if args else ""
    say(text % args[1:] if args[1:] else text)


def rank_zero_warn(message: str, stacklevel: int = 4, category: type[Warning] = UserWarning, **kwargs: Any) -> None:
    """A warning."""
    if is_first():
        warnings.warn(message, category, stacklevel=stacklevel - 1)
