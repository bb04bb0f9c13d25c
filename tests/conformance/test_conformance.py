"""The same runs on the installed Lightning and on ours, compared hook by hook.

Cases are generated: some hundred in the fast suite, always the same ones; thousands, always others, with ``-m soak``:

    python -m pytest -m soak tests/conformance
    SOAK_SEED=301 SOAK_CASES=1500 python -m pytest -m soak tests/conformance    # those of that seed again

A soak that is ended by SIGTERM fails with Lightning's SIGTERMException, since Lightning takes that signal for itself.
"""

from __future__ import annotations

import logging
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.conformance.both import differences, run_lightning, run_ours
from tests.conformance.strategies import cases
from tests.conformance.toy import Case, Log, Sched

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        "`isinstance.treespec, LeafSpec.` is deprecated",  # Lightning 2.6 on torch 2.13
        # What Lightning says of settings that a case has on purpose:
        "The number of training batches",
        "You defined a `validation_step` but have no",
        "Total length of `Loader` across ranks is zero",
        "Found 1 module.s. in eval mode",
        "`training_step` returned `None`",
        "The lr scheduler dict contains the key.s. ..strict",
        "lr_scheduler. without automatic optimization nothing is done for",  # and so do we
        "Using ModelCheckpoint with manual optimization and every_n_train_steps",
        "`ModelCheckpoint.monitor=.*could not find the monitored key",
        "ReduceLROnPlateau",  # not logged, and strict=False: both say so
    )
]
FEW, MANY = 300, 5000
ALWAYS = (
    Log("training_step", "loss", arguments=(("on_step", True), ("on_epoch", True), ("prog_bar", True))),
    Log("validation_step", "val", (1.0, 0.5, 0.5, 2.0)),
)


@pytest.fixture(autouse=True)
def _quiet_lightning() -> Iterator[None]:
    """Lightning tells a lot through logging; none of it is looked at here."""
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(before)


def compare(case: Case) -> None:
    """Run both; the test fails with the first differences."""
    with tempfile.TemporaryDirectory() as mine, tempfile.TemporaryDirectory() as other:
        ours, theirs = run_ours(case, Path(mine)), run_lightning(case, Path(other))
    found = list(differences(ours, theirs))
    assert not found, "\n".join([str(case), *found])


@settings(max_examples=FEW, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_generated_runs_are_the_same(case: Case) -> None:
    compare(case)


@pytest.mark.soak
def test_many_generated_runs_are_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    begun, many = time.monotonic(), int(os.environ.get("SOAK_CASES", MANY))
    start = int(os.environ.get("SOAK_SEED", random.SystemRandom().randrange(2**32)))
    distinct: set[str] = set()

    @seed(start)
    @settings(
        max_examples=many,
        deadline=None,
        derandomize=False,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(cases())
    def run(case: Case) -> None:
        distinct.add(repr(case))
        compare(case)

    with capsys.disabled():
        print(f"\n{many} runs on both, drawn from seed {start}: ", end="", flush=True)
        run()
        print(f"{len(distinct)} different ones, {time.monotonic() - begun:.0f} s")


# What the generator meets rarely, or what Lightning's documentation promises, one by one.
NAMED = {
    "nothing but defaults": Case(),
    "no validation at all": Case(n_val=()),
    "a quarter of 10 batches is 2": Case(n_train=10, settings=(("val_check_interval", 0.25),), logs=ALWAYS),
    "a quarter of 11 batches": Case(n_train=11, settings=(("val_check_interval", 0.25),), logs=ALWAYS),
    "a quarter of 7 batches is 1": Case(n_train=7, settings=(("val_check_interval", 0.25),), logs=ALWAYS),
    "truncated as floats are": Case(n_train=100, settings=(("val_check_interval", 0.29), ("max_epochs", 1)), recorded=False),
    "validation counted across epochs": Case(
        n_train=3, settings=(("check_val_every_n_epoch", None), ("val_check_interval", 4), ("max_epochs", 4)), logs=ALWAYS
    ),
    "a short last window": Case(n_train=7, settings=(("accumulate_grad_batches", 3),), logs=ALWAYS),
    "a step schedule while gradients accumulate": Case(
        n_train=7, settings=(("accumulate_grad_batches", 3),), schedulers=(Sched("step", "step", 2),), lr_monitor=()
    ),
    "plateau after each validation's epoch": Case(
        settings=(("max_epochs", 5),), schedulers=(Sched("plateau", monitor="val"),), logs=ALWAYS, lr_monitor=()
    ),
    "plateau by step on the training loss": Case(
        n_train=6, schedulers=(Sched("plateau", "step", 2, "loss_step"),), logs=ALWAYS, lr_monitor=()
    ),
    "early stopping counts checks": Case(
        n_train=8,
        settings=(("val_check_interval", 0.25), ("max_epochs", 5)),
        logs=ALWAYS,
        early_stopping=(("monitor", "val"), ("patience", 3)),
    ),
    "early stopping waits for min_steps": Case(
        n_train=8,
        settings=(("val_check_interval", 0.25), ("max_epochs", 5), ("min_steps", 13)),
        logs=ALWAYS,
        early_stopping=(("monitor", "val"), ("patience", 1)),
    ),
    "early stopping on a value that is not finite": Case(
        settings=(("max_epochs", 5),),
        logs=(Log("validation_step", "val", (1.0, 1.0, 1.0, 1.0, 0.5, float("nan"))),),
        early_stopping=(("monitor", "val"),),
        checkpoints=((("monitor", "val"), ("save_top_k", 2)),),
    ),
    "NaN counts as worst": Case(
        settings=(("max_epochs", 6), ("num_sanity_val_steps", 0)),
        n_val=(1,),
        logs=(Log("validation_step", "val", (float("nan"), 2.0, 2.0, float("nan"), 1.0)),),
        checkpoints=((("monitor", "val"), ("save_top_k", 2), ("save_last", True)),),
    ),
    "a tie keeps the old file": Case(
        settings=(("max_epochs", 4),),
        n_val=(1,),
        logs=(Log("validation_step", "val", (1.0,)),),
        checkpoints=((("monitor", "val"), ("filename", "{epoch}-{val:.1f}")),),
    ),
    "a name that is taken gets a version": Case(
        n_train=6,
        settings=(("val_check_interval", 2), ("max_epochs", 2)),
        logs=ALWAYS,
        checkpoints=((("monitor", "val"), ("save_top_k", -1), ("filename", "best")),),
    ),
    "a name that is written again, with all kept": Case(
        n_train=2,
        settings=(("val_check_interval", 0.1),),
        logs=ALWAYS,
        checkpoints=((("monitor", "loss"), ("save_top_k", -1), ("filename", "{epoch}"), ("enable_version_counter", False)),),
    ),
    "two callbacks write the same names": Case(
        settings=(("max_epochs", 3),),
        logs=ALWAYS,
        checkpoints=((("save_top_k", -1),), (("monitor", "val"), ("save_top_k", 2), ("save_last", True))),
    ),
    "a checkpoint waits for a validation's metric": Case(
        n_train=6,
        settings=(("val_check_interval", 3), ("max_epochs", 2)),
        logs=ALWAYS,
        checkpoints=((("monitor", "val"), ("every_n_train_steps", 2), ("save_top_k", -1)),),
    ),
    "max_steps inside an epoch": Case(n_train=5, settings=(("max_steps", 7), ("max_epochs", -1)), logs=ALWAYS),
    "a trial of two batches": Case(settings=(("fast_dev_run", 2),), logs=ALWAYS, early_stopping=(("monitor", "val"),)),
    "the same few batches": Case(n_train=7, settings=(("overfit_batches", 2), ("max_epochs", 3)), logs=ALWAYS),
    "manual optimization": Case(manual=True, two_optimizers=True, logs=ALWAYS, settings=(("log_every_n_steps", 1),)),
    "the rest of the epoch is skipped": Case(
        n_train=6, skip_at=(0, 3), schedulers=(Sched("step", "step"), Sched("exp")), logs=ALWAYS, lr_monitor=()
    ),
    "the rest of the epoch is skipped in an open window": Case(
        n_train=5,
        settings=(("accumulate_grad_batches", 3),),
        skip_at=(0, 3),
        schedulers=(Sched("exp", "step", 2),),
        logs=ALWAYS,
    ),
    "a metric of a fit that trained nothing": Case(
        stop_at=("on_train_start", 0, 0), logs=(Log("on_train_start", "b", (1.0,)),), then=("test",)
    ),
    "losses that are None": Case(n_train=6, none_losses=(0, 4), optimizer="adam", logs=ALWAYS),
    "several validation sources": Case(n_val=(2, 0, 3), logs=ALWAYS, then=("validate", "test", "predict")),
    "double precision": Case(settings=(("precision", "64-true"),), optimizer="adam", logs=ALWAYS),
    "mixed precision": Case(settings=(("precision", "bf16-mixed"),), optimizer="adam", logs=ALWAYS),
    "mixed precision where a step changes the weights itself": Case(
        manual=True, settings=(("precision", "bf16-mixed"),), logs=ALWAYS
    ),
    "clipped by norm": Case(settings=(("gradient_clip_val", 0.01),), optimizer="momentum", logs=ALWAYS),
    "clipped by value": Case(
        settings=(("gradient_clip_val", 0.001), ("gradient_clip_algorithm", "value")), optimizer="momentum", logs=ALWAYS
    ),
    "an exception in a hook": Case(raise_at=("on_validation_epoch_end", 0, 0), logs=ALWAYS),
    "an interrupt": Case(raise_at=("on_train_batch_start", 1, 2), logs=ALWAYS),
    "a stop asked for before the first batch": Case(stop_at=("on_train_epoch_start", 0, 0), logs=ALWAYS),
    "a metric that was never logged": Case(early_stopping=(("monitor", "nowhere"),), logs=ALWAYS),
    "gradient clipping with manual optimization": Case(manual=True, settings=(("gradient_clip_val", 1.0),)),
    "an optimizer that evaluates its closure again": Case(optimizer="lbfgs", logs=ALWAYS),
    "an optimizer that evaluates its closure again, clipped": Case(
        optimizer="lbfgs", settings=(("gradient_clip_val", 0.01), ("accumulate_grad_batches", 2)), n_train=5, logs=ALWAYS
    ),
    "an optimizer of one's own": Case(optimizer="own", logs=ALWAYS, lr_monitor=()),
    "limits of the test": Case(
        n_val=(3, 2),
        settings=(("limit_test_batches", 0.5), ("limit_val_batches", 1)),
        logs=ALWAYS,
        then=("test", "validate"),
    ),
    "several sources under one name": Case(
        n_val=(2, 2), logs=(Log("validation_step", "val", (1.0, 2.0), 1, (("add_dataloader_idx", False),)),)
    ),
    "layers in eval mode stay so": Case(eval_parts=True, logs=ALWAYS, then=("validate",)),
}


@pytest.mark.parametrize("name", NAMED)
def test_named_runs_are_the_same(name: str) -> None:
    compare(NAMED[name])
