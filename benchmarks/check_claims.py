"""Checks what the README claims: says of each claim whether it holds, holds within its range, or does not.

    python benchmarks/check_claims.py                        # `make claims`: under 15 minutes on two cores
    python benchmarks/check_claims.py --only kill loop       # some of them
    python benchmarks/check_claims.py --data DATA --work W   # `make claims-all`: also those that take hours

The claims are those of benchmarks/claims.toml. A promise of the same bits holds or does not. A measured claim holds if the
result here is at least as good as the README's figure for this kind of CPU; it holds within its range if the result is at
least what claims.toml expects of any machine. The exit code is 1 if a claim does not hold.

DATA has conll2003/ (train, valid and test), enwiki.txt, reuters_c50.decon.txt, reuters21578.decon.txt, text8like.txt and
similarity/ (sets of pairs and analogies); a claim whose data are not there is not checked. The folder W keeps what was
trained and found, so you can stop the command and start it again: a finished run is not trained again, but segments of it
are, from checkpoints that it kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import make_results, record  # noqa: E402
from benchmarks.w2v_memory import write_text  # noqa: E402

HOLDS, WITHIN, FAILS, SKIPPED = "holds", "holds within its range", "does not hold", "not checked"
SPAN = 20
"""Steps of a segment that is run again."""
EVERY = {"conll2003": 1500, "lecture": 500}
"""Steps between the checkpoints that a run keeps for that."""
TEXT_BYTES, VOCABULARY = 9_000_000, 60_000
"""Of the generated text: 1.7 million words."""
Claim = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What came of a check."""

    verdict: str
    words: str = ""


@dataclass
class Work:
    """Where checks work, the data that they may use, and what they share."""

    folder: Path
    data: Path | None
    found: dict[str, Any] = field(default_factory=dict)
    """Records of benchmarks that serve several claims."""

    def run(self, *words: object, expect: int | None = 0, **environment: str) -> str:
        """Run a program of this repository by this Python; returns what it printed.

        Raises:
            Broken: It ended otherwise than with ``expect``.
        """
        command = [sys.executable, *map(str, words)]
        whole = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'proof'}", **environment}
        done = subprocess.run(command, cwd=ROOT, env=whole, capture_output=True, text=True, check=False)
        if expect is not None and done.returncode != expect:
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise Broken(f"{' '.join(map(str, words[:2]))} ended with {done.returncode}: {lines[-1] if lines else ''}")
        return done.stdout

    def record(self, *words: object, **environment: str) -> Any:
        """Run a benchmark, once for the same words; returns the rows that it records."""
        key = " ".join(map(str, words))
        if key not in self.found:
            path = self.folder / "records" / f"{len(self.found)}"
            self.run(*words, "--record", path, expect=None, **environment)
            if not path.with_suffix(".json").is_file():
                raise Broken(f"{words[0]} recorded nothing")
            self.found[key] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["rows"]
        return self.found[key]

    def need(self, *names: str) -> list[Path]:
        """Paths of data.

        Raises:
            NoData: One of them is not there.
        """
        for name in names:
            if self.data is None or not (self.data / name).exists():
                raise NoData(f"needs {name} in the folder of --data")
        return [Path(self.data or "") / name for name in names]


class Broken(Exception):
    """A program did not end as it must."""


class NoData(Exception):
    """Data are not there."""


def manifest(run: Path) -> dict[str, Any]:
    """Of a run."""
    return dict(json.loads((run / "manifest.json").read_text(encoding="utf-8")))


def trained(work: Work, name: str, *words: object) -> Path:
    """A run of that name in the work folder: trained, resumed, or there already."""
    run = work.folder / name
    if not (run / "manifest.json").is_file():
        work.run("cli.py", *words, "--run", run, "--quiet")
    elif manifest(run)["status"] != "finished":
        work.run("cli.py", words[0], "--resume", run, "--quiet")
    return run


def same(digests: Mapping[object, str]) -> Outcome:
    """Whether all are one."""
    shown = ", ".join(f"{name}: {digest[:8]}" for name, digest in digests.items())
    return Outcome(HOLDS if len(set(digests.values())) == 1 else FAILS, shown)


def measured(claim: Claim, value: float, less: bool = False) -> Outcome:
    """A measured figure beside the README's for this kind of CPU, and beside the limit that claims.toml sets."""
    cell = claim["cells"][0 if record.cpu()["instructions"] == "AVX-512" else 1]
    figure = None if isinstance(cell, str) else float(make_results.shown({**cell, "unit": ""}, make_results.records()))
    limit = claim["expect"]["most" if less else "least"]
    sign = -1 if less else 1
    words = f"{value:.2f} here, {'at most' if less else 'at least'} {limit} expected, " + (
        "no figure for this kind of CPU" if figure is None else f"{figure} in the README"
    )
    if figure is not None and sign * value >= sign * figure:
        return Outcome(HOLDS, words)
    return Outcome(WITHIN if sign * value >= sign * limit else FAILS, words)


# -- the sample ------------------------------------------------------------------------------------------------------


def sample(work: Work) -> tuple[Path, Path]:
    """The two runs of `make demo`, on two threads."""
    vectors = trained(work, "w2v", "train-w2v", "--threads", 2)
    tagger = trained(
        work, "ner", "train-ner", "--vectors", vectors / "vectors.bin", "--deterministic", "--threads", 2
    )  # fmt: skip
    return vectors, tagger


def sample_digests(claim: Claim, work: Work) -> Outcome:
    """As the record for this kind of CPU has them; of another kind, the same twice."""
    runs = sample(work)
    got = [str(manifest(run)["weights_sha256"])[:8] for run in runs]
    kind = record.kind()
    for each in make_results.records().values():
        if each["subject"] == "sample-digests" and kind in each["rows"]:
            expected = [each["rows"][kind][name] for name in ("vectors", "tagger")]
            words = f"{kind}: vectors {got[0]}, tagger {got[1]}; expected {' and '.join(expected)}"
            return Outcome(HOLDS if got == expected else FAILS, words)
    work.run("cli.py", "verify", runs[0])
    work.run("cli.py", "verify", runs[1])
    return Outcome(HOLDS, f"{kind}: no digests are recorded; the same bits twice")


def sample_f1(claim: Claim, work: Work) -> Outcome:
    """Test F1 of that tagger within the range of the record's seeds."""
    value = float(manifest(sample(work)[1])["metrics"]["test_f1"])
    return in_range(claim, value)


def in_range(claim: Claim, value: float, tolerance: float = 0.004) -> Outcome:
    """Whether it lies between the least and the most of the claim's record, or nearly."""
    cell = claim["cells"][0]
    figure = make_results.records()[cell["record"]]["rows"][cell["row"]][cell["figure"]]
    away = max(figure["least"] - value, value - figure["most"], 0.0)
    words = f"{value:.4f} here, {figure['least']:.4f} to {figure['most']:.4f} recorded"
    return Outcome(HOLDS if not away else WITHIN if away <= tolerance else FAILS, words)


def verify(claim: Claim, work: Work) -> Outcome:
    """`verify` repeats the first half of the sample's tagger; `make test` repeats whole runs."""
    run = sample(work)[1]
    half = last_step(run) // 2
    work.run("cli.py", "verify", run, "--to-step", half)
    return Outcome(HOLDS, f"the sample's tagger, steps 1 to {half} trained again")


def export(claim: Claim, work: Work) -> Outcome:
    """Card, bundle, and the same predictions of both."""
    _, run = sample(work)
    card = work.run("cli.py", "runs", "card", run)
    with tempfile.TemporaryDirectory(dir=work.folder) as place:
        bundle = Path(place) / "bundle"
        work.run("cli.py", "export", run, bundle)
        text = ROOT / "data" / "sample" / "test.conll"
        outputs = [
            work.run("cli.py", "predict", each, text, "--input", "conll", "--format", "jsonl") for each in (run, bundle)
        ]
    fine = card.strip() and outputs[0].strip() and outputs[0] == outputs[1]
    return Outcome(HOLDS if fine else FAILS, f"{len(outputs[0].splitlines()):,} sentences tagged by both")


# -- the same bits ---------------------------------------------------------------------------------------------------


def soak(claim: Claim, work: Work) -> Outcome:
    """Kills at random."""
    expect = claim["expect"]
    options = ["--kills", expect["kills"], *expect.get("options", [])]
    rows = work.record(expect["script"], *options, OMP_NUM_THREADS="1")
    bad = next(row for name, row in rows.items() if "differ" in name or "not the same" in name)
    lost = sum(each["median"] for name, each in bad.items() if name != "all")
    return Outcome(FAILS if lost else HOLDS, f"{lost} runs lost after {expect['kills']} kills or more")


def promises(claim: Claim, work: Work) -> Outcome:
    """Rows of the toy task beside Lightning."""
    rows = work.record("benchmarks/lightning_promises.py", OMP_NUM_THREADS="1")
    chosen = {name: rows[name] for name in claim["expect"]["rows"]}
    lost = [name for name, row in chosen.items() if "same bits" not in row["samebits"] or "other weights" in row["samebits"]]
    theirs = "; ".join(value for row in chosen.values() for name, value in row.items() if name != "samebits")
    return Outcome(FAILS if lost else HOLDS, f"{', '.join(lost)} lost" if lost else f"Lightning: {theirs}")


def tests(claim: Claim, work: Work) -> Outcome:
    """Tests of the suite."""
    lines = work.run("-m", "pytest", "-q", *claim["expect"]["files"], OMP_NUM_THREADS="1").strip().splitlines()
    return Outcome(HOLDS, lines[-1])


def processes(claim: Claim, work: Work) -> Outcome:
    """Runs of one process and of two."""
    found: dict[str, str] = {}
    for name in claim["expect"]["rows"]:
        rows = work.record("benchmarks/processes.py", "--shards", 2, "--only", name)
        found |= {row: cells["weights"] for row, cells in rows.items()}
    bad = [name for name, weights in found.items() if weights.startswith("NOT")]
    return Outcome(FAILS if bad or not found else HOLDS, f"1 and 2 processes: {', '.join(bad or found)}")


def portable(claim: Claim, work: Work) -> Outcome:
    """A few steps with instructions hidden."""
    rows = work.record("benchmarks/portable_proof.py", "--steps", 2, "--qemu", "none")
    different = {name: row["with --portable"]["median"] for name, row in rows.items()}
    return Outcome(HOLDS if set(different.values()) == {1} else FAILS, "; ".join(rows))


def any_threads(claim: Claim, work: Work) -> Outcome:
    """A short run on several numbers of threads."""
    words = "train-ner --vectors none --max-epochs 1 --limit-train-batches 20 --limit-val-batches 2 --limit-test-batches 2"
    found: dict[object, str] = {}
    for threads in claim["expect"]["threads"]:
        run = trained(work, f"threads-{threads}", *words.split(), "--any-threads", "--threads", threads)
        found[f"{threads} threads"] = manifest(run)["weights_sha256"]
    return same(found)


def conformance(claim: Claim, work: Work) -> Outcome:
    """Generated cases of a new seed, on Lightning and here."""
    cases, seed = claim["expect"]["cases"], int(time.time()) % 2**32
    work.run("benchmarks/generated_cases.py", "conformance", "--cases", cases, "--seed", seed, OMP_NUM_THREADS="1")
    return Outcome(HOLDS, f"{cases} cases of seed {seed}")


# -- how fast --------------------------------------------------------------------------------------------------------


def beside_gensim(claim: Claim, work: Work) -> Outcome:
    """Words a second on a generated text."""
    text = work.folder / "zipf.txt"
    if not text.is_file():
        write_text(text, TEXT_BYTES, VOCABULARY)
    expect = claim["expect"]
    rows = work.record(
        "benchmarks/w2v_speed.py", text, "--epochs", 1, "--seeds", 3, "--gensim-lr", 0.05, *expect["options"], "--option",
        *expect["settings"],
    )  # fmt: skip
    return measured(claim, next(iter(rows.values()))["ratio"]["median"])


def beside_others(claim: Claim, work: Work) -> Outcome:
    """Predict beside spaCy or flair, where it is installed, with taggers that the sample trained for an epoch."""
    system = claim["expect"]["system"]
    if find_spec(system) is None:
        raise NoData(f"needs {system}: pip install {system}, in an environment that may change its packages")
    script, data, folder = (
        "benchmarks/beside_spacy_flair.py",
        record.ROOT / "data" / "sample",
        work.folder / f"beside-{system}",
    )
    systems = ("--system", "samebits", system, "--folder", folder)
    work.record(script, "train", data, *systems, "--limit", 500, "--epochs", 1)
    rows = work.record(script, "predict", data / "text.txt", *systems, "--lines", 2000, "--rounds", 3)
    return measured(claim, rows[system]["samebits' words_per_s ÷ its"]["median"])


def loop(claim: Claim, work: Work) -> Outcome:
    """What a step costs over a bare loop, of what it costs on Lightning."""
    rows = work.record("benchmarks/loop_overhead.py", "--steps", 1000, "--rounds", 3, OMP_NUM_THREADS="1")
    return measured(claim, rows["nothing logged"]["ours, % of Lightning's"]["median"], less=True)


def epoch(claim: Claim, work: Work) -> Outcome:
    """The lecture's first epoch beside Lightning."""
    (data,) = work.need("conll2003")
    rows = work.record("benchmarks/lightning_lecture.py", data, "--rounds", 2, "--threads", 2, "--hidden-size", 256)
    return measured(claim, rows["samebits, random batches"]["Lightning's time ÷ its"]["median"])


# -- how good: hours -------------------------------------------------------------------------------------------------

REUTERS = ("reuters_c50.decon.txt", "reuters21578.decon.txt")


def corpus(*files: Path) -> list[str]:
    """Options for train-w2v."""
    return [word for file in files for word in ("--corpus", str(file))]


def seeds(claim: Claim, work: Work, data: Path, preset: str, vectors: list[Path], *options: object) -> Outcome:
    """Five seeds of a preset, the first with checkpoints that are kept; segments of it are run again."""
    root, more = work.folder / claim["id"], [word for path in vectors[1:] for word in ("--more-vectors", path)]
    start = [
        "benchmarks/lecture_seeds.py",
        data,
        "--preset",
        preset,
        "--vectors",
        vectors[0],
        *more,
        *options,
        "--root",
        root,
        "--jobs",
        1,
    ]
    work.run(*start, "--seeds", 0, "--keep-checkpoints", "--checkpoint-every", EVERY[preset])
    rows = work.record(*start)
    again = segments(work, root / "seed_0")
    found = in_range(claim, next(iter(rows.values()))["test F1"]["median"])
    return Outcome(found.verdict, f"{found.words}; run again with the same bits: {again}")


def last_step(run: Path) -> int:
    """The last step in a run's ledger."""
    return int(json.loads((run / "ledger.jsonl").read_text(encoding="utf-8").splitlines()[-1])["step"])


def segments(work: Work, run: Path) -> str:
    """Run some steps of a finished run again, from each checkpoint that it kept; returns which steps these were."""
    every = manifest(run)["config"]["checkpoint_every"]
    last = last_step(run)
    shown = []
    for step in range(int(every), last, int(every)) if every.isdigit() else ():
        until = min(step + SPAN, last)
        work.run("cli.py", "verify", run, "--from", step, "--to-step", until)
        shown.append(f"{step + 1} to {until}")
    return ", ".join(shown) or "none, since it kept no checkpoints"


def conll(claim: Claim, work: Work) -> Outcome:
    """The preset on two sets of vectors; the claim may expect that it is trained on the validation data, too."""
    data, wiki, *reuters = work.need("conll2003", "enwiki.txt", *REUTERS)
    texts = corpus(*reuters, wiki, *reuters, *reuters)
    options = "--digits zero --min-count 3 --sample 1e-4 --epochs 4 --dim 100 --threads 1 --deterministic".split()
    lower = trained(work, "lower", "train-w2v", *texts, *options, "--lowercase", "--window", 5)
    cased = trained(work, "cased", "train-w2v", *texts, *options, "--window", 3)
    more: tuple[object, ...] = ()
    if claim.get("expect", {}).get("trained_on_valid"):
        both = work.folder / "train_and_valid.conll"
        both.write_bytes(b"".join((data / name).read_bytes() for name in ("eng.train", "eng.testa")))
        more = "--train", both, "--limit-val-batches", 0, "--test-weights", "last"
    return seeds(claim, work, data, "conll2003", [lower / "vectors.bin", cased / "vectors.bin"], *more)


def lecture(claim: Claim, work: Work) -> Outcome:
    """The lecture's preset on vectors of Reuters."""
    data, *reuters = work.need("conll2003", *REUTERS)
    options = "--deterministic --threads 1 --epochs 5 --digits zero --sample 1e-4 --min-count 2".split()
    vectors = trained(work, "reuters", "train-w2v", *corpus(*reuters), *options)
    return seeds(claim, work, data, "lecture", [vectors / "vectors.bin"])


def vectors_quality(claim: Claim, work: Work) -> Outcome:
    """Our median on each set beside gensim's, less gensim's own range."""
    text, similarity = work.need("text8like.txt", "similarity")
    sets = sorted(path for path in similarity.iterdir() if path.is_file() and path.suffix in (".txt", ".csv", ".tsv"))
    place = work.folder / "quality"
    base = ["benchmarks/w2v_quality.py", text, "--folder", place, "--seeds", 5, "--sets", *sets]
    work.run(*base, "--tool", "gensim", "--lr", 0.05)
    work.run(*base, "--lr", 0.05, "--option", "noise_words=32", "block=8", "batch_words=8192")
    rows = work.record("benchmarks/w2v_quality.py", text, "--folder", place, "--summary")
    ours, theirs = (next(row for name, row in rows.items() if name.startswith(tool)) for tool in ("samebits", "gensim"))
    worse = [
        name for name, figure in theirs.items()
        if ours[name]["median"] < figure["median"] - (figure["most"] - figure["least"])
    ]  # fmt: skip
    words = "; ".join(f"{name} {ours[name]['median']:.3f} and {theirs[name]['median']:.3f}" for name in ours)
    return Outcome(FAILS if worse else HOLDS, words)


CHECKS: dict[str, Callable[[Claim, Work], Outcome]] = {
    each.__name__: each
    for each in (
        verify, soak, promises, tests, processes, portable, any_threads, export, conformance, conll, lecture, sample_f1,
        sample_digests, vectors_quality, beside_gensim, beside_others, epoch, loop,
    )
}  # fmt: skip


def check(claim: Claim, work: Work) -> Outcome:
    """Of one claim."""
    if claim.get("dear") and work.data is None:
        return Outcome(SKIPPED, "takes hours: `make claims-all`")
    try:
        return CHECKS[claim["check"]](claim, work)
    except NoData as error:
        return Outcome(SKIPPED, str(error))
    except Broken as error:
        return Outcome(FAILS, str(error))


def main() -> None:
    """Check and print, claim by claim."""
    claims = make_results.claims()["claim"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=[claim["id"] for claim in claims], metavar="ID", help="these claims alone"
    )
    parser.add_argument("--data", type=Path, help="also check the claims that take hours, with the data in this folder")
    parser.add_argument("--work", type=Path, help="keep what is trained and found in this folder")
    given = parser.parse_args()
    if given.data and not given.data.is_dir():
        parser.error(f"expected a folder with data, got {given.data}, which is not a folder")
    with tempfile.TemporaryDirectory(prefix="samebits-claims-") as scratch:
        work = Work((given.work or Path(scratch)).resolve(), given.data.resolve() if given.data else None)
        work.folder.mkdir(parents=True, exist_ok=True)
        print(
            f"{make_results.processor(record.cpu())}, {os.cpu_count()} cores, torch {record.versions()['torch']}", flush=True
        )
        verdicts = []
        for claim in claims:
            if given.only is None or claim["id"] in given.only:
                began = time.monotonic()
                outcome = check(claim, work)
                verdicts.append(outcome.verdict)
                seconds = time.monotonic() - began
                print(
                    f"{claim['id']}: {outcome.verdict} ({seconds:.0f} s). {claim['statement']}: {outcome.words}", flush=True
                )
    counts = {verdict: verdicts.count(verdict) for verdict in (HOLDS, WITHIN, FAILS, SKIPPED)}
    print("; ".join(f"{verdict}: {number}" for verdict, number in counts.items() if number))
    sys.exit(1 if FAILS in verdicts else 0)


if __name__ == "__main__":
    main()
