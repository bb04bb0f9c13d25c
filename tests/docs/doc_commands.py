"""The commands that the pages and the help texts show, and a small world in which each of them can be run as it stands.

What counts as a command: every line of a fenced block without a language (or sh, console), an indented line that begins with
``python``, and code within a line that begins with one of PROGRAMS. ``…`` and what stands in brackets is left out, words in
capitals are replaced (PLACES). Tiny settings come in through the environment, so that nothing is typed that is not shown.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
from click.testing import CliRunner

import cli
from tests import running

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "tests" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "data/README.md",
    ROOT / "data/sample/README.md",
]
PROGRAMS = ("python", "make", "pip", "tensorboard", "echo", "cat", "git", "unzip")

STARTS = "starts interpreters; tests/commands/test_devices.py does"
# Commands that the tests do not run, each with the reason.
EXCUSED = {
    "make demo": "installs packages from the network; the two commands that it runs are run here",
    "make test": "runs these tests",
    "make quick": "runs these tests",
    "make digests": "takes minutes on purpose",
    "python tests/house.py": "tests/test_imports.py looks at what it finds",
    "make check": "needs the linters; a step of its own",
    "make soak": "takes hours on purpose",
    "make bench": "takes minutes on purpose",
    "make claims": "takes minutes on purpose",
    "make claims-all DATA=FOLDER": "takes hours on purpose",
    "make results": "would change the repository; a test makes the same texts",
    "pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu": "needs the network",
    "pip install --use-pep517 -c constraints.txt -e .": "needs the network",
    "tensorboard --logdir runs": "a server, which does not end by itself",
    "tensorboard --logdir runs/ner": "a server, which does not end by itself",
    "python cli.py train-ner --shards 4 --devices 2": STARTS,
    "python cli.py train-ner --resume RUN --devices 2": STARTS,
    "python cli.py verify RUN --devices 2": STARTS,
    "python cli.py verify RUN --devices 4": STARTS,
    "python cli.py data fetch glove": "needs the network",
    "python cli.py data fetch glove --to data": "needs the network",
    "python cli.py data fetch text8 --to data": "needs the network",
}

# What ends with another code than 0, as it should, by the command's beginning.
CODES = {"diff": 1, "data check broken": 1}

# What words in capitals stand for: "command WORD" goes before "WORD".
PLACES = {
    "train-w2v FILE": "data/sample/text.txt",
    "predict FILE": "data/news.txt",
    "COMMAND": "train-ner",
    "FILE": "data/sample/test.conll",
    "FOLDER": "data/sample",
    "RUN": "runs/ner/version_0",
    "train-ner RUN": "runs/ner/stopped",
    "RUN_A": "runs/ner/version_0",
    "RUN_B": "runs/ner/version_1",
    "GROUP_A": "runs/ner/group_0",
    "GROUP_B": "runs/ner/group_1",
    "VECTORS": "runs/w2v/version_0/vectors.bin",
    "TEXT": "data/news.txt",
    "STEP": "4",
    "BUNDLE": "made-bundle",
    "predict BUNDLE": "bundle",
    "generate.py FOLDER": "made",
}

TINY = {
    "TRAIN_W2V": {"EPOCHS": "1", "DIM": "12", "MIN_COUNT": "2"},
    "TRAIN_NER": {"MAX_EPOCHS": "1", "HIDDEN_SIZE": "8", "WORD_DIM": "12", "KEEP_CHECKPOINTS": "1", "CHECKPOINT_EVERY": "2"},
}
BOTH = {"THREADS": "1", "PROGRESS": "0", "MAX_TIME": "1h"}
ENVIRONMENT = {
    f"SAMEBITS_{command}_{name}": value for command, own in TINY.items() for name, value in {**BOTH, **own}.items()
}


WRITTEN = re.compile(r"(?<=vectors convert runs/w2v/version_0 )\S+|(?<=--html )\S+|(?<=--to )\S+\.html")


@dataclass(frozen=True)
class Block:
    """Some lines of a page that are code in ``language`` ("" for none named)."""

    place: str
    language: str
    lines: tuple[str, ...]


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a page."""
    found: list[Block] = []
    opened: tuple[int, str] | None = None
    held: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip().startswith("```"):
            if opened:
                found.append(Block(f"{path.relative_to(ROOT)}:{opened[0]}", opened[1], tuple(held)))
            opened, held = (None, []) if opened else ((number, line.strip()[3:].strip()), [])
        elif opened:
            held.append(line)
    assert opened is None, f"{path}: a block that does not end"
    return found


def commands_of(path: Path) -> list[str]:
    """Every command of a page, in order, each once."""
    fenced = [line for block in blocks(path) if block.language in ("", "sh", "console") for line in joined(block.lines)]
    rest = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    (python .*)$", rest, re.MULTILINE)
    inline = [code for code in re.findall(r"`([^`\n]+)`", rest) if code.split()[0] in PROGRAMS and len(code.split()) > 1]
    return list(dict.fromkeys(plain for line in [*fenced, *indented, *inline] if (plain := without_comment(line))))


def joined(lines: tuple[str, ...]) -> list[str]:
    """Lines with those that end with a backslash joined to the next."""
    return "\n".join(lines).replace("\\\n", " ").splitlines()


def without_comment(line: str) -> str:
    """The command alone: no comment, no prompt, no ellipsis."""
    plain = re.sub(r"(^|\s+)#.*$", "", line).strip().removeprefix("$ ")
    return " ".join(plain.replace("…", " ").split())


def examples() -> dict[str, str]:
    """The examples at the end of each command's help: command → the help's command name."""
    found: dict[str, str] = {}

    def visit(group: click.Group, name: str) -> None:
        for each, command in group.commands.items():
            full = f"{name} {each}".strip()
            lines = [line.strip() for line in (command.epilog or "").splitlines()]
            found.update({line: full for line in lines if line.split()[:1] and line.split()[0] in PROGRAMS})
            if isinstance(command, click.Group):
                visit(command, full)

    visit(cli.main, "")
    found.update({line.strip(): "" for line in (cli.main.epilog or "").splitlines() if line.strip().startswith("python")})
    return found


class Playground:
    """A folder with the sample cut short, trained runs, groups and vectors; ``run`` runs a command there."""

    def __init__(self, folder: Path, small_data: Path, small_text: Path) -> None:
        self.folder = folder
        sample = folder / "data" / "sample"
        sample.mkdir(parents=True)
        for path in (ROOT / "data" / "sample").iterdir():
            if path.suffix in (".py", ".txt") and path.name != "text.txt":
                shutil.copy(path, sample)
        shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
        for path in small_data.iterdir():
            shutil.copy(path, sample)
        # As the page's command before the one that reads it, which another process may run.
        both = [(sample / name).read_text(encoding="utf-8") for name in ("train.conll", "valid.conll")]
        (folder / "both.conll").write_text("".join(both), encoding="utf-8")
        text = small_text.read_text(encoding="utf-8") + 5 * "What he gave his son she gave her son in the city .\n"
        for path in (sample / "text.txt", folder / "news.txt"):
            path.write_text(text, encoding="utf-8")
        (folder / "data" / "news.txt").write_text(text[:2000], encoding="utf-8")
        letters = re.sub(r"[^a-z]+", " ", text.lower())
        (folder / "data" / "text8").write_text(letters, encoding="utf-8")
        (folder / "EN-WS-353-ALL.txt").write_text("he she 7\nthe a 5\nsaid in 1\n", encoding="utf-8")
        self._annotations()
        (folder / "broken.conll").write_text("Ada I-PER\nran O\n\nin O\nOslo B-LOC\n", encoding="utf-8")

    def _annotations(self) -> None:
        """Spans of characters as tools write them: doccano's lines, Label Studio's tasks, BRAT's folder."""
        text, spans = "Ada Marlow flew to Oslo.", [(0, 10, "PER"), (19, 23, "LOC")]
        lines = [{"text": text, "label": spans}, {"text": text, "label": [(0, 8, "PER"), (4, 10, "PER")]}]
        written = "".join(json.dumps(line) + "\n" for line in lines)
        (self.folder / "annotations.jsonl").write_text(written, encoding="utf-8")
        labels = [{"type": "labels", "value": {"start": a, "end": b, "labels": [kind]}} for a, b, kind in spans]
        tasks = [{"data": {"text": text}, "annotations": [{"result": labels}]}]
        (self.folder / "tasks.json").write_text(json.dumps(tasks, indent=2), encoding="utf-8")
        (self.folder / "brat").mkdir()
        (self.folder / "brat" / "a.txt").write_text(text, encoding="utf-8")
        annotations = "".join(f"T{a}\t{kind} {a} {b}\t{text[a:b]}\n" for a, b, kind in spans)
        (self.folder / "brat" / "a.ann").write_text(annotations, encoding="utf-8")

    def train(self) -> None:
        """The runs that commands name."""
        said = [
            "train-w2v",
            "train-ner",
            "train-lm --hidden-size 16 --epochs 1",
            "train-ner --seed 1",
            "train-ner --seeds 2",
            "train-ner --seeds 2 --lr 0.01",
            "train-w2v --seeds 2",
            "train-w2v --seeds 2 --window 2",
        ]
        for words in said:
            self.must(f"python cli.py {words}")
        for epochs in ("1", "2"):
            self.must(f"python examples/digits.py --epochs {epochs} --workers 0")
        self.must("python cli.py export runs/ner/version_0 bundle")
        assert self.run("python cli.py train-ner --max-time 0s --run runs/ner/stopped")[0] == 75
        for name in ("bin", "txt"):
            shutil.copy(self.folder / "runs" / "w2v" / "version_0" / f"vectors.{name}", self.folder)
        rule = self.folder / "runs" / "w2v" / "version_0" / "vectors.rule.json"
        if rule.is_file():
            shutil.copy(rule, self.folder)
        self.must("python cli.py vectors convert vectors.bin data/glove.6B.100d.txt --format glove")

    def must(self, command: str) -> str:
        """Run a command that has to end well; its output."""
        code, output = self.run(command)
        assert code == 0, f"{command}\n{output}"
        return output

    def filled(self, command: str) -> str:
        """The command with its brackets left out, its capitals replaced, and two seeds in place of five, for time."""
        command = command.replace("--seeds 5", "--seeds 2")
        command = re.sub(r"\s\[[^\]]*\]", "", command)
        words = command.split()
        named = (word for word in words if word in PLACE_COMMANDS or (word.endswith(".py") and word != "cli.py"))
        name = Path(next(named, "")).name

        def place(match: re.Match[str]) -> str:
            word = match.group()
            return PLACES.get(f"{name} {word}", PLACES.get(word, word))

        return re.sub(r"(?<![\w$.'\"-])[A-Z][A-Z_]+(?![\w.'\"-])", place, command)

    def run(self, command: str) -> tuple[int, str]:
        """(exit code, output) of a shown command. Of a pipe, the last part is run in this process; ``>`` writes a file."""
        before, _, last = self.filled(command).rpartition(" | ")
        last, _, target = last.partition(" > ")
        stdin = "Ada Marlow flew to Oslo.\n"
        if before:
            stdin = subprocess.run(before, shell=True, cwd=self.folder, capture_output=True, text=True, check=True).stdout
        words = shlex.split(last)
        for written in WRITTEN.findall(last):  # by an earlier test: no command overwrites a file
            (self.folder / written).unlink(missing_ok=True)
        if words[:2] == ["python", "cli.py"]:
            options = {"input": stdin, "env": ENVIRONMENT, "auto_envvar_prefix": "SAMEBITS", "catch_exceptions": False}
            result = CliRunner().invoke(cli.main, words[2:], **options)  # type: ignore[arg-type]
            code, output = result.exit_code, result.output
        elif words[0] == "python" and words[1].startswith("examples/"):
            code, output = running.program(self.folder / words[1], self.folder, *words[2:])
        else:
            words = [sys.executable if word == "python" else word for word in words]
            done = subprocess.run(words, cwd=self.folder, input=stdin, capture_output=True, text=True, check=False)
            code, output = done.returncode, done.stdout + done.stderr
        if target:
            (self.folder / target.strip()).write_text(output, encoding="utf-8")
        return code, output


PLACE_COMMANDS = {key.split()[0] for key in PLACES if " " in key and not key.startswith("generate")}
