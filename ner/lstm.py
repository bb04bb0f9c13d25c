"""A bidirectional LSTM over packed sentences, with hand-written gradients.

Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000; both directions as in Graves & Schmidhuber 2005.
Parameters have the names, shapes and gate order (i, f, g, o) of ``torch.nn.LSTM``, so its state_dict loads as it is.

Sentences are sorted by length, longest first, so that b_t of them are still running at step t and padding costs nothing.
The reverse direction reads each sentence backwards from its own end; so both directions have the same b_t and step
together in one batched product. Shape suffixes: N tokens, B sentences, D inputs, H hidden units, G = 4H gates.

Bits: only matrix products and elementwise operations are used, in forms whose result for an element depends neither on
the number of threads nor on the element's place in memory. torch.sigmoid is not such a form (its vector and its scalar
code round differently, and which one an element gets depends on where a thread's share ends); exp and tanh are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from training.errors import DataError
from training.randomness import uniform


@dataclass(frozen=True)
class Packing:
    """Where each token of a batch stands in the packed order, which is step-major: step 0 of all sentences, step 1, ...

    ``sizes[t]`` is b_t, the number of sentences longer than t. Row 0 of the index arrays is for the forward direction,
    row 1 for the reverse one.
    """

    sizes: tuple[int, ...]  # T numbers, none increasing, all positive
    tokens: Tensor  # (2, N) int64: packed row -> token of the sentence-major order
    rows: Tensor  # (2, N) int64: token -> packed row; the inverse of ``tokens``
    previous: Tensor  # (N - b_0,) int64: packed row -> the row one step before, for all rows from b_0 on

    def to(self, device: torch.device) -> Packing:
        """The same plan with its index arrays on ``device``."""
        return Packing(self.sizes, self.tokens.to(device), self.rows.to(device), self.previous.to(device))


def packing(lengths: Tensor) -> Packing:
    """The plan for sentences of ``lengths`` (B,) tokens; empty ones are allowed. Ties in length keep their order."""
    if lengths.dim() != 1 or lengths.is_floating_point() or bool((lengths < 0).any()):
        raise DataError(f"lengths: expected a vector of non-negative integers, got {lengths.dtype} {tuple(lengths.shape)}")
    sizes_of = lengths.cpu().numpy().astype(np.int64)
    starts = np.cumsum(sizes_of) - sizes_of
    order = np.argsort(-sizes_of, kind="stable")
    length, start = sizes_of[order], starts[order]
    steps = int(length[0]) if len(length) else 0
    # sizes[t] = how many sentences have length > t
    sizes = len(length) - np.searchsorted(length[::-1], np.arange(steps), side="right")
    offsets = np.cumsum(sizes) - sizes
    n = int(sizes.sum())
    step = np.repeat(np.arange(steps), sizes)
    rank = np.arange(n) - np.repeat(offsets, sizes)
    tokens = np.stack([start[rank] + step, start[rank] + length[rank] - 1 - step])
    rows = np.empty_like(tokens)
    np.put_along_axis(rows, tokens, np.arange(n)[None, :], axis=1)
    first = int(sizes[0]) if steps else 0
    previous = offsets[step[first:] - 1] + rank[first:]
    return Packing(
        tuple(int(size) for size in sizes),
        torch.from_numpy(tokens),
        torch.from_numpy(rows),
        torch.from_numpy(previous),
    )


def _scratch(memory: Tensor, batch: int, width: int) -> Tensor:
    """A contiguous (2, batch, width) view of the flat ``memory``; a batched product is fast only into such a tensor."""
    return memory[: 2 * batch * width].view(2, batch, width)


def _steps(tensor: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
    """The slices (2, b_t, ...) of a packed tensor (2, N, ...)."""
    return torch.split(tensor, sizes, dim=1)  # type: ignore[no-any-return,no-untyped-call]


def _run(
    projected: Tensor, w_hh: Tensor, sizes: tuple[int, ...], gates: Tensor, cells: Tensor, squashed: Tensor, hidden: Tensor
) -> None:
    """Run both directions; fill ``gates`` (2, N, 4, H), ``cells``, tanh(cells) in ``squashed`` and ``hidden`` (2, N, H).

    ``projected`` (2, N, 4H) holds W_ih x + b_ih + b_hh. The g gate is stored with its sign turned; see below.
    """
    size = hidden.shape[-1]
    memory = projected.new_empty(2 * max(sizes) * 4 * size)
    recurrent = w_hh.transpose(1, 2)
    before: tuple[Tensor, Tensor] | None = None
    views = zip(
        sizes,
        _steps(projected, sizes),
        _steps(gates, sizes),
        _steps(cells, sizes),
        _steps(squashed, sizes),
        _steps(hidden, sizes),
        strict=True,
    )
    for batch, x, gate, c, tanh_c, h in views:
        # The pre-activations with their sign turned, as 1 / (1 + exp(-z)) needs them; tanh is odd, so g is only -g.
        z = _scratch(memory, batch, 4 * size)
        if before is None:
            torch.neg(x, out=z)
        else:
            torch.baddbmm(x, before[0][:, :batch], recurrent, beta=-1, alpha=-1, out=z)
        i, f, minus_g, o = gate.unbind(2)
        torch.tanh(z[..., 2 * size : 3 * size], out=minus_g)
        z.exp_().add_(1)
        quarters = z.view(2, batch, 4, size)
        torch.reciprocal(quarters[:, :, :2], out=gate[:, :, :2])
        torch.reciprocal(quarters[:, :, 3], out=o)
        if before is None:
            torch.mul(i, minus_g, out=c).neg_()
        else:
            torch.mul(f, before[1][:, :batch], out=c).addcmul_(i, minus_g, value=-1)
        torch.tanh(c, out=tanh_c)
        torch.mul(o, tanh_c, out=h)
        before = h, c


def _run_back(
    d_hidden: Tensor, w_hh: Tensor, sizes: tuple[int, ...], gates: Tensor, cells: Tensor, squashed: Tensor
) -> Tensor:
    """Backpropagation through time: the gradient (2, N, 4, H) of the pre-activations. Overwrites ``d_hidden``."""
    size = d_hidden.shape[-1]
    d_gates = torch.empty_like(gates)
    memory = d_hidden.new_empty(2 * sizes[0] * size)
    spare = d_hidden.new_empty(2 * sizes[0] * size)
    d_cell = d_hidden.new_zeros(2, sizes[0], size)
    sigmoid_backward, tanh_backward = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward
    all_cells = _steps(cells, sizes)
    views = list(
        zip(
            sizes,
            _steps(gates, sizes),
            _steps(d_gates, sizes),
            _steps(squashed, sizes),
            _steps(d_hidden, sizes),
            (None, *all_cells[:-1]),
            strict=True,
        )
    )
    later: Tensor | None = None
    for batch, gate, d_gate, tanh_c, dh, c_before in reversed(views):
        if later is not None:
            carried = _scratch(memory, later.shape[1], size)
            torch.bmm(later.flatten(2), w_hh, out=carried)
            dh[:, : later.shape[1]].add_(carried)
        i, f, minus_g, o = gate.unbind(2)
        d_i, d_f, d_g, d_o = d_gate.unbind(2)
        dc = d_cell[:, :batch]
        work = _scratch(spare, batch, size)
        torch.mul(dh, tanh_c, out=work)
        sigmoid_backward(work, o, grad_input=d_o)
        torch.mul(dh, o, out=work)
        tanh_backward(work, tanh_c, grad_input=work)
        dc.add_(work)
        torch.mul(dc, minus_g, out=work).neg_()
        sigmoid_backward(work, i, grad_input=d_i)
        torch.mul(dc, i, out=work)
        tanh_backward(work, minus_g, grad_input=d_g)
        if c_before is None:
            d_f.zero_()
        else:
            torch.mul(dc, c_before[:, :batch], out=work)
            sigmoid_backward(work, f, grad_input=d_f)
            dc.mul_(f)
        later = d_gate
    return d_gates


class _BiLSTM(torch.autograd.Function):
    """tokens (N, D), weights stacked by direction: (2, G, D), (2, G, H), (2, G) -> (N, 2H)."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, plan: Packing) -> Tensor:
        n, size = tokens.shape[0], w_hh.shape[-1]
        # The bias is the weight of one more input that is always 1: its gradient is then part of the same product.
        inputs = torch.cat([tokens, tokens.new_ones(n, 1)], 1)[plan.tokens]
        weights = torch.cat([w_ih, bias.unsqueeze(2)], 2)
        projected = torch.bmm(inputs, weights.transpose(1, 2))
        gates = torch.empty_like(projected).view(2, n, 4, size)
        cells, squashed, hidden = projected.new_empty(3, 2, n, size)
        _run(projected, w_hh, plan.sizes, gates, cells, squashed, hidden)
        ctx.plan = plan
        ctx.save_for_backward(w_ih, w_hh, inputs, gates, cells, squashed, hidden)
        return torch.cat([hidden[0, plan.rows[0]], hidden[1, plan.rows[1]]], 1)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor | None, ...]:
        plan: Packing = ctx.plan
        w_ih, w_hh, inputs, gates, cells, squashed, hidden = ctx.saved_tensors
        size, first = w_hh.shape[-1], plan.sizes[0]
        d_hidden = torch.stack([d_output[plan.tokens[0], :size], d_output[plan.tokens[1], size:]])
        d_gates = _run_back(d_hidden, w_hh, plan.sizes, gates, cells, squashed).flatten(2)
        d_tokens = None
        if ctx.needs_input_grad[0]:
            d_inputs = torch.bmm(d_gates, w_ih)
            d_tokens = d_inputs[0, plan.rows[0]].add_(d_inputs[1, plan.rows[1]])
        d_weights = torch.bmm(d_gates.transpose(1, 2), inputs)
        earlier = hidden.index_select(1, plan.previous)
        d_w_hh = torch.bmm(d_gates[:, first:].transpose(1, 2), earlier)
        return d_tokens, d_weights[..., :-1], d_w_hh, d_weights[..., -1], None


class BiLSTM(nn.Module):
    """One bidirectional layer of ``hidden_size`` units per direction, with the parameters of ``nn.LSTM(bidirectional=True)``.

    Initial weights are uniform in ±1/sqrt(hidden_size), as in nn.LSTM, from (seed, "init/<name>.<parameter>").
    """

    def __init__(self, input_size: int, hidden_size: int, *, seed: int, name: str = "lstm") -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        bound = hidden_size**-0.5
        gates = 4 * hidden_size
        shapes = {"weight_ih": (gates, input_size), "weight_hh": (gates, hidden_size), "bias_ih": (gates,), "bias_hh": (gates,)}
        for suffix in ("l0", "l0_reverse"):
            for kind, shape in shapes.items():
                values = uniform(shape, -bound, bound, seed, f"init/{name}.{kind}_{suffix}")
                self.register_parameter(f"{kind}_{suffix}", nn.Parameter(values))

    def forward(self, tokens: Tensor, lengths: Tensor | Packing) -> Tensor:
        """Tokens (N, D) in sentence-major order, all of sentence 0, then of sentence 1, ... -> (N, 2H) in the same order.

        ``lengths`` are those of the sentences (B,), or the plan that ``packing`` made of them. Row n of the result is
        the forward state of token n beside its reverse state. Raises DataError if the lengths do not sum to N.
        """
        plan = (packing(lengths) if isinstance(lengths, Tensor) else lengths).to(tokens.device)
        if tokens.dim() != 2 or tokens.shape[1] != self.input_size or tokens.shape[0] != plan.rows.shape[1]:
            wanted = (plan.rows.shape[1], self.input_size)
            raise DataError(f"tokens: expected shape {wanted}, got {tuple(tokens.shape)}")
        if not plan.sizes:
            return tokens.new_zeros(0, 2 * self.hidden_size)
        both = [torch.stack([getattr(self, f"{kind}_l0"), getattr(self, f"{kind}_l0_reverse")]) for kind in ("weight_ih", "weight_hh")]
        bias = torch.stack([self.bias_ih_l0 + self.bias_hh_l0, self.bias_ih_l0_reverse + self.bias_hh_l0_reverse])
        result: Tensor = _BiLSTM.apply(tokens, both[0], both[1], bias, plan)  # type: ignore[no-untyped-call]
        return result
