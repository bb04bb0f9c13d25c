"""What a benchmark measured, as data: a file of benchmarks/results/, from which make_results.py makes RESULTS.md.

A benchmark that is given ``--record NAME`` writes its rows there, with what a reader needs to judge them: the command, every
run's figures, the data, the commit and a digest of the code that the figures depend on, versions, CPU, threads and date.

    parser = argparse.ArgumentParser(...)
    record.add_option(parser)
    ...
    record.write(given.record, "loop", {"nothing logged": {"ours, µs": [26.6, 21.4]}}, modules=record.LOOP, threads=1)
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from training.files import sha256_file  # noqa: E402

FOLDER = ROOT / "benchmarks" / "results"
EARLIER = FOLDER / "earlier"
"""Records of earlier versions that are kept."""

# The code that figures depend on, as globs from the repository's root.
DETERMINISM = tuple(
    f"training/determinism/{name}.py" for name in "__init__ any_threads flags single_threads threads unkept waiting".split()
)
PORTABLE = ("training/determinism/numpy_functions.py", "training/determinism/portable.py")
"""What --portable alone runs."""
LOOP = (
    "training/checkpoint.py",
    "training/digest.py",
    "training/generators.py",
    "training/mersenne_twister.py",
    "training/openmp.py",
    "training/randomness.py",
    "training/storable.py",
    "training/callbacks/*.py",
    "training/data/*.py",
    *DETERMINISM,
    "training/loop/*.py",
)
RUN = (*LOOP, "training/run/*.py")
WORDS = (*(each for each in LOOP if "callbacks" not in each), "word2vec/*.py", "word2vec/text/*.py", "word2vec/model/*.py")
VECTORS = ("word2vec/vectors/*.py",)
MODEL = ("ner/inputs/*.py", "ner/model/*.py", "ner/vectors/*.py", *DETERMINISM, "training/randomness.py")
TAGGER = (
    *LOOP,
    "ner/*.py",
    "ner/corpus/*.py",
    "ner/inputs/*.py",
    "ner/model/*.py",
    "ner/scoring/metrics.py",
    "ner/vectors/*.py",
)
PREDICT = (*TAGGER, "ner/tagging/*.py", "word2vec/text/tokenize.py")
PROCESSES = ("training/parallel/*.py",)

PACKAGES = ("torch", "numpy", "seqeval", "tensorboard", "lightning", "gensim", "pytorch-crf", "spacy", "flair")
ENVIRONMENT = (
    "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS",
    "OPENBLAS_CORETYPE",
)  # fmt: skip
"""Variables that change how fast, or on which instructions, a command runs."""

Figure = Sequence[float] | float | str
Rows = Mapping[str, Mapping[str, Figure]]
"""By row and column: what several runs measured, what one did, or words."""


def add_option(parser: argparse.ArgumentParser) -> None:
    """``--record NAME``."""
    parser.add_argument(
        "--record",
        metavar="NAME",
        help="write the figures to benchmarks/results/NAME.json, too; or to a path that ends in NAME",
    )


def write(
    name: str | None,
    subject: str,
    rows: Rows,
    *,
    modules: Iterable[str],
    threads: int,
    data: Iterable[str | Path] = (),
    weights: Mapping[str, str] | None = None,
    note: str = "",
    folder: Path = FOLDER,
) -> None:
    """Write the record of a benchmark, in the place of one of the same name.

    Args:
        name: The file's name without its suffix, or its path; None writes nothing.
        subject: The table of RESULTS.md that it belongs to (benchmarks/subjects.toml).
        rows: The figures.
        modules: Globs of the code that they depend on; the benchmark itself is always one.
        threads: Threads of each process that was timed.
        data: Files and folders that were read.
        weights: Digests of the weights that were trained.
        note: What a reader must know beside the figures.
        folder: Where the records are.
    """
    if name is None:
        return
    script = Path(sys.argv[0]).resolve()
    globs = sorted({*modules, *([script.relative_to(ROOT).as_posix()] if script.is_relative_to(ROOT) else [])})
    record: dict[str, Any] = {
        "subject": subject,
        "command": command_line(),
        "arguments": [_short(each) for each in sys.argv[1:]],
        "rows": {row: {key: summary(value) for key, value in figures.items()} for row, figures in rows.items()},
        "data": {key: value for each in data for key, value in digests_of(Path(each)).items()},
        "weights": dict(weights or {}),
        "commit": commit(globs),
        "modules": globs,
        "digest": digest(globs),
        "versions": versions(),
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load": [round(each, 1) for each in os.getloadavg()],
        "date": now(),
        "note": note,
    }
    save(folder / f"{name}.json", record)


def save(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record's file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def now() -> str:
    """The time as records have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def summary(figure: Figure) -> Any:
    """A figure as it is written: every run's, the median and the range; words as they are."""
    if isinstance(figure, str):
        return figure
    runs = [_rounded(each) for each in ([figure] if isinstance(figure, int | float) else figure)]
    if not runs:
        return ""
    return {"runs": runs, "median": _rounded(statistics.median(runs)), "least": min(runs), "most": max(runs)}


def _rounded(value: float) -> float:
    """To six digits, which is more than any figure here is worth; whole numbers as they are."""
    return value if isinstance(value, int) else float(f"{value:.6g}")


def rows_of(table: str) -> dict[str, dict[str, Figure]]:
    """The rows of a table in Markdown, whose first column is a row's name; whole numbers as numbers."""
    head, _, *lines = ([cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines())
    return {
        row: {key: int(cell) if cell.isdigit() else cell for key, cell in zip(head[-len(cells) :], cells, strict=True)}
        for row, *cells in lines
    }


def command_line() -> str:
    """The command as one would type it, with the variables that matter and without the folders of this machine."""
    variables = [f"{key}={os.environ[key]}" for key in ENVIRONMENT if key in os.environ]
    script = Path(sys.argv[0]).resolve()
    shown = script.relative_to(ROOT).as_posix() if script.is_relative_to(ROOT) else script.name
    words = list(sys.argv[1:])
    if "--record" in words:
        at = words.index("--record")
        del words[at : at + 2]
    return " ".join([*variables, "python", shown, *(shlex.quote(_short(each)) for each in words)])


def _short(word: str) -> str:
    """A path that begins at the root of this machine, or leaves this folder, as its name."""
    return Path(word).name if word.startswith(("/", "..")) else word


def digests_of(path: Path) -> dict[str, str]:
    """SHA-256 of a file, or of each file of a folder, by name."""
    if path.is_dir():
        return {f"{path.name}/{each.name}": sha256_file(each) for each in sorted(path.iterdir()) if each.is_file()}
    return {path.name: sha256_file(path)} if path.is_file() else {}


def commit(globs: Iterable[str] = (), root: Path = ROOT) -> str | None:
    """The commit that is checked out, with "+" where files that match ``globs`` differ from it; None outside of git."""
    head = _git(root, "rev-parse", "--short=7", "HEAD")
    if not head:
        return None
    changed = _git(root, "status", "--porcelain", "--", *(f":(glob){each}" for each in globs))
    return head + ("+" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def digest(globs: Iterable[str], root: Path = ROOT) -> str:
    """SHA-256 of the code of all files that match, as ``code_of`` has it, and of their names."""
    paths = sorted({path for each in globs for path in root.glob(each) if path.is_file()})
    found = hashlib.sha256()
    for path in paths:
        found.update(f"{path.relative_to(root).as_posix()}\0{_code_digest(path)}\n".encode())
    return found.hexdigest()


@cache
def _code_digest(path: Path) -> str:
    source = path.read_text(encoding="utf-8")
    return hashlib.sha256((code_of(source) if path.suffix == ".py" else source).encode()).hexdigest()


def code_of(source: str) -> str:
    """What a module computes in a run that ends without error, as one line.

    That is its syntax tree without docstrings, checks that only raise, errors' messages, options' help, and imports that
    nothing else uses. Comments and the layout of the text do not count either.
    """
    tree = _Computing().visit(ast.parse(source))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return _line(_Imports(used).visit(tree))


class _Computing(ast.NodeTransformer):
    """Leaves out what a run that ends without error does not need."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_docstring = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_docstring else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        keeps = any(isinstance(each, ast.NamedExpr) for each in ast.walk(node.test))
        only_raises = _fails(node.body) and not node.orelse and not keeps
        return None if only_raises else self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> ast.AST | list[ast.stmt]:
        """What is tried, where all handlers only raise."""
        found = self.generic_visit(node)
        plain = not node.orelse and not node.finalbody and all(_fails(each.body) for each in node.handlers)
        return node.body if plain else found

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        kind = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.Raise(exc=kind, cause=None)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == "option":
            del node.args[1:2]
        return self.generic_visit(node)


class _Imports(ast.NodeTransformer):
    """Leaves out the imported names that are not ``used``."""

    def __init__(self, used: set[str]) -> None:
        self.used = used

    def visit_Import(self, node: ast.Import) -> ast.AST | None:
        return self._cut(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return self._cut(node)

    def _cut(self, node: ast.Import | ast.ImportFrom) -> ast.AST | None:
        node.names = [each for each in node.names if (each.asname or each.name.partition(".")[0]) in self.used]
        return node if node.names else None


def _fails(body: Sequence[ast.stmt]) -> bool:
    """Whether the statements only raise an error, other than those that Python takes as an answer."""
    if len(body) != 1 or not isinstance(body[0], ast.Raise):
        return False
    raised = body[0].exc
    name = raised.func if isinstance(raised, ast.Call) else raised
    known = name.id if isinstance(name, ast.Name) else ""
    return known.endswith("Error") and known not in ("AttributeError", "IndexError", "KeyError")


def _line(node: object) -> str:
    """A syntax tree in one line, without its empty fields, since which of them there are depends on Python's version."""
    if isinstance(node, list):
        return f"[{', '.join(map(_line, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = ((name, value) for name, value in ast.iter_fields(node) if name not in ("ctx", "kind", "type_comment"))
    written = ", ".join(f"{name}={_line(value)}" for name, value in fields if value is not None and value != [])
    return f"{type(node).__name__}({written})"


def versions() -> dict[str, str]:
    """Of Python and of the packages that are there."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def cpu() -> dict[str, Any]:
    """The processor's model, family and number, and the widest instructions that torch takes here."""
    import torch

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", 1)[0].splitlines()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    instructions = torch.backends.cpu.get_cpu_capability()
    return {
        "model": fields.get("model name", platform.processor()),
        "family": int(fields.get("cpu family", 0)),
        "number": int(fields.get("model", 0)),
        "instructions": {"AVX512": "AVX-512", "DEFAULT": "SSE"}.get(instructions, instructions),
    }


def kind() -> str:
    """Maker and instructions of this CPU, by which digests differ, such as "Intel, AVX-512"."""
    here = cpu()
    return f"{'Intel' if 'Intel' in here['model'] else here['model'].split()[0]}, {here['instructions']}"
