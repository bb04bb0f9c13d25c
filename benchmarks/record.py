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
import io
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
import tokenize
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
    """What a module computes: without comments, docstrings, errors' messages, options' help, empty lines, spaces at ends."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            _replace(lines, node, "")
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            kind = ast.get_source_segment(source, node.exc.func)
            _replace(lines, node, f"{lines[node.lineno - 1].encode()[: node.col_offset].decode()}raise {kind}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "option" and node.args[1:]:
            _blank(lines, node.args[1])
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _replace(lines: list[str], node: ast.stmt, by: str) -> None:
    """Write ``by`` where the statement's first line is, and nothing on its others; lines keep their numbers."""
    count = (node.end_lineno or node.lineno) - node.lineno + 1
    lines[node.lineno - 1 : node.end_lineno] = [by, *[""] * (count - 1)]


def _blank(lines: list[str], node: ast.expr) -> None:
    """Leave out an expression that is on one line."""
    if node.lineno == node.end_lineno:
        line = lines[node.lineno - 1].encode()
        lines[node.lineno - 1] = (line[: node.col_offset] + line[node.end_col_offset :]).decode()


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
