"""A key that stands twice in a JSON object is refused wherever JSON is read: which of its values holds is not guessed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.corpus.labeled import read_labeled
from ner.predict import predict_stream
from tests.ner.small_tagger import tagger
from training import settings_file
from training.errors import ConfigError, DataError
from training.files import parse_json
from training.run.folder import read_jsonl
from training.yaml import read_yaml
from word2vec.vectors.vectors import read_rule

RECORD = '{"text": "Ada ran", "spans": []}\n'
TWICE = '{"text": "Ada ran", "text": "Bo ran", "spans": []}\n'
INSIDE = '{"text": "Ada ran", "spans": [{"start": 0, "end": 3, "end": 2, "label": "PER"}]}\n'
PAIR = '["Ada ran", {"entities": [], "entities": [[0, 3, "PER"]]}]\n'


def predict(path: Path) -> str:
    return "".join(predict_stream(tagger(3), str(path), "jsonl", "jsonl"))


# By name: what reads a file, its content, and where the message is to be.
READERS: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "labeled lines": (read_labeled, RECORD + TWICE, ":2"),
    "labeled lines, in a span": (read_labeled, RECORD + INSIDE, ":2"),
    "labeled list": (read_labeled, f"[{RECORD},\n{TWICE}]", ":3"),
    "a labeled object": (read_labeled, TWICE.replace(",", ",\n"), ":1"),
    "spaCy's pairs": (read_labeled, PAIR, ":1"),
    "predict's lines": (predict, RECORD + TWICE, ":2"),
    "predict's pairs": (predict, PAIR, ":1"),
    "predict's list": (predict, f"[{RECORD},\n{TWICE}]", ":3"),
    "settings": (settings_file.read, '{"seed": 1,\n "seed": 2}', ":2"),
    "a ledger": (read_jsonl, '{"step": 1}\n{"step": 2, "step": 3}\n', ":2"),
    "the rule of vectors": (lambda path: read_rule(path.with_name("v.txt")), '{"tokenize": true, "tokenize": false}', ""),
    "a logger's hparams": (read_yaml, "lr: 1\nlr: 2\n", ":2"),
    "in a logger's hparams": (read_yaml, 'lr: 1\nsome: {"a": 1, "a": 2}\n', ":2"),
}


@pytest.mark.parametrize("name", READERS)
def test_every_reader_refuses_a_key_that_stands_twice(tmp_path: Path, name: str) -> None:
    read, content, where = READERS[name]
    path = tmp_path / "v.rule.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises((DataError, ConfigError)) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}{where}: expected ")


def keys_twice(value: Any) -> bool:
    """By definition, on JSON that json has read as pairs."""
    if isinstance(value, tuple):
        keys = [key for key, _ in value]
        return len(set(keys)) < len(keys) or any(keys_twice(each) for _, each in value)
    return isinstance(value, list) and any(map(keys_twice, value))


def as_json(value: Any) -> str:
    if isinstance(value, tuple):
        return "{" + ", ".join(f"{json.dumps(key)}: {as_json(each)}" for key, each in value) + "}"
    return "[" + ", ".join(map(as_json, value)) + "]" if isinstance(value, list) else json.dumps(value)


PAIRS = st.recursive(
    st.integers() | st.text(max_size=2),
    lambda each: st.lists(each, max_size=3) | st.lists(st.tuples(st.sampled_from("ab é"), each), max_size=3).map(tuple),
)


@given(PAIRS)
def test_keys_are_told_apart_as_by_definition(value: Any) -> None:
    text = as_json(value)
    if not keys_twice(value):
        assert parse_json(text) == json.loads(text)
        return
    with pytest.raises(ValueError, match="twice in an object; leave one out"):
        parse_json(text)
