"""The walls of the house: who may import whom, and one door for each dependency."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("training", "word2vec", "ner")
MODULES = sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py")) + sorted(ROOT.glob("cli*.py"))
DOORS = {"click": "cli", "seqeval": "ner/metrics.py", "tensorboard": "training/run.py"}
RUN_TIME = {"torch", "numpy", "click", "seqeval", "tensorboard", *ROOMS}


def imports(path: Path) -> set[str]:
    """The dotted names that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_keep_to_the_rules(path: Path) -> None:
    import sys

    name = str(path.relative_to(ROOT))
    room = name.split("/")[0] if "/" in name else "cli"
    for imported in imports(path):
        top = imported.split(".")[0]
        assert top in sys.stdlib_module_names or top in RUN_TIME or top.startswith("cli"), f"{name} imports {imported}"
        if top in ROOMS or top.startswith("cli_") or top == "cli":
            if room == "training":
                assert top == "training", f"training imports {imported}"
            if room == "word2vec":
                assert top in ("training", "word2vec"), f"word2vec imports {imported}"
            if room == "ner" and top == "word2vec" and imported != "word2vec":
                shared = ("word2vec.text", "word2vec.vectors", "word2vec.file_")
                assert imported.startswith(shared), f"ner imports {imported}"
        for package, door in DOORS.items():
            if package in imported.split("."):
                assert name.startswith(door), f"{name} imports {imported}; only {door} may"


def test_no_cycles_inside_a_room() -> None:
    graph = {}
    for path in MODULES:
        name = str(path.relative_to(ROOT)).removesuffix(".py").replace("/", ".")
        graph[name] = set()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        # Imports under TYPE_CHECKING are for annotations; they do not run.
        guarded = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and id(node) not in guarded:
                graph[name] |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"a cycle of imports: {' → '.join((*trail, name))}"
        if name in done or name not in graph:
            return
        for other in graph[name]:
            visit(other, (*trail, name))
        done.add(name)

    for name in graph:
        visit(name, ())


def test_init_files_hold_no_code() -> None:
    for room in ROOMS:
        body = ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8")).body
        assert all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)
