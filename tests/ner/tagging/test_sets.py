"""predict --sets and evaluate --sets: what a run, a group's bundle and a bundle say, and what they refuse."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli import main
from ner.model.conformal import PERCENT, Conformal
from ner.tagging.bundle import MANIFEST, WITHOUT_SETS, _digest, _json, read_bundle, write_bundle
from ner.tagging.load import CONFORMAL
from tests.ner.small_tagger import saved
from training.run.card import Card

TEXT = "Ada Marlow flew to Oslo. Bo won in Rome!\n\nÜnsal met zyx.\n"
KNOWN = Conformal(400, 40, tuple(0.4 * 0.9**n for n in range(len(PERCENT))), (0.05,) * len(PERCENT))


def run(*arguments: object, text: str | None = None) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments], input=text)


def made(folder: Path, conformal: Conformal | None = KNOWN) -> Path:
    """A bundle with random weights."""
    folder.mkdir()
    write_bundle(folder, dataclasses.replace(saved(3, decoder="crf"), conformal=conformal), {}, Card("", "ner", (), ()))
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("bundles") / "a")


@pytest.fixture(scope="module")
def trained(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few epochs."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    quick = "--vectors none --max-epochs 4 --hidden-size 12 --word-dim 8 --threads 1 --no-progress".split()
    result = run("train-ner", "--data", small_data, *quick, "--run", folder)
    assert result.exit_code == 0, result.output
    return folder


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_json_lines_get_sets_beside_what_they_had(bundle: Path) -> None:
    plain = lines(run("predict", bundle, "--format", "jsonl", text=TEXT))
    with_sets = lines(run("predict", bundle, "--format", "jsonl", "--sets", "0.9", text=TEXT))
    assert [{k: v for k, v in line.items() if k != "sets"} for line in with_sets] == plain
    for line in with_sets:
        own = [each["readings"][0] for each in line["sets"] if each["readings"][0]["type"] is not None]
        assert own == line["entities"]
        for each in line["sets"]:
            assert line["text"][each["start"] : each["end"]] == each["text"]
            for reading in each["readings"]:
                assert 0.0 <= reading["confidence"] <= 1.0
                if reading["type"] is not None:
                    assert line["text"][reading["start"] : reading["end"]] == reading["text"]
    sizes = [sum(len(each["readings"]) for line in with_sets for each in line["sets"])]
    for coverage in ("0.99", "0.5"):
        other = lines(run("predict", bundle, "--format", "jsonl", "--sets", coverage, text=TEXT))
        sizes.append(sum(len(each["readings"]) for line in other for each in line["sets"]))
    assert sizes[1] > sizes[0] > sizes[2]
    given = lines(run("predict", bundle, "--sets", "0.9", "--key-out", "ner", text='{"tokens": ["Ada", "won", "."]}\n'))
    sets = given[0]["ner"]["sets"]
    assert sets
    assert all("tokens" in each for each in sets)
    assert all("tokens" in reading for each in sets for reading in each["readings"] if reading["type"] is not None)


def test_text_shows_the_readings_behind_the_words(bundle: Path) -> None:
    result = run("predict", bundle, "--sets", "0.9", text=TEXT)
    (first, *_) = lines(run("predict", bundle, "--format", "jsonl", "--sets", "0.9", text=TEXT))
    shown = result.stdout.splitlines()[0]
    assert shown.count("{") == len(first["sets"])
    for each in first["sets"]:
        labels = []
        for reading in each["readings"]:
            words = "" if reading["type"] is None or reading["text"] == each["text"] else f' "{reading["text"]}"'
            labels.append(f"{reading['type'] or 'none'} {reading['confidence']:.2f}{words}")
        kinds = [label.split(" ")[0] for label in labels]
        assert f"[{each['text']}]{{{kinds[0]} " in shown
        assert all(words in shown for label in labels for words in [label.partition('"')[2]])
    assert " | " in shown
    colored = run("predict", bundle, "--sets", "0.9", "--color", "always", text="Ada\x07 won.\n").stdout
    assert "\x1b[1;4;" in colored
    assert "\x07" not in colored


REFUSED: dict[str, tuple[str, str]] = {
    "--sets 0.9 --format conll": ("expected --format text or jsonl", "got conll"),
    "--sets 0.9 --format html": ("expected --format text or jsonl", "got html"),
    "--sets 0.9 --threshold 0.5": ("expected them or a threshold", "0.5"),
    "--sets 0.3": ("from 0.5 to 0.99 in steps of 0.01", "0.3"),
    "--sets 0.905": ("from 0.5 to 0.99 in steps of 0.01", "0.905"),
    "--sets-from x": ("expected --sets with it", "got none"),
    "--sets 0.9 --sets-from nowhere": ("nowhere", "expected"),
}


@pytest.mark.parametrize("options", REFUSED)
def test_what_cannot_be_is_told_in_a_line(bundle: Path, options: str) -> None:
    result = run("predict", bundle, *options.split(), text=TEXT)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert len(result.output.splitlines()) == 1
    assert all(part in result.output for part in REFUSED[options])


def test_a_tagger_without_bounds_takes_them_from_a_labeled_file(tmp_path: Path, small_data: Path) -> None:
    old = made(tmp_path / "old", None)
    result = run("predict", old, "--sets", "0.9", text=TEXT)
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert "expected a tagger whose sets are calibrated" in result.output
    assert "--sets-from FILE" in result.output
    result = run("predict", old, "--sets", "0.5", "--sets-from", small_data / "valid.conll", "--format", "jsonl", text=TEXT)
    assert result.exit_code == 0, result.output
    assert all("sets" in json.loads(line) for line in result.stdout.splitlines())
    few = tmp_path / "few.conll"
    few.write_text("Ada S-PER\nwon O\n")
    result = run("predict", old, "--sets", "0.9", "--sets-from", few, text=TEXT)
    assert result.exit_code == 2
    assert "up to 0.5, got 0.9: 1 gold entity calibrates" in result.output.splitlines()[-1]
    manifest = json.loads((old / MANIFEST).read_text())  # as the version before wrote it
    del manifest[CONFORMAL]
    manifest["version"] = WITHOUT_SETS
    (old / MANIFEST).write_bytes(_json({**manifest, "digest": _digest(manifest)}))
    assert read_bundle(old).conformal is None
    assert run("predict", old, text=TEXT).exit_code == 0


def test_evaluate_counts_what_sets_hold(trained: Path, small_data: Path, tmp_path: Path) -> None:
    """On the very file that they were calibrated on, it is what was asked for, or a little more."""
    valid = small_data / "valid.conll"
    result = run("evaluate", trained, valid, "--sets", "0.5", "--json")
    assert result.exit_code == 0, result.output
    sets = json.loads(result.stdout)["sets"]
    manifest = json.loads((trained / "manifest.json").read_text())
    assert sets["coverage"] == 0.5
    assert sets["all"]["entities"] == manifest[CONFORMAL]["entities"]
    assert sets["all"]["held"] >= 0.5
    assert sets["all"]["held"] >= sets["all"]["found"]
    page = tmp_path / "page.html"
    result = run("evaluate", trained, valid, "--sets", "0.5", "--html", page)
    assert "Sets of readings at 50 %, by type" in result.stdout
    assert "Sets of readings at 50 %" in page.read_text(encoding="utf-8")
    assert "Sets of readings" not in run("evaluate", trained, valid).stdout
    own = run("evaluate", trained, valid, "--sets", "0.5", "--sets-from", valid, "--json")
    assert "sets: bounds from" in own.stderr
    assert json.loads(own.stdout)["sets"] == sets
    target = tmp_path / "bundle"
    assert run("export", trained, target).exit_code == 0
    assert json.loads((target / MANIFEST).read_text())[CONFORMAL] == manifest[CONFORMAL]
    texts = [run("predict", each, "--sets", "0.5", text=TEXT).stdout for each in (trained, target)]
    assert texts[0] == texts[1] != ""
