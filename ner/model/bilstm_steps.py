"""The BiLSTM step by step over packed sentences, with hand-written gradients: for any device and type.

Shapes: N tokens, P packed rows, D inputs, H hidden units, G = 4H gates.

Bits: only matrix products (see ner.model.matmul) and elementwise operations are used, in forms whose result for an element
depends neither on the number of threads (1, 2 and 4 are tested) nor on the element's place in memory: a sentence gets the
same bits alone and in any batch. torch.sigmoid is not such a form; exp, tanh and one rounded operation at a time are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ner.model.matmul import packed, product, sigmoid_product
from ner.model.packing import Packing

ROUND = 64  # oneDNN compiles code for each size of a product that it meets: the rows of a batch are one of few sizes


def _steps(tensor: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
    """The slices (2, b_t, ...) of a packed tensor (2, P', ...) with P' = P + spare rows at its end."""
    spare = tensor.shape[1] - sum(sizes)
    return torch.split_with_sizes(tensor, (*sizes, spare), 1)[:-1]


def _tanh(x: Tensor, minus_one: Tensor, out: Tensor) -> Tensor:
    """tanh as 2 / (1 + exp(-2x)) - 1, off by 1e-7 at most: torch.tanh takes up to three times as long."""
    torch.mul(x, -2, out=out).exp_().add_(1).reciprocal_()
    return torch.add(minus_one, out, alpha=2, out=out)


def _run(
    rows: Tensor, weights: Sequence[Tensor], size: int, sizes: tuple[int, ...], keep: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run both directions; return the hidden states (2, P', H), and what the backward pass needs.

    That is, for all steps if ``keep``, else of the last one: the gates (2, P', 4H), cells and their tanh (2, P', H).
    ``rows`` (2, P', D+1+H) hold each step's inputs beside the hidden states of the step before, which are filled in here;
    ``weights`` are those of both, packed, for each direction (4H, D+1+H): its step is one product.
    """
    room = rows.shape[1] if keep else sizes[0]
    gates, hidden = rows.new_empty(2, room, 4 * size), rows.new_empty(2, rows.shape[1], size)
    cells, squashed = rows.new_empty(2, 2, room, size)
    before = rows[:, :, -size:]
    before[:, : sizes[0]] = 0
    minus_one = rows.new_tensor(-1)
    states = (gates, cells, squashed, *gates.view(2, room, 4, size).unbind(2))
    kept = [_steps(x, sizes) if keep else [x[:, :batch] for batch in sizes] for x in states]
    h_before = c_before = None
    views = zip(*(_steps(x, sizes) for x in (rows, before, hidden)), *kept, strict=True)
    for row, h_row, h, gate, c, tanh_c, i, f, g, o in views:
        batch = row.shape[1]
        if h_before is not None:
            h_row.copy_(h_before[:, :batch])
        for direction in (0, 1):
            gate[direction].copy_(sigmoid_product(row[direction], weights[direction]))
        torch.add(minus_one, g, alpha=2, out=g)  # tanh(z) = 2 sigmoid(2z) - 1
        if c_before is None:
            torch.mul(i, g, out=c)
        else:
            torch.mul(f, c_before[:, :batch], out=c).addcmul_(i, g)
        torch.mul(o, _tanh(c, minus_one, tanh_c), out=h)
        h_before, c_before = h, c
    return hidden, gates, cells, squashed


def _run_back(
    d_hidden: Tensor, w_hh: Sequence[Tensor], plan: Packing, gates: Tensor, cells: Tensor, squashed: Tensor
) -> Tensor:
    """Backpropagation through time: the gradient (2, P', 4H) of the pre-activations. Overwrites ``d_hidden`` (2, P, H)."""
    size, sizes, total = w_hh[0].shape[-1], plan.sizes, d_hidden.shape[1]
    i, f, g, o = gates.view(2, -1, 4, size)[:, :total].unbind(2)
    cells, squashed = cells[:, :total], squashed[:, :total]
    d_gates = torch.empty_like(gates)
    d_gates[:, total:] = 0
    factors = d_gates.view(2, -1, 4, size)
    d_i, d_f, d_g, d_o = factors[:, :total].unbind(2)
    # What does not depend on later steps, for all steps at once: d_gates of i, f, g is this times the gradient of the cell.
    sigmoid_backward, tanh_backward = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward
    sigmoid_backward(g, i, grad_input=d_i)
    d_f[:, : sizes[0]] = 0
    sigmoid_backward(cells.index_select(1, plan.previous), f[:, sizes[0] :], grad_input=d_f[:, sizes[0] :])
    tanh_backward(i, g, grad_input=d_g)
    sigmoid_backward(squashed, o, grad_input=d_o)
    through = tanh_backward(o, squashed)
    d_cells = d_hidden.new_zeros(2, sizes[0], size)
    views = [_steps(x, sizes) for x in (d_gates, factors[:, :, :3], d_o, d_hidden, through, f)]
    later: Tensor | None = None  # d_gates of step t + 1
    for d_gate, d_ifg, d_o_t, dh, through_t, f_t in reversed(list(zip(*views, strict=True))):
        if later is not None:
            for direction in (0, 1):
                dh[direction, : later.shape[1]].add_(product(later[direction], w_hh[direction].T))
        d_o_t.mul_(dh)
        dc = d_cells[:, : dh.shape[1]].addcmul_(dh, through_t)
        d_ifg.mul_(dc.unsqueeze(2))
        dc.mul_(f_t)
        later = d_gate
    return d_gates


def _gather(table: Tensor, index: Tensor) -> Tensor:
    """Rows ``index`` (...) of ``table`` (R, K) as (..., K). index_select copies whole rows, table[index] single elements."""
    return table.index_select(0, index.flatten()).view(*index.shape, -1)


def _rows(tokens: Tensor, plan: Packing, size: int) -> Tensor:
    """Packed inputs (2, P', D+1+H): the tokens', 1 for the bias, and room for H hidden units; P' is P rounded up.

    The bias is the weight of an input that is always 1: so its gradient is part of the weights'. P' is the next multiple
    of ROUND; rows beyond P are zeros.
    """
    inputs = _gather(nn.functional.pad(tokens, (0, 1, 0, 1), value=1), plan.tokens)
    total, width = inputs.shape[1:]
    rows = inputs.new_empty(2, -(-total // ROUND) * ROUND, width + size)
    rows[:, :total, :width] = inputs
    rows[:, total:] = 0
    return rows


class StepwiseLSTM(torch.autograd.Function):
    """tokens (N, D), and of each direction the weights (4H, D), (4H, H) and both biases (4H,) -> (N, 2H)."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, plan: Packing, keep: bool, *parameters: Tensor) -> Tensor:
        size = parameters[1].shape[-1]
        rows = _rows(tokens, plan, size)
        weights = []
        for w_ih, w_hh, b_ih, b_hh in (parameters[:4], parameters[4:]):
            joined = torch.cat([w_ih, (b_ih + b_hh).unsqueeze(1), w_hh], 1)
            joined[2 * size : 3 * size] *= 2  # g = tanh(z) = 2 sigmoid(2z) - 1
            weights.append(packed(joined))
        hidden, *states = _run(rows, weights, size, plan.sizes, keep)
        ctx.plan = plan
        ctx.save_for_backward(rows, *states, *parameters)
        # The two directions of a token are neighbors in the output, and a whole table apart in ``hidden``.
        return _gather(hidden.flatten(0, 1), plan.rows.T + plan.rows.new_tensor([0, hidden.shape[1]])).flatten(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor | None, ...]:
        plan: Packing = ctx.plan
        rows, gates, cells, squashed, *parameters = ctx.saved_tensors
        n, inputs = d_output.shape[0], parameters[0].shape[-1]
        places = (2 * plan.tokens + plan.tokens.new_tensor([[0], [1]])).clamp_(max=2 * n - 1)
        d_hidden = _gather(d_output.reshape(2 * n, -1), places)
        d_hidden.index_fill_(1, (plan.tokens[0] == n).nonzero().flatten(), 0)  # nobody reads the spare rows
        d_gates = _run_back(d_hidden, parameters[1::4], plan, gates, cells, squashed)
        d_tokens = None
        if ctx.needs_input_grad[0]:
            d_inputs = [product(d_gate, w.T) for d_gate, w in zip(d_gates, parameters[::4], strict=True)]
            d_tokens = _gather(d_inputs[0], plan.rows[0]).add_(_gather(d_inputs[1], plan.rows[1]))
        d_parameters: list[Tensor] = []
        for row, d_gate in zip(rows, d_gates, strict=True):
            d_weights = product(row.T, d_gate.T).T
            d_bias = d_weights[:, inputs]
            d_parameters += [d_weights[:, :inputs], d_weights[:, inputs + 1 :], d_bias, d_bias]
        return d_tokens, None, None, *d_parameters
