"""The page that says what is Lightning's: each test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
PAGE = TESTS.parent / "docs" / "lightning.md"


def test_each_test_that_the_page_names_is_there() -> None:
    page = PAGE.read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", page)
    assert len(named) > 30
    for file, name in named:
        (path,) = TESTS.rglob(file)
        assert f"def {name}(" in path.read_text(encoding="utf-8"), f"{file}::{name}"


def test_each_deviation_names_a_test() -> None:
    page = PAGE.read_text(encoding="utf-8")
    differences = page[page.index("## Different on purpose") : page.index("## Not offered")]
    rows = [line for line in differences.splitlines() if line.startswith("| ")]
    bare = [row for row in rows if "::" not in row and "---" not in row]
    assert [row.split("|")[-2].strip() for row in bare] == ["test", "test"]  # the two heads
