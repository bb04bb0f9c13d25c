"""Tables: a model's layers and their numbers of parameters, and the metrics of a test. As Lightning prints them."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence

from torch import nn

UNITS = (" ", "K", "M", "B", "T")
OTHER = ("other params", "n/a", "n/a")


class ModelSummary:
    """Rows of index, name, type, parameters and mode; footers with totals (no FLOPs). ``str()`` of it is the table.

    ``max_depth`` 1 lists the direct children, 2 their children too, -1 all; 0 the totals alone. ``bytes_each`` is the size
    of a parameter (8 for 64-true), for the size in MB (10⁶ bytes).
    """

    def __init__(self, model: nn.Module, max_depth: int = 1, bytes_each: int = 4) -> None:
        if max_depth < -1:
            raise ValueError(f"max_depth: expected -1, 0 or more, got {max_depth}")
        named = list(model.named_modules())[1:]
        self.layers = [(n, m) for n, m in named if max_depth == -1 or n.count(".") < max_depth]
        self.total = sum(p.numel() for p in model.parameters())
        self.trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.megabytes = self.total * bytes_each * 1e-6
        self.modes = [module.training for _, module in named]

    def __str__(self) -> str:
        counts = [sum(p.numel() for p in module.parameters()) for _, module in self.layers]
        rows = [
            (str(i), name, type(module).__name__, human_count(n), "train" if module.training else "eval")
            for i, ((name, module), n) in enumerate(zip(self.layers, counts, strict=True))
        ]
        # As Lightning does it: with nested rows the sum counts parameters more than once, and the rest stays hidden.
        if self.total > sum(counts):
            rows.append((" ", OTHER[0], OTHER[1], human_count(self.total - sum(counts)), OTHER[2]))
        header = (" ", "Name", "Type", "Params", "Mode")
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        line = "-" * (sum(widths) + 3 * (len(widths) + 1))
        table = [" | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in [header, *rows]]
        totals = [
            (human_count(self.trainable), "Trainable params"),
            (human_count(self.total - self.trainable), "Non-trainable params"),
            (human_count(self.total), "Total params"),
            (f"{self.megabytes:,.3f}", "Total estimated model params size (MB)"),
            (str(self.modes.count(True)), "Modules in train mode"),
            (str(self.modes.count(False)), "Modules in eval mode"),
        ]
        return "\n".join([table[0], line, *table[1:], line, *(f"{value:<10}{what}" for value, what in totals)])


def human_count(n: int) -> str:
    """123 → "123  ", 1234 → "1.2 K", 2·10⁶ → "2.0 M"; trillions are not abbreviated further."""
    digits = int(math.floor(math.log10(n)) + 1) if n > 0 else 1
    groups = min(math.ceil(digits / 3), len(UNITS))
    scaled = n * 10.0 ** (-3 * (groups - 1))
    return f"{int(scaled):,d} {UNITS[groups - 1]}" if groups == 1 or scaled >= 100 else f"{scaled:,.1f} {UNITS[groups - 1]}"


def results_table(results: Sequence[Mapping[str, float]], stage: str, width: int | None = None) -> str:
    """``Test metric | DataLoader 0``: a row for each metric, sorted by name; ``width`` None takes the terminal's."""
    plain = [{name.split("/dataloader_idx_")[0]: value for name, value in each.items()} for each in results]
    names = sorted({name for each in plain for name in each})
    if not names:
        return ""
    width = width or shutil.get_terminal_size(fallback=(120, 30)).columns or 120
    headers = [f"DataLoader {i}" for i in range(len(plain))]
    column = int(min(max(len(max(names, key=len)), len(max(headers, key=len)), 25), width / 2))
    per_table = int((width - column) / column)
    bar, lines = "─" * width, []
    for first in range(0, len(plain), per_table):
        shown = range(first, min(first + per_table, len(plain)))
        row_format = f"{{:^{column}}}" * (len(shown) + 1)
        lines += [bar, row_format.format(f"{stage.capitalize()} metric", *(headers[i] for i in shown)).rstrip(), bar]
        for name in names:
            values = [str(plain[i].get(name, " ")) for i in shown]
            half, rest = width // 2, name
            while len(rest) > half:
                lines.append(row_format.format(rest[:half], *values).rstrip())
                rest, values = rest[half:], [" " for _ in shown]
            lines.append(row_format.format(rest, *values).rstrip())
        lines.append(bar)
    return "\n".join(lines)
