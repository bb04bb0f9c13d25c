"""The tagger beside spaCy and flair, trained from scratch on the same data and vectors: F1, seconds, memory.

    python benchmarks/beside_spacy_flair.py train DATA --vectors FILE.vec --system samebits spacy flair --folder PLACE
    python benchmarks/beside_spacy_flair.py predict TEXT --system samebits spacy flair --folder PLACE --lines 20000

Each try is a process of its own, on one thread; tries alternate. ``train`` reads train.conll, valid.conll and test.conll of
two columns, word and IOB2 tag, and a word2vec text file of vectors (or "none"); all systems are scored by the same strict
F1. ``--limit N`` keeps the first N training sentences. ``predict`` takes what ``train`` left in the folder: words a second
from a text file to JSON lines, once warm, and the whole process with its start-up.

spaCy and flair are not among the packages of the project: ``--python`` names an interpreter that has them
(``pip install torch==2.13.0 spacy==3.8.* flair==0.15.* gensim==4.4.0`` and ``pip install --no-deps seqeval``). Their
settings are the ones that they recommend: ``spacy init config --pipeline ner --optimize accuracy``; flair's
``SequenceTagger`` with 256 units, a CRF, word and character embeddings, and ``ModelTrainer.train`` with its own learning
rate (0.1, halved when valid does not gain) and batches of 32.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
Sentence = tuple[list[str], list[str]]


def main() -> None:
    given = parser().parse_args()
    if given.one:
        result = train_one(given) if given.work == "train" else predict_one(given)
        print(json.dumps(result))
        return
    found: dict[str, list[dict[str, float]]] = {}
    for turn in range(given.rounds):
        for system in given.system:
            result = child(given, system, turn)
            found.setdefault(system, []).append(result)
            print(f"{turn}, {system}: " + ", ".join(f"{key} {value:.4g}" for key, value in result.items()), flush=True)
    for system, results in found.items():
        listed = []
        for key in results[0]:
            values = [result[key] for result in results]
            listed.append(f"{key} {statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})")
        print(f"{system}: " + "; ".join(listed))
    if given.record:
        keep(given, found)


def keep(given: argparse.Namespace, found: dict[str, list[dict[str, float]]]) -> None:
    """The record."""
    from benchmarks import record  # which the interpreter of the others need not be able to import

    rows: dict[str, dict[str, record.Figure]] = {}
    for system, results in found.items():
        row = rows[row_name(given, system)] = {key: [result[key] for result in results] for key in results[0]}
        if given.work == "predict" and "samebits" in found:
            pairs = zip(found["samebits"], results, strict=True)
            row["samebits' words_per_s ÷ its"] = [ours["words_per_s"] / its["words_per_s"] for ours, its in pairs]
    data = [given.data, *([] if given.vectors == "none" else [given.vectors])]
    record.write(given.record, f"beside-{given.work}", rows, modules=record.PREDICT, threads=1, data=data)


def row_name(given: argparse.Namespace, system: str) -> str:
    """The system; of training, after how many sentences it saw."""
    if given.work == "predict":
        return system
    return f"{f'{given.limit:,}' if given.limit else 'all'} sentences, {system}"


def parser() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = command.add_argument
    add("work", choices=("train", "predict"))
    add("data", type=Path, help="train: folder of train.conll, valid.conll, test.conll; predict: a text file")
    add("--system", nargs="+", default=["samebits", "spacy", "flair"], choices=("samebits", "spacy", "flair"))
    add("--vectors", default="none", help="word2vec text file, or none")
    add("--folder", type=Path, required=True, help="where the trained models are")
    add("--python", default=sys.executable, help="interpreter that has spaCy and flair")
    add("--limit", type=int, default=0, help="training sentences; 0 for all")
    add("--epochs", type=int, default=0, help="at most; 0 for each system's own default")
    add("--lines", type=int, default=20_000)
    add("--rounds", type=int, default=1, help="train: seeds, counted from 0")
    add("--split", default="valid", choices=("valid", "test"), help="what is scored")
    add("--option", nargs="*", default=[], help="more options of train-ner, without their two dashes: max-epochs=30")
    add("--record", metavar="NAME", help="write the figures to benchmarks/results/NAME.json, too")
    add("--one", default="", help=argparse.SUPPRESS)
    add("--seed", type=int, default=0, help=argparse.SUPPRESS)
    return command


def child(given: argparse.Namespace, system: str, seed: int) -> dict[str, float]:
    """One try in a process of its own: what it measured, and the whole process's seconds, processor seconds and memory."""
    python = sys.executable if system == "samebits" else given.python
    command = [python, __file__, *sys.argv[1:], "--one", system, "--seed", str(seed)]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **ONE_THREAD}, check=False)
    if done.returncode:
        sys.exit(f"{system}: {done.stderr.strip()[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    result["whole_s"] = time.perf_counter() - start
    result["processor_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return result


def sentences(path: Path) -> Iterator[Sentence]:
    """The sentences of a two-column file, tags as they stand; rows of -DOCSTART- are left out."""
    words: list[str] = []
    tags: list[str] = []
    for line in [*path.read_text(encoding="utf-8").splitlines(), ""]:
        fields = line.split()
        if fields and fields[0] != "-DOCSTART-":
            words.append(fields[0])
            tags.append(fields[-1])
        elif not fields and words:
            yield words, tags
            words, tags = [], []


def read(given: argparse.Namespace, split: str) -> list[Sentence]:
    found = sentences(given.data / f"{split}.conll")
    return list(itertools.islice(found, given.limit or None) if split == "train" else found)


def strict_f1(gold: list[list[str]], tags: list[list[str]]) -> float:
    """seqeval's strict F1 in IOB2."""
    from seqeval.metrics import f1_score
    from seqeval.scheme import IOB2

    return float(f1_score(gold, tags, mode="strict", scheme=IOB2, zero_division=0))


def train_one(given: argparse.Namespace) -> dict[str, float]:
    start = time.process_time()
    f1 = {"samebits": train_samebits, "spacy": train_spacy, "flair": train_flair}[given.one](given)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"f1": f1, "train_s": time.process_time() - start + children.ru_utime + children.ru_stime}


def place(given: argparse.Namespace, seed: int | None = None) -> Path:
    folder: Path = given.folder / f"{given.one}_{given.seed if seed is None else seed}"
    return folder


# ----- samebits


def train_samebits(given: argparse.Namespace) -> float:
    folder = place(given)
    data = given.folder / f"data_{given.limit}"
    data.mkdir(parents=True, exist_ok=True)
    for split in ("train", "valid", "test"):
        rows = ["\n".join(f"{w} {t}" for w, t in zip(*sentence, strict=True)) for sentence in read(given, split)]
        (data / f"{split}.conll").write_text("\n\n".join(rows) + "\n", encoding="utf-8")
    command = [
        sys.executable,
        str(ROOT / "cli.py"),
        "train-ner",
        "--data",
        str(data),
        "--vectors",
        given.vectors,
        "--no-progress",
    ]
    command += ["--seed", str(given.seed), "--threads", "1", "--deterministic", "--run", str(folder)]
    command += [f"--{option}" for option in given.option]
    if given.epochs:
        command += ["--max-epochs", str(given.epochs)]
    if given.split == "valid":
        command += ["--limit-test-batches", "0"]
    subprocess.run(command, check=True, stdout=sys.stderr, stderr=sys.stderr)
    if given.split == "test":
        return float(json.loads((folder / "manifest.json").read_text())["metrics"]["test_f1"])
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return max(float(json.loads(line).get("val_f1", 0.0)) for line in lines)


# ----- spaCy


def spacy_documents(nlp: Any, found: list[Sentence]) -> list[Any]:
    from spacy.tokens import Doc  # type: ignore[import-not-found]
    from spacy.training import iob_to_biluo  # type: ignore[import-not-found]

    return [
        Doc(nlp.vocab, words=words, ents=["O" if t == "O" else t for t in tags])
        for words, tags in found
        if iob_to_biluo(tags)
    ]


def train_spacy(given: argparse.Namespace) -> float:
    import spacy  # type: ignore[import-not-found]
    from spacy.cli.init_config import init_config  # type: ignore[import-not-found]
    from spacy.tokens import DocBin
    from spacy.training.initialize import convert_vectors, init_nlp  # type: ignore[import-not-found]
    from spacy.training.loop import train  # type: ignore[import-not-found]

    folder = place(given)
    folder.mkdir(parents=True, exist_ok=True)
    blank = spacy.blank("xx")
    for split in ("train", "valid"):
        DocBin(docs=spacy_documents(blank, read(given, split))).to_disk(folder / f"{split}.spacy")
    config = init_config(lang="xx", pipeline=["ner"], optimize="efficiency" if given.vectors == "none" else "accuracy")
    config["paths"].update(train=str(folder / "train.spacy"), dev=str(folder / "valid.spacy"))
    config["system"]["seed"] = config["training"]["seed"] = given.seed
    if given.epochs:
        config["training"]["max_epochs"] = given.epochs
    if given.vectors != "none":
        holder = spacy.blank("xx")
        convert_vectors(holder, Path(given.vectors), truncate=0, prune=-1, attr="LOWER")
        holder.to_disk(folder / "vectors")
        config["paths"]["vectors"] = config["initialize"]["vectors"] = str(folder / "vectors")
    else:
        config["paths"]["vectors"] = config["initialize"]["vectors"] = None
    nlp = init_nlp(config)
    (folder / "model").mkdir(exist_ok=True)
    train(nlp, folder / "model", stdout=sys.stderr, stderr=sys.stderr)
    best = spacy.load(folder / "model" / "model-best")
    found = read(given, given.split)
    tagged = best.pipe([spacy_documents(best, [(words, ["O"] * len(words))])[0] for words, _ in found], batch_size=256)
    return strict_f1(
        [tags for _, tags in found], [[f"{t.ent_iob_}-{t.ent_type_}" if t.ent_type_ else "O" for t in d] for d in tagged]
    )


# ----- flair


def flair_sentences(found: list[Sentence]) -> list[Any]:
    from flair.data import Sentence as FlairSentence  # type: ignore[import-not-found]

    made = []
    for words, tags in found:
        sentence = FlairSentence(words, use_tokenizer=False)
        start = 0
        while start < len(tags):
            end = start + 1
            if tags[start] != "O":
                while end < len(tags) and tags[end].startswith("I-"):
                    end += 1
                sentence[start:end].add_label("ner", tags[start][2:])
            start = end
        made.append(sentence)
    return made


def train_flair(given: argparse.Namespace) -> float:
    import flair  # type: ignore[import-not-found]
    from flair.data import Corpus, Dictionary
    from flair.datasets.base import FlairDatapointDataset  # type: ignore[import-not-found]
    from flair.embeddings import CharacterEmbeddings, StackedEmbeddings, WordEmbeddings  # type: ignore[import-not-found]
    from flair.models import SequenceTagger  # type: ignore[import-not-found]
    from flair.trainers import ModelTrainer  # type: ignore[import-not-found]

    flair.set_seed(given.seed)
    folder = place(given)
    folder.mkdir(parents=True, exist_ok=True)
    splits = {split: FlairDatapointDataset(flair_sentences(read(given, split))) for split in ("train", "valid")}
    corpus = Corpus(train=splits["train"], dev=splits["valid"], test=splits["valid"], sample_missing_splits=False)
    dictionary = corpus.make_label_dictionary("ner", add_unk=False)
    characters = Dictionary()  # flair's own would be fetched from the net
    for character in sorted({c for words, _ in read(given, "train") for word in words for c in word}):
        characters.add_item(character)
    characters.save(folder / "characters")
    embeddings: list[Any] = [CharacterEmbeddings(path_to_char_dict=str(folder / "characters"))]
    if given.vectors != "none":
        from gensim.models import KeyedVectors

        kept = folder / "vectors.gensim"
        KeyedVectors.load_word2vec_format(given.vectors).save(str(kept))
        embeddings.insert(0, WordEmbeddings(str(kept), force_cpu=True))
    tagger = SequenceTagger(
        embeddings=StackedEmbeddings(embeddings), tag_dictionary=dictionary, tag_type="ner", hidden_size=256, use_crf=True
    )
    ModelTrainer(tagger, corpus).train(
        folder / "model", learning_rate=0.1, mini_batch_size=32, max_epochs=given.epochs or 100, shuffle=True
    )
    best = SequenceTagger.load(folder / "model" / "best-model.pt")
    found = read(given, given.split)
    tagged = flair_sentences([(words, ["O"] * len(words)) for words, _ in found])
    best.predict(tagged, mini_batch_size=32)
    return strict_f1([tags for _, tags in found], [flair_tags(sentence) for sentence in tagged])


def flair_tags(sentence: Any) -> list[str]:
    tags = ["O"] * len(sentence)
    for span in sentence.get_spans("ner"):
        first, last = span.tokens[0].idx - 1, span.tokens[-1].idx
        tags[first:last] = [f"B-{span.tag}"] + [f"I-{span.tag}"] * (last - first - 1)
    return tags


# ----- predict


def predict_one(given: argparse.Namespace) -> dict[str, float]:
    """A text file to JSON lines with the spans' offsets, and confidences where the system has them."""
    with given.data.open(encoding="utf-8") as stream:
        lines = [line.rstrip("\n") for line in itertools.islice(stream, given.lines)]
    start = time.perf_counter()
    tag = {"samebits": samebits_tagger, "spacy": spacy_tagger, "flair": flair_tagger}[given.one](given)
    for _ in tag(lines[:3]):
        pass
    ready = time.perf_counter()
    spans = 0
    with open(os.devnull, "w", encoding="utf-8") as out:
        for line in tag(lines):
            spans += line.count('"start"')
            out.write(line)
    seconds = time.perf_counter() - ready
    tokens = sum(len(line.split()) for line in lines)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"words_per_s": tokens / seconds, "spans": spans, "load_s": ready - start, "mib": memory}


def samebits_tagger(given: argparse.Namespace) -> Any:
    import tempfile

    import torch

    from ner.predict import predict_stream
    from ner.tagging.tagger import TrainedTagger

    torch.set_num_threads(1)
    tagger = TrainedTagger.load(str(place(given, 0)))

    def tag(lines: list[str]) -> Iterator[str]:
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            yield from predict_stream(tagger, file.name, output="jsonl")

    return tag


def spacy_tagger(given: argparse.Namespace) -> Any:
    import spacy

    nlp = spacy.load(place(given, 0) / "model" / "model-best")

    def tag(lines: list[str]) -> Iterator[str]:
        for text, document in zip(lines, nlp.pipe(lines, batch_size=256), strict=True):
            spans = [{"start": e.start_char, "end": e.end_char, "label": e.label_} for e in document.ents]
            yield json.dumps({"text": text, "spans": spans}) + "\n"

    return tag


def flair_tagger(given: argparse.Namespace) -> Any:
    import torch
    from flair.data import Sentence as FlairSentence
    from flair.models import SequenceTagger

    torch.set_num_threads(1)
    tagger = SequenceTagger.load(place(given, 0) / "model" / "best-model.pt")

    def tag(lines: list[str]) -> Iterator[str]:
        for first in range(0, len(lines), 256):
            part = [FlairSentence(text) for text in lines[first : first + 256]]
            tagger.predict(part, mini_batch_size=32)
            for sentence in part:
                spans = [
                    {"start": s.start_position, "end": s.end_position, "label": s.tag, "confidence": s.score}
                    for s in sentence.get_spans("ner")
                ]
                yield json.dumps({"text": sentence.to_original_text(), "spans": spans}) + "\n"

    return tag


if __name__ == "__main__":
    main()
