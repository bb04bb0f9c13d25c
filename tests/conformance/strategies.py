"""Generates Cases: each draws a few settings away from their defaults, so that they meet in combinations."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.conformance.toy import Case, Log, Sched

# Values whose sums are exact in float32 and float64 alike, so that comparisons and ties come out the same in both.
VALUES = st.sampled_from([-2.0, -0.5, 0.0, 0.25, 0.5, 1.0, 1.5, 3.0])
SCRIPTS = st.lists(VALUES, min_size=1, max_size=5).map(tuple)
ODD_SCRIPTS = st.lists(VALUES | st.sampled_from([float("nan"), float("inf")]), min_size=1, max_size=5).map(tuple)
FRACTIONS = st.sampled_from([0.1, 0.25, 0.29, 0.34, 0.5, 0.75, 0.99, 1.0])
REDUCTIONS = st.sampled_from(["mean", "sum", "min", "max"])
BATCH_HOOKS = [
    "training_step",
    "on_train_batch_start",
    "on_train_batch_end",
    "on_after_backward",
    "on_before_zero_grad",
    "on_before_optimizer_step",
    "validation_step",
    "on_validation_batch_start",
    "on_validation_batch_end",
]
EPOCH_HOOKS = [
    "on_train_start",
    "on_train_epoch_start",
    "on_train_epoch_end",
    "on_validation_start",
    "on_validation_epoch_start",
    "on_validation_epoch_end",
]
TWICE_HOOKS = ["on_after_backward", "on_before_zero_grad", "on_before_optimizer_step"]  # in a batch, with two optimizers
NO_LOG_HOOKS = ["on_fit_start", "on_train_end", "on_validation_end", "on_fit_end"]


def rarely(draw: st.DrawFn, n: int) -> bool:
    """True in one of about n draws (hypothesis prefers the ends of a range, so it is the middle that counts)."""
    return 5 * n <= draw(st.integers(0, 10 * n)) < 5 * n + 10


@st.composite
def settings(draw: st.DrawFn, n_train: int) -> dict[str, Any]:
    """Settings of the Trainer, most of them left out."""
    choices: dict[str, st.SearchStrategy[Any]] = {
        "max_epochs": st.integers(0, 4),
        "val_check_interval": FRACTIONS | st.integers(1, n_train),
        "check_val_every_n_epoch": st.sampled_from([2, 3]),
        "accumulate_grad_batches": st.integers(2, 4),
        "max_steps": st.integers(0, 9),
        "min_epochs": st.integers(1, 3),
        "min_steps": st.integers(1, 6),
        "limit_train_batches": st.integers(0, n_train + 1) | FRACTIONS,
        "limit_val_batches": st.integers(0, 4) | FRACTIONS,
        "limit_test_batches": st.integers(0, 4) | FRACTIONS,
        "num_sanity_val_steps": st.sampled_from([-1, 0, 1, 3]),
        "log_every_n_steps": st.integers(0, 4),
        "gradient_clip_val": st.sampled_from([0.01, 0.25]),
        "fast_dev_run": st.integers(1, 3),
        "overfit_batches": st.integers(1, 3) | st.sampled_from([0.25, 0.5]),
        "precision": st.sampled_from(["64-true", "bf16-mixed"]),
    }
    rare = {"fast_dev_run", "overfit_batches", "precision"}
    names = draw(st.lists(st.sampled_from(sorted(choices)), unique=True, max_size=5))
    names = [name for name in names if name not in rare or rarely(draw, 3)]
    found = {name: draw(choices[name]) for name in names}
    if found.get("gradient_clip_val") and draw(st.booleans()):
        found["gradient_clip_algorithm"] = "value"
    if rarely(draw, 6):  # validation counted across epochs
        found["check_val_every_n_epoch"] = None
        found["val_check_interval"] = 0.5 if rarely(draw, 12) else draw(st.integers(1, 2 * n_train))
    return found


@st.composite
def logs(draw: st.DrawFn) -> tuple[Log, ...]:
    """A monitored metric of validation and one of training, and up to three others."""
    scripts = ODD_SCRIPTS if rarely(draw, 5) else SCRIPTS
    fixed = [
        Log("validation_step", "val", draw(scripts)),
        Log("on_train_epoch_end", "epoch_value", draw(scripts)),
        Log("training_step", "loss", (), 1, draw(log_arguments("training_step"))),
    ]
    kept = [each for each in fixed if not rarely(draw, 25)]
    others = draw(st.lists(other_log(), max_size=3, unique_by=lambda log: (log.hook, log.name)))
    return tuple(kept + others)


@st.composite
def other_log(draw: st.DrawFn) -> Log:
    """Any name in any hook; rarely one where it is an error."""
    hooks = st.sampled_from(BATCH_HOOKS) | st.sampled_from(EPOCH_HOOKS)
    hook = draw(st.sampled_from(NO_LOG_HOOKS) if rarely(draw, 60) else hooks)
    who = "callback:" if hook not in ("training_step", "validation_step") and draw(st.booleans()) else ""
    name = draw(st.sampled_from(["a", "b", "c/d", "step"]))
    script = draw(SCRIPTS if name != "step" else st.just((10.0, 20.0, 30.0)))
    return Log(who + hook, name, script, draw(st.sampled_from([1, 1, 2])), draw(log_arguments(hook)))


@st.composite
def log_arguments(draw: st.DrawFn, hook: str) -> tuple[tuple[str, Any], ...]:
    """Arguments of ``log``; rarely such that are an error in the hook."""
    flags = st.sampled_from([True, False]) if hook in BATCH_HOOKS or rarely(draw, 40) else st.nothing()
    choices: dict[str, st.SearchStrategy[Any]] = {
        "on_step": flags,
        "on_epoch": flags,
        "prog_bar": st.booleans(),
        "logger": st.booleans(),
        "reduce_fx": REDUCTIONS,
        "add_dataloader_idx": st.booleans(),
    }
    names = draw(st.lists(st.sampled_from(sorted(choices)), unique=True, max_size=4))
    found = {name: draw(choices[name]) for name in names if not choices[name].is_empty}
    evaluation = "validation" in hook
    on_step, on_epoch = found.get("on_step", not evaluation), found.get("on_epoch", evaluation)
    if not on_step and not on_epoch and not rarely(draw, 30):
        found["on_epoch"] = True
    return tuple(found.items())


@st.composite
def monitors(draw: st.DrawFn) -> str:
    """The name of a metric, rarely of none."""
    return draw(st.sampled_from(["val", "val", "epoch_value", "loss"] if not rarely(draw, 25) else ["missing"]))


@st.composite
def early_stopping(draw: st.DrawFn) -> tuple[tuple[str, Any], ...]:
    """Arguments of EarlyStopping."""
    found: dict[str, Any] = {
        "monitor": draw(monitors()),
        "patience": draw(st.integers(0, 3)),
        "mode": draw(st.sampled_from(["min", "max"])),
    }
    choices: dict[str, st.SearchStrategy[Any]] = {
        "min_delta": st.sampled_from([0.25, 0.5, 1.0]),
        "stopping_threshold": VALUES,
        "divergence_threshold": VALUES,
        "check_finite": st.booleans(),
        "check_on_train_epoch_end": st.booleans(),
        "strict": st.booleans(),
    }
    names = draw(st.lists(st.sampled_from(sorted(choices)), unique=True, max_size=3))
    return tuple({**found, **{name: draw(choices[name]) for name in names}}.items())


@st.composite
def checkpoint(draw: st.DrawFn) -> tuple[tuple[str, Any], ...]:
    """Arguments of ModelCheckpoint."""
    monitor = draw(st.none() | monitors())
    top = st.sampled_from([-1, 0, 1] if monitor is None else [-1, 0, 1, 2, 3])
    templates = [
        "{epoch}",
        "best",
        "{epoch:02d}-{val:.3f}",
        "{step}-{val:.2f}-{epoch_value:.1f}",
        "x-{missing}-{step:03d}",
        "{epoch_value:.0f}{epoch}",
        None,
    ]
    found: dict[str, Any] = {"monitor": monitor, "save_top_k": draw(top), "filename": draw(st.sampled_from(templates))}
    choices: dict[str, st.SearchStrategy[Any]] = {
        "mode": st.sampled_from(["min", "max"]),
        "save_last": st.booleans(),
        "save_weights_only": st.booleans(),
        "save_on_train_epoch_end": st.booleans(),
        "auto_insert_metric_name": st.booleans(),
        "enable_version_counter": st.booleans(),
    }
    names = draw(st.lists(st.sampled_from(sorted(choices)), unique=True, max_size=4))
    found |= {name: draw(choices[name]) for name in names}
    when = draw(st.sampled_from(["", "", "every_n_epochs", "every_n_train_steps"]))
    return tuple({**found, **({when: draw(st.integers(0, 3))} if when else {})}.items())


@st.composite
def scheduler(draw: st.DrawFn) -> Sched:
    """A scheduler and when it steps."""
    kind = draw(st.sampled_from(["step", "exp", "plateau"]))
    monitor = draw(monitors()) if kind == "plateau" else None
    if kind == "plateau" and rarely(draw, 30):
        monitor = None
    interval = draw(st.sampled_from(["epoch", "step"]))
    name = draw(st.sampled_from([None, None, "rate"]))
    return Sched(kind, interval, draw(st.integers(1, 3)), monitor, draw(st.booleans()) if kind == "plateau" else True, name)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A run."""
    n_train = draw(st.integers(1, 7))
    n_val = draw(st.sampled_from([(2,), (3,), (1,), (4,), (2,), (3,), (4,), (2, 3), (1, 1, 2), (), (0,)]))
    manual = rarely(draw, 8)
    chosen = draw(settings(n_train))
    if manual and not rarely(draw, 12):
        chosen = {k: v for k, v in chosen.items() if k not in ("accumulate_grad_batches", "gradient_clip_val")}
    checkpoints = tuple(draw(st.lists(checkpoint(), max_size=2, unique_by=repr)))
    if chosen.get("fast_dev_run"):  # Lightning would write last.ckpt even then; ours deliberately does not
        checkpoints = tuple(tuple(pair for pair in each if pair[0] != "save_last") for each in checkpoints)
    schedulers = tuple(draw(st.lists(scheduler(), max_size=2))) if draw(st.booleans()) else ()
    losses = st.lists(st.integers(0, n_train - 1), max_size=2).map(tuple)
    by_value = chosen.get("gradient_clip_algorithm") == "value"  # torch's clip_grad_value_ fails without gradients
    two_optimizers = rarely(draw, 3) if manual else rarely(draw, 150)
    logged = draw(logs())
    if two_optimizers:  # Lightning forgets the first of two calls in a hook of the first batch if another hook logs between
        logged = tuple(
            each
            for each in logged
            if each.hook.removeprefix("callback:") not in TWICE_HOOKS or not dict(each.arguments).get("on_epoch")
        )
    epoch, batch = draw(st.integers(0, 2)), draw(st.integers(0, n_train - 1))
    event = draw(st.sampled_from(["", "", "", "", "", "skip", "stop", "raise"]))
    stop_hooks = [
        "on_train_batch_start",
        "on_train_batch_end",
        "on_validation_end",
        "on_train_epoch_start",
        "on_fit_start",
        "on_train_start",
        "on_train_epoch_end",
    ]
    stop_hook = draw(st.sampled_from(stop_hooks))
    raise_hook = draw(st.sampled_from(["on_train_batch_start", "on_train_batch_end", "on_validation_epoch_end"]))
    return Case(
        n_train=n_train,
        n_val=n_val,
        settings=tuple(chosen.items()),
        optimizer=draw(st.sampled_from(["sgd", "momentum", "adam"])),
        groups=draw(st.integers(1, 2)),
        schedulers=schedulers,
        dict_form=len(schedulers) == 1 and draw(st.booleans()),
        logs=logged,
        early_stopping=draw(st.none() | early_stopping()),
        checkpoints=checkpoints,
        lr_monitor=draw(
            st.sampled_from(
                [
                    None,
                    None,
                    (),
                    (("logging_interval", "step"),),
                    (("logging_interval", "epoch"),),
                    (("log_momentum", True), ("log_weight_decay", True)),
                ]
            )
        ),
        manual=manual,
        two_optimizers=two_optimizers,
        none_losses=draw(losses) if rarely(draw, 6) and not by_value else (),
        dict_loss=draw(st.booleans()),
        skip_at=(epoch, batch) if event == "skip" else None,
        stop_at=(stop_hook, epoch, batch if "batch" in stop_hook else 0) if event == "stop" else None,
        raise_at=(raise_hook, epoch, batch if "batch" in raise_hook else 0) if event == "raise" else None,
        eval_parts=draw(st.booleans()),
        recorded=not rarely(draw, 5),
        then=tuple(draw(st.lists(st.sampled_from(["validate", "test", "predict"]), max_size=2, unique=True))),
    )


@st.composite
def resumes(draw: st.DrawFn) -> tuple[dict[str, Any], int, int, int, bool]:
    """Arguments of ModelCheckpoint, steps of a fit and of its resume, which file that goes on from, whether elsewhere."""
    monitor = draw(st.sampled_from([None, "value"]))
    found: dict[str, Any] = {
        "monitor": monitor,
        "save_top_k": draw(st.sampled_from([-1, 0, 1] if monitor is None else [-1, 1, 2, 3])),
        "filename": draw(st.sampled_from([None, "best", "{step}", "{epoch}"])),
        "save_last": draw(st.booleans()),
    }
    when = draw(st.sampled_from(["", "every_n_epochs", "every_n_train_steps", "save_on_train_epoch_end"]))
    if when:
        found[when] = draw(st.integers(1, 3)) if when.startswith("every") else draw(st.booleans())
    first = draw(st.sampled_from([1, 2, 3, 5, 6, 7, 9]))  # inside an epoch of 4: at its end Lightning ends it once more
    return found, first, first + draw(st.integers(1, 6)), draw(st.integers(0, 5)), draw(st.booleans())
