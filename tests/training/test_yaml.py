"""YAML of a line for each name: what is written is read back, and never as something else than PyYAML reads."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.errors import DataError
from training.yaml import as_yaml, read_yaml

WORDS = ["yes", "No", "on", "~", "null", "1e-05", "010", "0x1f", "1_000", "12:30", "2001-01-01", "- a", "=", "<<"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(WORDS),
)
VALUES = st.recursive(
    SCALARS, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=4), each, max_size=3), max_leaves=6
)
NAMES = st.text("abcXYZ_09.", min_size=1, max_size=6) | st.text(min_size=1, max_size=4)
FAST = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def same(first: Any, second: Any) -> bool:
    """Equal in value and type; NaN is NaN."""
    if isinstance(first, float) and isinstance(second, float) and math.isnan(first):
        return math.isnan(second)
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and bool(first == second)


@FAST
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_what_is_written_is_read_back(tmp_path: Path, values: dict[str, Any]) -> None:
    path = tmp_path / "hparams.yaml"
    path.write_text(as_yaml(values), encoding="utf-8")
    assert same(read_yaml(path), {name: values[name] for name in sorted(values)})


@FAST
@given(st.dictionaries(NAMES, SCALARS, max_size=4), st.booleans())
def test_what_pyyaml_writes_is_read_as_it_reads_it_or_refused(tmp_path: Path, values: dict[str, Any], flow: bool) -> None:
    path = tmp_path / "hparams.yaml"
    path.write_text(yaml.dump(values, default_flow_style=None if flow else False), encoding="utf-8")
    with contextlib.suppress(DataError):
        assert same(read_yaml(path), values)


OTHER = ["a: [1,", "a:\n  b: 1", "- 1", "a: !!python/object:x {}", "a: &x 1", "a: 'b", "a: 1 # one", "a b: 1"]


@pytest.mark.parametrize("line", OTHER)
def test_lines_of_another_form_are_refused_by_their_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "hparams.yaml"
    path.write_text(f"first: 1\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"hparams.yaml:[23]: expected name: value on one line, "):
        read_yaml(path)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected names and values as YAML, got none"):
        read_yaml(tmp_path / "nothing.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"a: \xff")
    with pytest.raises(DataError, match="not UTF-8"):
        read_yaml(tmp_path / "bytes.yaml")
