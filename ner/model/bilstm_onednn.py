"""The BiLSTM by oneDNN's LSTM, which runs M rows of T steps at once, with many sentences one after another in each row.

Between two sentences of a row, and after the last one, stand separators: steps with an input of their own that is 1 there
and 0 at every token, and whose constant weights close the gates i, f and o. Their sigmoid is then exactly 0, and so are
cell, state and all gradients: each sentence begins as if it were alone, and nothing flows back into the one before. The
reverse direction has each sentence written backwards in its place.

Bits: oneDNN's code for AVX-512 gives a row's states the same bits in whatever company (of at least two rows), at any step
and with any number of threads. Its code for AVX2 does not: so ``serves`` asks for AVX-512. Gradients were the same with 1
to 6 threads, and others with 8 and 16: runs with ``any_threads`` compute in one
(training/determinism/any_threads.py).

Shapes: N tokens, T steps, M rows, D inputs, H hidden units.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ner.model.packing import Packing
from ner.model.sentence_rows import Rows, arrange

CLOSED = -1e30  # what a separator adds to the gates i, f and o
LSTM_MODE = 2  # torch's number for it among the recurrent networks


@functools.cache
def _trusted() -> bool:
    """Whether oneDNN is there and will take its code for AVX-512."""
    lowered = any(name in os.environ for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"))
    with_mkldnn = torch.backends.mkldnn.is_available()
    return with_mkldnn and not lowered and torch.backends.cpu.get_cpu_capability() == "AVX512"


def serves(tokens: Tensor) -> bool:
    """Whether this implementation is the one for ``tokens``."""
    plain = tokens.device.type == "cpu" and tokens.dtype == torch.float32
    return plain and _trusted() and not torch.is_autocast_enabled("cpu")


class FusedLSTM(torch.autograd.Function):
    """tokens (N, D), and of each direction the weights (4H, D), (4H, H) and both biases (4H,) -> (N, 2H)."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, plan: Packing, keep: bool, *parameters: Tensor) -> Tensor:
        n, inputs, size = *tokens.shape, parameters[1].shape[-1]
        where = arrange(plan.lengths)
        table = tokens.new_zeros(n + 1, inputs + 1)
        table[:n, :inputs] = tokens
        table[n, inputs] = 1
        closed = tokens.new_full((4 * size, 1), CLOSED)
        closed[2 * size : 3 * size] = 0
        zero = tokens.new_zeros(1, where.rows, size)
        output = tokens.new_empty(n, 2, size)
        saved: list[Tensor] = []
        for direction in (0, 1):
            w_ih, *others = (each.detach() for each in parameters[4 * direction : 4 * direction + 4])
            rows = table.index_select(0, where.tokens[direction]).view(where.steps, where.rows, -1)
            weights = (torch.cat([w_ih, closed], 1), *others)
            with torch.set_grad_enabled(keep):  # without it, torch leaves out what the backward pass needs
                states, *rest = torch.ops.aten.mkldnn_rnn_layer(
                    rows, *weights, zero, zero, False, [], LSTM_MODE, size, 1, True, False, False, keep
                )
            torch.index_select(states.flatten(0, 1), 0, where.places[direction], out=output[:, direction])
            saved += [rows, *weights, zero, zero, states, *rest]
        ctx.where = where
        ctx.save_for_backward(*saved)
        return output.flatten(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor | None, ...]:
        where: Rows = ctx.where
        n, saved = d_output.shape[0], ctx.saved_tensors
        half = len(saved) // 2
        d_tokens: list[Tensor] = []
        d_parameters: list[Tensor] = []
        for direction in (0, 1):
            *given, workspace = list(saved[direction * half : (direction + 1) * half])
            states, last, cell = given[-3:]
            size = states.shape[-1]
            # What a separator's state gets as gradient is of no account: it is multiplied by zeros.
            which = (2 * where.tokens[direction] + direction).clamp_(max=2 * n - 1)
            d_states = d_output.reshape(2 * n, size).index_select(0, which).view(states.shape)
            none = torch.zeros_like(last), torch.zeros_like(cell)
            d_rows, d_w_ih, d_w_hh, d_b_ih, d_b_hh, *_ = torch.ops.aten.mkldnn_rnn_layer_backward(
                *given, d_states, *none, False, LSTM_MODE, size, 1, True, True, False, [], False, workspace
            )
            d_parameters += [d_w_ih[:, :-1], d_w_hh, d_b_ih, d_b_hh]
            if ctx.needs_input_grad[0]:
                d_tokens.append(d_rows.flatten(0, 1).index_select(0, where.places[direction])[:, :-1])
        return d_tokens[0] + d_tokens[1] if d_tokens else None, None, None, *d_parameters
