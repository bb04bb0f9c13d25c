"""Tokens a second of predict, from a text file to JSON lines with confidence, and how much memory it takes.

    PYTHONPATH=. python benchmarks/predict_speed.py RUN TEXT --lines 20000 --threads 1 2 --rounds 3
    PYTHONPATH=. python benchmarks/predict_speed.py RUN TEXT --memory 2000 20000 200000

Each try is a process of its own; loading the tagger is not counted. With --memory the text is repeated to so many lines.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import record

WORK = """
import json, resource, sys, time
import torch
torch.set_num_threads(int(sys.argv[3]))
from ner.tagging.tagger import TrainedTagger
from ner.predict import predict_stream
from word2vec.text.tokenize import split
tagger = TrainedTagger.load(sys.argv[1])
tagger.entities("Ada Marlow flew to Oslo.")
before = time.perf_counter()
for piece in predict_stream(tagger, sys.argv[2], output="jsonl"):
    pass
seconds = time.perf_counter() - before
with open(sys.argv[2], encoding="utf-8") as stream:
    tokens = sum(len(split(line)) for line in stream)
most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"rate": tokens / seconds, "tokens": tokens, "mib": most}))
"""


def work(run: str, text: str, threads: int) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", WORK, run, text, str(threads)], capture_output=True, text=True, check=True)
    values: dict[str, float] = json.loads(done.stdout)
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("text", type=Path)
    parser.add_argument("--lines", type=int, default=20_000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, nargs="*", default=[])
    record.add_option(parser)
    given = parser.parse_args()
    with given.text.open(encoding="utf-8") as stream:
        lines = list(itertools.islice(stream, given.lines))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.txt"
        most: dict[str, dict[str, record.Figure]] = {}
        for count in given.memory:
            with path.open("w", encoding="utf-8") as stream:
                stream.writelines(itertools.islice(itertools.cycle(lines), count))
            found = work(given.run, str(path), 1)
            print(f"{count:,} lines, {found['tokens']:,} tokens: at most {found['mib']:.0f} MiB")
            most[f"{count:,} lines ({found['tokens']:,} tokens)"] = {"MiB": round(found["mib"])}
        if given.memory:
            record.write(given.record, "predict-memory", most, modules=record.PREDICT, threads=1, data=[given.text])
            return
        path.write_text("".join(lines), encoding="utf-8")
        rates: dict[int, list[float]] = {threads: [] for threads in given.threads}
        for _ in range(given.rounds):
            for threads in given.threads:
                rates[threads].append(work(given.run, str(path), threads)["rate"])
        for threads, each in rates.items():
            spread = f"{min(each):,.0f} to {max(each):,.0f}"
            print(f"{threads} threads: {statistics.median(each):,.0f} ({spread}) tokens a second")
        rows = {f"{threads} thread{'s' * (threads > 1)}": {"tokens a second": each} for threads, each in rates.items()}
        record.write(given.record, "predict", rows, modules=record.PREDICT, threads=max(rates), data=[given.text])


if __name__ == "__main__":
    main()
