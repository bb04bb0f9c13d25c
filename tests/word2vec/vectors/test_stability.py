"""Which neighbors are luck: counted as by definition, and groups of word vectors from training to verify."""

from __future__ import annotations

import json
import random
import shutil
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import cli
import training.commands.side_by_side
from tests import forked
from training.errors import DataError
from training.run.folder import read_manifest
from word2vec.text.vocab import Vocab
from word2vec.vectors import stability as agreement
from word2vec.vectors.vectors import WordVectors


def run(*words: object, **extra: Any) -> Result:
    return CliRunner().invoke(cli.main, [str(word) for word in words], catch_exceptions=False, **extra)


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double() * b.double()).sum())


def by_definition(vectors: WordVectors, word: int, k: int) -> list[int]:
    """The k nearest of a word: every other word's cosine, ties to the lower id."""
    rows = [torch.nn.functional.normalize(row.double(), dim=0).float() for row in vectors.matrix]
    others = [i for i in range(len(rows)) if i != word]
    return sorted(others, key=lambda i: (-round(cosine(rows[i], rows[word]), 6), i))[:k]


def made_group(folder: Path, case: int) -> tuple[list[WordVectors], Vocab]:
    """A group as an earlier version left it, with vectors that were drawn; some words stand at the same place."""
    drawn = random.Random(case)
    n, seeds = drawn.randint(2, 25), drawn.randint(2, 4)
    words = [f"w{i}" for i in range(n)]
    vocab = Vocab(tuple(words), np.array(sorted((drawn.randint(1, 12000) for _ in words), reverse=True)))
    runs = []
    for seed in range(seeds):
        run = folder / f"seed_{seed}"
        run.mkdir(parents=True)
        matrix = torch.tensor([[float(drawn.randint(1, 3)) for _ in range(3)] for _ in words])
        runs.append(WordVectors(words, matrix))
        runs[-1].save(run / "vectors.bin", "binary")
        vocab.save(run / "vocab.tsv")
        described = {"kind": "w2v", "status": "finished", "config": {"seed": seed}, "metrics": {"train_loss": 1.0}}
        (run / "manifest.json").write_text(json.dumps(described))
    (folder / "group.json").write_text(json.dumps({"seeds": [*range(seeds)]}))
    (folder / "config.json").write_text("{}")
    (folder / "summary.json").write_text(json.dumps({"seeds": [*range(seeds)]}))
    return runs, vocab


@pytest.mark.parametrize("case", range(12))
def test_agreement_is_what_its_definition_says(tmp_path: Path, case: int) -> None:
    runs, vocab = made_group(tmp_path / "group", case)
    k = random.Random(-case).randint(1, 12)
    near = [[set(by_definition(each, i, k)) for each in runs] for i in range(len(vocab))]
    overlaps = [
        sum(len(a & b) / len(a | b) for a, b in combinations(sets, 2)) / len([*combinations(sets, 2)]) for sets in near
    ]
    found = agreement.stability(tmp_path / "group", k)
    assert sum(band.words for band in found.bands) == sum(band.looked_at for band in found.bands) == len(vocab)
    for band in found.bands:
        inside = [i for i, count in enumerate(vocab.counts) if len(str(count)) == len(str(band.least))]
        counts = [int(vocab.counts[i]) for i in inside]
        assert (band.words, band.least, band.most) == (len(inside), min(counts), max(counts))
        assert band.mean == pytest.approx(np.mean([overlaps[i] for i in inside]))
        assert band.in_all == pytest.approx(np.mean([len(set.intersection(*near[i])) for i in inside]))
        assert 0 <= band.low <= band.high <= 1
    word = random.Random(case).randrange(len(vocab))
    listed = agreement.nearest(runs, f"w{word}", k)
    counted = {i: sum(i in by_definition(each, word, k) for each in runs) for i in range(len(vocab)) if i != word}
    best = sorted((n for n in counted.values() if n), reverse=True)[:k]
    assert [each.seeds for each in listed] == best
    for each in listed:
        cosines = [
            cosine(*(torch.nn.functional.normalize(v.vector(w), dim=0) for w in (f"w{word}", each.word))) for v in runs
        ]
        assert each.seeds == counted[int(each.word[1:])]
        assert (each.least, each.mean, each.most) == pytest.approx((min(cosines), np.mean(cosines), max(cosines)), abs=1e-6)


def test_equal_runs_agree_wholly_and_of_many_words_the_same_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_group(tmp_path / "group", 3)
    for name in ("seed_1", "seed_2", "seed_3"):
        if (tmp_path / "group" / name).is_dir():
            (tmp_path / "group" / name / "vectors.bin").write_bytes((tmp_path / "group/seed_0/vectors.bin").read_bytes())
    monkeypatch.setattr(agreement, "MOST_WORDS", 3)
    found = agreement.stability(tmp_path / "group", 4)
    assert {band.mean for band in found.bands} == {1.0}
    assert max(band.looked_at for band in found.bands) == 3
    assert found == agreement.stability(tmp_path / "group", 4)


def test_what_cannot_be_asked_is_said(tmp_path: Path) -> None:
    made_group(tmp_path / "group", 1)
    result = run("vectors", "nearest", tmp_path / "group", "w00")
    assert (result.exit_code, result.output.splitlines()[-1].partition("no vector for ")[2][:5]) == (2, "'w00'")
    (tmp_path / "group/group.json").write_text('{"seeds": [0]}')
    with pytest.raises(DataError, match="two seeds or more"):
        agreement.stability(tmp_path / "group")
    with pytest.raises(DataError, match=r"expected a group of runs, .* got no group.json"):
        agreement.stability(tmp_path)


@pytest.fixture(scope="module")
def group(small_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("w2v")
    text = small_text.read_text(encoding="utf-8")[:30_000]
    (folder / "text.txt").write_text(text, encoding="utf-8")
    done = run("train-w2v", *tiny(folder), "--seeds", "2", "--run", folder / "group")
    assert done.exit_code == 0, done.output
    assert "2 seeds" in done.output
    return folder / "group"


def tiny(folder: Path) -> list[str]:
    return ["--corpus", str(folder / "text.txt"), "--dim", "8", "--epochs", "1", "--no-progress", "--deterministic"]


def test_a_group_of_vectors_is_its_single_runs(group: Path, tmp_path: Path) -> None:
    alone = run("train-w2v", *tiny(group.parent), "--seed", "1", "--run", tmp_path / "alone")
    assert alone.exit_code == 0
    ours, theirs = (read_manifest(path)["weights_sha256"] for path in (group / "seed_1", tmp_path / "alone"))
    assert ours == theirs != read_manifest(group / "seed_0")["weights_sha256"]
    assert run("vectors", "stability", group).output == run("vectors", "stability", group).output
    assert len([*(group / "pages").iterdir()]) == 1
    verified = run("verify", group)
    assert verified.exit_code == 0, verified.output
    (group / "pages" / "more").write_text("")
    assert "pages: it was not there when" in run("verify", group).output
    assert "move it away" in run("vectors", "stability", group).output
    (group / "pages" / "more").unlink()
    lines = run("vectors", "nearest", group, "the", "-k", "4").output.splitlines()
    assert len(lines) == 4
    assert all(line.split("\t")[0] in ("1 of 2", "2 of 2") for line in lines)


@pytest.mark.parametrize("file", agreement.FILES)
@pytest.mark.parametrize("seed", [0, 1])
def test_files_that_were_changed_are_named_before_they_are_read(group: Path, tmp_path: Path, file: str, seed: int) -> None:
    copy = Path(shutil.copytree(group, tmp_path / "group"))
    changed = copy / f"seed_{seed}" / file
    changed.write_text(f"the\t{10**20 - 1}\n")
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("the of 3\nin a 2\n")
    for command in (["vectors", "stability", copy], ["vectors", "nearest", copy, "the"], ["compare", copy, copy, pairs]):
        refused = run(*command)
        assert refused.exit_code == 2, refused.output
        assert f"error: {changed}: it was changed after the run had finished" in refused.stderr


def test_a_group_stopped_goes_on_to_the_same_bits(group: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = run("train-w2v", *tiny(group.parent), "--seeds", "2", "--max-time", "0s", "--run", tmp_path / "again")
    assert stopped.exit_code == 75
    assert "train-w2v --resume" in stopped.output
    other = run("train-ner", "--resume", tmp_path / "again")
    assert other.exit_code == 1
    assert "expected runs of kind ner, got w2v; resume it with train-w2v" in other.output
    settings = json.loads((tmp_path / "again" / "config.json").read_text())
    for path in (tmp_path / "again", tmp_path / "again" / "seed_0"):
        (path / "config.json").write_text(json.dumps({**settings, "max_time": ""}))
    monkeypatch.setattr(training.commands.side_by_side, "subprocess", SimpleNamespace(Popen=forked.Popen))
    done = run("train-w2v", "--resume", tmp_path / "again", "--jobs", "2")
    assert done.exit_code == 0, done.output
    for seed in ("seed_0", "seed_1"):
        ours, theirs = (read_manifest(path / seed)["weights_sha256"] for path in (group, tmp_path / "again"))
        assert ours == theirs


def test_groups_of_vectors_are_compared_on_sets_too(group: Path, tmp_path: Path) -> None:
    words = [line.split("\t")[0] for line in (group / "seed_0" / "vocab.tsv").read_text().splitlines()[:6]]
    sets = tmp_path / "pairs.txt"
    sets.write_text("".join(f"{a} {b} {i}\n" for i, (a, b) in enumerate(combinations(words, 2)) if a != b))
    found = run("compare", group, group, sets)
    assert found.exit_code == 0, found.output
    assert "set pairs" in found.output
    assert "train_loss" in found.output
    single = run("compare", group / "seed_0", group / "seed_1", sets, "--json")
    rows = {row["metric"]: row for row in json.loads(single.output)["metrics"]}
    scored = run("vectors", "evaluate", group / "seed_1" / "vectors.bin", sets).output
    assert f"{rows['set pairs']['second']['mean']:.4f}" in scored
    assert run("compare", group, tmp_path / "none").exit_code == 2


@pytest.mark.parametrize(
    "command", ["compare {group} {group} {sets}", "train-w2v {tiny} --evaluate {a} --evaluate {b} --run {run} {seeds}"]
)
@pytest.mark.parametrize("names", [("a/set.txt", "b/set.txt"), ("a/set.txt", "a/set.csv"), ("a/set.txt", "a/set.txt")])
def test_sets_of_one_name_are_refused(group: Path, tmp_path: Path, command: str, names: tuple[str, str]) -> None:
    words = [line.split("\t")[0] for line in (group / "seed_0" / "vocab.tsv").read_text().splitlines()[:3]]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{0} {1} 1\n{1} {2} 2\n{0} {2} 3\n".format(*words))
    a, b = (tmp_path / name for name in names)
    for seeds in ("", "--seeds 2"):
        given = {"group": group, "tiny": " ".join(tiny(group.parent)), "run": tmp_path / "new", "seeds": seeds}
        refused = run(*command.format(sets=f"{a} {b}", a=a, b=b, **given).split())
        assert refused.exit_code == 2, refused.output
        assert refused.stderr.startswith(f"error: sets: expected files of different names, got {a} and {b}, both of the ")
        assert refused.stdout == ""
    assert not (tmp_path / "new").exists()


def test_what_a_group_cannot_have_is_said(tmp_path: Path) -> None:
    refused = run("train-w2v", "--corpus", "-", "--seeds", "2", "--run", tmp_path / "g", input="a b c")
    assert refused.exit_code == 2
    assert "standard input" in refused.output
    assert not (tmp_path / "g").exists()
    assert run("train-w2v", "--jobs", "2").exit_code == 2
