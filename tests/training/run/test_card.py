"""A run's card: what the manifest says is there, what it does not say is listed as not known, and nothing is made up."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import cli
from ner.config import TaggerConfig
from ner.scoring.errors import KINDS
from training.run.card import NEVER_KNOWN, Card, group_of, make_card
from training.run.manifest import wrong_entry

DIGEST = "ab" * 32
ENTITIES = {"LOC": 3, "PER": 4}
MANIFEST: dict[str, Any] = {
    "kind": "ner", "status": "finished", "config": {"seed": 0, "decoder": "crf", "data": "/home/ada/data", "lr": 0.002},
    "inputs": {"train": {"path": "/home/ada/data/train.conll", "sha256": DIGEST, "bytes": 1234}},
    "code": {"source_sha256": "cd" * 32, "git_commit": "ef" * 20, "git_clean": True},
    "environment": {"level": "run", "python": "3.12.1", "packages": {"torch": "2.13.0"}, "cpu": "a CPU", "device": "cpu"},
    "metrics": {"test_f1": 0.5625, "best_val_f1": 0.625}, "weights_sha256": "12" * 32, "seal": "34" * 32,
    "confidence_temperature": 1.25, "calibration": {"entities": 120, "before": 0.75, "after": 0.5},
    "splits": {name: {"sentences": 7, "words": 11, "entities": ENTITIES} for name in ("train", "valid", "test")},
    "errors": {kind: {"LOC": i + 2, "PER": 2 * i + 40} for i, kind in enumerate(KINDS)},
    "unkept": ["a line on what was not kept"], "changes": [{"step": 4, "changed": ["torch: 1 and 2"]}],
}  # fmt: skip
ODD: list[Any] = [None, True, -1, 0.5, 10**400, float("nan"), "", "a|b\n# c\x1b[2J<b>`", [], ["x"], {}, {"x": {"y": []}}]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value in a manifest, branches among them."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield (*path, name)
            yield from places(each, (*path, name))


def changed(path: tuple[Any, ...], *value: Any) -> dict[str, Any]:
    """The manifest with another value there, or without one."""
    made = copy.deepcopy(MANIFEST)
    inner = made
    for name in path[:-1]:
        inner = inner[name]
    inner.pop(path[-1])
    for each in value:
        inner[path[-1]] = each
    return made


def leaves(value: Any) -> Iterator[Any]:
    """All plain values, and names, in nested ones."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from leaves(each)
    else:
        yield value


def card_of(*manifests: dict[str, Any], group: Any = None) -> Card:
    return make_card(manifests, group, cli.KINDS[str(manifests[0]["kind"])].card_function())


def test_a_whole_manifest_has_all_its_parts() -> None:
    card = card_of(MANIFEST)
    facts, text = card.to_dict(), card.to_markdown()
    names = ["data", "scores", "splits", "errors", "calibration", "settings", "determinism", "verify", "versions"]
    assert [name for name in facts if name in names] == names
    assert facts["errors"] == MANIFEST["errors"]
    assert facts["scores"] == {"run": MANIFEST["metrics"]}
    for said in (
        DIGEST,
        "|test_f1|0.5625|",
        "|train|7|11|",
        "1.25",
        "34" * 32,
        "a line on what was not kept",
        "torch: 1 and 2",
    ):
        assert said in text, said
    assert "/home" not in text + card.to_json(), "a place on the machine that made the run"
    assert [line for line in facts["not_known"] if line not in NEVER_KNOWN] == [
        "how well calibrated its confidences are on the test file",
        "the spread of the scores over seeds: the run is in no finished group of several (--seeds)",
    ][::-1]


@pytest.mark.parametrize("path", [*places(MANIFEST)], ids=".".join)
def test_what_is_gone_or_odd_is_not_known_and_nothing_is_made_up(path: tuple[Any, ...]) -> None:
    """Every entry of a manifest is left out, and put in as every odd value that can be read as a manifest's."""
    whole = card_of(MANIFEST)
    tried = 0
    for value in ((), *((each,) for each in ODD)):
        described = changed(path, *value)
        if wrong_entry(described) is not None or described["kind"] != "ner":
            continue
        tried += 1
        card = card_of(described)
        facts = json.loads(card.to_json())
        assert facts.keys() <= {*whole.to_dict()}
        gone = {*whole.to_dict()} - {*facts}
        assert not gone or len(card.unknown) > len(whole.unknown)
        stated = [each for each in leaves(described) if isinstance(each, int | float)]
        told = [each for name in facts if name not in ("version", "not_known") for each in leaves(facts[name])]
        made_up = [each for each in told if isinstance(each, int | float) and each not in stated]
        assert not made_up
        text = card.to_markdown()
        assert "\x1b" not in text
        assert "<b>" not in text.replace("\\<b>", "")
        assert "\n# c" not in text
    assert tried or path in [("kind",), ("status",), ("config",)]


def write_group(root: Path, scores: list[float], *, finished: bool = True) -> Path:
    """A group's folder with manifests of an earlier version, which have no seal."""
    folder = root / "group_0"
    for seed, score in enumerate(scores):
        run = folder / f"seed_{seed}"
        run.mkdir(parents=True)
        described = {name: value for name, value in MANIFEST.items() if name != "seal"}
        described["config"] = {**MANIFEST["config"], "seed": seed}
        described["metrics"] = {"test_f1": score}
        described["status"] = "finished" if finished or seed else "stopped"
        (run / "manifest.json").write_text(json.dumps(described))
        (run / "config.json").write_text(json.dumps(described["config"]))
    (folder / "group.json").write_text(json.dumps({"kind": "group", "seeds": [*range(len(scores))]}))
    (folder / "config.json").write_text(json.dumps(TaggerConfig().to_dict()))
    summary = {"seeds": [*range(len(scores))], "metrics": {}}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def test_a_group_has_a_card_and_gives_its_runs_the_spread(tmp_path: Path) -> None:
    group = write_group(tmp_path, [0.5, 0.625, 0.75])
    whole, one = (
        CliRunner().invoke(cli.main, ["runs", "card", str(path)], catch_exceptions=False)
        for path in (group, group / "seed_1")
    )
    assert whole.exit_code == one.exit_code == 0
    assert "# Model card: ner, 3 seeds" in whole.output
    assert "|test_f1|0.6250|0.6250|0.1250|0.5000|0.7500|" in whole.output
    assert "|test_f1|0.6250|0.6250|0.6250|0.1250|0.5000|0.7500|" in one.output
    assert f"all 3 seeds together, {'with strict scoring'}" in whole.output
    assert "|type: right words, other type|135|9|126|" in whole.output, "three times what one run has"
    assert "a seal: the run is of an earlier version" in whole.output


def test_a_run_beside_others_that_have_not_finished_has_no_spread(tmp_path: Path) -> None:
    group = write_group(tmp_path, [0.5, 0.75], finished=False)
    assert group_of(group / "seed_1") is None
    result = CliRunner().invoke(cli.main, ["runs", "card", str(group / "seed_1")])
    assert result.exit_code == 0
    assert "the spread of the scores over seeds" in result.output
    refused = CliRunner().invoke(cli.main, ["runs", "card", str(group)], standalone_mode=True)
    assert refused.exit_code == 2
    assert "expected a finished run" in refused.output


def test_many_types_are_shown_in_part_and_told_to_machines_in_full() -> None:
    entities = {f"T{i}": i for i in range(300)}
    described = changed(("splits", "train", "entities"), entities)
    card = card_of(described)
    assert card.to_dict()["splits"]["train"]["entities"] == entities
    assert max(map(len, card.to_markdown().splitlines())) < 1000
    assert "not shown: " in card.to_markdown()
