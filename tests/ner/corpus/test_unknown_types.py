"""Entities of types that training does not have: named, counted, refused or read as O, in training and evaluation."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import cli
from ner.corpus.conll import Sentence, read_conll
from ner.corpus.scheme import SCHEMES, Span, from_spans, to_spans
from ner.corpus.unknown_types import unknown_types, without_unknown_types

TINY = "--vectors none --max-epochs 1 --hidden-size 4 --word-dim 4 --no-progress --threads 1 --batch-size 40".split()


def sentences(rng: random.Random, types: list[str], scheme: str) -> tuple[list[Sentence], list[list[Span]]]:
    """Random sentences, and their entities."""
    made, entities = [], []
    for number in range(rng.randint(1, 6)):
        length, spans, at = rng.randint(1, 9), [], 0
        while at < length:
            end = min(length, at + rng.randint(1, 3))
            if rng.random() < 0.6:
                spans.append(Span(rng.choice(types), at, end))
            at = end + rng.randint(0, 2)
        tags = tuple(from_spans(spans, length, scheme))
        made.append(Sentence(tuple(f"w{i}" for i in range(length)), tags, line=1 + 20 * number, path="x.conll"))
        entities.append(spans)
    return made, entities


@pytest.mark.parametrize("case", range(60))
def test_they_are_counted_and_left_out_and_nothing_else_is(case: int) -> None:
    rng = random.Random(case)
    scheme = rng.choice(["IOB2", "IOBES"])
    types = ["PER", "LOC", "DATE", "", "O"]
    known = set(rng.sample(types, rng.randint(0, 5)))
    made, entities = sentences(rng, types, scheme)
    found = unknown_types(made, known)
    others = [(span, i) for i, spans in enumerate(entities) for span in spans if span.type not in known]
    assert found.counts == {kind: n for kind in types if (n := sum(span.type == kind for span, _ in others))}
    assert bool(found) == bool(others)
    for kind, where in found.first.items():
        span, number = next((span, i) for span, i in others if span.type == kind)
        assert where == f"x.conll:{1 + 20 * number + span.start}"
        assert where in str(found)
    if others:
        assert found.place == f"x.conll:{1 + 20 * others[0][1] + others[0][0].start}"
    kept = without_unknown_types(made, known, scheme)
    assert [to_spans(each.tags) for each in kept] == [[s for s in spans if s.type in known] for spans in entities]
    assert [each.words for each in kept] == [each.words for each in made]
    assert not unknown_types(kept, known)
    assert scheme in SCHEMES


@pytest.fixture(scope="module")
def data(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small data, with two entities in valid and one in test of types that training does not have."""
    folder = tmp_path_factory.mktemp("types")
    for name in ("train", "valid", "test"):
        (folder / f"{name}.conll").write_text((small_data / f"{name}.conll").read_text())
    for name, tail in (("valid", "in O\nMay B-DATE\n1999 I-DATE\n\n5 B-SUM\n\n"), ("test", "June B-DATE\n\n")):
        with (folder / f"{name}.conll").open("a") as stream:
            stream.write("\n" + tail)
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(each) for each in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def trained(data: Path) -> tuple[Path, Result]:
    """A tagger that was trained without them, and what was said."""
    path = data / "run"
    return path, run("train-ner", "--data", data, "--run", path, "--unknown-types", "ignore", *TINY)


def test_training_refuses_them_unless_it_is_to_read_them_as_o(data: Path, trained: tuple[Path, Result]) -> None:
    lines = (data / "valid.conll").read_text().splitlines()
    place = f"{data / 'valid.conll'}:{lines.index('May B-DATE') + 1}"
    refused = run("train-ner", "--data", data, "--run", data / "refused", *TINY)
    assert refused.exit_code == 2
    (line,) = [each for each in refused.output.splitlines() if each.startswith("error")]
    assert f"{place}: expected" in line
    assert f"DATE (2 entities, first {place}) and" in line.replace(", SUM", " and SUM")
    assert "--unknown-types ignore" in line
    assert not (data / "refused").exists()
    path, done = trained
    assert done.exit_code == 0, done.output
    told = [each for each in done.output.splitlines() if "read as O" in each]
    assert len(told) == 1
    assert "DATE (2 entities" in told[0]
    assert "SUM (1 entity" in told[0]
    assert not {"DATE", "SUM"} & {span.type for s in read_conll(path / "predictions.conll") for span in to_spans(s.tags)}
    assert json.loads((path / "manifest.json").read_text())["config"]["unknown_types"] == "ignore"


def test_evaluation_tells_of_them(data: Path, trained: tuple[Path, Result]) -> None:
    path, test = trained[0], data / "test.conll"
    support = {}
    for how in ("", "ignore"):
        options = ["--unknown-types", how] if how else []
        done = run("evaluate", path, test, "--json", *options)
        assert done.exit_code == 0, done.output
        assert "DATE (1 entity, first " in done.stderr
        assert ("read as O" if how else "count as missed") in done.stderr
        support[how] = json.loads(done.stdout)["strict"]["micro avg"]["support"]
    assert support[""] == support["ignore"] + 1
    refused = run("evaluate", path, test, "--unknown-types", "error")
    assert refused.exit_code == 2
    assert "expected entities of types that the tagger knows" in refused.output
    assert "test.conll:" in refused.output
    assert "unknown" not in run("evaluate", path, data / "train.conll", "--unknown-types", "error").stderr
