from __future__ import annotations

from pathlib import Path

import pytest

from ner.corpus.splits import find_splits, split_of
from training.errors import ConfigError


@pytest.mark.parametrize(
    "names",
    [
        ("eng.train", "eng.testa", "eng.testb"),
        ("train.conll", "valid.conll", "test.conll"),
        ("train.conll", "dev.conll", "test.conll"),
        ("trainset.conll", "devset.conll", "testset.conll"),
        ("train.txt", "dev.txt", "test.txt"),
        ("train.bio", "valid.bio", "test.bio"),
        ("ru_train.iob", "ru_dev.iob", "ru_test.iob"),
        ("NER-de-train.tsv", "NER-de-dev.tsv", "NER-de-test.tsv"),
        ("Train.TXT", "Validation.TXT", "Test.TXT"),
        ("train", "dev", "test"),
    ],
)
def test_names_that_are_recognized(tmp_path: Path, names: tuple[str, str, str]) -> None:
    for name in (*names, "README.md", "text.txt", "unlabeled.txt", ".test.conll.swp", "generate.py", "train.conll.gz"):
        (tmp_path / name).write_text("")
    (tmp_path / "test").mkdir(exist_ok=True) if "test" not in names else None
    assert tuple(path.name for path in find_splits(tmp_path)) == names


def test_a_missing_split(tmp_path: Path) -> None:
    (tmp_path / "devset.conll").write_text("")
    (tmp_path / "testset.conll").write_text("")
    with pytest.raises(ConfigError, match=r"no train file \(a name with .*\); the folder holds devset.conll, testset"):
        find_splits(tmp_path)


def test_two_files_for_a_split(tmp_path: Path) -> None:
    for name in ("train.conll", "train.txt", "dev.conll", "test.conll"):
        (tmp_path / name).write_text("")
    with pytest.raises(ConfigError, match=r"expected one train file, got train.conll, train.txt; name .* --train"):
        find_splits(tmp_path)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the folder holds no file"):
        find_splits(tmp_path)
    with pytest.raises(ConfigError, match="cannot read it: No such file"):
        find_splits(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="expected a folder, got a file"):
        find_splits(tmp_path / "file")


def test_names_that_say_nothing() -> None:
    for name in ("train_dev.txt", "contest.txt", "latest.conll", "train.py", "train.conll.bak", ".train.conll", "a.conll"):
        assert split_of(name) is None
