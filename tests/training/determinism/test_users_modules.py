"""The levels for what users' programs are made of: torch's modules, losses and optimizers, NumPy, threads, compiled code."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, library, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from tests.training.determinism.numbers import uniform
from training.config import TrainConfig
from training.data.batches import close
from training.data.loaders import as_batches
from training.determinism import any_threads, portable
from training.determinism.any_threads import blas_threads, one_thread
from training.determinism.flags import determinism
from training.determinism.unkept import Unkept


class Of(nn.Module):
    """A function of its inputs."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


class Attention(nn.Module):
    """Self-attention."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)

    def forward(self, x: Tensor) -> Any:
        return self.attention(x, x, x)


LABELS = torch.arange(2000) % 70
MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...]]] = {
    "Linear": (lambda: nn.Linear(300, 201), (uniform(100, 300),)),
    "LSTM": (lambda: nn.LSTM(32, 48, 2, batch_first=True), (uniform(8, 20, 32),)),
    "GRU": (lambda: nn.GRU(32, 48), (uniform(20, 8, 32),)),
    "Conv1d": (lambda: nn.Conv1d(30, 50, 3), (uniform(50, 30, 12),)),
    "Conv2d": (lambda: nn.Conv2d(8, 16, 3), (uniform(16, 8, 20, 20),)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(8, 16, 3, 2), (uniform(8, 8, 14, 14),)),
    "Conv3d": (lambda: nn.Conv3d(4, 8, 3), (uniform(2, 4, 10, 10, 10),)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(64), (uniform(501, 64),)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(16), (uniform(8, 16, 28, 28),)),
    "LayerNorm": (lambda: nn.LayerNorm(65), (uniform(1000, 65),)),
    "GroupNorm": (lambda: nn.GroupNorm(4, 16), (uniform(8, 16, 28, 28),)),
    "attention": (Attention, (uniform(8, 40, 32),)),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), (uniform(8, 40, 32),)),
    "Dropout": (lambda: nn.Dropout(0.3), (uniform(300, 301),)),
    "Softplus": (nn.Softplus, (uniform(300, 301),)),
    "SiLU": (nn.SiLU, (uniform(300, 301),)),
    "Embedding": (lambda: nn.Sequential(nn.Embedding(70, 64)), (LABELS,)),
    "Bilinear": (lambda: nn.Bilinear(30, 31, 20), (uniform(100, 30), uniform(100, 31))),
    "cross_entropy": (lambda: Of(lambda x: F.cross_entropy(x, LABELS)), (uniform(2000, 70),)),
    "bce": (lambda: Of(lambda x: F.binary_cross_entropy_with_logits(x, torch.ones_like(x))), (uniform(500, 301),)),
    "mse": (lambda: Of(lambda x: F.mse_loss(x, x.flip(0))), (uniform(500, 301),)),
    "cdist": (lambda: Of(lambda x: torch.cdist(x, x[:50])), (uniform(500, 33),)),
    "complex": (lambda: Of(lambda x: (torch.complex(x, x.flip(0)) * torch.complex(x, x)).abs()), (uniform(300, 301),)),
    "fft": (lambda: Of(lambda x: torch.fft.rfft(x).abs()), (uniform(100, 1001),)),
    "arange": (lambda: Of(lambda x: x * torch.arange(0, 20000.7, 0.1)[:200_007]), (uniform(200_007),)),
    "svd": (lambda: Of(torch.linalg.svdvals), (uniform(100, 90),)),
    "scripted": (lambda: torch.jit.script(nn.Sequential(nn.Linear(300, 201), nn.Sigmoid())), (uniform(100, 300),)),
    "orthogonal_": (lambda: _orthogonal(nn.Linear(200, 101)), (uniform(50, 200),)),
}
OPTIMIZERS = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "RAdam", "Rprop", "LBFGS"]


def _orthogonal(layer: nn.Linear) -> nn.Linear:
    nn.init.orthogonal_(layer.weight)
    return layer


def trained(name: str, optimizer: str, dtype: torch.dtype | None = None) -> list[Tensor]:
    """Two steps of a module, and all that comes out."""
    make, given = MODULES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = make()
        inputs = [x.clone().requires_grad_(x.is_floating_point()) for x in given]
        leaves = [*module.parameters(), *(x for x in inputs if x.requires_grad)]
        chosen = getattr(torch.optim, optimizer)(leaves, lr=0.01)

        def loss() -> Tensor:
            chosen.zero_grad()
            with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
                out = module(*inputs)
            out = out[0] if isinstance(out, tuple) else out
            found: Tensor = out.float().square().mean()
            found.backward()
            return found

        for _ in range(2):
            chosen.step(loss)
        return [loss().detach(), *(x.detach() for x in leaves), *module.buffers()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(first, second, strict=True))


def by_threads(compute: Callable[[], list[Tensor]], keep: bool) -> bool:
    """Whether 1, 2, 3 and 4 threads give the same."""
    found = []
    for threads in (1, 2, 3, 4):
        torch.set_num_threads(threads)
        with determinism(TrainConfig(any_threads=True)) if keep else nullcontext():
            found.append(compute())
    return all(same(found[0], each) for each in found)


CASES = [*zip(MODULES, itertools.cycle(OPTIMIZERS), strict=False)]
DIFFER = ("ConvTranspose2d", "BatchNorm1d", "LayerNorm", "complex", "arange", "scripted", "fft")
"""Some of those that hang on the number of threads where nothing is done about it."""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("name", "optimizer"), CASES)
def test_any_threads_gives_the_same_bits(name: str, optimizer: str) -> None:
    assert by_threads(lambda: trained(name, optimizer), keep=True)


@pytest.mark.parametrize("name", ["Linear", "Conv2d", "TransformerEncoderLayer"])
def test_any_threads_gives_the_same_bits_in_bf16(name: str) -> None:
    assert by_threads(lambda: trained(name, "SGD", torch.bfloat16), keep=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_without_it_some_of_them_differ() -> None:
    """Else the tests above could not fail."""
    if torch.backends.mkl.is_available():
        assert not all(by_threads(functools.partial(trained, name, "SGD"), keep=False) for name in DIFFER)


def in_a_thread(compute: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(compute()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["Conv3d", "svd", "LayerNorm", "scripted"])
def test_threads_of_the_program_compute_in_one_thread_each(name: str) -> None:
    torch.set_num_threads(4)
    with determinism(TrainConfig(any_threads=True)):
        expected = trained(name, "SGD")
        assert same(in_a_thread(lambda: trained(name, "SGD")), expected)
        with ThreadPoolExecutor(1) as pool:
            assert same(pool.submit(trained, name, "SGD").result(), expected)
    assert threading.getprofile() is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_code_rounds_alike_however_often_it_ran() -> None:
    with determinism(TrainConfig(deterministic=True)):
        found = [trained("scripted", "SGD") for _ in range(4)]
    assert all(same(found[0], each) for each in found)


def test_who_asks_torch_for_more_threads_is_told() -> None:
    told: list[str] = []
    torch.set_num_threads(3)
    with one_thread(Unkept(told.append)):
        torch.set_num_threads(4)
        torch.set_num_threads(1)
        assert torch.get_num_threads() == 1
    assert told == ["torch.set_num_threads(4): ignored, since any_threads computes with one thread"]
    torch.set_num_threads(2)
    assert torch.get_num_threads() == 2


def test_numpys_products_are_of_one_thread() -> None:
    if not blas_threads():
        pytest.skip("NumPy's BLAS is another")
    a = np.random.default_rng(0).standard_normal(200_001)
    found = []
    before = [get() for get, _ in blas_threads()]
    for threads in (1, 2, 4):
        for _, put in blas_threads():
            put(threads)
        with one_thread(Unkept()):
            found.append(float(np.dot(a, a)))
            assert {get() for get, _ in blas_threads()} == {1}
        assert {get() for get, _ in blas_threads()} == {threads}
    for (_, put), n in zip(blas_threads(), before, strict=True):
        put(n)
    assert len({*found}) == 1


def test_where_numpy_cannot_be_told_the_run_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(any_threads, "_NAMES", [])
    unkept = Unkept()
    with one_thread(unkept):
        pass
    (line,) = unkept.lines
    assert line.startswith("any_threads does not hold for NumPy's products (dot, @, linalg): they are computed by ")


# -- portable ----------------------------------------------------------------------------------------------------------


EXACT: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Any], Any]]] = {
    "sqrt": (torch.sqrt, np.sqrt),
    "power of a half": (lambda x: x**0.5, np.sqrt),
    "log": (torch.log, np.log),
    "log2": (torch.log2, np.log2),
    "log10": (torch.log10, np.log10),
    "tan": (torch.tan, np.tan),
    "asin": (torch.asin, np.arcsin),
    "acos": (torch.acos, np.arccos),
    "atan": (torch.atan, np.arctan),
    "logit": (torch.logit, lambda x: np.log(x / (1 - x))),
}
BY_TORCH = [("log", torch.float32), ("logit", torch.float32)]  # the same on all CPUs that were tried
WAYS: dict[str, Callable[[str, Tensor], Any]] = {
    "plain": lambda name, x: EXACT[name][0](x),
    "strided": lambda name, x: EXACT[name][0](x.repeat_interleave(2)[::2]),
    "in place": lambda name, x: getattr(x.clone(), f"{name}_")(),
    "into": lambda name, x: getattr(torch, name)(x, out=torch.empty(0, dtype=x.dtype)),
    "many": lambda name, x: getattr(torch, f"_foreach_{name}")([x, x])[1],
    "many in place": lambda name, x: _many_in_place(name, x),
    "of a parameter": lambda name, x: EXACT[name][0](x.clone().requires_grad_()).detach(),
}
NOT_THERE = {("logit", "many"), ("logit", "many in place")}
PORTABLE = [
    (name, way)
    for name, way in itertools.product(EXACT, WAYS)
    if (name, way) not in NOT_THERE and (name != "power of a half" or way in ("plain", "strided", "of a parameter"))
]


def _many_in_place(name: str, x: Tensor) -> Tensor:
    held = [x.clone(), x.clone()]
    getattr(torch, f"_foreach_{name}_")(held)
    return held[0]


@pytest.mark.parametrize(("name", "way"), PORTABLE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_portable_functions_are_numpys(name: str, way: str, dtype: torch.dtype) -> None:
    x = uniform(10_003).abs().to(dtype)
    with portable.portably(Unkept()):
        found = WAYS[way](name, x)
    if (name, dtype) in BY_TORCH:
        assert torch.equal(found, WAYS[way](name, x))
    else:
        assert torch.equal(found, torch.from_numpy(EXACT[name][1](x.numpy())))


@pytest.mark.parametrize("name", EXACT)
def test_portable_functions_have_gradients_and_take_any_numbers(name: str) -> None:
    function = EXACT[name][0]
    odd = torch.tensor([float("nan"), float("inf"), -float("inf"), -2.0, 0.0, 1.0])
    for x in (uniform(50).abs() * 0.9 + 0.01, odd, torch.arange(3), odd.bfloat16(), odd.half(), torch.complex(odd, odd)):
        leaf = x.clone().requires_grad_(x.dtype != torch.int64)
        gradients = []
        for mode in (nullcontext(), portable.portably(Unkept())):
            with mode:
                y = function(leaf) if not (name == "logit" and x.is_complex()) else leaf
                if leaf.requires_grad:
                    (y.abs() if y.is_complex() else y).sum().backward()
                    gradients.append(leaf.grad)
                    leaf.grad = None
            gradients.append(y.detach())
        half = len(gradients) // 2
        for a, b in zip(gradients[:half], gradients[half:], strict=True):
            assert a is not None
            assert b is not None
            assert a.dtype == b.dtype
            torch.testing.assert_close(a, b, equal_nan=True)


def test_a_portable_distance_takes_no_root_of_mkls() -> None:
    x = uniform(60, 5)
    with portable.portably(Unkept()):
        found = torch.cdist(x, x)
    torch.testing.assert_close(found, torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist"))


def test_portable_reaches_threads_and_not_only_torchs_own() -> None:
    x = uniform(1000).double()
    unkept = Unkept()
    with portable.portably(unkept):
        assert torch.equal(in_a_thread(lambda: torch.atan(x)), torch.from_numpy(np.arctan(x.numpy())))
        assert portable.in_force()
        assert in_a_thread(portable.in_force)
        torch.ops.tests_of_levels.twice(x)
        torch.ops.tests_of_levels.twice(x)
    assert not portable.in_force()
    assert unkept.lines == ["portable does not hold for tests_of_levels.twice: its code may choose instructions by the CPU"]


def test_samebits_own_commands_watch_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portable, "is_set", lambda: True)
    monkeypatch.setattr(portable, "_own", False)
    for own, lines in ((True, 0), (False, 1)):
        portable.begin(own=own)
        unkept = Unkept()
        with portable.portably(unkept):
            torch.ops.tests_of_levels.twice(uniform(3))
        assert len(unkept.lines) == lines


def test_functions_are_numpys_until_all_have_left() -> None:
    x = uniform(1000).double()
    by_torch, by_numpy = torch.atan(x), torch.from_numpy(np.arctan(x.numpy()))
    with portable.portably(Unkept()):
        with portable.portably(Unkept()):
            assert torch.equal(torch.atan(x), by_numpy)
        assert torch.equal(torch.atan(x), by_numpy)
        assert torch.equal(in_a_thread(lambda: torch.atan(x)), by_numpy)
    assert not portable.in_force()
    assert torch.equal(torch.atan(x), by_torch)
    with portable.portably(Unkept()):  # once more: torch's own functions were kept
        assert torch.equal(torch.atan(x), by_numpy)
        assert torch.equal(torch.tensor([4.0]).half().sqrt(), torch.tensor([2.0]).half())


@library.custom_op("tests_of_levels::twice", mutates_args=())
def twice(x: Tensor) -> Tensor:
    """An operation that is not torch's."""
    return 2 * x


class Levels(Dataset[Tensor]):
    """Says how a worker computes."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Tensor:
        threads = {get() for get, _ in blas_threads()} or {1}
        return torch.tensor([torch.get_num_threads(), max(threads), portable.in_force()])


def test_spawned_workers_have_the_levels() -> None:
    loader = DataLoader(Levels(), num_workers=1, multiprocessing_context="spawn")
    with one_thread(Unkept()), portable.portably(Unkept()):
        source = as_batches(loader, seed=0, purpose="train", tell=print)
        (batch,) = source.plan(0)
        close(source)
    assert batch.tolist() == [[1, 1, 1]]
