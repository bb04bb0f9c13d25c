"""Every command with each standard stream refused, closed or left by its reader: one line, and a true exit code."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

import cli
from ner.tagging.bundle import write_bundle
from tests.forked import CLOSED, Done, begin, run, wait
from tests.ner.small_tagger import saved
from training.run.card import Card
from word2vec.vectors.write import write_table

TINY = "--vectors none --hidden-size 8 --word-dim 8 --max-epochs 1 --limit-train-batches 1 --limit-val-batches 1"
TINY += " --limit-test-batches 1 --num-sanity-val-steps 0 --threads 1 --no-progress"


def commands(group: click.Group = cli.main, name: str = "") -> list[str]:
    found = []
    for each, command in group.commands.items():
        full = f"{name} {each}".strip()
        found += commands(command, full) if isinstance(command, click.Group) else [full]
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, a bundle, data, text and vectors of some bytes each."""
    folder = tmp_path_factory.mktemp("streams")
    sentences = "Ada\tB-PER\nran\tO\n\nOslo\tB-LOC\nis\tO\n\n" * 4
    (folder / "data").mkdir()
    for name in ("train", "valid", "test"):
        (folder / "data" / f"{name}.conll").write_text(sentences)
    (folder / "text.txt").write_text("Ada flew to Oslo and Bo won in Rome .\n" * 30)
    (folder / "sets.txt").write_text("Ada Oslo 9\nAda Bo 1\nBo Oslo 3\n")
    (folder / "bundle").mkdir()
    write_bundle(folder / "bundle", saved(3), {}, Card("", "ner", (), ()))
    write_table(folder / "vectors.txt", ["Ada", "Bo", "Oslo", "Rome"], torch.eye(4).numpy())
    words = ["train-ner", "--data", str(folder / "data"), "--run", str(folder / "run"), *TINY.split()]
    done = CliRunner().invoke(cli.main, words)  # in this process: what it imports, forks need not import again
    assert done.exit_code == 0, done.output
    texts = ["--corpus", str(folder / "text.txt"), *"--min-count 1 --epochs 1 --dim 4 --no-progress".split()]
    done = CliRunner().invoke(cli.main, ["train-w2v", *texts, "--seeds", "2", "--run", str(folder / "words")])
    assert done.exit_code == 0, done.output
    return folder


ARGUMENTS = {
    "train-ner": f"--data data --run RUN {TINY}",
    "train-w2v": "--corpus text.txt --min-count 1 --epochs 1 --dim 4 --no-progress --threads 1 --run RUN",
    "train-lm": "--corpus text.txt --min-count 1 --epochs 1 --dim 4 --hidden-size 4 --no-progress --threads 1 --run RUN",
    "data fetch": "glove --to text.txt",
    "data check": "data",
    "data repair": "data/train.conll RUN",
    "data convert": "data/train.conll RUN.jsonl",
    "data suspects": "data/train.conll --folds 2 --config run/config.json --run RUN",
    "diff": "run run",
    "vectors nearest": "vectors.txt Ada",
    "vectors analogy": "vectors.txt Ada Bo Oslo",
    "vectors stability": "words",
    "vectors evaluate": "vectors.txt sets.txt",
    "vectors convert": "vectors.txt RUN",
    "verify": "run",
    "ask": "run --steps 1 --watch batch",
    "compare": "run run",
    "evaluate": "bundle data/test.conll",
    "runs list": "--root .",
    "runs card": "run",
    "predict": "bundle text.txt --threads 1",
    "export": "run RUN",
}
SAYS_NOTHING = ("vectors convert",)
FAILS = ("data fetch",)
REFUSED = {"full": ("/dev/full", "", 1), "closed": (CLOSED, "", 1), "gone": ("gone", "", 141), "both": (CLOSED, CLOSED, 1)}


def test_every_command_is_walked() -> None:
    assert sorted(ARGUMENTS) == sorted(commands())


def refused(place: Path, arguments: list[str], how: str, stdin: str | None = "/dev/null") -> Done:
    """A command whose standard output is refused."""
    out, err, _ = REFUSED[how]
    if out != "gone":
        return run(*arguments, cwd=place, stdin=stdin, stdout=out, stderr=err)
    ours, theirs = os.pipe()
    os.close(ours)
    log = os.open(place / ".said", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    code = wait(begin(arguments, stdin=os.open("/dev/null", os.O_RDONLY), stdout=theirs, stderr=log, cwd=place))
    os.close(theirs)
    os.close(log)
    return Done(code, "", (place / ".said").read_text())


@pytest.mark.parametrize(("name", "how"), [(n, h) for n, h in itertools.product(sorted(ARGUMENTS), REFUSED)])
def test_what_standard_output_refuses_is_one_line(place: Path, name: str, how: str) -> None:
    target = place / f"new-{name}-{how}".replace(" ", "-")
    done = refused(place, [*name.split(), *ARGUMENTS[name].replace("RUN", str(target)).split()], how)
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in done.err
    assert "Exception ignored" not in done.err
    if name in SAYS_NOTHING:
        assert done == (0, "", "")
    elif name in FAILS:
        assert done.code == 2
    else:
        assert done.code == REFUSED[how][2], done
        assert how == "both" or (len(errors) == 1 and "standard output" in errors[0]), done
    if name.startswith("train") and how != "both":
        status = json.loads((target / "manifest.json").read_text())["status"] if target.exists() else ""
        assert status in ("", "failed", "finished")
        assert (f"resume with: python cli.py {name} --resume" in done.err) == (status == "failed"), done
        anew = ARGUMENTS[name].replace("RUN", str(target)).split()
        again = run(name, *(["--resume", str(target)] if status else anew), cwd=place)
        assert again.code == 0, again


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_without_input_and_a_place_for_errors_a_command_does_its_work(place: Path, name: str) -> None:
    """What is said of progress is lost, and no more."""
    arguments = [*name.split(), *ARGUMENTS[name].replace("RUN", str(place / f"new-{name}-quiet".replace(" ", "-"))).split()]
    done = run(*arguments, cwd=place, stdin=CLOSED, stderr=CLOSED)
    assert done.code == (2 if name in FAILS else 0), done
    assert done.out or name in (*SAYS_NOTHING, *FAILS)
    full = run(*name.split(), "--no-such-option", cwd=place, stdin=CLOSED, stderr="/dev/full")
    assert full.code == 2


@pytest.mark.parametrize("words", ["--help", "--version", "predict --help", "nothing", ""])
def test_help_and_version_too(place: Path, words: str) -> None:
    for how in REFUSED:
        done = refused(place, words.split(), how)
        assert done.code == (REFUSED[how][2] if "-" in words else 2), done
        assert "Traceback" not in done.err


@pytest.mark.parametrize("words", ["predict bundle", "predict bundle -", "train-w2v --corpus - --run no --no-progress"])
def test_standard_input_that_is_closed(place: Path, words: str) -> None:
    done = run(*words.split(), cwd=place, stdin=CLOSED)
    assert done.code == 2, done
    assert done.err.count("\n") == 1
    assert done.err.startswith("error: ")
    assert not (place / "no").exists()


@pytest.mark.parametrize("words", ["--help", "runs list --root .", "vectors nearest vectors.txt Ada"])
def test_an_unbuffered_standard_output_that_is_full_is_said_too(place: Path, words: str) -> None:
    """As in a container, whose Python has PYTHONUNBUFFERED set: there even the writing of nothing is refused."""
    program = Path(cli.__file__)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, str(program), *words.split()], stdout=full, stderr=subprocess.PIPE, text=True, cwd=place,
            env={**os.environ, "PYTHONUNBUFFERED": "1"}, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr.count("error: standard output cannot be written")) == (1, 1), done
