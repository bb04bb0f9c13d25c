"""The names that a user imports from ner: there, documented with an example that runs, and free until they are used."""

from __future__ import annotations

import doctest
import subprocess
import sys

import pytest

import ner
from tests.house import ROOT


@pytest.mark.parametrize("name", [name for name in ner.__all__ if name != "PRESETS"])
def test_the_example_in_the_docstring_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    value = getattr(ner, name)
    found = doctest.DocTestFinder(recurse=False).find(value, name, globs={**vars(sys.modules[value.__module__])})
    assert found
    assert found[0].examples, f"{name}: no example"
    assert doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(found[0]).failed == 0


def test_importing_ner_costs_nothing_until_a_name_is_used() -> None:
    code = "import sys, ner; print(dir(ner)); assert not {'numpy', 'torch', 'click'} & set(sys.modules); ner.TrainedTagger"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert all(repr(name) in found.stdout for name in ner.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nobody'"):
        _ = ner.Nobody
