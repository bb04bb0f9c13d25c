"""train-w2v on a text larger than the memory it may take: peak of anonymous memory and of file pages, by smaps_rollup.

Makes a text of Zipf words (a word of rank r is drawn with a share ∝ 1/(r + 2.7)), trains on it, and looks at the process
every half second. Linux only.

Example:
  python benchmarks/w2v_memory.py --gigabytes 1 --folder /tmp/big
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import record  # noqa: E402


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--gigabytes", type=float, default=1.0)
    command.add_argument("--vocabulary", type=int, default=1_000_000, help="different words that can occur")
    command.add_argument("--each", action="store_true", help="all of them do, once at the text's beginning")
    command.add_argument("--folder", type=Path, required=True, help="where the text and the run go")
    command.add_argument("options", nargs="*", help="more options for train-w2v, behind --")
    record.add_option(command)
    arguments = command.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    text = arguments.folder / f"zipf-{arguments.gigabytes:g}-{arguments.vocabulary}{'-each' * arguments.each}.txt"
    if not text.is_file():
        write_text(text, int(arguments.gigabytes * 1e9), arguments.vocabulary, arguments.each)
    print(f"text: {text.stat().st_size:,} bytes")
    run = arguments.folder / f"run-{int(time.time())}"
    process = subprocess.Popen(
        [sys.executable, "cli.py", "train-w2v", "--corpus", str(text), "--pretokenized", "--run", str(run),
         "--min-count", "5", "--sample", "1e-4", "--epochs", "1", "--no-progress", *arguments.options],
        cwd=ROOT,
    )  # fmt: skip
    most = watch(process)
    print({name: f"{kb / 1024:,.0f} MiB" for name, kb in most.items()})
    if process.returncode:
        sys.exit(process.returncode)
    with open(run / "vocab.tsv", encoding="utf-8") as stream:
        words = sum(1 for _ in stream)
    row = f"{arguments.gigabytes:g} GB of text, a vocabulary of {words:,} words"
    rows: record.Rows = {row: {f"{name}, MiB": round(kb / 1024) for name, kb in most.items()}}
    record.write(arguments.record, "memory", rows, modules=record.WORDS, threads=1, data=[text])


def write_text(path: Path, size: int, vocabulary: int, each: bool = False) -> None:
    """Lines of 20 words each, with ``each`` first all words, one after another; word r is a base-26 spelling of r."""
    spelled = []
    for rank in range(vocabulary):
        letters, rest = "", rank + 26
        while rest:
            rest, letter = divmod(rest, 26)
            letters += chr(97 + letter)
        spelled.append(letters)
    share = 1.0 / (np.arange(vocabulary) + 2.7)
    upto = np.cumsum(share / share.sum())
    generator = np.random.default_rng(0)
    with open(path, "w") as stream:
        written = stream.write(lines_of(spelled)) if each else 0
        while written < size:
            ranks = np.searchsorted(upto, generator.random(200_000)).clip(max=vocabulary - 1).tolist()
            written += stream.write(lines_of([spelled[rank] for rank in ranks]))


def lines_of(words: list[str]) -> str:
    """The words, 20 a line."""
    return "\n".join(" ".join(words[i : i + 20]) for i in range(0, len(words), 20)) + "\n"


def watch(process: subprocess.Popen[bytes]) -> dict[str, int]:
    """The highest values seen, in kB: anonymous memory, file pages mapped, and all that is resident."""
    peak = {"anonymous": 0, "file pages": 0, "resident": 0}
    while process.poll() is None:
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            break
        values = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines[1:])}
        anonymous, resident = values["Anonymous"], values["Rss"]
        for name, value in (("anonymous", anonymous), ("resident", resident), ("file pages", resident - anonymous)):
            peak[name] = max(peak[name], value)
        time.sleep(0.5)
    process.wait()
    return peak


if __name__ == "__main__":
    main()
