"""A group of runs as one tagger: predict, evaluate and export take it as they take a run."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli import main
from ner.seeds.ensemble import calibrate
from ner.tagging.tagger import TrainedTagger
from training.errors import DataError, SamebitsError

QUICK = "--vectors none --max-epochs 4 --hidden-size 12 --word-dim 8 --threads 1 --no-progress --deterministic".split()
TEXT = "Ada Marlow flew to Oslo. The Green Alliance met in Bremen.\n\nDudley left.\n"


def run(*arguments: object, text: str | None = None) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments], input=text)


@pytest.fixture(scope="module")
def group(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("groups") / "a"
    result = run("train-ner", "--data", small_data, *QUICK, "--seeds", "2", "--run", folder)
    assert result.exit_code == 0, result.output
    assert "confidence of the group: temperature" in result.output
    return folder


@pytest.fixture(scope="module")
def bundle(group: Path) -> Path:
    folder = group.parent / "bundle"
    result = run("export", group, folder)
    assert result.exit_code == 0, result.output
    return folder


def test_it_tags_files_and_text_alike(group: Path, bundle: Path, small_data: Path) -> None:
    tagger = TrainedTagger.load(group)
    words = [["Ada", "met", "Bo"], [], ["Oslo", "and", "Bremen", "."]]
    alone = [tagger.tag([each])[0] for each in words]
    assert [len(tags) for tags in alone] == [3, 0, 4]
    assert tagger.tag(words) == alone
    test = small_data / "test.conll"
    for each in (group, bundle):
        written = run("predict", each, test)
        assert written.exit_code == 0, written.output
        assert written.output.count("\n") == test.read_text().count("\n")
    assert run("predict", group, test).output == run("predict", bundle, test).output
    assert run("predict", group, text=TEXT).output == run("predict", bundle, text=TEXT).output
    scores = [json.loads(run("evaluate", each, test, "--json", "--sets", "0.5").stdout) for each in (group, bundle)]
    assert scores[0] == scores[1]
    assert 0.0 <= scores[0]["sets"]["all"]["found"] <= scores[0]["sets"]["all"]["held"] <= 1.0


def test_its_temperature_is_fitted_once(group: Path, tmp_path: Path) -> None:
    before = (group / "ensemble.json").read_bytes()
    calibrate(group, pytest.fail)
    copy = Path(shutil.copytree(group, tmp_path / "a"))
    (copy / "ensemble.json").unlink()
    said: list[str] = []
    calibrate(copy, said.append)
    assert (copy / "ensemble.json").read_bytes() == before
    assert len(said) == 1


def test_a_group_that_validated_nothing_is_not_calibrated(small_data: Path, tmp_path: Path) -> None:
    folder, test = tmp_path / "a", small_data / "test.conll"
    unvalidated = "--limit-val-batches", "0", "--test-weights", "last"
    result = run("train-ner", "--data", small_data, *QUICK, *unvalidated, "--seeds", "2", "--run", folder)
    assert result.exit_code == 0, result.output
    assert "confidence of the group" not in result.output
    assert "best_val_f1" not in result.output
    assert run("export", folder, tmp_path / "bundle").exit_code == 0
    for each in (folder, tmp_path / "bundle"):
        assert run("evaluate", each, test).exit_code == 0
        refused = run("predict", each, test, "--sets", "0.9")
        assert refused.exit_code != 0
        assert "--sets-from" in refused.output


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def exchange(group: Path) -> None:
    shutil.rmtree(group / "seed_1")
    shutil.copytree(group / "seed_0", group / "seed_1")


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a member is gone": (lambda at: shutil.rmtree(at / "seed_1"), "seed_1"),
    "a member's weights were cut": (lambda at: cut(next(at.glob("seed_1/**/*.ckpt"), at / "seed_1/weights.bin")), "seed_1"),
    "a member has another's place": (exchange, r"seed_1|metrics"),
    "no temperature": (lambda at: (at / "ensemble.json").write_text('{"temperature": "hot"}'), "ensemble.json"),
    "another temperature": (lambda at: (at / "ensemble.json").write_text('{"temperature": -2}'), "ensemble.json"),
    "no bounds of sets": (
        lambda at: (at / "ensemble.json").write_text(
            json.dumps({**json.loads((at / "ensemble.json").read_text()), "conformal": {"entities": 3}})
        ),
        "ensemble.json",
    ),
    "no JSON": (lambda at: (at / "ensemble.json").write_text("{"), "ensemble.json"),
    "one file more": (lambda at: (at / "more").write_text("x"), "more"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_is_told_in_a_line(group: Path, bundle: Path, tmp_path: Path, change: str) -> None:
    for source in (group, bundle):
        copy = Path(shutil.copytree(source, tmp_path / source.name))
        CHANGES[change][0](copy)
        if change == "one file more" and source is group:
            continue  # nothing of a group's is read from there; verify tells of it
        result = run("predict", copy, text=TEXT)
        assert result.exit_code == 2, result.output
        assert re.search(CHANGES[change][1], result.output)
        assert len(result.output.splitlines()) == 1
        with pytest.raises(SamebitsError):
            TrainedTagger.load(copy)


def test_runs_on_other_data_are_no_group(group: Path, small_data: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(small_data, tmp_path / "data"))
    with (data / "train.conll").open("a") as stream:
        stream.write("\nZyx B-LOC\n")
    copy = Path(shutil.copytree(group, tmp_path / "a"))
    shutil.rmtree(copy / "seed_1")
    result = run("train-ner", "--data", data, *QUICK, "--seed", "1", "--run", copy / "seed_1")
    assert result.exit_code == 0, result.output
    (copy / "summary.json").unlink()
    (copy / "ensemble.json").unlink()
    with pytest.raises(DataError, match=r"differ only in their seed|on the same data"):
        calibrate(copy, pytest.fail)
