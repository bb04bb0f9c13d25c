"""The table of a test's metrics, as Lightning prints it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence


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
