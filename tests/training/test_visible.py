"""Text for people is cut, counted, listed and set in columns in one place."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from training.visible import aligned, counted, listed, shortened

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("training", "word2vec", "ner")
CODE = [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if path.name != "visible.py"]
WORDS = st.text("ab é漢", max_size=12)

# By hand: a plural, a text cut with a mark, the rest of a list.
BY_HAND = re.compile(
    r"""
      ['"]s['"]\ (?:if|\*) | \*\ \(?\w+\ (?:!=|>)\ 1\b                     # 's' * (n > 1)
    | \[:\w+\](?:\ \+\ ['"]|\})(?:\.\.\.|…)                              # text[:57] + "...", {text[:12]}…
    | \[:\w+\]!r\} | \)\[:\w+\]\}                                         # {name[:80]!r}, {str(error)[:200]}
    | and\ \{len\(.*\}\ more                                               # and {len(names) - 3} more
    """,
    re.VERBOSE,
)


@given(WORDS, st.integers(3, 9), st.sampled_from(["…", "..."]))
def test_a_text_is_cut_to_the_length_that_is_asked_for(text: str, longest: int, mark: str) -> None:
    found = shortened(text, longest, mark)
    assert len(found) == min(len(text), longest)
    assert found == text or (found.endswith(mark) and text.startswith(found.removesuffix(mark)))


def test_one_is_singular_and_thousands_have_a_comma() -> None:
    assert [counted(n, "word") for n in (0, 1, 2, 2000)] == ["0 words", "1 word", "2 words", "2,000 words"]
    assert counted(2, "entity", "entities") == "2 entities"


@given(st.lists(st.sampled_from("abc"), max_size=9), st.integers(1, 9))
def test_a_list_says_how_many_it_leaves_out(things: list[str], most: int) -> None:
    shown, _, rest = listed(things, most).partition(" and ")
    assert shown == ", ".join(things[:most])
    assert rest == (f"{len(things) - most} more" if len(things) > most else "")


@given(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=5), st.booleans())
def test_columns_begin_or_end_at_one_place(rows: list[tuple[str, str, str]], numbers: bool) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, line in zip(rows, aligned(rows, numbers=numbers), strict=True):
        padded, at = line.ljust(sum(widths) + 4), 0
        for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
            part = padded[at : at + width]
            assert part == (cell.rjust(width) if numbers and i else cell.ljust(width))
            at += width + 2


def test_nobody_does_it_by_hand() -> None:
    assert BY_HAND.search("""f"{n} column{'s' * (n > 1)}" """)
    assert BY_HAND.search('text[:77] + "..."')
    assert BY_HAND.search('f"{digest[:12]}…"')
    assert BY_HAND.search('f"got {name[:80]!r}"')
    assert BY_HAND.search('f"got {str(error)[:200]}"')
    assert BY_HAND.search('f" and {len(bad) - 3} more"')
    lines = ((path, line.strip()) for path in CODE for line in path.read_text(encoding="utf-8").splitlines())
    assert [f"{path.relative_to(ROOT)}: {line}" for path, line in lines if BY_HAND.search(line)] == []
