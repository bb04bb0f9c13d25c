"""The walls of the house, read off the imports: floors, circles of files, and doors.

    python tests/house.py

prints the rooms, floor by floor, with the number of imports that run upward and the number of circles: both are 0, and
tests/test_imports.py holds them there. Imports under TYPE_CHECKING count like any other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("training", "word2vec", "ner")

# From the ground up. A file may import from its own floor and from those below it; of two prefixes the longer counts.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("training.visible", "training.job_progress", "training.lazy", "training.openmp"),
    ("training.errors", "training.bar"),
    ("training.leftovers", "training.randomness", "training.mersenne_twister"),
    ("training.files", "training.digest", "training.generators", "training.yaml"),
    ("training.values", "training.intervals", "training.storable", "training.hyperparameters", "training.settings_file"),
    ("training.config", "training.checkpoint"),
    ("training.run.tensorboard",),
    ("training.loggers",),
    ("training.determinism",),
    ("training.data", "training.parallel"),
    ("training.loop",),
    ("training.callbacks",),
    ("training.run",),
    ("training.loop.names",),
    ("training.loop.trainer",),
    ("training",),
    ("training.commands",),
    ("word2vec.config",),
    ("word2vec.text",),
    ("word2vec.vectors", "word2vec.model"),
    ("word2vec.task", "word2vec.fetch", "word2vec.explain"),
    ("word2vec.start",),
    ("word2vec.train",),
    ("word2vec",),
    ("word2vec.commands",),
    ("ner.config", "ner.lm.config"),
    ("ner.corpus",),
    ("ner.inputs",),
    ("ner.vectors",),
    ("ner.model",),
    ("ner.lm.train", "ner.lm.task", "ner.lm.text"),
    ("ner.scoring",),
    ("ner.tagging",),
    ("ner.seeds", "ner.start", "ner.distillation", "ner.lm"),
    ("ner.task", "ner.explain", "ner.schedule"),
    ("ner.train", "ner.predict"),
    ("ner.suspects",),
    ("ner",),
    ("ner.commands",),
    ("cli",),
)


def modules() -> dict[str, Path]:
    """Dotted name → file, of every module of the three rooms and of cli.py."""
    found = {"cli": ROOT / "cli.py"}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """The dotted names that a file imports, anywhere in it and for whatever reason."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def graph() -> dict[str, set[str]]:
    """Which module of ours imports which: ``from a.b import c`` imports a.b.c where that is a module, else a.b."""
    known = modules()
    arrows: dict[str, set[str]] = {}
    for name, path in known.items():
        found: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                full = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
                found |= {each if each in known else node.module for each in full.values()}
        arrows[name] = {each for each in found if each in known and each != name}
    return arrows


def floor(name: str) -> int:
    """The floor of a module: that of the longest prefix that FLOORS names."""
    fits = [(len(prefix), i) for i, row in enumerate(FLOORS) for prefix in row if f"{name}.".startswith(f"{prefix}.")]
    assert fits, f"{name} is on no floor: give it one in tests/house.py"
    return max(fits)[1]


def upward(arrows: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The imports from a floor above."""
    return sorted((name, other) for name, others in arrows.items() for other in others if floor(other) > floor(name))


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """The sets of files that import each other, directly or not (strongly connected components, Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(arrows[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            component: list[str] = []
            while not component or component[-1] != name:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(sorted(component))

    for name in sorted(arrows):
        if name not in index:
            visit(name)
    return found


def main() -> None:
    arrows = graph()
    for i, row in enumerate(FLOORS):
        names = [name for name in arrows if floor(name) == i]
        if names:
            print(f"{i:2}  {', '.join(row)}: {len(names)} files")
    for name, other in upward(arrows):
        print(f"upward: {name} imports {other}")
    for circle in circles(arrows):
        print(f"circle: {', '.join(circle)}")
    count = sum(map(len, arrows.values()))
    print(f"{len(arrows)} files, {count} imports, {len(upward(arrows))} upward, {len(circles(arrows))} circles")


if __name__ == "__main__":
    main()
