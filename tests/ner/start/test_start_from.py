"""train-ner --start-from: from a run or a bundle to a finished run, with all that a run promises."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ner.config import KEPT, TaggerConfig
from ner.corpus.scheme import to_spans
from ner.tagging.tagger import TrainedTagger
from ner.train import train_tagger
from tests.ner.calls import alone_and_in_two_processes, done, refused, run
from training.errors import Preempted
from training.run.experiment import RunOptions
from training.run.folder import read_manifest
from training.run.preemption import StopAt
from word2vec.vectors.vectors import WordVectors

TINY = "--max-epochs 2 --batch-size 24 --no-progress --threads 1 --ledger-every 1 --lr 0.01".split()
FIRST = [*TINY, "--hidden-size", "8", "--word-dim", "8", "--char-hidden", "6", "--char-dim", "4", "--subwords", "30"]
SAME = ("metrics.jsonl", "ledger.jsonl", "predictions.conll", "test_report.txt", "forgetting.json")


def without(text: str, *types: str) -> str:
    """CoNLL with the entities of these types as O."""
    return re.sub(rf"\S+-({'|'.join(types)})$", "O", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def place(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with old data, without one type, and new data, with no other; a run on the old; and its bundle."""
    folder = tmp_path_factory.mktemp("start")
    for name, types in (("old", ["ORG"]), ("new", ["PER", "LOC", "MISC"])):
        (folder / name).mkdir()
        for path in small_data.iterdir():
            blocks = path.read_text(encoding="utf-8").split("\n\n")
            half = blocks[: len(blocks) // 2] if name == "old" else blocks[len(blocks) // 2 :]
            (folder / name / path.name).write_text(without("\n\n".join(half) + "\n", *types), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done("train-ner", "--data", "old", "--vectors", "none", "--run", "start", *FIRST)
        done("export", "start", "bundle")
        done("train-ner", "--data", "new", "--start-from", "start", "--rehearse", "auto", "0.3", "--run", "whole", *TINY)
        yield folder


def test_what_the_run_says_of_where_it_began(place: Path) -> None:
    described = read_manifest(place / "whole")
    began = read_manifest(place / "start")
    assert described["start"] == {"weights_sha256": began["weights_sha256"]}
    inputs = described["inputs"]
    assert inputs["start checkpoints/model.ckpt"]["path"] == "start/checkpoints/model.ckpt"
    assert {"start manifest.json", "start config.json", "start indexer.json", "old train", "old test"} <= set(inputs)
    assert inputs["old test"]["sha256"] == began["inputs"]["test"]["sha256"]
    settings = described["config"]
    assert all(settings[name] == began["config"][name] for name in KEPT)
    assert (settings["hidden_size"], settings["start_from"], settings["rehearse_share"]) == (8, "start", 0.3)
    assert set(TrainedTagger.load(place / "whole").indexer.types) == {"PER", "LOC", "MISC", "ORG"}


def test_data_of_another_form_give_the_same_weights(place: Path) -> None:
    """Old and new data as JSON lines and BRAT's folders: read, rehearsed, verified; and a file that changes is found."""
    for name in ("old", "new"):
        for split, form in (("train", ".jsonl"), ("valid", ".conll"), ("test", "")):
            target = f"{name}-spans/{split}{form}"
            (place / f"{name}-spans").mkdir(exist_ok=True)
            done("data", "convert", f"{name}/{split}.conll", target, *([] if form else ["--to", "brat"]))
    done("train-ner", "--data", "old-spans", "--vectors", "none", "--run", "start-spans", *FIRST)
    given = ["--data", "new-spans", "--start-from", "start-spans", "--rehearse", "auto", "0.3", *TINY]
    done("train-ner", *given, "--run", "whole-spans")
    for run_, other in (("start", "start-spans"), ("whole", "whole-spans")):
        one, two = read_manifest(place / run_), read_manifest(place / other)
        assert one["weights_sha256"] == two["weights_sha256"]
        assert one["metrics"] == two["metrics"]
        names = {Path(each["path"]).name for name, each in two["inputs"].items() if name.startswith("test")}
        assert names == {
            path.name for path in (place / ("old-spans" if run_ == "start" else "new-spans") / "test").iterdir()
        }
    assert "verified: same bits" in done("verify", "whole-spans")
    annotations = sorted((place / "old-spans" / "test").glob("*.ann"))[-1]
    before = annotations.read_bytes()
    annotations.write_bytes(before + b"#1\tAnnotatorNotes T1\tlook\n")
    line = refused("train-ner", *given, "--run", "changed")
    assert f"the data that start-spans was trained on are changed: {annotations.relative_to(place)}" in line
    annotations.write_bytes(before)


def test_what_is_forgotten_is_told_and_kept(place: Path) -> None:
    values = json.loads((place / "whole" / "forgetting.json").read_text())
    metrics = read_manifest(place / "whole")["metrics"]
    assert set(values) == {"old test", "new test"}
    for name, each in values.items():
        for when in ("before", "after"):
            assert each[when]["f1"] == metrics[f"{name.replace(' ', '_')}_f1_{when}"]
    assert values["old test"]["before"]["entities"] == counted(place / "start" / "predictions.conll")
    assert values["new test"]["after"]["entities"] == counted(place / "whole" / "predictions.conll")


def counted(path: Path) -> dict[str, list[int]]:
    """Of each type that the file has: entities that are right, found and there, counted one by one."""
    kinds: dict[str, list[int]] = {}
    for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
        rows = [line.split("\t") for line in block.splitlines()]
        gold, found = ({*to_spans([row[column] for row in rows])} for column in (1, 2))
        for column, spans in enumerate((gold & found, found, gold)):
            for span in spans:
                kinds.setdefault(span.type, [0, 0, 0])[column] += 1
    return {kind: counts for kind, counts in sorted(kinds.items()) if counts[2]}


def test_verify_repeats_it_and_says_what_is_missing(place: Path) -> None:
    assert "verified: same bits" in done("verify", "whole")
    for name in ("start", "old"):
        (place / name).rename(place / "away")
        assert "inputs are gone: " in (line := refused("verify", "whole"))
        assert f"({name}/" in line
        (place / "away").rename(place / name)


@pytest.mark.parametrize("step", [1, 3, 5])
def test_stopped_anywhere_it_goes_on_to_the_same_bits(place: Path, tmp_path: Path, step: int) -> None:
    config = TaggerConfig.load(place / "whole" / "config.json")
    with pytest.raises(Preempted):
        train_tagger(config, RunOptions(path=str(tmp_path / "run"), callbacks=(StopAt(step),)))
    done("train-ner", "--resume", tmp_path / "run")
    same_run(place / "whole", tmp_path / "run")


def same_run(first: Path, second: Path) -> None:
    assert read_manifest(second)["weights_sha256"] == read_manifest(first)["weights_sha256"]
    for name in SAME:
        assert (second / name).read_bytes() == (first / name).read_bytes(), name


def test_a_bundle_is_as_good_as_its_run(place: Path) -> None:
    done(
        "train-ner", "--config", "whole/config.json", "--start-from", "bundle", "--rehearse", "old", "0.3", "--run", "again"
    )
    same_run(place / "whole", place / "again")
    assert "verified: same bits" in done("verify", "again")


def test_it_can_be_gone_on_from_again(place: Path) -> None:
    done("train-ner", "--data", "old", "--start-from", "whole", "--run", "third", *TINY)
    assert TrainedTagger.load(place / "third").indexer.types == TrainedTagger.load(place / "whole").indexer.types
    output = run("diff", "whole", "third").output
    assert "config.start_from: start and whole" in output
    assert "start.weights_sha256" in output


@pytest.mark.parametrize("start", ["run", "bundle"])
def test_the_starts_vectors_serve_new_words(place: Path, start: str) -> None:
    words = ["zyx", "Oslo", "Kyiv"]
    if not (place / "with").exists():
        table = WordVectors(words, WordVectors.load(_made(place, words)).matrix)
        assert table.dim == 8
        done("train-ner", "--data", "old", "--vectors", "v.txt", "--run", "with", *FIRST)
        done("export", "with", "with-bundle")
    name = "with" if start == "run" else "with-bundle"
    done("train-ner", "--data", "new", "--start-from", name, "--run", f"on-{name}", *TINY)
    tagger = TrainedTagger.load(place / f"on-{name}")
    assert tagger.vectors is not None
    assert tagger.vectors.has("Kyiv")
    assert "verified: same bits" in done("verify", f"on-{name}")
    done("export", f"on-{name}", f"bundle-of-{name}")
    done("train-ner", "--data", "old", "--start-from", f"on-{name}", "--run", f"third-{name}", *TINY)
    third = TrainedTagger.load(place / f"third-{name}").vectors
    assert third is not None
    assert third.has("Kyiv")
    done("train-ner", "--data", "new", "--start-from", name, "--vectors", "none", "--run", f"none-{name}", *TINY)
    assert TrainedTagger.load(place / f"none-{name}").vectors is None


def _made(place: Path, words: list[str]) -> Path:
    lines = [f"{word} {' '.join(str((i + k) % 5 / 4) for k in range(8))}\n" for i, word in enumerate(words)]
    (place / "v.txt").write_text(f"{len(words)} 8\n" + "".join(lines))
    return place / "v.txt"


def test_each_conflict_is_one_line(place: Path) -> None:
    """Each setting that a start keeps, given another value on the command line."""
    config = TaggerConfig.load(place / "start" / "config.json").to_dict()
    for name in KEPT:
        item = TaggerConfig.__dataclass_fields__[name]
        flag, value = "--" + name.replace("_", "-"), config[name]
        if isinstance(value, bool):
            other = [flag.replace("--", "--no-") if value else flag]
        else:
            choices = item.metadata["choices"]
            other = [flag, next(each for each in choices if each != value) if choices else str(value + 2)]
        line = refused("train-ner", "--data", "new", "--start-from", "start", *other, "--run", "x")
        assert line.startswith(f"error: {name}: expected {value}, as the model in start"), line
        assert not (place / "x").exists()
    done("train-ner", "--data", "new", "--start-from", "start", "--hidden-size", "8", "--run", "same", *TINY[:-2])


def test_what_is_no_start_is_one_line(place: Path, tmp_path: Path) -> None:
    def line(start: object, *more: object) -> str:
        found = refused("train-ner", "--data", "new", "--start-from", start, "--run", "x", *more, *TINY)
        assert not (place / "x").exists()
        return found

    assert "expected the folder of a finished run or of a bundle, got nothing" in line("nowhere")
    assert "got a file" in line("old/train.conll")
    assert "manifest.json" in line("old")
    shutil.copytree(place / "start", tmp_path / "broken")
    manifest = tmp_path / "broken" / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"status": "finished"', '"status": "stopped"'))
    assert "expected a finished run, got one that is stopped" in line(tmp_path / "broken")
    manifest.write_text(text.replace('"kind": "ner"', '"kind": "w2v"'))
    assert "got a run of kind w2v" in line(tmp_path / "broken")
    manifest.write_text(text)
    (tmp_path / "broken" / "indexer.json").unlink()
    assert "indexer.json: it is gone" in line(tmp_path / "broken")
    shutil.copytree(place / "bundle", tmp_path / "newer")
    bundle = tmp_path / "newer" / "bundle.json"
    bundle.write_text(bundle.read_text().replace('"version": 3', '"version": 99'))
    assert "it needs a newer samebits" in line(tmp_path / "newer")
    (tmp_path / "group").mkdir()
    (tmp_path / "group" / "group.json").write_text("{}")
    assert "group.json: expected a group's list of seeds" in line(tmp_path / "group")
    (tmp_path / "bundled").mkdir()
    (tmp_path / "bundled/ensemble.json").write_text("{}")
    assert "ensemble.json: expected members" in line(tmp_path / "bundled")
    (tmp_path / "bundled/ensemble.json").write_text('{"members": {"seed_5": "", "seed_6": ""}}')
    assert f"got a group; give one of its runs, such as {tmp_path / 'bundled/seed_5'}" in line(tmp_path / "bundled")
    assert "the bundle bundle does not name its data" in line("bundle", "--rehearse", "auto", "0.5")
    assert "expected the share 0 with none" in line("start", "--rehearse", "none", "0.5")
    assert "without it there is no old data to rehearse" in refused("train-ner", "--rehearse", "old", "0.5")
    (place / "old" / "test.conll").rename(place / "t")
    assert "are gone: old/test.conll" in line("start")
    assert "leave them out with --rehearse none 0" in line("start")
    (place / "t").rename(place / "old" / "test.conll")


def test_several_processes_give_the_same_bits(place: Path, tmp_path: Path) -> None:
    same_run(*alone_and_in_two_processes(place, tmp_path))
