"""Every command that README, docs/ and the help texts show is run, on small data with tiny settings."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import training.commands.side_by_side
from tests import forked
from tests.docs.doc_commands import CODES, EXCUSED, PAGES, ROOT, STARTS, Playground, blocks, commands_of, examples

SHOWN = {command: str(page.relative_to(ROOT)) for page in reversed(PAGES) for command in commands_of(page)}
ALL = sorted({*SHOWN, *examples()} - set(EXCUSED))
LINKING = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "RESULTS.md", ROOT / "benchmarks" / "EARLIER.md"]
PYTHON = [(block.place, "\n".join(block.lines)) for page in PAGES for block in blocks(page) if block.language == "python"]


@pytest.fixture(scope="module")
def playground(small_data: Path, small_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    """A small world with trained runs; the working folder while these tests run."""
    made = Playground(tmp_path_factory.mktemp("docs"), small_data, small_text)
    before = Path.cwd()
    os.chdir(made.folder)
    try:
        made.train()
        yield made
    finally:
        os.chdir(before)


@pytest.mark.parametrize("command", ALL)
def test_a_shown_command_runs(playground: Playground, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.commands.side_by_side, "subprocess", SimpleNamespace(Popen=forked.Popen))
    expected = next((code for name, code in CODES.items() if command.startswith(f"python cli.py {name}")), 0)
    code, output = playground.run(command)
    assert code == expected, output
    assert "Traceback" not in output
    assert not re.search(r"(^|\s)[A-Z]{2,}_[AB]\b", playground.filled(command)), "a place that nothing was put into"


@pytest.mark.parametrize(("place", "code"), PYTHON, ids=[place for place, _ in PYTHON])
def test_shown_python_runs(playground: Playground, place: str, code: str) -> None:
    exec(compile(code, place, "exec"), {})


def test_the_page_goes_through_the_whole_program() -> None:
    """Its parts are the program, which the page's commands run."""
    page = blocks(ROOT / "docs" / "own_experiment.md")
    parts = [line for block in page if block.language == "python part" for line in block.lines if line.strip()]
    program = (ROOT / "examples" / "digits.py").read_text(encoding="utf-8")
    assert parts == [line for line in program.splitlines() if line.strip()]
    assert len(program.splitlines()) <= 60


def test_the_default_program_learns_its_digits(playground: Playground) -> None:
    output = playground.must("python examples/digits.py --workers 0")
    accuracies = re.findall(r"val_accuracy=([\d.]+)", output)
    assert float(accuracies[-1]) > 0.8


def test_commands_are_found() -> None:
    """The extraction itself: a page's blocks, tables and sentences."""
    assert "python cli.py train-ner --deterministic" in commands_of(ROOT / "README.md")
    assert "python cli.py evaluate RUN FILE --html report.html" in commands_of(ROOT / "docs" / "commands.md")
    assert PYTHON
    assert len(examples()) >= 10


def test_words_that_are_looked_up_are_words_of_the_sample() -> None:
    """The small text of these tests has a few sentences of its own; a reader has the sample's."""
    words = Counter((ROOT / "data" / "sample" / "text.txt").read_text(encoding="utf-8").split())
    found = [re.findall(r"vectors (?:nearest|analogy) \S+ (.*)|--probes (\S+)", command) for command in ALL]
    asked = {word for each in found for pair in each for word in " ".join(pair).split()}
    assert {"city", "he", "his", "she"} <= asked
    assert [word for word in sorted(asked) if words[word] < 5] == []


def test_the_excuses_are_needed() -> None:
    """Only what is shown is excused; of our own commands, those that download or start others; and make's targets exist."""
    assert set(EXCUSED) <= {*SHOWN, *examples()}
    for command, reason in EXCUSED.items():
        if "cli.py" in command and reason != STARTS:
            assert command.startswith("python cli.py data fetch "), command
        if reason == "needs the network":
            assert command.startswith(("pip install ", "python cli.py data fetch ")), command
        if command.startswith("make "):
            done = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
    allowed = ("make ", "pip ", "python cli.py data fetch ", "python tests/house.py", "tensorboard ")
    assert all(command.startswith(allowed) for command, reason in EXCUSED.items() if reason != STARTS)
    assert all("--devices" in command for command, reason in EXCUSED.items() if reason == STARTS)


def test_links_between_pages_lead_somewhere() -> None:
    """Relative links: the file is there, and the heading too."""
    for page in LINKING:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            path = (page.parent / name).resolve() if name else page
            assert path.exists(), f"{page.relative_to(ROOT)}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
                slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
                assert anchor in slugs, f"{page.relative_to(ROOT)}: {target}"
