"""The BiLSTM by oneDNN's LSTM, which runs M rows of T steps at once, with many sentences one after another in each row.

Between two sentences of a row, and after the last one, stand separators: steps with an input of their own that is 1 there
and 0 at every token, and whose constant weights close the gates i, f and o. Their sigmoid is then exactly 0, and so are
cell, state and all gradients: each sentence begins as if it were alone, and nothing flows back into the one before. The
reverse direction has each sentence written backwards in its place.

Bits: oneDNN's code for AVX-512 gives a row's states the same bits in whatever company (of at least two rows), at any step
and with any number of threads. Its code for AVX2 does so in one thread, and where the numbers of rows and of all places
(T·M) are such as sentence_rows.arrange makes them for it: others leave rows over that are rounded in another way. There
the two directions are two jobs of one thread each. Where nothing is kept for the backward pass, it runs other code, which
rounds otherwise for some sizes, is faster, and gives a row the same bits in whatever company of at least two rows, with
any number of threads. So a sentence's states in evaluation are one set of bits, and in training another, equal up to
rounding. Gradients by the code for AVX-512 were the same with 1 to 6 threads, and
others with 8 and 16: with ``any_threads`` the directions are two such jobs, too (training/determinism/any_threads.py); by
that for AVX2 they are the same with any number.

Shapes: N tokens, T steps, M rows, D inputs, H hidden units.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ner.model.packing import Packing
from ner.model.sentence_rows import Rows, arrange
from training.determinism.any_threads import in_force
from training.determinism.single_threads import in_single_threads

CLOSED = -1e30  # what a separator adds to the gates i, f and o
LSTM_MODE = 2  # torch's number for it among the recurrent networks


@functools.cache
def _code() -> str:
    """For which CPUs the code is that oneDNN will take: "AVX512", "AVX2"; "" for others, whose bits are not known."""
    if not torch.backends.mkldnn.is_available():
        return ""
    lowered = {os.environ[name].upper() for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA") if name in os.environ}
    found = torch.backends.cpu.get_cpu_capability()
    if found not in ("AVX512", "AVX2") or not lowered <= {"AVX2"}:
        return ""
    return "AVX2" if lowered else found


def serves(tokens: Tensor) -> bool:
    """Whether this implementation is the one for ``tokens``."""
    plain = tokens.device.type == "cpu" and tokens.dtype == torch.float32
    return plain and bool(_code()) and not torch.is_autocast_enabled("cpu")


def _each_direction(compute: Callable[[int], list[Tensor]]) -> list[list[Tensor]]:
    """``compute(0)`` and ``compute(1)``, in such threads as the bits ask for."""
    calls = [partial(compute, direction) for direction in (0, 1)]
    return in_single_threads(calls) if _code() == "AVX2" or in_force() else [call() for call in calls]


class FusedLSTM(torch.autograd.Function):
    """tokens (N, D), and of each direction the weights (4H, D), (4H, H) and both biases (4H,) -> (N, 2H)."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, plan: Packing, keep: bool, *parameters: Tensor) -> Tensor:
        n, inputs, size = *tokens.shape, parameters[1].shape[-1]
        in_tiles = keep and _code() == "AVX2"
        where = arrange(plan.lengths, in_tiles)
        table = tokens.new_zeros(n + 1, inputs + 1)
        table[:n, :inputs] = tokens
        table[n, inputs] = 1
        closed = tokens.new_full((4 * size, 1), CLOSED)
        closed[2 * size : 3 * size] = 0
        zero = tokens.new_zeros(1, where.rows, size)
        output = tokens.new_empty(n, 2, size)

        def run(direction: int) -> list[Tensor]:
            w_ih, *others = (each.detach() for each in parameters[4 * direction : 4 * direction + 4])
            rows = table.index_select(0, where.tokens[direction]).view(where.steps, where.rows, -1)
            weights = (torch.cat([w_ih, closed], 1), *others)
            with torch.set_grad_enabled(keep):  # without it, torch leaves out what the backward pass needs
                states, *rest = torch.ops.aten.mkldnn_rnn_layer(
                    rows, *weights, zero, zero, False, [], LSTM_MODE, size, 1, True, False, False, keep
                )
            with torch.no_grad():
                torch.index_select(states.flatten(0, 1), 0, where.places[direction], out=output[:, direction])
            return [rows, *weights, zero, zero, states, *rest] if keep else []

        saved = _each_direction(run)
        ctx.where = where
        ctx.save_for_backward(*saved[0], *saved[1])
        return output.flatten(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor | None, ...]:
        where: Rows = ctx.where
        n, saved = d_output.shape[0], ctx.saved_tensors
        half = len(saved) // 2
        wanted = ctx.needs_input_grad[0]

        def run_back(direction: int) -> list[Tensor]:
            """The gradients of the four parameters, and of the tokens where they are wanted."""
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
            d_tokens = [d_rows.flatten(0, 1).index_select(0, where.places[direction])[:, :-1]] if wanted else []
            return [d_w_ih[:, :-1], d_w_hh, d_b_ih, d_b_hh, *d_tokens]

        found = _each_direction(run_back)
        d_parameters = [gradient for gradients in found for gradient in gradients[:4]]
        d_tokens = [gradient for gradients in found for gradient in gradients[4:]]
        return d_tokens[0] + d_tokens[1] if d_tokens else None, None, None, *d_parameters
