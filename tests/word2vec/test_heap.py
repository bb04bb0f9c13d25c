"""What is freed is kept for the next step, and where that cannot be asked for nothing happens."""

from __future__ import annotations

import ctypes
import platform
import resource

import pytest
import torch

from word2vec.heap import keep_freed_memory


def faults_of_steps(steps: int) -> int:
    """Page faults of making and freeing 48 MB in tensors of 8 MB, again and again."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        tensors = [torch.zeros(2_000_000) for _ in range(6)]
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_step_does_not_get_its_memory_anew() -> None:
    keep_freed_memory()
    faults_of_steps(2)
    pages = 48_000_000 // resource.getpagesize()
    assert faults_of_steps(10) < pages  # not even once in ten steps


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: object) -> ctypes.CDLL:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", none)
    keep_freed_memory()
