"""Files of settings: what is none, or holds what is no option, is one line with its place, in every command."""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import json
import lzma
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from ner.config import TaggerConfig
from training import settings_file
from training.config import TrainConfig
from training.errors import ConfigError
from word2vec.config import Word2VecConfig

GOOD = '{\n "seed": 7,\n "max_epochs": 3\n}\n'
# name → (bytes, the line that is named, a piece of what is said)
WRONG: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 1, "got an empty file"),
    "blank": (b"\n \n\n", 1, "got an empty file"),
    "a mark alone": (b"\xef\xbb\xbf", 1, "got an empty file"),
    "a list": (b'\n["seed", 7]\n', 2, "expected a JSON object of options, got a list"),
    "a list of objects": (f"[{GOOD}]".encode(), 1, "got a list"),
    "a text": (b'"seed"', 1, "got a text"),
    "null": (b"null", 1, "got null"),
    "a number": (b"7", 1, "got a number"),
    "true": (b"true", 1, "got true or false"),
    "cut": (b'{\n "seed": 7,\n "max_ep', 3, "expected JSON, got "),
    "cut before a value": (b'{\n "seed": 7,\n "max_epochs":', 3, "expected JSON, got its end"),
    "a comma too many": (b'{\n "seed": 7,\n}\n', 2 if sys.version_info >= (3, 13) else 3, "expected JSON, got"),
    "a comment": (b'{\n // of mine\n "seed": 7\n}\n', 2, "expected JSON, got '// of mine' at column 2"),
    "Python's": (b"{\n 'seed': 7\n}\n", 2, "expected JSON"),
    "two objects": (GOOD.encode() * 2, 5, "expected JSON"),
    "lines of objects": (b'{"seed": 7}\n{"max_epochs": 3}\n', 2, "expected JSON"),
    "YAML": (b"# mine\nseed: 7\nmax_epochs: 3\n", 2, "got what looks like YAML; write them as in a run's config.json"),
    "YAML with a mark": (b"---\nseed: 7\n", 1, "got what looks like YAML"),
    "YAML, a list": (b"- seed\n- 7\n", 1, "got what looks like YAML"),
    "TOML": (b'# mine\nseed = 7\nname = "a"\n', 2, "got what looks like TOML"),
    "TOML with a table": (b"[training]\nseed = 7\n", 1, "got what looks like TOML"),
    "an INI file": (b"; mine\n[training]\nseed=7\n", 2, "got what looks like TOML"),
    "prose": (b"seven seeds, three epochs\n", 1, "expected JSON, got 'seven seeds, three e' at column 1"),
    "UTF-16": (GOOD.encode("utf-16"), 1, "iconv -f UTF-16 -t UTF-8 FILE > NEW"),
    "UTF-16 without a mark": (GOOD.encode("utf-16-le"), 1, "iconv -f UTF-16LE -t"),
    "UTF-16, the other order": (GOOD.encode("utf-16-be"), 1, "iconv -f UTF-16BE -t"),
    "UTF-32": (GOOD.encode("utf-32"), 1, "iconv -f UTF-32"),
    "Latin-1": (b'{\n "seed": 7,\n "run": "\xe9"\n}', 3, "expected JSON in UTF-8, got byte 0xe9"),
    "gzip": (gzip.compress(GOOD.encode()), 1, "got a gzip archive; unpack it first"),
    "bzip2": (bz2.compress(GOOD.encode()), 1, "got a bzip2 archive"),
    "xz": (lzma.compress(GOOD.encode()), 1, "got a xz archive"),
    "NaN": (b'{\n "seed": 7,\n "lr": NaN}', 3, "expected a finite number, got NaN"),
    "infinity": (b'{\n "seed": 7,\n "lr": -Infinity}', 3, "expected a finite number, got -Infinity"),
    "NaN in a list": (b'{"seed": [1,\n\n NaN]}', 3, "expected a finite number"),
    "too large a number": (b'{\n "seed": 7,\n "lr": 1e400}', 3, "lr: expected a finite number, got inf"),
    "too long a number": (b'{\n "seed": ' + b"9" * 5000 + b"}", 2, "seed: expected a whole number"),
    "an option twice": (
        b'{\n "seed": 7,\n "max_epochs": 3,\n "seed": 8}',
        4,
        "each option once, got 'seed' again; it is in",
    ),
    "an option twice, spelled apart": (b'{\n "seed": 7,\n "\\u0073eed": 7}', 3, "each option once"),
    "deep lists": (b'{\n "seed": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 2, "nested too deep"),
    "deep objects": (b'{\n\n "seed": ' + b'{"a":' * 5000, 3, "nested too deep"),
    "an unknown option": (b'{\n "seed": 7,\n "max_epoch": 3}', 3, "unknown option 'max_epoch'; did you mean 'max_epochs'?"),
    "a wrong type": (b'{\n "max_epochs": 3,\n "seed": "7"}', 3, 'seed: expected int, got "7"'),
    "an object for a value": (b'{\n "seed": {"seed": 7}}', 2, "seed: expected int"),
    "out of range": (b'{\n "max_epochs": 3,\n\n "seed": -1}', 4, "seed: expected a number from 0"),
}
COMMANDS = (["train-ner"], ["train-w2v"], ["train-ner", "--seeds", "2"])


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_file_of_settings_is_one_line_and_no_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data, line, said = WRONG[name]
    Path("my.json").write_bytes(data)
    for config in (TrainConfig, TaggerConfig, Word2VecConfig):
        if b'"lr"' in data and config is TrainConfig:
            continue
        with pytest.raises(ConfigError) as caught:
            config.load("my.json")
        assert str(caught.value).startswith(f"my.json:{line}: "), caught.value
        assert said in str(caught.value)
    for command in COMMANDS:
        done = CliRunner().invoke(cli.main, [*command, "--config", "my.json"])
        assert (done.exit_code, type(done.exception)) == (2, SystemExit)
        assert done.output == f"error: {caught.value}\n"
    assert os.listdir() == ["my.json"]


@pytest.mark.parametrize("made", ["missing", "folder", "run", "pipe", "device", "large"])
def test_what_is_no_file_is_said(made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path, said = Path("my.json"), "expected a file of settings, got "
    if made == "missing":
        said = "cannot read the config file: No such file"
    elif made in ("folder", "run"):
        path.mkdir()
        if made == "run":
            (path / "config.json").write_text(GOOD)
        said += "a folder; give the config.json in it" if made == "run" else "a folder"
    elif made == "pipe":
        os.mkfifo(path)  # which nobody writes to
        said += "a pipe or a device"
    elif made == "device":
        path = Path("/dev/null")
        said += "a pipe or a device"
    else:
        with open(path, "wb") as stream:
            stream.truncate(settings_file.LARGEST + 1)
        said += "one of 16,777,217 bytes"
    for command in COMMANDS:
        done = CliRunner().invoke(cli.main, [*command, "--config", str(path)])
        assert done.exit_code == 2
        assert done.output.startswith(f"error: {path}: {said}")
        assert done.output.count("\n") == 1
    assert os.listdir() == ([] if made in ("missing", "device") else ["my.json"])


@pytest.mark.parametrize(
    "data",
    [
        GOOD.encode(),
        GOOD.encode("utf-8-sig"),
        GOOD.replace("\n", "\r\n").encode(),
        b'{"seed":7,"max_epochs":3}',
        b'\n\n  {"\\u0073eed": 7, "max_epochs": 3}  \n',
    ],
    ids=["plain", "a mark", "CRLF", "one line", "escapes"],
)
def test_ways_to_write_the_same_settings(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "my.json"
    path.write_bytes(data)
    assert TrainConfig.load(path) == TrainConfig(seed=7, max_epochs=3)


def test_what_looks_like_a_constant_in_a_text_is_text(tmp_path: Path) -> None:
    path = tmp_path / "my.json"
    path.write_text(json.dumps({"data": 'NaN "Infinity, {[', "train": "seed\\", "valid": "a", "test": "b"}))
    assert TaggerConfig.load(path).data == 'NaN "Infinity, {['


def test_every_setting_comes_back_with_its_line(tmp_path: Path) -> None:
    for config in (TaggerConfig(), Word2VecConfig()):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(config.to_dict(), indent=2) + "\n")
        assert type(config).load(path) == config
        read = settings_file.read(path)
        assert list(read.lines) == [item.name for item in dataclasses.fields(config)]
        lines = path.read_text().split("\n")
        assert all(lines[line - 1].startswith(f'  "{name}":') for name, line in read.lines.items())


def test_settings_that_fit_only_together_are_judged_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by itself contradicts a default; what is typed and the file do not contradict each other."""
    monkeypatch.chdir(tmp_path)
    Path("my.json").write_text('{"noise_words": 60, "corpus": ["gone.txt"]}')
    done = CliRunner().invoke(cli.main, ["train-w2v", "--config", "my.json", "--block", "6"])
    assert done.output == "error: gone.txt: expected a text to read, got nothing\n"
