"""Freed memory that is kept, by whether the system is asked for less; the garbage collector while training."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys

import pytest

from training.memory import settled

PROGRAM = """
import resource, sys
import torch
from training.memory import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def touch():
    return torch.empty(5, 2_000_000).fill_(1.0), torch.empty(2_000_000).fill_(1.0)
for _ in range(6):
    touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_memory_that_was_freed_is_used_again() -> None:
    faults = {
        how: int(subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True).stdout)
        for how in ("keep", "return")
    }
    assert faults["keep"] * 10 < faults["return"]


def test_what_is_there_is_not_looked_at_again_and_garbage_is_still_collected() -> None:
    before = gc.get_freeze_count()
    with settled():
        frozen = gc.get_freeze_count()
        assert frozen > before
        with settled():
            assert gc.get_freeze_count() == frozen
        assert gc.get_freeze_count() == frozen  # a fit inside another one's callback thaws nothing
        loop: list[object] = []
        loop.append(loop)
        del loop
        assert gc.collect() >= 1
    assert gc.get_freeze_count() == before
