"""What a training run leaves behind about its test: the report's files and TensorBoard's pages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ner.corpus.conll import Sentence
from ner.corpus.scheme import to_spans
from ner.scoring.html import page
from ner.scoring.report import WORST, Evaluation
from training.files import atomic_write
from training.run.folder import Run


def full_text(found: Evaluation, worst: int = WORST, notes: Sequence[str] = ()) -> str:
    """What looks wrong with the run, if anything does; seqeval's own strict report; and then all of ours."""
    wrong = "".join(f"warning: {line}\n" for line in notes) + ("\n" if notes else "")
    return f"{wrong}seqeval's report, strict\n\n{found.scores.to_text()}\n\n{found.to_text(worst)}"


def write_test_report(run: Run, found: Evaluation, step: int, notes: Sequence[str] = ()) -> None:
    """test_report.txt and test_report.html, and each table on TensorBoard's text page.

    The run's place and the data's are left out, so that the same run elsewhere gives the same bytes. ``notes``: what looks
    wrong with the run.
    """
    facts = {"Warning" if number == 1 else f"Warning {number}": line for number, line in enumerate(notes, 1)}
    files = {"test_report.txt": full_text(found, notes=notes), "test_report.html": page(found, "Test report", facts)}
    for name, content in files.items():
        atomic_write(run.path / name, content)
    for name, table in found.tables().items():
        run.board.text(f"test/{name}", table.to_markdown(), step)
    worst = "\n\n".join(found.sentence_text(i) for i in found.worst()[:20])
    run.board.text("test/worst sentences", "\n".join(f"    {line}" for line in worst.splitlines()) or "no errors", step)


def show_precision_recall(
    run: Run, sentences: Sequence[Sentence], probabilities: Sequence[Tensor], types: Sequence[str], step: int
) -> None:
    """TensorBoard's precision-recall curves: for each type, whether a word is part of an entity of it.

    ``probabilities``: for each sentence (words, types), as the model gives them. Words, since an entity's probability would
    need a decision first on what its words are.
    """
    if not sentences:
        return
    inside = torch.zeros(sum(len(s.words) for s in sentences), len(types), dtype=torch.bool)
    at = 0
    for sentence in sentences:
        for span in to_spans(sentence.tags):
            if span.type in types:
                inside[at + span.start : at + span.end, types.index(span.type)] = True
        at += len(sentence.words)
    every = torch.cat(list(probabilities))
    for column, name in enumerate(types):
        run.board.pr_curve(f"test/words of {name or '_'}", inside[:, column], every[:, column], step)
