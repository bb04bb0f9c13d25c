"""How long work says how far it is; what is shown of it is the caller's affair."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Told (done, total); total is 0 where it is not known."""
JobProgress = Callable[[str, int, int], None]
"""Told (what is being done, done, total)."""
