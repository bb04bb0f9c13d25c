"""The run folder: names, metrics without times, TensorBoard, the manifest's last word, and cutting back."""

from __future__ import annotations

import json
import math
import random
import struct
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator as PageAccumulator
from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c  # type: ignore[import-untyped]

import training.files
from training.config import TrainConfig
from training.errors import ConfigError, DataError
from training.files import next_version
from training.run.folder import Run, newest_finished, read_jsonl, read_manifest
from training.run.groups import open_group
from training.run.tensorboard import Board, _read_events


def scalars(path: Path, tag: str) -> list[tuple[int, float]]:
    """TensorBoard's view of a tag."""
    events = EventAccumulator(str(path))
    events.Reload()
    return [(e.step, e.value) for e in events.Scalars(tag)]


def test_versions_count_up_and_the_newest_finished_is_found(tmp_path: Path) -> None:
    made = [Run.create("ner", TrainConfig(), root=str(tmp_path)) for _ in range(3)]
    assert [r.path.name for r in made] == ["version_0", "version_1", "version_2"]
    assert newest_finished(tmp_path / "ner") is None
    made[1].finish("0" * 64, {"f1": 0.5})
    made[0].finish("0" * 64, {"f1": 0.5})
    assert newest_finished(tmp_path / "ner") == made[1].path
    (tmp_path / "ner" / "version_10").mkdir()
    assert next_version(tmp_path / "ner").name == "version_11"
    assert newest_finished(tmp_path / "nothing") is None


@pytest.mark.parametrize("kind", ["run", "group"])
def test_a_number_that_another_process_takes_meanwhile_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def made() -> Path:
        if kind == "group":
            return open_group("ner", TrainConfig(), 2, "", str(tmp_path))
        return Run.create("ner", TrainConfig(), root=str(tmp_path)).path

    first, looked = made(), training.files.next_version
    late = iter([first])  # as it is told before the other process made it
    monkeypatch.setattr(training.files, "next_version", lambda *arguments: next(late, None) or looked(*arguments))
    assert made() == looked(tmp_path / "ner", first.name.split("_")[0]).with_name(first.name.replace("_0", "_1"))


def test_an_existing_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        Run.create("ner", TrainConfig(), path=str(tmp_path / "mine"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="got the file"):
        Run.create("ner", TrainConfig(), path=str(tmp_path / "file" / "run"))


def test_metrics_hold_no_times_and_tensorboard_shows_both(tmp_path: Path) -> None:
    run = Run.create("ner", TrainConfig(seed=7), root=str(tmp_path))
    run.log_metrics({"loss": 0.1, "nan": float("nan")}, 3)
    run.log_timings({"words_per_second": 5.0}, 3)
    run.board.text("report", "fine", 3)
    run.board.embedding("words", torch.eye(3), ["a", "b\tc", "\x85"], 3)
    run.board.hyperparameters(run.manifest["config"], {"f1": 0.5}, 3)
    run.finish("ab" * 32, {"f1": 0.5})
    assert read_jsonl(run.path / "metrics.jsonl") == [{"step": 3, "loss": 0.1, "nan": "nan"}]
    assert read_jsonl(run.path / "timings.jsonl")[0]["words_per_second"] == 5.0
    ((step, loss),) = scalars(run.path, "loss")
    assert step == 3
    assert loss == pytest.approx(0.1)
    assert scalars(run.path, "time/words_per_second") == [(3, 5.0)]
    assert scalars(run.path, "hp/f1") == [(3, 0.5)]
    assert not [p for p in run.path.iterdir() if p.is_dir() and list(p.glob("events*"))], "hparams must not make a sub-run"
    manifest = read_manifest(run.path)
    assert (manifest["status"], manifest["weights_sha256"], manifest["config"]["seed"]) == ("finished", "ab" * 32, 7)
    assert TrainConfig.load(run.path / "config.json").seed == 7


def test_cut_back_loses_and_doubles_nothing(tmp_path: Path) -> None:
    run = Run.create("ner", TrainConfig(), root=str(tmp_path))
    for step in range(5):
        run.log_metrics({"loss": float(step)}, step)
    kept = run.position()
    whole = (run.path / "metrics.jsonl").read_bytes()
    for step in range(5, 9):
        run.log_metrics({"loss": 100.0 + step}, step)
    run.close()
    again = Run.reopen(run.path)
    again.cut_back(kept, next_step=4)
    assert (run.path / "metrics.jsonl").read_bytes() == whole
    for step in range(5, 8):
        again.log_metrics({"loss": float(step)}, step)
    again.close()
    assert scalars(run.path, "loss") == [(step, float(step)) for step in range(8)]
    with pytest.raises(DataError, match="it was changed"):
        again.cut_back({"metrics.jsonl": 10**6}, 0)


def shown(path: Path, tag: str) -> list[int]:
    """The steps of a tag that TensorBoard's own pages show (they read otherwise than EventAccumulator)."""
    events = PageAccumulator(str(path))
    events.Reload()
    return [event.step for event in events.Tensors(tag)]


def test_cut_back_keeps_and_doubles_no_time_and_no_text(tmp_path: Path) -> None:
    run = Run.create("ner", TrainConfig(), root=str(tmp_path))
    for step in range(4):
        run.log_timings({"speed": 1.0}, step)
        run.board.text("near", "words", step)
    kept = run.position()
    run.board.text("near", "others", 4)
    run.log_metrics({"lost": 1.0}, 3)
    run.close()
    for _ in range(3):  # a resumed run may be killed before its next checkpoint, and resumed from the same one
        again = Run.reopen(run.path)
        again.cut_back(kept, next_step=2)
        again.board.text("near", "words", 4)
        again.close()
        assert shown(run.path, "time/speed") == [0, 1, 2, 3]
        assert shown(run.path, "near/text_summary") == [0, 1, 2, 3, 4]
        with pytest.raises(KeyError):
            shown(run.path, "lost")
    again.cut_back({}, 0)
    assert not list(run.path.glob("events*"))


def test_a_clock_that_was_put_back_loses_and_doubles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create("ner", TrainConfig(), root=str(tmp_path))
    for step in range(4):
        run.log_metrics({"loss": 1.0}, step)
    kept = run.position()
    run.log_metrics({"loss": 2.0}, 4)
    run.close()
    now = time.time()
    for step in (4, 5):  # each time an hour earlier
        now -= 3600
        monkeypatch.setattr(time, "time", lambda: now)  # noqa: B023
        again = Run.reopen(run.path)
        again.cut_back(kept, next_step=step)
        again.log_metrics({"loss": 1.0}, step)
        kept = again.position()
        again.log_metrics({"loss": 2.0}, step + 1)
        again.close()
        assert shown(run.path, "loss") == list(range(step + 2))
    assert [line["step"] for line in read_jsonl(run.path / "metrics.jsonl")] == list(range(7))


def test_a_run_folder_is_there_with_its_manifest_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.replace", refuse)
        with pytest.raises(ConfigError, match=r"cannot be made .No space left on device"):
            Run.create("ner", TrainConfig(), root=str(tmp_path))
    assert list((tmp_path / "ner").iterdir()) == []
    assert Run.create("ner", TrainConfig(), root=str(tmp_path), facts={"inputs": {"x": 1}}).manifest["inputs"] == {"x": 1}


def test_a_line_that_a_kill_cut_is_left_out_and_a_bad_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    assert read_jsonl(path) == [{"step": 1}]
    path.write_text('{"step": 1}\nnonsense\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl:2: expected a JSON object, got 'nonsense'"):
        read_jsonl(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected a run folder"),
        ("{", r"manifest\.json:1: expected the manifest of a run as JSON, got a damaged file"),
        ('{"a": 1}', "entry 'status' is missing"),
    ],
)
def test_what_is_no_run_folder_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    folder = tmp_path / "run"
    if content is not None:
        folder.mkdir()
        (folder / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=message):
        read_manifest(folder)


@pytest.mark.parametrize(("entry", "named"), [
    *(({"metrics": {"f1": value}}, "metrics: f1") for value in (math.nan, math.inf, 10**400, "1", None)),
    *(({"changes": [change]}, "changes") for change in (
        1, {}, {"step": 1}, {"changed": ["lr"]}, {"step": "1", "changed": []}, {"step": 1, "changed": 2},
        {"step": 1, "changed": [2]},
    )),
])  # fmt: skip
def test_what_no_manifest_has_is_named(tmp_path: Path, entry: dict[str, Any], named: str) -> None:
    described = {"kind": "ner", "status": "finished", "config": {}, "metrics": {"f1": 1}, "changes": []}
    (tmp_path / "manifest.json").write_text(json.dumps(described))
    assert read_manifest(tmp_path) == described
    (tmp_path / "manifest.json").write_text(json.dumps({**described, **entry}))
    with pytest.raises(
        DataError, match=f"expected the manifest of a run, got JSON whose entry '{named}' is missing or of another kind"
    ):
        read_manifest(tmp_path)


def _record(data: bytes, length: int | None = None, crc: int = 0) -> bytes:
    """As TFRecord has it, its checksums right but for ``crc``, its length as given."""
    head = struct.pack("<Q", len(data) if length is None else length)
    return head + struct.pack("<I", masked_crc32c(head)) + data + struct.pack("<I", masked_crc32c(data) ^ crc)


def _events() -> Iterator[tuple[str, bytes, int]]:
    """Files of events, made wrong: a name, the bytes, how many events of two are good."""
    good = [Event(step=step, summary=Summary(value=[Summary.Value(tag="a", simple_value=1.0)])) for step in (1, 2)]
    first, second = (_record(each.SerializeToString()) for each in good)
    yield "whole", first + second, 2
    for cut in range(len(second)):
        yield f"cut at {cut}", first + second[:cut], 1
    for bit in range(0, 8 * len(second), 5):
        yield f"bit {bit}", first + bytes(b ^ (1 << bit % 8) if i == bit // 8 else b for i, b in enumerate(second)), 1
    for length in (1, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1):
        yield f"length {length}", first + _record(second[12:-4], length), 1
    for seed in range(50):
        data = random.Random(seed).randbytes(seed)
        yield f"bytes {seed}", data, 0
        if seed > 3:
            yield f"no event {seed}", first + _record(b"\xff" + data), 1
    yield "zeros", bytes(10_000), 0
    yield "wrong checksum", first + _record(second[12:-4], crc=1), 1
    yield "empty records", first + 1000 * _record(b"") + second, 2


def test_events_made_wrong_are_read_up_to_where_they_are(tmp_path: Path) -> None:
    """Nothing larger than the file is asked for, whatever length a record names."""
    file = tmp_path / "events.out.tfevents.1.x.2.0"
    cases = list(_events())
    tracemalloc.start()
    for name, data, good in cases:
        file.write_bytes(data)
        with open(file, "rb") as stream:
            found = [event.step for event in _read_events(stream) if event.HasField("summary")]
        assert found == [1, 2][:good], name
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()
    assert len(cases) > 150


@pytest.mark.parametrize("second", ["1", "x", "9" * 10, "9" * 60, "9" * 200, "", "-1", "\u0663"])
def test_event_files_of_any_name_can_be_followed_by_others(tmp_path: Path, second: str) -> None:
    (tmp_path / f"events.out.tfevents.{second}.x").write_bytes(b"no event")
    board = Board(tmp_path)
    board.go_back(0)
    board.scalar("a", 1.0, 1)
    board.close()
    assert len(list(tmp_path.glob("events.*"))) == 2
