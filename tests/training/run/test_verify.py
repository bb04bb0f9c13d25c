"""verify: a run is run again from its beginning or from a checkpoint, and every kind of tampering is found and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import cli
from training import checkpoint
from training.files import sha256_file
from training.run import ledger_file, seal
from training.run.folder import read_jsonl, read_manifest

TAGGER = "--vectors none --max-epochs 2 --hidden-size 8 --word-dim 8 --batch-size 24 --no-progress --threads 1".split()
TAGGER += ["--ledger-every", "1"]
WORDS = "--dim 8 --epochs 2 --batch-words 512 --no-progress --threads 1".split()


def run(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli.main, [str(each) for each in arguments], input=stdin, catch_exceptions=False)


def said(result: Result, message: str, code: int) -> None:
    assert result.exit_code == code, result.output
    assert message in result.output, result.output
    assert "Traceback" not in result.output


@pytest.fixture(scope="module")
def original(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tagger's run of 10 steps that kept its checkpoints of every third one."""
    folder = tmp_path_factory.mktemp("verify")
    shutil.copytree(small_data, folder / "data")
    keep = [
        "--checkpoint-every",
        3,
        "--keep-checkpoints",
        "--val-check-interval",
        2,
        "--max-time",
        "2h",
        "--test-weights",
        "last",
    ]
    result = run("train-ner", "--data", folder / "data", "--run", folder / "run", *TAGGER, *keep)
    assert result.exit_code == 0, result.output
    return folder / "run"


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it to tamper with; the inputs are put back afterwards."""
    shutil.copytree(original, tmp_path / "run")
    train = original.parent / "data" / "train.conll"
    before = train.read_bytes()
    yield tmp_path / "run"
    train.write_bytes(before)


def kept(path: Path) -> list[Path]:
    """Its checkpoints, oldest first."""
    return sorted((path / "checkpoints").glob("resume-*.ckpt"))


def change_line(path: Path, number: int, **values: Any) -> None:
    """Put other values into line ``number`` (from 1) of a .jsonl file."""
    lines = path.read_text().splitlines()
    lines[number - 1] = json.dumps({**json.loads(lines[number - 1]), **values})
    path.write_text("\n".join(lines) + "\n")


def change_weight(path: Path) -> None:
    """One number of the output layer, and the digest beside the file made to fit."""
    content = checkpoint.load(path)
    name = next(name for name in content["weights"] if name.endswith("bias"))
    content["weights"][name].view(-1)[0] += 0.25
    checkpoint.save(path, {k: v for k, v in content.items() if k != "format"})


# -- what is whole is verified --------------------------------------------------------------------------------------


def test_a_whole_run_is_verified_from_its_beginning(original: Path) -> None:
    said(run("verify", original), "verified: same bits\n", 0)


@pytest.mark.parametrize(("step", "begin"), [(3, 3), (5, 3), (6, 6), (100, 9)])
def test_it_is_replayed_from_the_newest_checkpoint_before(original: Path, step: int, begin: int) -> None:
    result = run("verify", original, "--from", step)
    said(result, f"verified: same bits, steps {begin + 1} to the end", 0)
    assert f"replaying from the checkpoint at step {begin}" in result.output
    assert "differs" not in result.output


@pytest.mark.parametrize("arguments", [(), ("--from", 3)])
def test_it_may_be_left_early(original: Path, tmp_path: Path, arguments: tuple[Any, ...]) -> None:
    result = run("verify", original, *arguments, "--to-step", 7, "--to", tmp_path / "again")
    said(result, f"verified: same bits, steps {4 if arguments else 1} to 7", 0)
    assert "differs" not in result.output
    assert [line["step"] for line in read_jsonl(tmp_path / "again" / "ledger.jsonl") if "batch" in line][-1] == 7
    said(run("verify", original, "--from", 7, "--to-step", 7), "--to-step: expected more than --from 7", 2)
    said(run("verify", original, "--to", tmp_path / "again"), "exists already", 2)


def test_a_checkpoint_that_is_damaged_is_named_and_the_one_before_it_used(copy: Path) -> None:
    newest = kept(copy)[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    result = run("verify", copy, "--from", 9)
    said(result, "replaying from the checkpoint at step 6", 1)
    assert f"{newest}: damaged: " in result.output


def test_without_a_checkpoint_to_begin_with_it_says_which_there_are(copy: Path) -> None:
    said(run("verify", copy, "--from", 2), "expected a good checkpoint at or before step 2, got those at 3, 6, 9", 1)
    for path in kept(copy):
        checkpoint.remove(path)
    said(run("verify", copy, "--from", 9), "it kept no checkpoints (train with --keep-checkpoints", 1)


def test_a_finished_run_keeps_no_checkpoints_to_resume_from_unless_asked_to(small_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    assert run("train-ner", "--data", small_data, "--run", path, *TAGGER, "--checkpoint-every", 2).exit_code == 0
    assert not kept(path)
    assert (path / "checkpoints" / "model.ckpt").is_file()


def test_a_run_that_was_stopped_and_resumed_is_verified(small_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    start = run("train-ner", "--data", small_data, "--run", path, *TAGGER, "--max-time", "0s", "--keep-checkpoints")
    assert start.exit_code == 75
    said(run("verify", path), "got one that is stopped; let it finish; resume with: python cli.py train-ner --resume", 2)
    assert run("train-ner", "--resume", path, "--max-time", "1h").exit_code == 0
    said(run("verify", path), "verified: same bits", 0)
    said(run("verify", path, "--from", 1), "verified: same bits, steps 2 to the end", 0)


def test_word_vectors_are_verified_unless_their_text_came_from_stdin(small_text: Path, tmp_path: Path) -> None:
    path, piped = tmp_path / "run", tmp_path / "piped"
    made = run("train-w2v", "--corpus", small_text, "--run", path, *WORDS, "--checkpoint-every", 20, "--keep-checkpoints")
    assert made.exit_code == 0, made.output
    said(run("verify", path), "verified: same bits\n", 0)
    said(run("verify", path, "--from", 30), "verified: same bits, steps 21 to the end", 0)
    change_weight_of_words(kept(path)[1])
    result = run("verify", path, "--from", 40)
    said(result, "first difference at epoch", 1)
    assert "gradients that differ: " in result.output
    assert "vectors.bin, vectors.txt" in result.output
    text = small_text.read_text()
    assert run("train-w2v", "--corpus", "-", "--run", piped, *WORDS, "--epochs", 1, stdin=text).exit_code == 0
    said(run("verify", piped), "its text came from stdin and was not kept, so that it cannot be run again", 2)


def change_weight_of_words(path: Path) -> None:
    content = checkpoint.load(path)
    content["weights"]["model.output"].view(-1)[0] += 0.25
    checkpoint.save(path, {k: v for k, v in content.items() if k != "format"})


# -- what was tampered with is found --------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("--from", 6)])
def test_a_changed_line_of_the_ledger_is_found(copy: Path, arguments: tuple[Any, ...]) -> None:
    file = copy / "ledger.jsonl"
    number, line = next((i, x) for i, x in enumerate(read_jsonl(file), 1) if x["step"] == 8 and "batch" in x)
    name = next(iter(line["gradients"]))
    change_line(file, number, gradients={**line["gradients"], name: "0" * 16})
    result = run("verify", copy, *arguments)
    said(result, f"first difference at epoch {line['epoch']}, batch {line['batch']}, step 8", 1)
    assert f"gradients that differ: {name}\n" in result.output
    assert f"ledger.jsonl:{number}: the ledger's chain is broken here" in result.output


def test_a_ledger_that_was_written_anew_does_not_fit_the_checkpoint(copy: Path) -> None:
    """With a line changed before the checkpoint, and every chain value after it made to fit."""
    file, chain, lines = copy / "ledger.jsonl", ledger_file.START, []
    for number, line in enumerate(read_jsonl(file)):
        line |= {"ids": line["ids"][::-1]} if number == 0 else {}
        del line["chain"]
        chain = ledger_file.chained(chain, line)
        lines.append(json.dumps({**line, "chain": chain}) + "\n")
    file.write_text("".join(lines))
    assert ledger_file.first_break(file) is None
    result = run("verify", copy, "--from", 6)
    said(result, "expected the lines that the checkpoint was written after", 1)
    assert "same bits" not in result.output
    said(run("verify", copy), "first difference at epoch 0, batch 0, step 1", 1)


def test_a_changed_weight_of_a_checkpoint_is_found(copy: Path) -> None:
    change_weight(kept(copy)[1])
    result = run("verify", copy, "--from", 6)
    said(result, "first difference at epoch 1, batch 1, step 7", 1)
    assert "gradients that differ: " in result.output
    assert "weights that differ: " in result.output
    assert "weights: " in result.output


def test_a_changed_weight_of_the_model_is_found(copy: Path) -> None:
    change_weight(copy / "checkpoints" / "model.ckpt")
    said(run("verify", copy), "model.ckpt: it was changed after the run had finished", 1)
    (copy / "checkpoints" / "model.ckpt").write_bytes(b"")
    said(run("verify", copy), "model.ckpt: the checkpoint is empty", 1)


def test_a_changed_metric_or_file_is_found(copy: Path) -> None:
    step = read_jsonl(copy / "metrics.jsonl")[0]["step"]
    change_line(copy / "metrics.jsonl", 1, epoch=7)
    (copy / "predictions.conll").unlink()
    result = run("verify", copy)
    said(result, f"metrics first differ at step {step}: epoch 7 and 0", 1)
    assert "metrics.jsonl: it was changed after the run had finished" in result.output
    assert "predictions.conll: it is gone" in result.output
    (copy / "metrics.jsonl").write_text("{\n")
    said(run("verify", copy), "metrics.jsonl:1: expected a JSON object", 2)


def test_a_changed_setting_is_found(copy: Path) -> None:
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**settings, "lr": 0.5}))
    said(run("verify", copy), "config.json: lr is 0.5, and was 0.008 in the run", 1)
    manifest = read_manifest(copy)
    manifest["config"]["lr"] = 0.5
    (copy / "manifest.json").write_text(json.dumps(manifest))
    result = run("verify", copy)
    # The first step's gradients come before the learning rate has done anything.
    said(result, "first difference at epoch 0, batch 1, step 2", 1)
    assert "gradients that differ: " in result.output


def test_a_run_of_a_version_with_fewer_settings_is_verified_without_a_word_on_them(copy: Path) -> None:
    described = read_manifest(copy)
    for name in ("misaligned", "teacher", "teacher_share", "rehearse", "max_restarts"):
        del described["config"][name]
    (copy / "config.json").write_text(json.dumps(described["config"]))
    seal.put_on(copy, described, ())
    (copy / "manifest.json").write_text(json.dumps(described, indent=2) + "\n")
    result = run("verify", copy)
    said(result, "verified: same bits", 0)
    assert "differs: config" not in result.output


def test_what_a_version_did_not_state_is_no_difference_and_what_it_did_state_is(copy: Path) -> None:
    described = read_manifest(copy)
    kept = {name: value for name, value in described.items() if name not in ("conformal", "calibration", "splits", "errors")}
    kept["metrics"] = {name: value for name, value in described["metrics"].items() if name != "test_loss"}
    for source, code in ((described["code"]["source_sha256"], 1), ("0" * 64, 0)):
        kept["code"] = {**described["code"], "source_sha256": source}
        seal.put_on(copy, kept, ())
        (copy / "manifest.json").write_text(json.dumps(kept, indent=2) + "\n")
        result = run("verify", copy)
        said(result, "verified: same bits" if code == 0 else "metrics.test_loss: none, and ", code)
        assert ("conformal: none" in result.output, "splits: none" in result.output) == (bool(code), bool(code))
    kept["metrics"]["test_f1"] = 0.125
    seal.put_on(copy, kept, ())
    (copy / "manifest.json").write_text(json.dumps(kept, indent=2) + "\n")
    said(run("verify", copy), "metrics.test_f1: 0.125, and ", 1)


def test_a_page_that_other_code_laid_out_is_told_and_no_difference(copy: Path) -> None:
    described = read_manifest(copy)
    (copy / "test_report.html").write_text("an earlier layout")
    for name, source, code in (
        ("", "0" * 64, 0),
        ("", described["code"]["source_sha256"], 1),
        ("predictions.conll", "0" * 64, 1),
    ):
        if name:
            (copy / name).write_text("others")
        kept = {**described, "code": {**described["code"], "source_sha256": source}}
        seal.put_on(copy, kept, ())
        (copy / "manifest.json").write_text(json.dumps(kept, indent=2) + "\n")
        result = run("verify", copy)
        said(result, "files that differ: " + (name or "test_report.html") if code else "verified: same bits", code)
        assert ("differs: test_report.html: a page of the results" in result.output) == (source == "0" * 64)


def test_a_changed_input_is_refused_or_named_as_the_cause(original: Path, copy: Path) -> None:
    train = original.parent / "data" / "train.conll"
    text = train.read_text(encoding="utf-8")
    first = next(line for line in text.splitlines() if line.endswith(" O") and "-DOCSTART-" not in line)
    train.write_text(text.replace(first, first[:-1] + "B-LOC", 1), encoding="utf-8")
    refused = run("verify", copy)
    said(refused, f"inputs have changed: train ({train}); restore them", 2)
    assert "epoch" not in refused.output
    result = run("verify", copy, "--allow-changes")
    said(result, "first difference at epoch 0, batch ", 1)
    assert "differs: inputs.train.sha256: " in result.output
    train.unlink()
    said(run("verify", copy), f"inputs are gone: train ({train})", 2)


def test_a_stop_of_the_repetition_is_no_result(original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.run.preemption import Keeper

    def stop(self: Keeper, trainer: object) -> None:
        from training.errors import Preempted

        raise Preempted("SIGTERM received")

    monkeypatch.setattr(Keeper, "__call__", stop)
    result = run("verify", original)
    said(result, "the repetition is not complete, run verify again", 75)
    assert "same bits" not in result.output


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    said(run("verify", tmp_path), "expected a run folder", 2)


def test_digests_in_the_manifest_are_of_the_files(original: Path) -> None:
    outputs = read_manifest(original)["outputs"]
    assert set(outputs) >= {"predictions.conll", "test_report.txt", "metrics.jsonl", "ledger.jsonl"}
    assert all(sha256_file(original / name) == digest for name, digest in outputs.items())


@pytest.mark.parametrize("name", ["inputs", "code", "environment"])
def test_a_manifest_that_lacks_what_the_run_began_with_is_refused_in_one_line(
    original: Path, tmp_path: Path, name: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    described = json.loads((copy / "manifest.json").read_text())
    del described[name]
    (copy / "manifest.json").write_text(json.dumps(described))
    said(run("verify", copy), f"expected what the run began with, got no entry {name}", 2)
