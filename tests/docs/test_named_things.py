"""What pages, docstrings and comments name is there: files, modules and what they hold, imports."""

from __future__ import annotations

import configparser
import importlib
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.house import ROOMS

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (*ROOMS, "examples", "tests", "benchmarks", "docs", "data/sample")
OURS = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts)
FILES = [*OURS, *(path for path in ROOT.iterdir() if path.is_file()), ROOT / "data/README.md"]
PATHS = [f"/{path.relative_to(ROOT)}" for path in FILES]
TEXTS = [path for path in FILES if path.suffix in (".md", ".py") or path.name in ("Makefile", "setup.cfg", "pyproject.toml")]

# A path of ours, from a room's name on or with the suffix of code; a module, or something in it; an import.
PATH = re.compile(rf"(?<![\w./~$-])((?:{'|'.join(FOLDERS)})/[\w./-]*[\w/]|[\w./-]+\.(?:py|md|css|js|cfg|toml))(?![\w/])")
MODULE = re.compile(rf"(?<![\w./-])(?:{'|'.join(ROOMS)})(?:\.[A-Za-z_]\w*)+(?![\w/])")
IMPORT = re.compile(rf"\bfrom (?:{'|'.join(ROOMS)})(?:\.\w+)* import \w+(?:, \w+)*")
FOREIGN = {"word2vec.c"}  # Mikolov's program
WRITTEN = {"MODEL_CARD.md"}  # by our commands, into folders of the user's


def said(path: Path) -> Iterator[tuple[int, str]]:
    """(number, line) of a page; of a module its docstrings and comments alone."""
    if path.suffix != ".py":
        yield from enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        return
    with tokenize.open(path) as stream:
        for token in tokenize.generate_tokens(stream.readline):
            if token.type == tokenize.COMMENT or token.string.lstrip("r").startswith('"""'):
                yield from enumerate(token.string.splitlines(), token.start[0])


def is_path(name: str) -> bool:
    """Whether a file or folder of ours ends in these names; ``affixes.py`` in a row of a table is enough."""
    return name in WRITTEN or any(path.endswith("/" + name.lstrip("./").rstrip("/")) for path in PATHS)


def is_module(name: str) -> bool:
    """Whether it is a module, or what stands in one."""
    parts = name.split(".")
    for known in range(len(parts), 0, -1):
        try:
            thing: Any = importlib.import_module(".".join(parts[:known]))
        except ModuleNotFoundError:
            continue
        for part in parts[known:]:
            thing = getattr(thing, part, None)
        return thing is not None
    return False


def is_import(line: str) -> bool:
    """Whether it imports what it says."""
    _, module, _, names = line.split(" ", 3)
    return all(is_module(f"{module}.{name}") for name in names.split(", "))


@pytest.mark.parametrize(
    ("names", "is_there"), [(PATH, is_path), (MODULE, is_module), (IMPORT, is_import)], ids=["paths", "modules", "imports"]
)
def test_what_is_named_is_there(names: re.Pattern[str], is_there: Callable[[str], bool]) -> None:
    found = {
        (name, f"{path.relative_to(ROOT)}:{number}")
        for path in TEXTS
        for number, line in said(path)
        for name in names.findall(line)
    }
    assert len(found) > 20
    there = {name: is_there(name) for name, _ in found}
    assert sorted(f"{where}: {name}" for name, where in found if not there[name] and name not in FOREIGN) == []


def test_files_of_rooms_that_are_no_modules_are_package_data() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = {f"{package.replace('.', '/')}/{name}" for package, names in config["options.package_data"].items()
              for name in names.split()}  # fmt: skip
    rooms = (path for path in OURS if path.is_file() and path.relative_to(ROOT).parts[0] in ROOMS)
    assert listed == {str(path.relative_to(ROOT)) for path in rooms if path.suffix != ".py"}


def test_what_is_not_there_would_be_seen() -> None:
    (path,), (module,), (line,) = (
        names.findall("`training/nowhere.py`, ner.nothing.at_all and from word2vec import Nothing")
        for names in (PATH, MODULE, IMPORT)
    )
    assert (path, module, line) == ("training/nowhere.py", "ner.nothing.at_all", "from word2vec import Nothing")
    assert not is_path(path)
    assert not is_module(module)
    assert not is_import(line)
    assert is_path("ner/model/crf.py")
    assert is_path("crf.py")
    assert is_module("ner.model.crf.CRF.decode")
    assert is_import("from word2vec import WordVectors, tokenize")
