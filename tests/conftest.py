"""What the tests share: their order, what ``make quick`` leaves out, one thread, and small data of our own."""

from __future__ import annotations

import functools
import gc
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from training import checkpoint
from training.digest import weights_sha256
from training.parallel import launch
from training.run import environment, seal
from training.run.folder import read_manifest
from training.run.manifest import as_text

os.environ.update(launch.RESOLVER)

# The fast suite draws the same cases every time; the soak tests draw others.
settings.register_profile("fast", derandomize=True, deadline=None)
settings.load_profile("fast")

TESTS = Path(__file__).resolve().parent
SAMPLE = TESTS.parent / "data" / "sample"

LONGEST = ("proof/test_named_kills.py", "conformance/test_conformance.py", "training/determinism/test_levels.py",
           "ner/seeds/test_groups.py", "commands/test_cli.py", "commands/test_choices.py")  # fmt: skip
"""What holds tests that take long and cannot be cut up: it comes first, so that two processes end at the same time."""

SLOW = {
    "trains again and again, from files to a run's folder": [
        "commands/test_choices.py",
        "ner/seeds/test_groups.py",
        "ner/test_explain.py::test_a_run_says*",
        "ner/start/test_start_from.py",
        "ner/suspects/test_suspects.py",
        "ner/test_train_tagger.py",
        "ner/test_watching.py",
        "ner/test_whole_tagger.py",
        "test_tiny_data.py",
        "training/determinism/test_levels.py::test_a_tagger_trained_with_any_threads",
        "training/data/test_loaders.py::test_taken_up_at_any_batch_it_goes_on_with_the_same_bits",
        "word2vec/test_start.py",
        "word2vec/test_train.py",
        "word2vec/vectors/test_stability.py",
    ],
    "leaves a training everywhere, or stops, kills, breaks or changes real runs": [
        "proof",
        "training/parallel/test_launch.py",
        "training/parallel/test_losses.py",
        "training/parallel/test_network.py",
        "training/run/test_break_resume.py",
        "training/run/test_lock.py",
        "training/run/test_ask.py",
        "training/run/test_own.py",
        "training/run/test_places.py",
        "training/run/test_resume.py",
        "training/run/test_seal.py",
        "training/run/test_verify.py",
        "word2vec/test_processes.py",
        "training/*::test_left_*",
    ],
    "trains in several processes": ["parallel", "ner/test_tagger_in_processes.py"],
    "begins an interpreter that imports torch": [
        "commands/test_devices.py",
        "commands/test_cli.py::test_the_two_commands_in_a_folder_of_their_own",
        "commands/test_predict_cli.py::test_it_answers_line_by_line_and_an_interrupt_ends_it_with_one_line",
        "ner/tagging/test_flat_memory.py::test_no_word_sentence_or_line_takes_memory_as_it_is_long",
        "training/determinism/test_levels.py::"
        "test_a_portable_run_starts_itself_anew_and_gives_the_same_bits_with_other_code",
        "training/determinism/test_levels.py::"
        "test_a_users_portable_program_starts_itself_anew_and_gives_the_same_bits_with_other_code",
        "training/determinism/test_levels.py::test_without_portable_other_code_gives_other_bits",
        "training/determinism/test_users_modules.py::test_spawned_workers_have_the_levels",
        "training/loop/test_memory.py",
    ],
    "walks all commands, pages or cases, or runs Lightning, too": [
        "commands/test_new_targets.py::test_what_is_there_already_stays",
        "commands/test_standard_streams.py",
        "conformance",
        "data/test_sample.py::test_made_anew_it_is_the_same",
        "docs",
        "examples",
        "fuzz",
        "ner/corpus/test_file_kinds.py::test_every_reader_names_the_line_the_byte_and_the_encoding",
        "ner/scoring/test_metrics.py::test_counts_of_random_texts_equal_seqevals",
        "ner/tagging/test_tagger.py::test_confidence_is_that_of_enumeration",
        "ner/test_linear_work.py",
        "training/callbacks/test_model_checkpoint.py::test_a_state_made_by_somebody_has_no_other_file_deleted",
        "training/loop/test_keywords.py",
        "training/loop/test_model_summary.py",
        "training/loop/test_tables.py",
    ],
}
"""Why something is no unit test, and what: folders, files, tests with all their cases (* stands for anything)."""


def is_slow(path: Path, test: str = "") -> bool:
    """Whether SLOW names a test, or what it stands in."""
    file = path.relative_to(TESTS)
    whole = {str(file), *map(str, file.parents)}
    return any(name in whole or fnmatchcase(f"{file}::{test}", name) for names in SLOW.values() for name in names)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where no slow test is wanted, what holds nothing else is not even imported: Lightning alone takes seconds."""
    return True if "not slow" in config.option.markexpr and is_slow(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest first, and mark what is slow."""
    files = {item: str(item.path.relative_to(TESTS)) for item in items}
    items.sort(key=lambda item: LONGEST.index(files[item]) if files[item] in LONGEST else len(LONGEST))
    for item in items:
        if is_slow(item.path, item.name.partition("[")[0]):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """What the imports made stays: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _code_is_looked_at_once() -> Iterator[None]:
    """Each run says what code it is of. It stays the same meanwhile: its files are hashed, and git is asked, once."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(environment, "code", functools.cache(environment.code))
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_wait_for_the_disk() -> Iterator[None]:
    """A sync guards against a loss of power, which no test can bring about; its place among the writes they do look at."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", os.fstat)  # which refuses what is not open, too
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Tiny tensors only lose time on several threads. Tests of thread counts set their own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def head(path: Path, sentences: int) -> str:
    """The first so many sentences of a CoNLL file."""
    return "\n\n".join(path.read_text(encoding="utf-8").split("\n\n")[:sentences]) + "\n\n"


def reseal(run: Path, **values: Any) -> None:
    """Give a finished run other values, and all digests and the seal as its files are now: it is what it says, then."""
    described = {**read_manifest(run), **values}
    if (run / seal.MODEL).is_file():
        described["weights_sha256"] = weights_sha256(checkpoint.load_weights(run / seal.MODEL))
    seal.put_on(run, described)
    (run / seal.MANIFEST).write_text(as_text(described))


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train, valid and test files of 120, 40 and 40 sentences of the sample."""
    folder = tmp_path_factory.mktemp("small")
    for name, count in (("train", 120), ("valid", 40), ("test", 40)):
        (folder / f"{name}.conll").write_text(head(SAMPLE / f"{name}.conll", count), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def small_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of 400 paragraphs of the sample."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    lines = (SAMPLE / "text.txt").read_text(encoding="utf-8").splitlines()[:400]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
