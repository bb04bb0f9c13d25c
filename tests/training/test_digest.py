"""Digests: what they see, and that no order of summation changes them."""

from __future__ import annotations

import hashlib

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.digest import checksum, weights_sha256


def test_weights_are_hashed_by_name_dtype_shape_and_bytes() -> None:
    state = {"b": torch.arange(4.0), "a": torch.zeros(2, 2)}
    base = weights_sha256(state)
    assert base == weights_sha256({"a": state["a"], "b": state["b"]})
    by_hand = hashlib.sha256()
    by_hand.update(b"a torch.float32 (2, 2)\n" + b"\0" * 16)
    by_hand.update(b"b torch.float32 (4,)\n" + state["b"].numpy().tobytes())
    assert base == by_hand.hexdigest()
    assert base != weights_sha256({**state, "b": state["b"].double()})
    assert base != weights_sha256({**state, "a": state["a"].reshape(4)})
    assert base != weights_sha256({**state, "a": -state["a"]})  # minus zero has other bits
    assert base != weights_sha256({"b": state["b"], "c": state["a"]})


def test_a_view_has_the_digest_of_its_values() -> None:
    matrix = torch.arange(12.0).reshape(3, 4)
    assert weights_sha256({"a": matrix.T}) == weights_sha256({"a": matrix.T.contiguous()})


def slow_checksum(tensor: torch.Tensor) -> int:
    """Eight bytes at a time as signed integers, and the rest byte by byte."""
    data = tensor.contiguous().numpy().tobytes()
    whole = len(data) // 8 * 8
    words = sum(int.from_bytes(data[i : i + 8], "little", signed=True) for i in range(0, whole, 8))
    return (words + sum(data[whole:])) % 2**64


@given(st.integers(0, 40), st.sampled_from([torch.float32, torch.float64, torch.int64, torch.float16]), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_checksum_equals_its_slow_twin(n: int, dtype: torch.dtype, seed: int) -> None:
    tensor = (torch.rand(n, generator=torch.Generator().manual_seed(seed)) * 100 - 50).to(dtype)
    assert checksum(tensor) == slow_checksum(tensor)


def test_checksum_sees_one_changed_bit_and_no_threads() -> None:
    tensor = torch.rand(100_001, generator=torch.Generator().manual_seed(0))
    base = checksum(tensor)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            assert checksum(tensor) == base
    finally:
        torch.set_num_threads(before)
    tensor[777] = torch.nextafter(tensor[777], torch.tensor(2.0))
    assert checksum(tensor) != base


def test_checksum_of_bfloat16_and_of_a_part_that_is_not_aligned() -> None:
    tensor = torch.arange(11, dtype=torch.bfloat16)
    assert checksum(tensor) == slow_checksum(tensor.view(torch.int16))
    part = torch.arange(12.0)[1:]
    assert checksum(part) == slow_checksum(part.clone())
