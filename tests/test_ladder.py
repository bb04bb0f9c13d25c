"""What ``make quick`` leaves out, and what comes first, is there: a name that has changed would be left in."""

from __future__ import annotations

import re

import pytest

from tests.conftest import LONGEST, SLOW, TESTS


@pytest.mark.parametrize("name", sorted({*LONGEST, *(name for names in SLOW.values() for name in names)}))
def test_what_is_named_is_there(name: str) -> None:
    place, _, test = name.partition("::")
    files = list(TESTS.glob(place.replace("*", "**/*.py")))
    assert files
    defined = re.compile(rf"^def {test.replace('*', '.*')}\(", re.MULTILINE)
    assert not test or any(defined.search(file.read_text(encoding="utf-8")) for file in files)
