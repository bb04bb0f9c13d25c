"""The tables and weights of a tagger that goes on from another one: what both know keeps its numbers.

Rows are carried over by what they stand for: those of words by the word, of characters by the character, of labels by the
label, and transitions by both labels. What the start does not know has the initial numbers of a new tagger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from ner.corpus.scheme import labels_of
from ner.inputs.indexer import FIRST, Indexer
from ner.model.tagger import Tagger
from ner.tagging.load import Saved

BY_LABEL = ("linear.weight", "linear.bias", "crf.start_transitions", "crf.end_transitions")
TRANSITIONS, CHARACTERS = "crf.transitions", "characters.embeddings"
WORDS = ("words.weight", "words.fixed")


class Joined(NamedTuple):
    """The tables of a start and of new sentences together."""

    indexer: Indexer
    tuned: int
    """Rows of the word table that are trained; they stand first."""


def joined(start: Saved, new: Indexer, counts: Mapping[str, int], least: int, has_vector: Callable[[str], bool]) -> Joined:
    """The start's words, characters and labels, in their order, and behind them those that are new, in theirs.

    Args:
        start: the tagger that is trained further.
        new: the tables of the new training sentences, with the start's rule and scheme.
        counts: how often each word, in that rule's form, occurs in them.
        least: words that occur so often are trained. Of the others those that the start does not know are left out, unless
            they have a vector: nothing would tell them from the unknown word.
        has_vector: whether a word has one.

    Returns:
        The tables. Words whose vectors are trained stand first: those that the start trained, then the others.
    """
    old, cut = list(start.indexer.words), len(start.weights[WORDS[0]]) - FIRST
    fresh = [word for word in new.words if word not in start.indexer.words]
    later = [*old[cut:], *fresh]
    tuned = [*old[:cut], *(word for word in later if counts.get(word, 0) >= least)]
    fixed = [word for word in old[cut:] if counts.get(word, 0) < least]
    fixed += [word for word in fresh if counts.get(word, 0) < least and has_vector(word)]
    types = dict.fromkeys([*start.indexer.types, *new.types])
    tables = replace(
        start.indexer,
        characters=_table([*start.indexer.characters, *new.characters]),
        labels=tuple(labels_of(types, new.scheme)),
    )
    return Joined(tables.with_words([*tuned, *fixed]), FIRST + len(tuned))


def _table(items: Sequence[str]) -> dict[str, int]:
    return {item: i for i, item in enumerate(dict.fromkeys(items), FIRST)}


@torch.no_grad()
def carry_over(start: Saved, model: Tagger, indexer: Indexer) -> None:
    """Give the new model the start's numbers where both have the same word, character, label or layer.

    Args:
        start: the tagger that is trained further.
        model: with its initial weights, which stay where the start has none.
        indexer: the model's tables; they have all that the start's have (see ``joined``).
    """
    was = start.indexer
    labels = places(was.labels, indexer.labels)
    characters = torch.cat([torch.arange(FIRST), places(list(was.characters), list(indexer.characters)) + FIRST])
    for name, weight in model.state_dict(keep_vars=True).items():
        if name in WORDS:
            continue
        old = start.weights[name]
        if name == TRANSITIONS:
            weight[labels[:, None], labels] = old.to(weight)
        elif name in BY_LABEL:
            weight[labels] = old.to(weight)
        elif name == CHARACTERS:
            weight[characters] = old.to(weight)
        else:
            weight.copy_(old)
    _carry_words(start, model, indexer)


def _carry_words(start: Saved, model: Tagger, indexer: Indexer) -> None:
    """The word table's rows, of which each side has trained ones and, behind them, fixed ones."""
    table = model.words
    rows = torch.cat([table.weight, table.fixed])
    old = torch.cat([start.weights[name] for name in WORDS if name in start.weights])
    rows[:FIRST] = old[:FIRST].to(rows)
    rows[places(list(start.indexer.words), list(indexer.words)) + FIRST] = old[FIRST:].to(rows)
    table.weight.copy_(rows[: len(table.weight)])
    table.fixed.copy_(rows[len(table.weight) :])


def places(old: Sequence[str], new: Sequence[str]) -> Tensor:
    """For each of the old names its place among the new ones, int64 (len(old),)."""
    of = {name: i for i, name in enumerate(new)}
    return torch.tensor([of[name] for name in old], dtype=torch.int64)
