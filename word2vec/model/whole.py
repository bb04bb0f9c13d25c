"""Tables whose columns several processes hold, put together in process 0, and dealt out again: a block of rows at a time.

What is put together lies in a file without a name, which is mapped into memory: the system reads and forgets its pages as
needed, so that process 0 need not have the memory for whole tables.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from word2vec.model.columns import Chunks, Columns

BLOCK = 1 << 18
"""Numbers of a table that travel at a time."""


def put_together(
    columns: Columns, tables: Mapping[str, Chunks], place: Path | None = None, rows: int | None = None
) -> dict[str, Tensor]:
    """In process 0 the whole tables by name, or their first ``rows`` rows; elsewhere nothing. All processes call it.

    Args:
        columns: how the tables are cut.
        tables: of each its chunks in this process, of the same names everywhere.
        place: a folder on a disk that has room for them; None for the system's temporary one.
        rows: how many of each; None for all.

    Returns:
        Tables (r, d) that must not be changed; where they were never cut, they are the model's own.

    Raises:
        OSError: the disk does not take them; in all processes.
    """
    if columns.whole:
        return {name: chunk.detach()[:rows].cpu() for name, (chunk,) in tables.items()}
    found: dict[str, Tensor] = {}
    for name, chunks in tables.items():
        file = _written(columns, chunks, place, rows)
        if file is not None:
            with file:
                numbers = np.memmap(file, dtype=chunks[0].new_zeros(0).cpu().numpy().dtype, mode="r+")
            found[name] = torch.from_numpy(numbers.reshape(-1, columns.dim))
    return found


def _written(columns: Columns, chunks: Chunks, place: Path | None, rows: int | None) -> IO[bytes] | None:
    """In process 0 a file of the table's rows, which has no name and so ends with the process; elsewhere None."""
    file: IO[bytes] | None = None
    fault: OSError | None = None
    for block in _blocks(columns, chunks, rows):  # to the end, whatever happens: the other processes wait for this one
        if block is not None and fault is None:
            try:
                file = tempfile.TemporaryFile(dir=place) if file is None else file  # noqa: SIM115
                file.write(block.numpy().data)
                file.flush()
            except OSError as error:
                fault = error

    def check() -> None:
        if fault is not None:
            raise fault

    columns.group.first(check)
    return file


def _blocks(columns: Columns, chunks: Chunks, rows: int | None) -> Iterator[Tensor | None]:
    """In process 0 the table's rows (b, d), block by block, else as often None."""
    slices = [columns.of_rank(rank) for rank in range(columns.group.world)]
    widest, last = max(each.stop - each.start for each in slices), len(chunks[0][:rows])
    step = max(1, BLOCK // columns.dim)
    for begin in range(0, last, step):
        at = slice(begin, min(last, begin + step))
        own = torch.cat([chunk.detach()[at] for chunk in chunks], 1)
        padded = own.new_zeros(len(own), widest)  # a process may have a column less than another
        padded[:, : own.shape[1]] = own
        parts = columns.group.to_first(padded)
        if not parts:
            yield None
            continue
        yield torch.cat([part[:, : each.stop - each.start] for part, each in zip(parts, slices, strict=True)], 1).cpu()


def deal_out(columns: Columns, tables: Mapping[str, Chunks], whole: Mapping[str, Tensor]) -> None:
    """Fill each process's chunks from the whole tables (V, d) that process 0 has. All processes call it.

    Raises:
        KeyError, RuntimeError: a table is not there, or has another shape; in all processes.
    """
    shapes = columns.group.broadcast({name: tuple(table.shape) for name, table in whole.items()})
    for name, chunks in tables.items():
        size = len(chunks[0])
        if shapes[name] != (size, columns.dim):
            raise RuntimeError(f"{name}: expected a table of the shape {(size, columns.dim)}, got {shapes[name]}")
        deal_rows(columns, chunks, whole.get(name))


def deal_rows(columns: Columns, chunks: Chunks, whole: Tensor | None, places: Tensor | None = None) -> None:
    """Fill rows of each process's chunks of a table from whole rows (r, d) that process 0 has. All processes call it.

    Args:
        columns: how the table is cut.
        chunks: the table's, in this process.
        whole: the rows; they are looked at in process 0 alone.
        places: int64 (r,), the same in all processes: which rows of the table these are; None for all, in order.
    """
    size, step = len(chunks[0]) if places is None else len(places), max(1, BLOCK // columns.dim)
    for begin in range(0, size, step):
        at = slice(begin, min(size, begin + step))
        rows = chunks[0].new_empty(at.stop - at.start, columns.dim)
        if columns.group.writes:
            assert whole is not None
            rows.copy_(whole[at])
        columns.group.share([rows])
        for chunk, own in zip(chunks, columns.own, strict=True):
            chunk.detach()[at if places is None else places[at]] = rows[:, own]
