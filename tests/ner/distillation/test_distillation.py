"""train-ner --teacher: a teacher and text without tags give a finished run, with all that a run promises."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ner.config import TaggerConfig
from ner.distillation.readings import KEPT
from ner.train import train_tagger
from tests.ner.calls import alone_and_in_two_processes, done, refused, run
from training.errors import Preempted, ReproducibilityError
from training.run.experiment import RunOptions
from training.run.folder import read_manifest
from training.run.preemption import StopAt

TINY = "--vectors none --max-epochs 2 --batch-size 24 --no-progress --threads 1 --ledger-every 1 --lr 0.01".split()
SMALL = [*TINY, "--hidden-size", "8", "--word-dim", "8", "--char-hidden", "6", "--char-dim", "4"]
SAME = ("metrics.jsonl", "ledger.jsonl", "predictions.conll", "test_report.txt")
TEXT = "Ada Marlow flew to Oslo. Bo left.\n\nThe Green Alliance met in Bremen.\nZyx won in Rome.\n"


@pytest.fixture(scope="module")
def place(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with data, text, a group, its bundle, and a run that learned from them."""
    folder = tmp_path_factory.mktemp("distillation")
    shutil.copytree(small_data, folder / "data")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done("train-ner", "--data", "data", "--seeds", "2", "--run", "group", *SMALL)
        done("export", "group", "bundle")
        done("train-ner", *asked("group"), "--run", "whole")
        yield folder


def asked(teacher: str, *more: str) -> list[str]:
    return ["--data", "data", "--teacher", teacher, "--unlabeled", "text.txt", "--unlabeled-share", "0.02", *SMALL, *more]


def same_run(first: Path, second: Path) -> None:
    assert read_manifest(second)["weights_sha256"] == read_manifest(first)["weights_sha256"]
    assert read_manifest(second)["teacher"] == read_manifest(first)["teacher"]
    for name in SAME:
        assert (second / name).read_bytes() == (first / name).read_bytes(), name


def test_what_the_run_says_of_its_teacher(place: Path) -> None:
    described = read_manifest(place / "whole")
    weights = [read_manifest(place / "group" / f"seed_{seed}")["weights_sha256"] for seed in (0, 1)]
    assert described["teacher"]["weights_sha256"] == weights
    assert {"unlabeled", "teacher ensemble.json", "teacher seed_1 indexer.json"} <= set(described["inputs"])
    assert described["inputs"]["unlabeled"]["path"] == "text.txt"
    assert not list((place / "whole").glob(f"{KEPT}*")), "it is over"
    assert "Zyx" in (place / "whole" / "indexer.json").read_text(), "a word of the text alone"


def test_verify_repeats_it_and_says_what_is_missing(place: Path) -> None:
    assert "verified: same bits" in done("verify", "whole")
    for name in ("group", "text.txt"):
        (place / name).rename(place / "away")
        line = refused("verify", "whole")
        assert "inputs are gone: " in line
        assert ("teacher config.json (group/config.json)" if name == "group" else "unlabeled (text.txt)") in line
        (place / "away").rename(place / name)


@pytest.mark.parametrize("lost", [False, True])
def test_stopped_it_goes_on_to_the_same_bits(place: Path, tmp_path: Path, lost: bool) -> None:
    """With what the teacher read at first; where that is gone, the teacher reads it again."""
    config = TaggerConfig.load(place / "whole" / "config.json")
    with pytest.raises(Preempted):
        train_tagger(config, RunOptions(path=str(tmp_path / "run"), callbacks=(StopAt(3),)))
    assert (tmp_path / "run" / KEPT).is_file()
    if lost:
        (tmp_path / "run" / KEPT).write_bytes(b"damaged")
    done("train-ner", "--resume", tmp_path / "run")
    same_run(place / "whole", tmp_path / "run")


def test_other_readings_than_at_first_are_refused(place: Path, tmp_path: Path) -> None:
    config = TaggerConfig.load(place / "whole" / "config.json")
    with pytest.raises(Preempted):
        train_tagger(config, RunOptions(path=str(tmp_path / "run"), callbacks=(StopAt(1),)))
    (tmp_path / "run" / KEPT).unlink()
    manifest = tmp_path / "run" / "manifest.json"
    digest = read_manifest(tmp_path / "run")["teacher"]["readings_sha256"]
    manifest.write_text(manifest.read_text().replace(digest, "0" * 64))
    with pytest.raises(ReproducibilityError, match="gives other readings than when the run began"):
        train_tagger(config, RunOptions(resume=str(tmp_path / "run")))


def test_a_stop_is_heard_while_the_teacher_reads(place: Path, tmp_path: Path) -> None:
    config = TaggerConfig.load(place / "whole" / "config.json")
    said: list[tuple[str, int, int]] = []

    def progress(what: str, done: int, total: int) -> None:
        said.append((what, done, total))
        raise Preempted("stopped")

    with pytest.raises(Preempted):
        train_tagger(config, RunOptions(path=str(tmp_path / "run"), progress=progress))
    assert said[0][0] == "the teacher reads"
    done("train-ner", "--resume", tmp_path / "run")
    same_run(place / "whole", tmp_path / "run")


def test_a_bundle_is_as_good_as_its_group(place: Path) -> None:
    done("train-ner", *asked("bundle"), "--run", "from-bundle")
    same_run(place / "whole", place / "from-bundle")
    assert "config.teacher: group and bundle" in run("diff", "whole", "from-bundle").output


def test_the_text_may_have_any_form_and_stand_in_several_files(place: Path) -> None:
    lines = TEXT.splitlines(keepends=True)
    (place / "1.txt").write_text("".join(lines[:2]))
    rows = "\n".join("The Green Alliance met in Bremen .".split())
    (place / "2.conll").write_text(f"-DOCSTART-\n\n{rows}\n")
    (place / "3.jsonl").write_text('{"text": "Zyx won in Rome."}\n')
    texts = [part for name in ("1.txt", "2.conll", "3.jsonl") for part in ("--unlabelled", name)]
    done("train-ner", *asked("group")[:4], *texts, "--unlabelled-share", "0.02", *SMALL, "--run", "forms")
    assert read_manifest(place / "forms")["weights_sha256"] == read_manifest(place / "whole")["weights_sha256"]


def test_without_text_and_with_its_own_tags_alone_it_is_the_usual_run(place: Path) -> None:
    """The same numbers but for rounding: what the teacher reads counts nothing."""
    given = ["--data", "data", *SMALL]
    done("train-ner", *given, "--teacher", "group/seed_1", "--teacher-share", "0", "--run", "none")
    losses = [
        next(line for line in (place / name / "metrics.jsonl").read_text().splitlines() if "val_loss" in line)
        for name in ("none", "group/seed_0")
    ]
    values = [float(line.split('"val_loss": ')[1].split(",")[0].rstrip("}")) for line in losses]
    assert values[0] == pytest.approx(values[1], rel=1e-3)
    done("train-ner", *given, "--teacher", "group/seed_1", "--teacher-share", "1", "--run", "all")
    assert read_manifest(place / "all")["weights_sha256"] != read_manifest(place / "none")["weights_sha256"]


def test_softmax_and_whole_sentences_without_documents(place: Path) -> None:
    given = ["--decoder", "softmax", "--no-mentions"]
    done("train-ner", *asked("group", *given), "--run", "softmax")
    assert "verified: same bits" in done("verify", "softmax")
    done("train-ner", *asked("softmax"), "--run", "from-softmax")
    assert "verified: same bits" in done("verify", "from-softmax")


def test_what_does_not_fit_is_one_line(place: Path) -> None:
    def line(*given: str) -> str:
        found = refused("train-ner", *given, "--run", "x", *SMALL)
        assert not (place / "x").exists()
        return found

    data = ["--data", "data"]
    assert "expected the folder of a finished run, a group or a bundle, got nothing" in line(*data, "--teacher", "nowhere")
    assert "got a file" in line(*data, "--teacher", "text.txt")
    assert "manifest.json" in line(*data, "--teacher", "data")
    assert "expected --teacher with it" in line(*data, "--unlabeled", "text.txt")
    assert "teacher_share: expected --teacher with it" in line(*data, "--teacher-share", "0.2")
    assert "unlabeled_share: expected --unlabeled with it" in line(*data, "--unlabeled-share", "2")
    assert "give one of the two" in line(*data, "--teacher", "group", "--start-from", "group/seed_0")
    assert "text.txt2" in line(*data, "--teacher", "group", "--unlabeled", "text.txt2")
    (place / "empty.txt").write_text("\n\n")
    assert "expected text to learn from, got no sentence" in line(*data, "--teacher", "group", "--unlabeled", "empty.txt")
    assert "expected one that was trained in scheme IOB2, got IOBES" in line(*data, "--teacher", "group", "--scheme", "IOB2")
    shutil.copytree(place / "data", place / "other", dirs_exist_ok=True)
    for path in (place / "other").iterdir():
        path.write_text(path.read_text().replace("-LOC", "-PLACE"))
    found = line("--data", "other", "--teacher", "group")
    assert "expected the types of the training data, got others from group: it lacks PLACE; it alone has LOC" in found


def test_a_text_without_a_sentence_is_named_if_it_is_read(place: Path) -> None:
    for name, text in (("none.txt", " \n"), ("long.txt", "Ada flew to Oslo.\nBo left.\n" * 300)):
        (place / name).write_text(text)
    texts = [word for name in ("none.txt", "long.txt", "none.txt") for word in ("--unlabeled", name)]
    given = ["--data", "data", "--teacher", "group/seed_0", *texts, "--unlabeled-share", "0.1", *SMALL]
    output = done("train-ner", *given, "--run", "named")
    assert output.count("warning: none.txt: expected text, got no word") == 1


def test_no_more_text_is_read_than_the_epochs_use(place: Path) -> None:
    (place / "long.txt").write_text("Ada flew to Oslo.\nBo left.\n" * 300)
    given = ["--data", "data", "--teacher", "group/seed_0", "--unlabeled", "long.txt", "--unlabeled-share", "0.1", *SMALL]
    output = done("train-ner", *given, "--run", "long")
    sentences = (place / "data" / "train.conll").read_text().strip().count("\n\n") + 1
    starts = (place / "data" / "train.conll").read_text().count("-DOCSTART-")
    most = -(-2 * (sentences - starts) // 10)
    assert f"unlabeled: {most} sentences" in output
    assert "the rest is not read" in output


def test_several_processes_give_the_same_bits(place: Path, tmp_path: Path) -> None:
    same_run(*alone_and_in_two_processes(place, tmp_path))


def test_ask_shows_the_sentences_of_its_batches(place: Path) -> None:
    steps = json.loads((place / "whole" / "ledger.jsonl").read_text().splitlines()[-1])["step"]
    output = done("ask", "whole", "--steps", f"1:{steps}", "--watch", "batch")
    assert "data/train.conll:" in output
    assert "text.txt:" in output
