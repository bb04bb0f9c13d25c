"""Every command with names that are not UTF-8, and with names that would forge a line: what is written can be used."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import cli
from tests.commands.test_standard_streams import TINY, commands, place
from training.run.folder import read_manifest
from training.visible import LONGEST, one_line, shell_words, visible

__all__ = ["place"]
LATIN = os.fsdecode(b"caf\xe9")
FORGING = "a\nerror: all is lost\r\x1b[31m\u202e\x9b"
NAMES = {"latin": LATIN, "forging": FORGING}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, [os.fspath(each) for each in arguments], catch_exceptions=False)


def good(*arguments: object, code: int = 0) -> str:
    result = run(*map(str, arguments))
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize("which", NAMES)
def test_all_commands_with_all_their_files_so_named(place: Path, tmp_path: Path, which: str) -> None:
    name = NAMES[which]
    folder = tmp_path / name
    shutil.copytree(place / "data", folder / "data")
    for file in ("text.txt", "sets.txt", "vectors.txt"):
        shutil.copyfile(place / file, folder / f"{name}-{file}")
    data, text, vectors = folder / "data", folder / f"{name}-text.txt", folder / f"{name}-vectors.txt"
    tagger, words, group = folder / f"{name}-ner", folder / f"{name}-w2v", folder / f"{name}-group"
    used = set()

    def use(command: str, *arguments: object, code: int = 0) -> str:
        used.add(command)
        return good(*command.split(), *arguments, code=code)

    w2v = ["--corpus", text, "--evaluate", folder / f"{name}-sets.txt", "--min-count", "1", "--epochs", "1", "--dim", "4"]
    use("train-w2v", *w2v, "--no-progress", "--run", words)
    lm = folder / f"{name}-lm"
    sizes = ["--hidden-size", "4", "--projection-dim", "16"]
    use("train-lm", "--corpus", text, "--vectors", vectors, "--min-count", "1", *sizes, "--no-progress", "--run", lm)
    tiny = [*TINY.replace("--vectors none", "").split(), "--data", data, "--vectors", vectors, "--more-vectors", vectors]
    tiny += ["--lm", lm]
    stopped = use("train-ner", *tiny, "--run", tagger, "--max-time", "0s", code=75)
    assert shell_words([str(tagger)]) in stopped
    use("train-ner", "--resume", tagger, "--max-time", "1h", "--no-progress")
    use("train-ner", *tiny, "--seeds", "1", "--run", group)
    manifest = read_manifest(tagger)
    assert manifest["status"] == "finished"
    assert manifest["inputs"]["train"]["path"] == str(data / "train.conll")
    assert Path(manifest["inputs"]["vectors"]["path"]).samefile(vectors)
    assert any(lm.name in str(each.get("path", "")) for each in manifest["inputs"].values())
    for run_folder in (words, tagger):
        assert list(run_folder.glob("events.out.tfevents.*"))
    assert (words / "projector_config.pbtxt").is_file()
    use("verify", tagger)
    use("verify", words, "--to", folder / f"{name}-again")
    use("ask", tagger, "--steps", "1", "--watch", "batch")
    use("diff", words, folder / f"{name}-again")
    use("compare", tagger, group)
    for each in (words, tagger, group):
        use("runs card", each)
    bundle = folder / f"{name}-bundle"
    use("export", tagger, bundle)
    for source in (tagger, bundle):
        page, test = folder / f"{name}-{source == bundle}.html", data / "test.conll"
        json.loads(use("evaluate", source, test, "--json", "--html", page).partition("written")[0] or "0")
        assert page.read_bytes().decode().endswith("</html>\n")
        use("evaluate", source, test)
        for form in ("text", "conll", "jsonl", "html"):
            out = folder / f"{name}-{source == bundle}-out.{form}"
            use("predict", source, test, text, "--format", form, "--threads", "1", "--to", out)
            assert out.read_bytes().decode()
            use("predict", source, test, "--format", form, "--threads", "1")
    json.loads(use("data check", data, "--json", "--vectors", vectors))
    use("data check", data)
    use("data repair", data / "train.conll", folder / f"{name}-mended.conll")
    use("data convert", data / "train.conll", folder / f"{name}.jsonl")
    use("data convert", folder / f"{name}.jsonl", folder / f"{name}-brat", "--to", "brat")
    use("data convert", folder / f"{name}-brat", folder / f"{name}-back.conll")
    suspects = folder / f"{name}-suspects"
    use("data suspects", data, "--folds", "2", "--config", group / "config.json", "--vectors", "none", "--run", suspects)
    assert (suspects / "suspects.html").is_file()
    use("vectors nearest", vectors, "Ada")
    use("vectors analogy", vectors, "Ada", "Bo", "Oslo")
    pair = folder / f"{name}-pair"
    use("train-w2v", *w2v, "--seeds", "2", "--no-progress", "--run", pair)
    use("vectors stability", pair)
    use("vectors nearest", pair, "Ada")
    use("compare", pair, words, folder / f"{name}-sets.txt")
    use("vectors evaluate", vectors, folder / f"{name}-sets.txt")
    use("vectors convert", vectors, folder / f"{name}.bin")
    use("runs list", "--root", folder.parent)
    root = tmp_path / name / "runs"
    shutil.copytree(tagger, root / name / name)
    assert json.loads(use("runs list", "--root", root, "--json"))[0]["run"] == str(root / name / name)
    assert len(use("runs list", "--root", root).splitlines()) == 2
    use("data fetch", "glove", "--to", text, code=2)
    assert used == set(commands())


@pytest.mark.parametrize("name", [LATIN, FORGING, "x" * 5000, "y" * 300])
@pytest.mark.parametrize("words", [
    "predict NAME", "predict bundle NAME", "evaluate NAME data/test.conll", "evaluate bundle NAME", "export NAME TARGET",
    "export run TARGET", "verify NAME", "verify run --to TARGET", "diff NAME run", "diff run NAME",
    "compare NAME run", "compare run NAME", "data check data --vectors NAME", "data repair NAME TARGET",
    "data convert NAME TARGET", "data convert NAME new.jsonl", "data convert data/train.conll TARGET --to brat",
    "data repair data/train.conll TARGET", "data repair data/train.conll TARGET --scheme NAME", "vectors nearest NAME a",
    "vectors nearest vectors.txt NAME", "vectors analogy vectors.txt NAME b c", "vectors evaluate NAME sets.txt",
    "vectors evaluate vectors.txt NAME", "vectors convert NAME TARGET", "vectors convert vectors.txt TARGET",
    "train-ner --resume NAME", "train-ner --data NAME", "train-ner --vectors NAME --data data", "train-ner --config NAME",
    "train-ner --train NAME --valid NAME --test NAME", "train-ner --data data --vectors none --run TARGET",
    "train-ner --data data --vectors none --seeds 2 --run TARGET", "train-ner --data data --scheme NAME",
    "train-ner --data data --vectors none --max-time NAME --run TARGET",
    "train-ner --checkpoint-every NAME --data data --vectors none --run TARGET",
    "train-w2v --resume NAME", "train-w2v --corpus NAME", "train-w2v --corpus text.txt --evaluate NAME",
    "train-w2v --corpus text.txt --run TARGET", "train-w2v --config NAME", "train-w2v --seed NAME",
    "train-w2v --corpus text.txt --min-count 1 --probes NAME --run TARGET", "NAME", "data NAME", "predict bundle --NAME",
    "predict bundle --format NAME", "predict bundle text.txt --to TARGET", "evaluate bundle data/test.conll --html TARGET",
    "predict bundle text.txt --threshold NAME", "runs list --root TARGET --json",
])  # fmt: skip
def test_an_error_is_one_short_line_whatever_the_name(
    place: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.chdir(place)
    before = sorted(place.iterdir())
    result = run(*(word.replace("TARGET", "run/manifest.json/NAME").replace("NAME", name) for word in words.split()))
    assert result.exit_code in (1, 2), result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith(("error: ", "Error: "))]
    assert len(errors) == 1
    assert len(errors[0]) < LONGEST + 100
    assert not set(result.stderr) & {"\x1b", "\r", "\u202e", "\x9b"}
    result.stderr_bytes.decode()
    assert sorted(place.iterdir()) == before


def test_texts() -> None:
    assert visible("a\tb\nc\x1b\x7f\x9b\u202e" + LATIN) == "a\tb\nc\\x1b\\u007f\\u009b\\u202e" + "caf\\xe9"
    assert visible("ünï 中文 e\u0301 \U0001f600 نیم\u200cفاصله") == "ünï 中文 e\u0301 \U0001f600 نیم\u200cفاصله"
    assert one_line("a\nb\r\u2028") == "a\\nb\\x0d\\u2028"
    for text in ("x" * 10_000_000, "\x1b" * 10_000_000, "9" * 4000):
        cut = one_line(f"file: {text}; do this")
        assert len(cut) < LONGEST + 60
        assert cut.startswith("file: ")
        assert cut.endswith("; do this")
    assert shell_words(["a b", LATIN, "x'\n\x1b", "plain"]) == r"'a b' $'caf\xe9' $'x\x27\x0a\x1b' plain"
