"""What the teacher makes of the sentences that are trained on: read once before training, and kept until the run is over.

The run's folder has them in ``teacher.ckpt`` while it is not finished, and their digest stands in the manifest: a run that
is resumed goes on with what its teacher read at first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ner.corpus.conll import Sentence
from ner.corpus.scheme import allowed_transitions
from ner.distillation.teacher import Teacher
from ner.inputs.batches import Encoded, Ids, Readings, Values, ranges
from ner.inputs.document import Numbering, Tokenized
from ner.inputs.indexer import Indexer
from ner.model.ensemble import mask_alone
from ner.model.mixture import Mixture
from ner.tagging.chunks import chunks
from training import checkpoint
from training.digest import weights_sha256
from training.errors import Preempted, ReproducibilityError
from training.parallel.group import join
from training.run.experiment import Experiment

KEPT = "teacher.ckpt"
Step = Callable[[int], None]
"""Told how many sentences are read; may raise."""


def with_readings(
    run: Experiment, teacher: Teacher, encoded: Encoded, sentences: Sequence[Sentence], shares: Values, indexer: Indexer
) -> Encoded:
    """The sentences with the teacher's readings of them, which process 0 makes for all.

    Args:
        run: whose folder keeps them, and whose manifest says what they are.
        teacher: reads in the same labels.
        encoded: the sentences, with labels.
        sentences: the same.
        shares: (S,), what the teacher's reading of each counts beside the sentence's own tags, 0 to 1.
        indexer: their tables.

    Raises:
        ReproducibilityError: the teacher does not read what it read when the run began, and what it read is gone.
        Preempted: a stop was asked for meanwhile.
    """
    kept = join(run.config).first(lambda: _kept(run, teacher, sentences, indexer))
    run.run.manifest["teacher"] = {**teacher.facts(), "readings_sha256": weights_sha256(kept)}
    run.run.write_manifest()
    read_ones = np.array([not _unknown_to(teacher, sentence) for sentence in sentences])
    readings = Readings(
        tokens=kept["tokens"].numpy(), moves=kept["moves"].numpy(), shares=shares * read_ones, pairs=_numbers(indexer)[0]
    )
    return replace(encoded, readings=readings)


def forget(run: Experiment) -> None:
    """Delete the readings that the run keeps: its training is over."""
    checkpoint.remove(run.run.path / KEPT)


def _kept(run: Experiment, teacher: Teacher, sentences: Sequence[Sentence], indexer: Indexer) -> dict[str, Tensor]:
    """The readings: those in the run's folder, or where there are none new ones, which are put there."""
    path = run.run.path / KEPT
    stated = run.run.manifest.get("teacher", {}).get("readings_sha256")
    if stated and not checkpoint.verify(path):
        found = checkpoint.load_weights(path)
        if weights_sha256(found) == stated:
            return found
    found = read(teacher, sentences, indexer, lambda done: _step(run, done, len(sentences)))
    if stated not in (None, weights_sha256(found)) and not run.options.allow_changes:
        raise ReproducibilityError(
            f"{run.run.path}: the teacher {teacher.folder} gives other readings than when the run began, and the first ones "
            f"are gone ({KEPT}), so the run would end with other bits; restore them, or resume with --allow-changes"
        )
    checkpoint.save(path, {"weights": found})
    return found


def _step(run: Experiment, done: int, total: int) -> None:
    if run.keeper.asked:
        raise Preempted(f"stopped while the teacher was reading: {run.keeper.asked}")
    if run.options.progress:
        run.options.progress("the teacher reads", done, total)


def read(teacher: Teacher, sentences: Sequence[Sentence], indexer: Indexer, step: Step) -> dict[str, Tensor]:
    """The teacher's readings of S sentences with N tokens, as Readings has them, in the order of the indexer's labels.

    Each is read beside the others of its document, as in predict. A -DOCSTART- row that the teacher does not know has none.

    Args:
        teacher: reads in the same labels.
        sentences: in order.
        indexer: their tables.
        step: told after each part of the sentences how many are read.

    Returns:
        ``tokens`` (N, L) and ``moves`` (S, A), float32.
    """
    tagger = teacher.tagger
    mixture = Mixture(tagger.model, allowed_transitions(tagger.indexer.labels, tagger.indexer.scheme))
    labels = torch.tensor([tagger.indexer.labels.index(label) for label in indexer.labels])  # shape: (L,)
    pairs = _numbers(indexer)[1]  # shape: (A, 2)
    moved = torch.from_numpy(_numbers(tagger.indexer)[0])[labels[pairs[:, 0]], labels[pairs[:, 1]]]  # shape: (A,)
    lengths = np.array([len(sentence.words) for sentence in sentences], np.int64)
    starts = np.cumsum(lengths) - lengths
    tokens = torch.zeros(int(lengths.sum()), len(labels))
    moves = torch.zeros(len(sentences), len(pairs))
    number, done = Numbering(), 0
    numbered = [Tokenized(() if _unknown_to(teacher, s) else s.words, number(s) + 1) for s in sentences]
    for chunk in chunks(numbered, document=lambda each: each.document, tokens=lambda each: len(each.words)):
        for batch in tagger.batches([each.words for each in chunk], [each.document for each in chunk]):
            with tagger.precision():
                of_tokens, of_pairs = mixture(batch)
            read_ones = batch.sentences.cpu().numpy() + done
            rows = ranges(starts[read_ones], batch.lengths.cpu().numpy())
            tokens[torch.from_numpy(rows)] = of_tokens.cpu()[:, labels].float()
            moves[torch.from_numpy(read_ones)] = of_pairs.cpu()[:, moved].float()
        done += len(chunk)
        step(done)
    return {"tokens": tokens, "moves": moves}


def _unknown_to(teacher: Teacher, sentence: Sentence) -> bool:
    """Whether it is a -DOCSTART- row, and the teacher was trained without such rows."""
    return sentence.is_docstart and teacher.tagger.config.docstart != "keep"


def _numbers(indexer: Indexer) -> tuple[Ids, Tensor]:
    """The number of each allowed pair of labels (L, L), -1 for the others; and the pairs (A, 2), in order."""
    size = len(indexer.labels)
    pairs = mask_alone(size, allowed_transitions(indexer.labels, indexer.scheme)).pairs
    numbers = torch.full((size, size), -1)
    numbers[pairs[:, 0], pairs[:, 1]] = torch.arange(len(pairs))
    return numbers.numpy(), pairs
