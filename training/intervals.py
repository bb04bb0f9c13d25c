"""Times and intervals as they are typed: 90s, 5m, 00:01:30:00, or a number of steps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from training.errors import ConfigError
from training.visible import shortened

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = "[0-9]{1,15}"


def seconds(text: str, name: str) -> float | None:
    """ "90s", "5m", "2h", "1d" or "DD:HH:MM:SS" in seconds; None for ""; else ConfigError."""
    if not text:
        return None
    if found := re.fullmatch(rf"({_NUMBER}(?:\.{_NUMBER})?)([smhd])", text):
        return float(found[1]) * UNITS[found[2]]
    if found := re.fullmatch(":".join([f"({_NUMBER})"] * 4), text):
        days, hours, minutes, rest = (int(part) for part in found.groups())
        return float(((days * 24 + hours) * 60 + minutes) * 60 + rest)
    shown = shortened(text, 60)
    raise ConfigError(f"{name}: expected a time such as 90s, 5m, 2h or 00:01:30:00, got {shown!r}")


def as_timedelta(given: Any, name: str) -> timedelta:
    """A timedelta, or a dict of its arguments, as one; else ConfigError."""
    if isinstance(given, Mapping):
        try:
            return timedelta(**given)
        except TypeError as error:
            got = shortened(repr(dict(given)), 60)
            raise ConfigError(f"{name}: expected days, hours, minutes, seconds, got {got} ({error})") from None
    if not isinstance(given, timedelta):
        raise ConfigError(f"{name}: expected DD:HH:MM:SS, a timedelta or a dict, got {shortened(repr(given), 60)}")
    return given


class Interval(NamedTuple):
    """How often something is due: every so many steps, or seconds; both None for never."""

    steps: int | None
    seconds: float | None


def interval(text: str, name: str) -> Interval:
    """ "200" steps, "5m" or another time, or "never"; else ConfigError."""
    if text == "never":
        return Interval(None, None)
    if re.fullmatch("[0-9]{1,18}", text) and int(text) > 0:
        return Interval(int(text), None)
    if text.endswith(tuple(UNITS)) or ":" in text:
        return Interval(None, seconds(text, name))
    shown = shortened(text, 60)
    raise ConfigError(f"{name}: expected steps (200), a time (5m) or never, got {shown!r}")
