"""Makes RESULTS.md from benchmarks/results/*.json, EARLIER.md from results/earlier/*.json, and the README's tables.

    python benchmarks/make_results.py            # `make results`
    python benchmarks/make_results.py --check    # exit code 1 where a text does not say what the records say

RESULTS.md has a table for each subject of benchmarks/subjects.toml, a row for each row of its records. A row is marked
"stale" where the code that its figures depend on is another now: the digest of the record's modules differs from that of
this tree, and confirm.py has not shown that it still makes the same bits. A record that nobody measures again, but that is
worth keeping, is moved to results/earlier by hand. The README's tables are those of benchmarks/claims.toml, between
``<!-- claims:NAME -->`` and ``<!-- /claims -->``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record

RESULTS = record.ROOT / "benchmarks" / "RESULTS.md"
EARLIER = record.ROOT / "benchmarks" / "EARLIER.md"
README = record.ROOT / "README.md"
SUBJECTS = record.ROOT / "benchmarks" / "subjects.toml"
CLAIMS = record.ROOT / "benchmarks" / "claims.toml"
STALE = ", stale"
NO_COMMIT = "not known"

HEAD = """# Results

This page has the measured figures of this version. `make results` makes it from the records in `benchmarks/results/`; a
record is what one command measured. The date in a row links to its record, which has the figures of every run, the data
with their SHA-256, versions, the CPU and the digest of the code. A figure is a median, followed by the minimum and maximum
in brackets if there was more than one run. A commit is *stale* if the code that the figure depends on has changed since,
other than in comments, messages, and checks that only raise an error; "same bits at" names a later commit that trains the
same weights. [Earlier results](EARLIER.md) were measured with earlier versions, some on other CPUs.
[Notes](../docs/notes/README.md) has explanations, and what was tried without gain.
"""
EARLIER_HEAD = """# Earlier results

This page keeps figures that were measured with earlier versions of the code, some on CPUs that were not available again.
They need not hold for the current code. [RESULTS](RESULTS.md) has its figures and explains the columns. `make results` makes
this page from the records in `benchmarks/results/earlier/`.
"""
Record = Mapping[str, Any]


def records(folder: Path = record.FOLDER) -> dict[str, Record]:
    """All records by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def is_stale(one: Record) -> bool:
    """Whether the code that a record depends on is not known, or another now that was not shown to make the same bits."""
    confirmed = one.get("confirmed", {}).get("digest")
    return not one["digest"] or record.digest(one["modules"]) not in (one["digest"], confirmed)


def commit_of(one: Record) -> str:
    """The commit that a record's figures are of, and what has become of the code since."""
    confirmed = one.get("confirmed")
    words = one["commit"] or NO_COMMIT
    if confirmed:
        words += f"; same bits at {confirmed['commit']} ({confirmed['steps']})"
    return words + (STALE if is_stale(one) else "")


def decimals(value: float) -> int:
    """How many a value has when it is written with four digits; whole numbers have none."""
    if isinstance(value, int) or value == 0:
        return 0
    mantissa, _, exponent = f"{abs(value):.3e}".partition("e")
    return max(0, len(mantissa.rstrip("0").rstrip(".").replace(".", "")) - 1 - int(exponent))


def number(value: float, places: int) -> str:
    """With so many decimals, and commas between thousands; other than whole numbers to four digits at most."""
    if not isinstance(value, int) and value:
        value = float(f"{value:.4g}")
    return f"{value:.2g}" if 0 < abs(value) < 1e-3 else f"{value:,.{places}f}"


def cell(figure: Any) -> str:
    """A figure in a table: the median, with the range of several runs; or words."""
    if figure is None or isinstance(figure, str):
        return figure or ""
    values = (figure["median"], figure["least"], figure["most"])
    places = max(map(decimals, values))
    middle, least, most = (number(each, places) for each in values)
    return middle if least == most else f"{middle} ({least} to {most})"


def processor(cpu: Record) -> str:
    """Its model as reported, its family and the instructions in use, in few words."""
    words = re.sub(r"\((R|TM)\)| Processor| CPU|\d+-Core| @.*", "", str(cpu["model"])).split()
    family = [f"family {cpu['family']}" + (f" model {cpu['number']}" if cpu["number"] else "")] if cpu["family"] else []
    return ", ".join([" ".join(words), *family, *([cpu["instructions"]] if cpu["instructions"] else [])])


def table(found: Mapping[str, Record], folder: str, *, threads: bool = True) -> list[str]:
    """The rows of all records of a subject, which are in ``folder``; those of one name together, oldest first.

    ``threads``: with a column for their number; without one where rows or columns name it.
    """
    ordered = sorted(found.items(), key=lambda item: (item[1]["date"], item[0]))
    columns = list(dict.fromkeys(key for _, one in ordered for row in one["rows"].values() for key in row))
    lines: dict[str, list[str]] = {}
    for name, one in ordered:
        commit, date = commit_of(one), f"[{one['date'][:10]}]({folder}/{name}.json)"
        for row, figures in one["rows"].items():
            cells = [row, *(cell(figures.get(key)) for key in columns), *([str(one["threads"] or "")] if threads else [])]
            cells.append(processor(one["cpu"]))
            lines.setdefault(row, []).append(f"| {' | '.join([*cells, commit, date])} |")
    numbers = [*columns, *(["threads"] if threads else [])]
    head = [f"| | {' | '.join(numbers)} | CPU | commit | date |"]
    return [*head, f"| --- |{' ---: |' * len(numbers)} --- | --- | --- |", *chain(*lines.values())]


def results(found: Mapping[str, Record], kept: Mapping[str, Record], subjects: Iterable[Mapping[str, Any]]) -> str:
    """RESULTS.md: the subjects that have records, now (``found``) or only earlier ones (``kept``)."""
    return page(HEAD, found, with_records(subjects, {**kept, **found}), "results")


def earlier(kept: Mapping[str, Record], subjects: Iterable[Mapping[str, Any]]) -> str:
    """EARLIER.md: the subjects that have earlier records."""
    return page(EARLIER_HEAD, kept, with_records(subjects, kept), "results/earlier")


def with_records(subjects: Iterable[Mapping[str, Any]], found: Mapping[str, Record]) -> list[Mapping[str, Any]]:
    """The subjects that any of the records is of."""
    there = {one["subject"] for one in found.values()}
    return [each for each in subjects if each["id"] in there]


def only_earlier(heading: str) -> str:
    """What stands under a subject's heading if it has only earlier records: a link to the same heading of their page."""
    anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
    return f"Not measured with this version; [earlier results](EARLIER.md#{anchor})."


def page(head: str, found: Mapping[str, Record], subjects: Iterable[Mapping[str, Any]], folder: str) -> str:
    """A whole page. ``folder`` is where its records are, as seen from it."""
    parts, section = [head], ""
    for subject in subjects:
        mine = {name: one for name, one in found.items() if one["subject"] == subject["id"]}
        if subject.get("section", "") != section:
            section = subject.get("section", "")
            parts.append(f"## {section}\n" if section else "")
        parts.append(f"{'###' if section else '##'} {subject['heading']}\n")
        if not mine:
            parts.append(f"{only_earlier(subject['heading'])}\n")
            continue
        parts.append(f"{subject['text'].strip()}\n")
        commands = dict.fromkeys(one["command"] for one in mine.values() if one["command"])
        if commands:
            parts.append("```\n" + "\n".join(commands) + "\n```\n")
        parts.append("\n".join(table(mine, folder, threads=not subject.get("rows_name_threads", False))) + "\n")
        notes = dict.fromkeys(one["note"] for one in mine.values() if one["note"])
        parts += ["\n".join(f"- {note}" for note in notes) + "\n"] if notes else []
    return "\n".join(part for part in parts if part)


def subjects() -> list[dict[str, Any]]:
    """In the order of the page."""
    return list(tomllib.loads(SUBJECTS.read_text(encoding="utf-8"))["subject"])


def claims() -> dict[str, Any]:
    """The tables of the README, and the claims in them."""
    return dict(tomllib.loads(CLAIMS.read_text(encoding="utf-8")))


def shown(value: Any, found: Mapping[str, Record]) -> str:
    """A cell of the README: words as they are, a figure as its record has it.

    Args:
        value: Words, or a table with ``record``, ``row`` and ``figure``; several figures are added up. ``as`` is a Python
            format, say ".1f"; ``unit`` follows the figure; ``of`` is another row, of which it is a part; ``match`` is a
            regular expression, whose first group is taken where the figure is words.
        found: The records.
    """
    if isinstance(value, str):
        return value
    rows, names = found[value["record"]]["rows"], value["figure"]
    figure = rows[value["row"]][names] if isinstance(names, str) else None
    unit = value.get("unit", "")
    if isinstance(figure, str):
        found_words = re.search(value.get("match", "(.*)"), figure)
        return f"{found_words[1] if found_words else figure}{unit}"
    parts = [names] if isinstance(names, str) else names
    counted = [sum(rows[row][part]["median"] for part in parts) for row in (value["row"], value.get("of")) if row]
    return f"{' of '.join(format(count, value.get('as', ',')) for count in counted)}{unit}"


def readme_table(name: str, found: Mapping[str, Record]) -> str:
    """The README's table of that name."""
    whole = claims()
    head = whole["table"][name]
    lines = [f"| {' | '.join(head['columns'])} |", f"| {' | '.join(head['align'])} |"]
    for claim in whole["claim"]:
        if claim.get("table") == name:
            cells = [claim["statement"], *(shown(each, found) for each in claim["cells"])]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def with_tables(text: str, found: Mapping[str, Record]) -> str:
    """A page with its tables of claims made anew."""

    def made(match: re.Match[str]) -> str:
        return f"{match[1]}\n{readme_table(match[2], found)}\n{match[3]}"

    return re.sub(r"(<!-- claims:([\w-]+) -->)\n.*?(<!-- /claims -->)", made, text, flags=re.DOTALL)


def without_marks(text: str) -> str:
    """The page without the marks that come and go with each change of code."""
    return text.replace(STALE, "")


def stale_cells(found: Mapping[str, Record]) -> list[str]:
    """What the README shows of records that are stale."""
    stale = {name for name, one in found.items() if is_stale(one)}
    return [
        f"{claim['id']}: {value['record']}"
        for claim in claims()["claim"]
        for value in claim.get("cells", [])
        if not isinstance(value, str) and value["record"] in stale
    ]


def main() -> None:
    """Make all texts, or say which of them do not agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 where a text is not as it would be made"
    )
    given = parser.parse_args()
    found, kept = records(), records(record.EARLIER)
    made = {
        RESULTS: results(found, kept, subjects()),
        EARLIER: earlier(kept, subjects()),
        README: with_tables(README.read_text(encoding="utf-8"), found),
    }
    wrong = []
    for path, text in made.items():
        old = path.read_text(encoding="utf-8") if path.is_file() else ""
        if given.check and without_marks(old) != without_marks(text):
            wrong.append(path.name)
        elif not given.check and old != text:
            path.write_text(text, encoding="utf-8")
    for line in dict.fromkeys(stale_cells(found)):
        print(f"the README shows a stale figure: {line}")
    if wrong:
        sys.exit(f"expected {' and '.join(wrong)} as the records say; run `make results`")


if __name__ == "__main__":
    main()
