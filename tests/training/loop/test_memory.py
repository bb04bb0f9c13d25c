"""Freed memory that is kept: whether malloc takes the setting, and whether it then asks the system less often."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from training.loop.memory import keep_freed_memory
torch.set_num_threads(1)
def touch():
    return torch.empty(5, 2_000_000).fill_(1.0), torch.empty(2_000_000).fill_(1.0)
def faults():
    for _ in range(6):
        touch()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        touch()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
returned = faults()
assert keep_freed_memory()
print(returned, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_memory_that_was_freed_is_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    returned, kept = map(int, done.stdout.split())
    assert kept * 10 < returned
