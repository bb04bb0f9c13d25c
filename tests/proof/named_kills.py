"""Kills at named points of the runs of the tagger, of word2vec and of the language model. As a program: runs them all.

The trials fork, which a test process with threads should not do: tests/proof/test_named_kills.py starts this program once.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from pathlib import Path
from signal import SIGTERM

from tests.proof import trials
from tests.proof.trials import Kill
from training.run import environment

KILLS: dict[str, list[Kill]] = {
    "tagger": [
        Kill("rename:run"),  # before there is a folder
        Kill("training batch", 2),  # before there is a checkpoint
        Kill("append:metrics.jsonl", 8, half=True),
        Kill("append:ledger.jsonl", 9, half=True),
        Kill("appended:ledger.jsonl", 12),
        Kill("backward in an open window", 8),
        Kill("validation batch", 14),
        Kill("write:resume-000002.ckpt"),
        Kill("fsync:resume-000002.ckpt"),
        Kill("renamed:resume-000002.ckpt.sha256"),
        Kill("rename:resume-000002.ckpt"),
        Kill("renamed:resume-000002.ckpt"),
        Kill("verified:resume", 2),
        Kill("removed:resume-000001.ckpt"),
        Kill("rename:best", 2),
        Kill("backward in an open window", 5, number=SIGTERM),
        Kill("validation batch", 4, number=SIGTERM),
        Kill("test batch", 2),
        Kill("write:model.ckpt"),
        Kill("rename:predictions.conll"),
        Kill("finish"),
        Kill("rename:manifest.json", 2),  # it would say "finished"
        Kill("removed:resume-000002.ckpt"),  # it says so
    ],
    "word2vec": [
        Kill("rename:corpus.ids.json"),
        Kill("fsync:manifest.json", 2),  # it would describe the text
        Kill("append:ledger.jsonl", 5, half=True),
        Kill("training batch", 11),
        Kill("training batch", 7, number=SIGTERM),
        Kill("fsync:resume-000002.ckpt"),
        Kill("renamed:resume-000002.ckpt"),
        Kill("rename:vectors.bin"),
        Kill("finish"),
        Kill("renamed:manifest.json", 3),  # it says "finished"
    ],
    "language model": [
        Kill("rename:run"),  # before there is a folder
        Kill("rename:vocab.tsv"),
        Kill("training batch", 2),  # before there is a checkpoint
        Kill("append:ledger.jsonl", 5, half=True),
        Kill("backward in an open window", 6),
        Kill("validation batch", 2),
        Kill("training batch", 11, number=SIGTERM),
        Kill("fsync:resume-000002.ckpt"),
        Kill("renamed:resume-000002.ckpt"),
        Kill("write:model.ckpt"),
        Kill("finish"),
        Kill("removed:resume-000002.ckpt"),  # the manifest says "finished"
    ],
}
MADE = {"tagger": trials.tagger, "word2vec": trials.word2vec, "language model": trials.language_model}


def main(folder: Path) -> dict[str, dict[str, dict[str, object]]]:
    """Kind → point → how the kill and the resume ended, and what differs from the run that was not stopped."""
    trials.small_inputs(folder, sentences=75)
    os.fsync = lambda fd: None  # a kill leaves the kernel's memory as it is: waiting for the disk decides nothing here
    environment.code = functools.cache(environment.code)  # nor does it change meanwhile
    trials.warm_up(folder)
    found: dict[str, dict[str, dict[str, object]]] = {}
    for kind, kills in KILLS.items():
        config = MADE[kind](folder)
        whole = folder / f"{kind}-whole"
        trials.points_of(config, whole)
        expected = trials.outcome(whole)
        found[kind] = {}
        for number, kill in enumerate(kills):
            run = folder / f"{kind}-{number}" / "run"
            run.parent.mkdir()
            killed = trials.Child(config, run, kill).wait()
            code = trials.resumed(config, run)
            differ = trials.differences(expected, trials.outcome(run)) if code == 0 else []
            log = run.with_name("run.log").read_text()[-2000:]
            found[kind][str(kill)] = {"killed": killed, "resumed": code, "differ": differ, "log": "" if code == 0 else log}
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
