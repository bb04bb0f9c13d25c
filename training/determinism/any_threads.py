"""The same bits for any number of CPU threads: whatever could round by its share of the work is done by one thread.

A sum is rounded in the order of its additions, and torch, MKL and oneDNN choose that order by the number of threads:
matrix products split along the inner dimension or take other code for the rows at the end of a thread's share, full sums
add one part per thread, and some functions round differently in vector code and in the scalar code for the last elements
of a share. Here every operation runs in one thread, except those below, each of whose elements comes out the same wherever
it stands: copies, and arithmetic that IEEE 754 rounds once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Moves and comparisons; one correctly rounded operation per element; exp and tanh, whose code in torch is the same for
# every element. Not here, on purpose: sigmoid and sqrt (rounded by place), addcmul and lerp (may or may not be fused),
# sums, products.
PLACELESS = frozenset(
    "copy_ _to_copy clone contiguous fill_ zero_ zeros zeros_like ones ones_like full full_like constant_pad_nd cat stack "
    "index_select gather embedding repeat expand where masked_fill masked_fill_ eq ne lt le gt ge logical_and logical_or "
    "logical_not bitwise_and bitwise_or bitwise_xor bitwise_not arange sub sub_ mul mul_ div div_ neg neg_ abs abs_ "
    "reciprocal reciprocal_ sign clamp clamp_ clamp_min clamp_min_ clamp_max clamp_max_ maximum minimum exp exp_ tanh "
    "tanh_ _foreach_mul_ _foreach_div_ _foreach_neg".split()
)
ALPHA = frozenset(("add", "add_", "sub", "sub_", "rsub"))  # a + alpha·b is rounded once only where alpha·b is exact


class AnyThreads(TorchDispatchMode):
    """While it is entered, torch's operations give the same bits for any ``torch.get_num_threads()``."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if _placeless(func, named) or func.is_view:
            return func(*args, **named)
        threads = torch.get_num_threads()
        if threads == 1:
            return func(*args, **named)
        torch.set_num_threads(1)
        try:
            return func(*args, **named)
        finally:
            torch.set_num_threads(threads)


def _placeless(func: Any, named: Mapping[str, Any]) -> bool:
    name = func.overloadpacket.__name__
    if name in ALPHA:
        return named.get("alpha", 1) in (1, 2, -1, -2)
    return name in PLACELESS
