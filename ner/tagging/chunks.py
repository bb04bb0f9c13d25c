"""What is tagged together: so much that a batch is full, so little that memory does not grow with a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
CHUNK = 512  # passages, or sentences, that are sorted by length and tagged together
CHUNK_TOKENS = 20_000  # or fewer, where they have so many tokens


def chunks(
    items: Iterable[Item],
    document: Callable[[Item], int],
    tokens: Callable[[Item], int],
    hurry: Callable[[Item], bool] = lambda item: False,
) -> Iterator[list[Item]]:
    """Items that are tagged together: CHUNK of them or a few more, since a ``document`` is never cut in two.

    Fewer where they have CHUNK_TOKENS ``tokens``, or ``hurry`` says that what is there shall not wait for what follows.
    """
    chunk: list[Item] = []
    size = 0
    for item in items:
        if (len(chunk) >= CHUNK or size >= CHUNK_TOKENS) and document(item) != document(chunk[-1]):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += tokens(item)
        if hurry(item):
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
