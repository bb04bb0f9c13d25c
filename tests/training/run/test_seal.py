"""The seal: every field of every file of a finished run changed in turn is noticed, or a table says why it need not be."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import cli
import training.commands.repeat
from ner.config import TaggerConfig
from ner.tagging.bundle import MANIFEST as BUNDLE
from ner.tagging.bundle import _digest, _json, read_bundle
from tests.conftest import head
from training import checkpoint
from training.errors import DataError, SamebitsError
from training.files import sha256_file
from training.run import groups, ledger_file, replay, seal
from training.run.compare import compare
from training.run.folder import read_jsonl, read_manifest
from training.run.groups import group_faults
from training.run.inputs import Inputs
from training.run.manifest import as_text, wrong_entry
from training.run.replay import REPEATED
from training.run.script import Repetition

TAGGER = (
    "--vectors none --max-epochs 2 --hidden-size 4 --word-dim 4 --char-dim 4 --char-hidden 4 --features-dim 0 --topic-dim 0 "
    "--batch-size 8 --no-progress --threads 1 --device cpu --ledger-every 1 --deterministic"
).split()
WORDS = "--dim 4 --epochs 1 --batch-words 512 --min-count 1 --no-progress --threads 1 --device cpu".split()

# What a repetition cannot contradict where somebody made the seal anew, by names of the manifest's values, with the reason.
NOT_REPEATED = {
    "argv*": "how the command was typed", "folder": "where it was typed", "seconds": "times do not repeat",
    "unsealed*": "the names of files with times in them", "format": "looked at with the seal",
    "begun": "the state that checkpoints belong to, of use to --resume alone", "changes*": "what came between",
    "code.*": "of other code it rightly differs; verify names the difference",
    "environment.*": "of another machine it rightly differs; verify names the difference",
    "config.*": "the repetition is run with them: what matters comes out in its results",
    "inputs.*.path": "the file may have been moved",
}  # fmt: skip
# Files whose bytes a repetition cannot contradict where somebody made digests and seal anew.
FILES_NOT_REPEATED = {
    "config.json": "its values are compared with the manifest's",
    "checkpoints/resume-*.ckpt": "a repetition writes none; verify --from goes on from one",
}
# Not sealed at all.
NOT_SEALED = {
    "timings.jsonl": "times do not repeat, and no command reads them", "events.*": "TensorBoard's, with times in them",
    ".*": "the system's, such as the lock",  # of the two others that they are no links, and that no more come
}  # fmt: skip


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(each) for each in arguments], catch_exceptions=False)


def done(*arguments: object) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def made(small_data: Path, small_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a tagger's run and one of word vectors, each with its repetition, a group and a bundle."""
    root = tmp_path_factory.mktemp("sealed")
    (root / "data").mkdir()
    for name, count in (("train", 24), ("valid", 8), ("test", 8)):
        (root / "data" / f"{name}.conll").write_text(head(small_data / f"{name}.conll", count), encoding="utf-8")
    (root / "text.txt").write_text("\n".join(small_text.read_text().splitlines()[:60]) + "\n")
    (root / "pairs.txt").write_text("the of 3\nin a 2\nto and 1\n")
    tagger = ["--data", root / "data", *TAGGER]
    done("train-ner", *tagger, "--run", root / "ner", "--checkpoint-every", 2, "--keep-checkpoints")
    done("train-w2v", "--corpus", root / "text.txt", "--evaluate", root / "pairs.txt", *WORDS, "--run", root / "w2v")
    for kind in ("ner", "w2v"):
        result = done("verify", root / kind, "--to", root / f"{kind}-again")
        assert result.output.endswith(f"seal: SHA-256 {read_manifest(root / kind)['seal']}\nverified: same bits\n")
    (root / "group").mkdir()
    shutil.copytree(root / "ner", root / "group" / "seed_0")
    shutil.copy(root / "ner" / "config.json", root / "group")
    (root / "group" / "group.json").write_text(json.dumps({"kind": "group", "seeds": [0]}) + "\n")
    groups.run_group(root / "group", TaggerConfig, lambda config, path, started: pytest.fail("its run has finished"))
    done("export", root / "ner", root / "bundle")
    return root


def copy(made: Path, name: str, target: Path) -> Path:
    return Path(shutil.copytree(made / name, target / name))


def leaves(value: Any, name: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of each value that holds no others; an empty list or object is one."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not inner or not value:
        yield name
    for key, each in inner:
        yield from leaves(each, (*name, key))


def other(value: Any) -> Any:
    """Another value, of the same kind where there is one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 0.25 if isinstance(value, float) else value + 1
    return value[:-1] + ("0" if value[-1:] != "0" else "1") if isinstance(value, str) else [value, "more"]


def changes(values: Any) -> Iterator[tuple[str, Any]]:
    """The name of each leaf, with a copy of ``values`` in which it is another, or is gone, or has a neighbor."""
    for place in leaves(values):
        for how in ("other", "gone", "more"):
            changed = json.loads(json.dumps(values))
            at = changed
            for key in place[:-1]:
                at = at[key]
            if how == "other":
                at[place[-1]] = other(at[place[-1]])
            elif how == "gone":
                del at[place[-1]]
            elif isinstance(at, dict):
                at[f"{place[-1]}~"] = at[place[-1]]
            else:
                at.append(at[place[-1]])
            yield ".".join(map(str, place)) + ("" if how == "other" else f"{'~' if how == 'more' else ''} ({how})"), changed


def listed(name: str, table: dict[str, str]) -> bool:
    return any(fnmatch(name.partition(" ")[0].rstrip("~"), pattern) for pattern in table)


def sealed_anew(path: Path, described: dict[str, Any]) -> None:
    """Put other values into the manifest, with the seal that they have."""
    (path / "manifest.json").write_text(as_text({**described, "seal": seal.of(described)}))


def noticed(path: Path, again: Path) -> bool:
    """Whether verify, but for running it again, ends with another code than 0."""
    try:
        described = replay.repeatable(path, cli.KINDS)
        return bool(seal.faults(path, described) or compare(path, again, repeated=True, without=REPEATED).results)
    except SamebitsError:
        return True


@pytest.fixture
def repeats(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """verify takes the repetition that was made once."""

    def repeat(described: dict[str, Any], folder: str, asked: Repetition) -> bool:
        shutil.copytree(made / f"{described['kind']}-again", asked.folder)
        return True

    monkeypatch.setattr(training.commands.repeat, "repeat", repeat)


def link(path: Path) -> None:
    """Put a link to the same bytes in a file's place."""
    path.rename(path.with_name(".elsewhere"))
    path.symlink_to(path.with_name(".elsewhere"))


def file_changes(folder: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Each file with each of the things that can be done to its bytes."""

    def flip(at: int) -> Callable[[Path], None]:
        def act(path: Path) -> None:
            data = bytearray(path.read_bytes())
            data[at * (len(data) - 1) // 2] ^= 1
            path.write_bytes(data)

        return act

    acts = [flip(0), flip(1), flip(2), lambda path: path.write_bytes(b""), Path.unlink, link,
            lambda path: path.write_bytes(path.read_bytes() + b"\n")]  # fmt: skip
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size):
        for act in acts:
            yield path.relative_to(folder).as_posix(), act


# -- what is changed, and the seal not made anew -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ner", "w2v"])
def test_each_value_of_the_manifest_is_bound(made: Path, tmp_path: Path, kind: str) -> None:
    path = copy(made, kind, tmp_path)
    original = read_manifest(path)
    found = [(name, changed) for name, changed in changes(original) if not name.startswith("seal")]
    assert len(found) > 300
    assert [name for name, changed in found if seal.of(changed) == original["seal"]] == []
    for name, changed in found[::25]:
        (path / "manifest.json").write_text(as_text(changed))
        try:
            assert seal.faults(path, read_manifest(path), ()), name
        except DataError:
            continue  # it is refused as no manifest
    for changed in [changed for name, changed in found if name.startswith(("format", "unsealed"))]:
        (path / "manifest.json").write_text(as_text(changed))
        assert _noticed(path)
    (path / "manifest.json").write_text(as_text({**original, "seal": "0" * 64}))
    assert len(seal.faults(path, read_manifest(path))) == 1
    for format in (None, 1, 3):  # made anew with another, or without
        others = {name: value for name, value in original.items() if name != "format"}
        sealed_anew(path, {**others, **({} if format is None else {"format": format})})
        assert seal.faults(path, read_manifest(path))[0].startswith(f"{path / 'manifest.json'}: expected format 2, got")


@pytest.mark.parametrize("kind", ["ner", "w2v"])
def test_each_file_is_bound(made: Path, tmp_path: Path, kind: str) -> None:
    path, cases, seen = copy(made, kind, tmp_path), 0, set[str]()
    described = read_manifest(path)
    for name, act in list(file_changes(path)):
        before, sealed = (path / name).read_bytes(), not listed(Path(name).name, NOT_SEALED)
        act(path / name)
        noticed = sealed or (act is link and not Path(name).name.startswith("."))
        names = [name] if sealed and name in seen and name != "manifest.json" else None  # all of it once for each file
        seen.add(name)
        assert _noticed(path, names) == noticed, name
        (path / name).unlink(missing_ok=True)
        (path / name).write_bytes(before)
        cases += 1
    assert seal.faults(path, described) == []
    assert cases > 80


def _noticed(path: Path, names: list[str] | None = None) -> bool:
    try:
        return bool(seal.faults(path, read_manifest(path), names))
    except SamebitsError:
        return True


def to_file(path: Path) -> None:
    path.symlink_to(path.parent / "manifest.json")


def to_folder(path: Path) -> None:
    path.symlink_to(path.parent)


def of_socket(path: Path) -> None:
    at = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{at}/{path.name}")  # a socket's own name is short
    os.close(at)


ADDED: list[Callable[[Path], object]] = [
    lambda path: path.write_text("x"), Path.touch, to_file, to_folder, lambda path: path.symlink_to("nowhere"), os.mkfifo,
    of_socket,
]  # fmt: skip
NAMES = (
    "more.txt", "checkpoints/resume-000099.ckpt", "vectors.rule.txt", "events.out.tfevents.1.x",
    "deep/events.out.tfevents.1", "deep/er/events.out.tfevents.1.x", "checkpoints/timings.jsonl",
    "events.out.tfevents.9/words", "timings.jsonl~",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["ner", "w2v"])
def test_what_came_after_the_run_had_finished_is_told(made: Path, tmp_path: Path, kind: str) -> None:
    """Files, links, pipes and sockets, under names of a run's own files and others, in folders of every depth."""
    path = copy(made, kind, tmp_path)
    described = read_manifest(path)
    for name in NAMES:
        for put in ADDED:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            put(path / name)
            assert [line.startswith(f"{path / name}: ") for line in seal.faults(path, described)] == [True], (name, put)
            (path / name).unlink()
    (path / "link").symlink_to(path / "deep")
    assert len(seal.faults(path, described)) == 1
    (path / "link").unlink()
    (path / ".hidden").touch()
    assert seal.faults(path, described) == []


def test_event_files_that_a_run_wrote_below_its_folder_are_sealed_and_not_repeated(made: Path, tmp_path: Path) -> None:
    path = copy(made, "ner", tmp_path)
    (path / "deep").mkdir()
    (path / "deep" / "events.out.tfevents.1.x").write_text("x")
    described = read_manifest(path)
    seal.put_on(path, described)
    (path / "manifest.json").write_text(as_text(described))
    assert "deep/events.out.tfevents.1.x" in described["files"]
    assert not noticed(path, made / "ner-again")
    (path / "deep" / "events.out.tfevents.1.x").write_text("y")
    assert noticed(path, made / "ner-again")


# -- what is changed, and digests and seal made anew ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ner", "w2v"])
def test_each_value_is_compared_with_the_repetition(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """In memory, and without the parts of a comparison that look at files alone."""
    path, again = copy(made, kind, tmp_path), made / f"{kind}-again"
    original, repetition = read_manifest(path), read_manifest(again)
    described = original
    for module in ("training.run.compare", "training.run.replay"):
        monkeypatch.setattr(f"{module}.read_manifest", lambda at: described if at == path else repetition)
    for name in ("_ledgers", "_metrics"):
        monkeypatch.setattr(f"training.run.compare.{name}", lambda *_: ())
    monkeypatch.setattr("training.run.compare._other_weights", lambda *_: "")

    def noticed() -> bool:
        try:
            replay.repeatable(path, cli.KINDS)
            return bool(compare(path, again, repeated=True, without=REPEATED).results)
        except SamebitsError:
            return True

    assert not noticed()
    unnoticed = []
    for name, changed in changes(original):
        described = {**changed, "seal": seal.of(changed)}
        if name.startswith("seal") or wrong_entry(described) is not None or noticed():
            continue
        files = name.startswith(("files", "format"))
        (path / "manifest.json").write_text(as_text(described) if files else "")
        if not files or not seal.faults(path, described):
            unnoticed.append(name)
    assert [name for name in unnoticed if not listed(name, NOT_REPEATED)] == []
    assert not {"environment.level", "environment.level (gone)"}.intersection(unnoticed)
    assert not any(name.startswith(("metrics", "labels", "confidence", "text", "outputs", "weights")) for name in unnoticed)


@pytest.mark.parametrize("kind", ["ner", "w2v"])
def test_each_file_is_compared_with_the_repetition(made: Path, tmp_path: Path, kind: str) -> None:
    path = copy(made, kind, tmp_path)
    original = read_manifest(path)
    for name in [*original["outputs"], *original["files"]]:
        before = (path / name).read_bytes()
        if name.endswith(".ckpt"):
            content = checkpoint.load(path / name)
            content["weights"][next(iter(content["weights"]))].view(-1)[0] += 0.25
            checkpoint.save(path / name, {k: v for k, v in content.items() if k != "format"})
        elif name.endswith(".sha256"):
            continue  # it says what its checkpoint is: that is looked at with it
        else:
            (path / name).write_bytes(before + b"\n")
        changed = json.loads(json.dumps(original))
        for table in (changed["outputs"], changed["files"]):
            table |= {each: sha256_file(path / each) for each in table}
        sealed_anew(path, changed)
        assert noticed(path, made / f"{kind}-again") != listed(name, FILES_NOT_REPEATED), name
        (path / name).write_bytes(before)
        if name.endswith(".ckpt"):
            checkpoint.digest_path(path / name).write_text(sha256_file(path / name) + "\n")


def test_forgeries_that_are_whole_in_themselves(made: Path, tmp_path: Path) -> None:
    """Files taken away with their digests, outputs emptied, and a line before the true one of a ledger chained anew."""
    path, again = copy(made, "ner", tmp_path), made / "ner-again"
    original = read_manifest(path)
    for name in original["outputs"]:
        (path / name).rename(tmp_path / "away")
        without = {key: value for key, value in original["outputs"].items() if key != name}
        sealed_anew(path, {**original, "outputs": without})
        assert seal.faults(path, read_manifest(path)) == []
        assert noticed(path, again), name
        (tmp_path / "away").rename(path / name)
    sealed_anew(path, {**original, "outputs": {}})
    assert noticed(path, again)
    true = read_jsonl(path / "ledger.jsonl")
    for at in (0, 1, len(true) // 2, len(true) - 2, len(true) - 1):
        lines = [*true[:at], {**true[at], "loss": "0x1p-3"}, *true[at:]]
        chain, text = ledger_file.START, ""
        for line in lines:
            chain = ledger_file.chained(chain, {k: v for k, v in line.items() if k != "chain"})
            text += json.dumps({**line, "chain": chain}) + "\n"
        (path / "ledger.jsonl").write_text(text)
        assert ledger_file.first_break(path / "ledger.jsonl") is None
        outputs = {**original["outputs"], "ledger.jsonl": sha256_file(path / "ledger.jsonl")}
        sealed_anew(path, {**original, "outputs": outputs})
        found = compare(path, again, repeated=True, without=REPEATED).results
        assert any(line.startswith(("first difference", "the ledgers have")) for line in found), at


@pytest.mark.usefixtures("repeats")
def test_a_forgery_is_named_by_verify(made: Path, tmp_path: Path) -> None:
    path = copy(made, "ner", tmp_path)
    described = read_manifest(path)
    described["metrics"]["test_f1"] = 0.99
    described["confidence_temperature"] = 2.0
    described["environment"]["level"] = "machines"
    sealed_anew(path, described)
    result = run("verify", path)
    assert result.exit_code == 1, result.output
    for line in ("metrics.test_f1: 0.99, and ", "confidence_temperature: 2.0, and ", "environment.level: machines, and run"):
        assert f"{line}" in result.output
    assert "same bits" not in result.output
    assert "seal:" not in result.output


# -- who looks before use ----------------------------------------------------------------------------------------------

USES = [
    "predict",
    "evaluate",
    "export",
    "diff",
    "diff the other way",
    "runs list",
    "runs card",
    "compare",
    "resume",
    "verify",
]


def use(how: str, path: Path, made: Path, target: Path) -> Result:
    test = made / "data" / "test.conll"
    return run(*{
        "predict": ["predict", path, test], "evaluate": ["evaluate", path, test],
        "export": ["export", path, target / "out"], "diff": ["diff", made / "ner", path],
        "diff the other way": ["diff", path, made / "ner"], "runs list": ["runs", "list", "--root", path.parent.parent],
        "runs card": ["runs", "card", path], "compare": ["compare", made / "ner", path],
        "resume": ["train-ner", "--resume", path], "verify": ["verify", path],
    }[how])  # fmt: skip


def swap_weights(path: Path) -> None:
    file = path / "checkpoints" / "model.ckpt"
    content = checkpoint.load(file)
    name = next(name for name in content["weights"] if name.endswith("bias"))
    content["weights"][name] += 1
    checkpoint.save(file, {k: v for k, v in content.items() if k != "format"})


def raise_f1(path: Path) -> None:
    described = read_manifest(path)
    described["metrics"]["test_f1"] = 0.99
    (path / "manifest.json").write_text(as_text(described))


def edit(name: str) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        data = (path / name).read_bytes()
        (path / name).write_bytes(data.replace(b"0.002", b"0.003") if b"0.002" in data else data[:-3] + b" " + data[-3:])

    return act


def take(*names: str, **values: Any) -> Callable[[Path], None]:
    """Take values out of the manifest, and change others."""

    def act(path: Path) -> None:
        described = {name: value for name, value in read_manifest(path).items() if name not in names}
        (path / "manifest.json").write_text(as_text({**described, **values}))

    return act


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "weights": (swap_weights, "compare resume runs_card"), "manifest": (raise_f1, ""),
    "indexer": (edit("indexer.json"), "compare resume runs_card"),
    "config": (edit("config.json"), "compare resume runs_card"),
    "predictions": (edit("predictions.conll"), "predict evaluate export resume runs_card"),
    "seal gone": (take("seal"), ""), "format gone": (take("format"), ""), "files gone": (take("files"), ""),
    "seal and format gone": (take("seal", "format"), ""), "seal and files gone": (take("seal", "files"), ""),
    "seal gone, F1 raised": (take("seal", metrics={"test_f1": 0.99, "test_loss": 0.1}), ""),
    "stopped": (take(status="stopped"), ""), "seal gone, stopped": (take("seal", status="stopped"), ""),
}  # fmt: skip


@pytest.mark.usefixtures("repeats")
@pytest.mark.parametrize("what", DAMAGE)
def test_commands_look_before_they_use_a_run(made: Path, tmp_path: Path, what: str) -> None:
    (tmp_path / "runs" / "ner").mkdir(parents=True)
    path = Path(shutil.copytree(made / "ner", tmp_path / "runs" / "ner" / "version_0"))
    for how in USES if what == "manifest" else ():
        assert use(how, path, made, tmp_path).exit_code == 0, how
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    act, do_not_use_it = DAMAGE[what]
    act(path)
    for how in USES:
        result = use(how, path, made, tmp_path)
        if how.replace(" ", "_") in do_not_use_it.split():
            assert result.exit_code == 0, how
        elif how == "runs list":
            assert (result.exit_code, result.output.splitlines()[1].split()[1]) == (0, "changed")
        else:
            differs = how.startswith("diff") or (how == "verify" and "stopped" not in what)
            assert result.exit_code == (1 if differs else 2), (how, result.output)
            assert "same bits" not in result.output
            assert "no seal" not in result.output
            if "stopped" not in what or how in ("diff", "resume"):
                assert f"{path}/" in result.output
                assert "the run" in result.output
                assert ("its seal was taken away" in result.output) == ("seal" in what)
    assert not (tmp_path / "out").exists() or "export" in do_not_use_it


def test_word_vectors_of_a_run_are_looked_at(made: Path, tmp_path: Path) -> None:
    path = copy(made, "w2v", tmp_path)
    data = bytearray((path / "vectors.bin").read_bytes())
    data[-2] ^= 1
    (path / "vectors.bin").write_bytes(data)
    train = ["train-ner", "--data", made / "data", *TAGGER, "--run", tmp_path / "ner", "--vectors"]
    model = ["train-lm", "--corpus", made / "text.txt", "--threads", 1, "--run", tmp_path / "ner", "--vectors"]
    for command in (
        [*train, path],
        [*train, path / "vectors.bin"],
        [*model, path],
        [*model, path / "vectors.bin"],
        ["vectors", "nearest", path / "vectors.bin", "the"],
        ["data", "check", made / "data" / "train.conll", "--vectors", path],
    ):
        result = run(*command)
        assert result.exit_code == 2, result.output
        assert f"{path / 'vectors.bin'}: it was changed after the run had finished" in result.output
    assert not (tmp_path / "ner").exists()


def test_a_finished_run_that_says_it_was_stopped_is_not_begun_anew(made: Path, tmp_path: Path) -> None:
    path = copy(made, "ner", tmp_path)
    (path / "manifest.json").write_text(as_text({**read_manifest(path), "status": "stopped"}))
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    result = run("train-ner", "--resume", path)
    assert (result.exit_code, "manifest.json: it was changed" in result.output) == (2, True)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


@pytest.mark.usefixtures("repeats")
def test_a_run_of_an_earlier_version_is_told_and_looked_at_as_before(made: Path, tmp_path: Path) -> None:
    (tmp_path / "runs" / "ner").mkdir(parents=True)
    path = Path(shutil.copytree(made / "ner", tmp_path / "runs" / "ner" / "version_0"))
    described = read_manifest(path)
    names = ("test_report.txt", "test_report.html", "predictions.conll", "indexer.json", "metrics.jsonl", "ledger.jsonl")
    old = {name: value for name, value in described.items() if name not in ("seal", "files", "format", "unsealed")}
    (path / "manifest.json").write_text(as_text({**old, "outputs": {n: described["outputs"][n] for n in names}}))
    for how in USES:
        result = use(how, path, made, tmp_path)
        assert result.exit_code == 0, (how, result.output)
        assert "no seal" in result.output or how in ("compare", "resume")
    result = run("verify", path)
    assert result.exit_code == 0, result.output
    assert "verified: same bits\n" in result.output
    assert f"{path}: no seal: made by an earlier version" in result.output
    raise_f1(path)
    assert noticed(path, made / "ner-again")
    swap_weights(path)
    assert run("predict", path, made / "data" / "test.conll").exit_code == 2


# -- groups and bundles ------------------------------------------------------------------------------------------------


def test_each_field_and_file_of_a_group_is_bound(made: Path, tmp_path: Path) -> None:
    path = copy(made, "group", tmp_path)
    assert group_faults(path) == []
    summary = json.loads((path / "summary.json").read_bytes())
    for file in ("summary.json", "config.json", "group.json"):
        before = (path / file).read_bytes()
        for name, changed in list(changes(json.loads(before)))[:: 20 if file == "config.json" else 1]:
            (path / file).write_text(json.dumps(changed, indent=2) + "\n")
            assert _group_noticed(path), (file, name)
        (path / file).write_bytes(before)
    for name, changed in changes({k: v for k, v in summary.items() if k != "seal"}):
        (path / "summary.json").write_text(as_text({**changed, "seal": seal.of(changed)}))
        assert _group_noticed(path), name
    (path / "summary.json").write_text(as_text(summary))
    for name, act in file_changes(path):
        if name.startswith("seed_0/") and not name.endswith(("manifest.json", "predictions.conll", "model.ckpt")):
            continue
        before = (path / name).read_bytes()
        act(path / name)
        assert _group_noticed(path, whole=True), name
        (path / name).unlink(missing_ok=True)
        (path / name).write_bytes(before)
        path.joinpath(".elsewhere").unlink(missing_ok=True)
    (path / "seed_7").mkdir()
    assert len(group_faults(path)) == 1


def _group_noticed(path: Path, whole: bool = False) -> bool:
    try:
        return bool(group_faults(path, whole=whole))
    except SamebitsError:
        return True


@pytest.mark.usefixtures("repeats")
def test_a_group_is_verified_run_by_run(made: Path, tmp_path: Path) -> None:
    path = copy(made, "group", tmp_path / "ner")
    assert run("verify", path, "--from", 1).exit_code == 2
    result = run("verify", path)
    assert result.exit_code == 0, result.output
    assert result.output.endswith(f"seal: SHA-256 {groups.group_seal(path)}\nverified: same bits in all runs\n")
    raise_f1(path / "seed_0")
    for how in (["compare", path, path], ["train-ner", "--resume", path]):
        assert run(*how).exit_code == 2, how
    assert "changed" in run("runs", "list", "--root", tmp_path).output


@pytest.mark.usefixtures("repeats")
def test_a_groups_seal_that_is_gone_is_told_by_who_uses_the_group(made: Path, tmp_path: Path) -> None:
    """All of the summary, parts of it, a link in its place; that of an earlier version is compared, and a line says so."""
    path = Path(shutil.copytree(made / "group", tmp_path / "runs" / "ner" / "group_0"))
    commands = (["compare", path, path], ["verify", path], ["runs", "list", "--root", tmp_path / "runs"])
    summary = json.loads((path / "summary.json").read_bytes())
    for gone in (["seal"], ["format"], ["files"], ["seal", "format"], ["seal", "files"], ["format", "files"]):
        (path / "summary.json").write_text(as_text({k: v for k, v in summary.items() if k not in gone}))
        compared, verified, listed = (run(*how) for how in commands)
        assert (compared.exit_code, verified.exit_code) == (2, 1), gone
        assert ("its seal was taken away" in compared.output) == ("seal" in gone)
        assert "no seal" not in compared.output + verified.output + listed.output
        assert " changed " in listed.output
    earlier = {k: v for k, v in summary.items() if k in ("seeds", "metrics")}
    (path / "summary.json").write_text(as_text(earlier))
    compared, verified, listed = (run(*how) for how in commands)
    assert (compared.exit_code, verified.exit_code) == (0, 0)
    assert all("no seal" in each.output for each in (compared, verified, listed))
    for link in (False, True):
        (path / "summary.json").unlink()
        if link:
            (path / "summary.json").symlink_to(made / "group" / "summary.json")
        compared, verified, listed = (run(*how) for how in commands)
        assert (compared.exit_code, verified.exit_code) == (2, 1)
        assert "summary.json: expected the summary of a finished group, got none" in compared.output
        assert (" changed " if link else "1 of 1 finished") in listed.output
        (path / "summary.json").touch()


def test_each_field_and_file_of_a_bundle_is_bound(made: Path, tmp_path: Path) -> None:
    path = copy(made, "bundle", tmp_path)
    before = (path / BUNDLE).read_bytes()
    for name, changed in changes(json.loads(before)):
        (path / BUNDLE).write_bytes(_json(changed))
        with pytest.raises(SamebitsError):
            read_bundle(path)
        if name.startswith("files"):
            (path / BUNDLE).write_bytes(_json({**changed, "digest": _digest(changed)}))
            with pytest.raises(SamebitsError):
                read_bundle(path)
    (path / BUNDLE).write_bytes(before)
    for name, act in list(file_changes(path)):
        content = (path / name).read_bytes()
        act(path / name)
        with pytest.raises(SamebitsError):
            read_bundle(path)
        (path / name).unlink(missing_ok=True)
        (path / name).write_bytes(content)
        (path / ".elsewhere").unlink(missing_ok=True)
    read_bundle(path)


# -- inputs ------------------------------------------------------------------------------------------------------------


def grow(path: Path) -> None:
    with open(path, "ab") as stream:
        stream.write(b"\n")


def same_size(path: Path) -> None:
    data, times = bytearray(path.read_bytes()), os.stat(path)
    data[0] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def another(path: Path) -> None:
    shutil.copy(path, path.with_name("another"))
    os.replace(path.with_name("another"), path)


@pytest.mark.parametrize("act", [grow, same_size, another, Path.unlink])
def test_an_input_that_changes_while_it_is_read_is_refused(tmp_path: Path, act: Callable[[Path], None]) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"words\n")
    inputs = Inputs({"words": file, "none": tmp_path / "none"})  # as vectors may have a text rule or not
    expected = {"words": {"path": str(file), "sha256": sha256_file(file), "bytes": 6}}
    assert inputs.described() == expected
    file.chmod(0o600)
    assert inputs.described() == expected, "its rights are not its bytes"
    act(file)
    with pytest.raises(DataError, match="stays as it is while it is read"):
        inputs.described()


def test_an_input_that_comes_while_the_others_are_read_is_refused(tmp_path: Path) -> None:
    inputs = Inputs({"rule": tmp_path / "rule"})
    (tmp_path / "rule").write_text("{}")
    with pytest.raises(DataError, match="rule: expected a file that stays as it is while it is read"):
        inputs.described()


@pytest.mark.parametrize(("make", "got"), [
    (None, "got standard input; write it to a file first"),
    (os.mkfifo, "got a pipe, a device or a socket; write it to a file first"),
    (lambda path: path.symlink_to("/dev/null"), "got a pipe, a device or a socket; write it to a file first"),
    (Path.mkdir, "got a folder; name the files in it"),
])  # fmt: skip
def test_what_is_no_file_is_no_input(tmp_path: Path, make: Callable[[Path], None] | None, got: str) -> None:
    path = tmp_path / "input" if make else Path("-")
    if make:
        make(path)
    with pytest.raises(DataError, match=f"{path}: expected a file.* {got}"):
        Inputs({"input": path})


@pytest.mark.parametrize("kind", ["ner", "w2v"])
def test_every_input_of_training_is_watched(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    data = Path(shutil.copytree(made / "data", tmp_path / "data"))
    for path in (made / "text.txt", made / "pairs.txt"):
        shutil.copy(path, data)
    for suffix in ("bin", "rule.json"):
        shutil.copy(made / "w2v" / f"vectors.{suffix}", data)
    arguments = {
        "ner": ["train-ner", "--data", data, *TAGGER, "--vectors", data / "vectors.bin"],
        "w2v": ["train-w2v", "--corpus", data / "text.txt", "--evaluate", data / "pairs.txt", *WORDS],
    }[kind]
    add, watched = Inputs.add, sorted({"corpus 0", "set pairs"} if kind == "w2v" else
                                      {"train", "valid", "test", "vectors", "vectors' text rule"})  # fmt: skip
    for target in watched:

        def changing(self: Inputs, name: str, path: str | Path, target: str = target) -> str:
            found = add(self, name, path)
            if name == target:
                grow(Path(path))
            return found

        monkeypatch.setattr(Inputs, "add", changing)
        result = run(*arguments, "--run", tmp_path / "run")
        assert result.exit_code == 2, (target, result.output)
        assert "expected a file that stays as it is while it is read" in result.output or target == "vectors", result.output
        assert not (tmp_path / "run").exists()
        if target == "vectors":
            shutil.copy(made / "w2v" / "vectors.bin", data)
