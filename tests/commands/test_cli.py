"""The command line: which commands and options there are, their help, exit codes, and errors of one line."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import cli
from tests import forked

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["--max-epochs", "1", "--hidden-size", "8", "--word-dim", "8", "--no-progress", "--threads", "1"]

# Names that scripts may rely on.
PROMISED = {
    "train-w2v": "corpus architecture loss dim window negative sample min-count epochs lr tokenize lowercase digits",
    "train-ner": "data train valid test vectors preset max-epochs batch-size lr val-check-interval patience",
    "predict": "format",
    "evaluate": "json",
}
BOTH = "seed device threads deterministic run config"


def run(*arguments: str, stdin: str | None = None) -> Result:
    """A command in this process."""
    return CliRunner().invoke(cli.main, list(arguments), input=stdin, catch_exceptions=False)


def commands(group: click.Group, name: str = "") -> list[tuple[str, click.Command]]:
    """All commands with their full names, groups left out."""
    found = []
    for each, command in group.commands.items():
        full = f"{name} {each}".strip()
        found += commands(command, full) if isinstance(command, click.Group) else [(full, command)]
    return found


ALL = dict(commands(cli.main))


@pytest.mark.parametrize("name", PROMISED)
def test_promised_options_are_there(name: str) -> None:
    flags = {flag for p in ALL[name].params for flag in (*p.opts, *p.secondary_opts)}
    wanted = PROMISED[name] + (f" {BOTH}" if name.startswith("train") else "")
    assert {f"--{flag}" for flag in wanted.split()} <= flags
    if name == "train-w2v":
        assert {"--pretokenized", "--cased"} <= flags


@pytest.mark.parametrize("name", sorted(ALL))
def test_help_ends_with_an_example_of_the_command(name: str) -> None:
    result = run(*name.split(), "--help")
    assert result.exit_code == 0
    last = result.output.rstrip().splitlines()[-1]
    assert f"python cli.py {name}" in last
    assert all(p.help for p in ALL[name].params if isinstance(p, click.Option)), "every option has help"


def test_version() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert cli.VERSION in result.output
    assert "version = attr: cli.VERSION\n" in (ROOT / "setup.cfg").read_text()
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^## ([0-9.]+)", changes, re.MULTILINE)[1] == cli.VERSION  # type: ignore[index]


@pytest.fixture(scope="module")
def finished(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tagger trained by the command line."""
    path = tmp_path_factory.mktemp("cli") / "run"
    result = run("train-ner", "--data", str(small_data), "--vectors", "none", "--run", str(path), "--deterministic", *QUICK)
    assert result.exit_code == 0, result.output
    assert "Params" in result.output
    assert "micro avg" in result.output
    assert json.loads((path / "manifest.json").read_text())["weights_sha256"] in result.output
    return path


def test_predict_and_evaluate(finished: Path, small_data: Path) -> None:
    result = run("predict", str(finished), "-", "--format", "jsonl", stdin="Ada flew to Oslo.\n")
    assert result.exit_code == 0
    assert json.loads(result.output)["text"] == "Ada flew to Oslo."
    conll = run("predict", str(finished), str(small_data / "test.conll"))
    assert conll.exit_code == 0
    assert {len(line.split()) for line in conll.output.splitlines() if line} == {3}
    scores = run("evaluate", str(finished), str(small_data / "test.conll"), "--json")
    manifest = json.loads((finished / "manifest.json").read_text())
    assert json.loads(scores.output)["strict"]["micro avg"]["f1-score"] == pytest.approx(manifest["metrics"]["test_f1"])
    assert "micro avg" in run("evaluate", str(finished), str(small_data / "test.conll")).output


def test_config_file_then_typed_options(finished: Path, small_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "again"
    result = run("train-ner", "--config", str(finished / "config.json"), "--run", str(path), "--lr", "0.5")
    assert result.exit_code == 0, result.output
    before, after = (json.loads((p / "config.json").read_text()) for p in (finished, path))
    assert after == {**before, "lr": 0.5}


def test_a_preset_fills_what_was_not_typed(small_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    typed = ["--hidden-size", "8", "--word-dim", "8", "--max-epochs", "1", "--no-progress"]
    result = run(
        "train-ner", "--preset", "lecture", "--data", str(small_data), "--vectors", "none", "--run", str(path), *typed
    )
    assert result.exit_code == 0, result.output
    config = json.loads((path / "config.json").read_text())
    assert (config["batch_size"], config["hidden_size"], config["docstart"], config["max_epochs"]) == (128, 8, "keep", 1)


def bad_conll(tmp_path: Path, name: str, text: str) -> list[str]:
    """The data options with one split replaced by ``text``."""
    good = "Ada\tB-PER\nran\tO\n\n"
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.conll").write_text(text if split == name else good, encoding="utf-8")
    return ["--data", str(tmp_path)]


BAD = {
    "a line without a tag": ("train", "Ada\tB-PER\nran\n", "train.conll:2:"),
    "a tag of no scheme": ("valid", "Ada\tPERSON\n", "valid.conll:1:"),
    "a tag that training does not know": ("test", "Ada\tB-PER\nOslo\tB-LOC\n", "test.conll:2:"),
    "an empty split": ("valid", "", "valid.conll: expected sentences, got none"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_is_one_line_with_its_place(tmp_path: Path, case: str) -> None:
    split, text, message = BAD[case]
    data = tmp_path / "data"
    data.mkdir()
    result = run("train-ner", *bad_conll(data, split, text), "--vectors", "none", "--run", str(tmp_path / "run"), *QUICK)
    assert_one_line(result, message)
    assert not (tmp_path / "run").exists()


def assert_one_line(result: Result, message: str, code: int = 2) -> None:
    """Exit code, and a last line that says it, without a traceback."""
    assert result.exit_code == code, result.output
    errors = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.output
    assert message in errors[0]
    assert "Traceback" not in result.output


def test_bad_arguments(small_data: Path, finished: Path, tmp_path: Path) -> None:
    train = ["train-ner", "--data", str(small_data), *QUICK]
    mixed = tmp_path / "vectors.txt"
    mixed.write_text("2 3\na 1 2 3\nb 1 2\n")
    assert_one_line(run(*train, "--vectors", str(mixed)), "vectors.txt:3:")
    assert_one_line(run(*train, "--vectors", str(tmp_path / "none.txt")), "expected a file of word vectors")
    assert_one_line(run(*train, "--vectors", "none", "--run", str(finished)), "exists already")
    assert_one_line(run("train-ner", "--data", str(tmp_path / "nowhere"), *QUICK), "nowhere")
    assert_one_line(run("train-ner", "--train", str(tmp_path), "--valid", "x", "--test", "y", *QUICK), "got a folder")
    assert_one_line(run("train-ner", "--train", "x", *QUICK), "together")
    config = tmp_path / "config.json"
    config.write_text('{"max_epoch": 3}')
    assert_one_line(run(*train, "--config", str(config)), "did you mean 'max_epochs'")
    assert_one_line(run("predict", str(tmp_path)), "expected a run's folder (with manifest.json) or a bundle")
    assert_one_line(run("predict", str(finished), str(tmp_path / "gone.txt")), "gone.txt")
    assert_one_line(run("evaluate", str(finished), str(tmp_path)), "got a folder")
    assert_one_line(run("train-w2v", "--corpus", str(tmp_path / "gone.txt"), "--no-progress"), "gone.txt")
    assert_one_line(run("train-w2v", "--corpus", str(tmp_path), "--no-progress"), str(tmp_path))
    assert_one_line(run(*train, "--seed", "-1", "--vectors", "none"), "4294967295")
    assert run("train-ner", "--no-such-option").exit_code == 2
    assert run("train-ner", "--device", "tpu").exit_code == 2


STREAMS = [
    ["train-ner", "--train", "{}", "--valid", "valid.conll", "--test", "test.conll"],
    ["train-ner", "--train", "train.conll", "--valid", "{}", "--test", "test.conll"],
    ["train-ner", "--data", ".", "--vectors", "{}"],
    ["train-ner", "--data", ".", "--teacher", "run", "--unlabeled", "text.txt", "--unlabeled", "{}"],
    ["train-lm", "--corpus", "{}"],
    ["train-w2v", "--corpus", "text.txt", "--evaluate", "{}"],
]


@pytest.mark.parametrize("seeds", [[], ["--seeds", "2"]], ids=["run", "group"])
@pytest.mark.parametrize("words", STREAMS, ids=lambda words: " ".join((words[0], words[words.index("{}") - 1])))
def test_what_can_be_read_only_once_is_no_input_of_training(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], seeds: list[str]
) -> None:
    """Nobody could resume or repeat the run: said before there is a folder for it, or for its group."""
    monkeypatch.chdir(small_data)
    os.mkfifo(tmp_path / "pipe")
    for given, got in (("-", "got standard input"), (tmp_path / "pipe", "got a pipe, a device or a socket")):
        typed = [word.format(given) for word in words]
        ended = run(*typed, *seeds, "--run", str(tmp_path / "run"), "--no-progress", stdin="Ada B-PER\n")
        assert ended.exit_code == 2
        assert_one_line(ended, f"{given}: expected a file, which can be read again, {got}; write it to a file first")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_cuda_where_there_is_none(small_data: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    result = run(
        "train-ner", "--data", str(small_data), "--vectors", "none", "--device", "cuda", "--run", str(tmp_path / "run")
    )
    assert_one_line(result, "use --device cpu")
    assert not (tmp_path / "run").exists()


def test_the_time_limit_stops_resumably(small_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    start = ["train-ner", "--data", str(small_data), "--vectors", "none", "--run", str(path), *QUICK]
    stopped = run(*start, "--max-time", "0s")
    assert stopped.exit_code == 75
    assert f"python cli.py train-ner --resume {path}" in stopped.output
    resumed = run("train-ner", "--resume", str(path), "--max-time", "1h", "--no-progress")
    assert resumed.exit_code == 0, resumed.output
    assert json.loads((path / "manifest.json").read_text())["status"] == "finished"
    again = run("train-ner", "--resume", str(path))
    assert again.exit_code == 0
    assert "is finished" in again.output


def test_verify_and_diff(finished: Path, small_data: Path, tmp_path: Path) -> None:
    same = run("verify", str(finished))
    assert same.exit_code == 0, same.output
    assert "verified: same bits" in same.output
    other = tmp_path / "other"
    assert run("train-ner", "--config", str(finished / "config.json"), "--seed", "5", "--run", str(other)).exit_code == 0
    result = run("diff", str(finished), str(other))
    assert result.exit_code == 1
    assert "first difference at epoch 0, batch 0, step 1" in result.output
    assert "differs: config.seed: 0 and 5" in result.output
    assert_one_line(run("verify", str(tmp_path)), "expected a run folder")


def test_data_check(small_data: Path, tmp_path: Path) -> None:
    good = run("data", "check", str(small_data / "train.conll"), str(small_data / "test.conll"))
    assert good.exit_code == 0, good.output
    bad = tmp_path / "bad.conll"
    bad.write_text("Ada B-PER\nran\n\nOslo B-LOC\n", encoding="utf-8")
    result = run("data", "check", str(bad), "--json")
    assert result.exit_code == 1
    assert "bad.conll:2" in result.output
    assert isinstance(json.loads(result.output), dict)


def test_vectors_commands(tmp_path: Path) -> None:
    text, binary = tmp_path / "v.txt", tmp_path / "v.bin"
    text.write_text("4 2\nking 1 0\nqueen 0.9 0.1\nman 0 1\nwoman 0.1 0.9\n")
    assert run("vectors", "nearest", str(text), "king", "-k", "1").output.split() == ["0.9939", "queen"]
    assert run("vectors", "analogy", str(text), "king", "queen", "man", "-k", "1").output.split()[1] == "woman"
    assert run("vectors", "convert", str(text), str(binary)).exit_code == 0
    assert binary.read_bytes().startswith(b"4 2\n")
    assert run("vectors", "nearest", str(binary), "king", "-k", "1").output.split() == ["0.9939", "queen"]
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("king queen 9\nking man 1\nking gone 5\n")
    scored = run("vectors", "evaluate", str(text), str(pairs))
    assert scored.exit_code == 0, scored.output
    assert "2 of 3" in scored.output
    assert_one_line(run("vectors", "nearest", str(text), "kink"), "did you mean 'king'")
    assert_one_line(run("vectors", "convert", str(tmp_path / "gone"), str(tmp_path / "new")), "gone")


def test_runs_list(finished: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    (root / "ner").mkdir(parents=True)
    shutil.copytree(finished, root / "ner" / "version_0")
    table = run("runs", "list", "--root", str(root))
    assert table.exit_code == 0
    assert "finished" in table.output.splitlines()[1]
    assert json.loads(run("runs", "list", "--root", str(root), "--json").output)[0]["status"] == "finished"
    (tmp_path / "empty").mkdir()
    assert run("runs", "list", "--root", str(tmp_path / "empty")).exit_code == 0


def test_the_two_commands_in_a_folder_of_their_own(small_data: Path, small_text: Path, tmp_path: Path) -> None:
    """As a user types them: vectors first, and the tagger finds them. One in a new process, the others in forked ones."""

    def forked_command(*arguments: str) -> str:
        done = forked.run(*arguments, cwd=tmp_path)
        assert done.code == 0, done.err
        return done.out

    first = forked_command("train-w2v", "--corpus", str(small_text), "--epochs", "1", "--dim", "12", "--threads", "1")
    assert "runs/w2v/version_0" in first
    tagger = ["train-ner", "--data", str(small_data), "--deterministic", *QUICK]
    words = [sys.executable, "-W", "error", str(ROOT / "cli.py"), *tagger]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "vectors: runs/w2v/version_0/vectors.bin (SHA-256 " in done.stdout
    told = forked_command(*tagger)
    runs = tmp_path / "runs" / "ner"
    assert (runs / "version_0" / "metrics.jsonl").read_bytes() == (runs / "version_1" / "metrics.jsonl").read_bytes()
    digests = {json.loads((runs / f"version_{n}" / "manifest.json").read_text())["weights_sha256"] for n in (0, 1)}
    assert len(digests) == 1
    assert digests.pop() in told


def test_quiet_and_json_lines(small_data: Path, tmp_path: Path) -> None:
    """Nothing at all, or JSON objects and nothing else; and the same bits."""
    arguments = ["train-ner", "--data", str(small_data), "--vectors", "none", "--num-sanity-val-steps", "0", *QUICK]
    outputs = {}
    for name in ("quiet", "json-log"):
        result = run(*arguments, f"--{name}", "--run", str(tmp_path / name))
        assert result.exit_code == 0, result.output
        outputs[name] = result.output
    assert outputs["quiet"] == ""
    lines = [json.loads(line) for line in outputs["json-log"].splitlines()]
    assert {"message", "validation", "epoch"} <= {line["event"] for line in lines}
    assert all("val_f1" in line["metrics"] for line in lines if line["event"] == "validation")
    assert all(line["tokens_per_second"] > 0 for line in lines if line["event"] == "epoch")
    digests = {json.loads((tmp_path / name / "manifest.json").read_text())["weights_sha256"] for name in outputs}
    assert len(digests) == 1


def test_what_no_encoding_can_write_is_written_escaped(tmp_path: Path) -> None:
    run_folder = tmp_path / "ner" / "version_0"
    run_folder.mkdir(parents=True)
    manifest = {"kind": "ner", "status": "fin\ud800ished", "config": {}, "argv": [], "inputs": {}}
    (run_folder / "manifest.json").write_text(json.dumps(manifest))
    result = run("runs", "list", "--root", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "fin\\ud800ished" in result.output
