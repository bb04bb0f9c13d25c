"""Offsets in UTF-16 units or bytes: where spans do not fit, the message says which unit fits; else there is no hint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner.corpus.labeled import read_labeled
from ner.corpus.units import LONGEST, other_unit
from training.errors import DataError

WIDTHS: dict[str, Callable[[str], int]] = {
    "UTF-16 units": lambda text: len(text.encode("utf-16-le")) // 2,
    "bytes of UTF-8": lambda text: len(text.encode()),
}


@settings(deadline=None)
@given(
    st.text(st.sampled_from("aé東👩 "), max_size=12), st.text(st.sampled_from("aé東👩"), min_size=1, max_size=4),
    st.sampled_from(sorted(WIDTHS)),
)  # fmt: skip
def test_the_unit_that_fits_is_named_with_the_characters(before: str, word: str, unit: str) -> None:
    text, width = before + word + " a", WIDTHS[unit]
    first, last = len(before), len(before + word)
    start, end = width(before), width(before + word)
    told = other_unit(text, start, end, lambda a, b: (a, b) == (first, last))
    if (start, end) == (first, last):
        return
    others = [name for name, each in WIDTHS.items() if (each(before), each(before + word)) == (start, end)]
    assert any(f"count {name}: in characters it is {first}-{last} " in told for name in others)


@settings(deadline=None)
@given(st.text(st.sampled_from("aé東👩 "), max_size=12), st.integers(0, 50), st.integers(1, 50))
def test_what_fits_in_no_unit_has_no_hint(text: str, start: int, size: int) -> None:
    assert other_unit(text, start, start + size, lambda a, b: False) == ""


def test_of_plain_text_and_far_into_a_text_there_is_no_hint() -> None:
    assert other_unit("Ada ran", 1, 3, lambda a, b: True) == ""
    assert other_unit("é" * 2 * LONGEST, LONGEST, LONGEST + 1, lambda a, b: True) == ""


def refusal(path: Path, *records: object) -> str:
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    with pytest.raises(DataError) as raised:
        read_labeled(path)
    return str(raised.value)


def test_each_message_on_offsets_has_the_hint(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    hint = 'the offsets seem to count UTF-16 units: in characters it is 2-5 "Ada"'
    assert hint in refusal(path, {"text": "👩 Ada ran", "label": [[3, 6, "PER"]]})
    assert hint in refusal(path, {"text": "👩 Ada ran", "spans": [{"start": 3, "end": 6, "label": "PER", "text": "Ada"}]})
    assert hint in refusal(path, {"text": "👩 Ada", "label": [[3, 6, "PER"]]})
    assert "bytes of UTF-8: in characters it is 2-5" in refusal(path, {"text": "é Ada ran", "label": [[3, 6, "PER"]]})
    assert "seem to" not in refusal(path, {"text": "é Ada ran", "label": [[4, 6, "PER"]]})
    (tmp_path / "b.txt").write_text("👩 Ada ran\n")
    (tmp_path / "b.ann").write_text("T1\tPER 3 6\tAda\n")
    with pytest.raises(DataError, match="b.ann:1: 3 6: .*" + hint):
        read_labeled(tmp_path / "b.ann")
