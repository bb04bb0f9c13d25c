"""The walls of the house: who may import whom, floors without circles, and one door for each dependency."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests import house

DOORS = {
    "click": ("cli.py", "training/commands/", "word2vec/commands/", "ner/commands/"),
    "seqeval": ("ner/scoring/metrics.py",),
    "tensorboard": ("training/run/tensorboard.py",),
}
RUN_TIME = {"torch", "numpy", *DOORS, *house.ROOMS, "cli"}
MAY_IMPORT = {
    "training": ("training",),
    "word2vec": ("training", "word2vec"),
    "ner": ("training", "word2vec.text", "word2vec.vectors", "ner"),
    "cli": ("training", "word2vec", "ner"),
}
MODULES = house.modules()


@pytest.mark.parametrize("name", MODULES)
def test_imports_keep_to_the_rules(name: str) -> None:
    path = MODULES[name]
    room, file = name.split(".")[0], str(path.relative_to(house.ROOT))
    for imported in house.imports(path):
        top = imported.split(".")[0]
        assert top in sys.stdlib_module_names or top in RUN_TIME, f"{file} imports {imported}"
        if top in (*house.ROOMS, "cli") and imported in MODULES and imported not in house.ROOMS:
            allowed = MAY_IMPORT[room]
            assert f"{imported}.".startswith(tuple(f"{each}." for each in allowed)), f"{file} imports {imported}"
        for package, doors in DOORS.items():
            if package in imported.split(".") and top not in house.ROOMS:
                assert file.startswith(doors), f"{file} imports {imported}; only {', '.join(doors)} may"


def test_no_import_runs_upward() -> None:
    assert house.upward(house.graph()) == []


def test_there_is_no_circle() -> None:
    assert house.circles(house.graph()) == []


def test_a_circle_and_an_upward_import_would_be_seen() -> None:
    arrows = {"ner.train": {"ner.task"}, "ner.task": {"ner.train"}, "cli": set[str]()}
    assert house.circles(arrows) == [["ner.task", "ner.train"]]
    assert house.upward(arrows) == [("ner.task", "ner.train")]


def test_imports_for_annotations_count(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ner.train import train_tagger\n")
    assert "ner.train" in set(house.imports(file))


def test_init_files_of_inner_rooms_hold_no_code() -> None:
    for name, path in MODULES.items():
        if path.name == "__init__.py" and "." in name:
            body = ast.parse(path.read_text(encoding="utf-8")).body
            assert all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body), name
