"""Matrix products of rows with weights, where most of a tagger's time goes.

torch.mm asks MKL, which on AMD's CPUs runs its code for AVX2. oneDNN, the other library inside torch, compiles its code for
the CPU that it finds: on Zen 5 twice as fast for float32. torch's door to it is the operator that torch.compile uses for
nn.Linear; it applies the logistic function in the same pass, too.

Bits: a row's result depends neither on the other rows nor on the number of threads, if there are FEWEST_ROWS of them: MKL
has other code for products of one to three rows, oneDNN for one.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from training.determinism import portable

FEWEST_ROWS = 4
TYPICAL_ROWS = 32  # for which weights are packed; they serve any number


@functools.cache
def _onednn() -> bool:
    """Not with ``--portable``: oneDNN cuts its sums up by the size of the CPU's caches."""
    return torch.backends.mkldnn.is_available() and not portable.is_set()


def _taken(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32 and _onednn()


def packed(weights: Tensor) -> Tensor:
    """``weights`` (N, K) in the order that oneDNN reads them in, where it does: for many products with the same weights."""
    if not _taken(weights):
        return weights
    result: Tensor = torch.ops.mkldnn._reorder_linear_weight(weights, TYPICAL_ROWS)
    return result


def product(rows: Tensor, weights: Tensor) -> Tensor:
    """rows (M, K), weights (N, K) → (M, N). Either may be the transpose of a contiguous tensor."""
    if _taken(rows):
        result: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weights, None, "none", [], "")
        return result
    return torch.mm(rows, weights.T)


def sigmoid_product(rows: Tensor, weights: Tensor) -> Tensor:
    """1 / (1 + exp(−rows · weightsᵀ)), shapes as of ``product``.

    Not torch.sigmoid, whose vector and scalar code round differently, and which one an element gets depends on where a
    thread's share ends; exp and reciprocal are the same everywhere.
    """
    if _taken(rows):
        result: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weights, None, "sigmoid", [], "")
        return result
    return torch.mm(rows, weights.T).neg_().exp_().add_(1).reciprocal_()


def sum_rows(rows: Tensor) -> Tensor:
    """The sum (L,) of rows (N, L), as a product: sum() adds in an order that depends on the number of threads."""
    return (rows.new_ones(FEWEST_ROWS, len(rows)) @ rows)[0]


def pad_rows(layer: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    """A forward pre-hook: rows (N, K) made a multiple of FEWEST_ROWS in number by rows of zeros.

    MKL rounds the rows that are left over in another way, and differently by threads: now a sentence gets the same bits
    in any batch, whatever is read with it.
    """
    (x,) = inputs
    return nn.functional.pad(x, (0, 0, 0, -len(x) % FEWEST_ROWS))
