"""One encoded text for all processes: process 0 has read it, and those that don't see its file are sent the ids."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import torch

from training.parallel.group import Group
from word2vec.text.corpus import CHUNK, Corpus


def local(corpus: Corpus, folder: Path, group: Group) -> Corpus:
    """The corpus of process 0, whose file lies in ``folder`` where this process runs on another machine.

    On one machine all map the same file. All processes call it.
    """
    if group.world == 1:
        return corpus
    name = Path(corpus.path).name
    corpus = corpus.moved(group.broadcast(Path(corpus.path).resolve()))
    seen = group.broadcast(platform.node()) == platform.node() and Path(corpus.path).is_file()
    if all(group.gather(seen)):
        return corpus
    return _sent(corpus, None if seen else folder / name, group)


def _sent(corpus: Corpus, target: Path | None, group: Group) -> Corpus:
    """The corpus, its ids written to ``target`` as process 0 sends them."""
    ids = corpus.ids() if group.writes else None
    if target is not None:
        target.write_bytes(b"")
    for begin in range(0, corpus.tokens, CHUNK):
        part = torch.empty(min(CHUNK, corpus.tokens - begin), dtype=torch.int32)
        if ids is not None:
            part.copy_(torch.from_numpy(np.array(ids[begin : begin + CHUNK])))
        group.share([part])
        if target is not None:
            with target.open("ab") as file:
                file.write(part.numpy().astype("<i4").data)
    return corpus if target is None else corpus.moved(target)
