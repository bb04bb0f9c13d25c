"""What predict and data repair are given comes out as it stood, less what they add: every form of input and of output."""

from __future__ import annotations

import html
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import cli
from ner.corpus.conll import read_conll
from ner.corpus.repair import repair_file
from ner.corpus.scheme import to_spans
from ner.predict import predict_stream
from ner.tagging.readers import FORMS, Passage
from ner.tagging.writers import FORMATS, Writer
from tests.ner.small_tagger import tagger
from training.errors import ConfigError, DataError
from word2vec.text.tokenize import split

TAGGER = tagger(3)
WORDS = st.sampled_from(["Ada", "Oslo", "won", ".", "#", "1e400", "Ünsal", "zyx", "\u00a0x", "don't", "in", "-DOCSTART-x"])
ENDS = st.sampled_from(["\n", "\r\n"])
FEW = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def conll(draw: st.DrawFn, tags: bool = False) -> str:
    """A file in columns: comments, documents, blank lines of all kinds, columns of any width; an end, or none."""
    tabs, width, end = draw(st.booleans()), draw(st.integers(1 + tags, 3)), draw(ENDS)
    apart = st.just("\t") if tabs else st.sampled_from([" ", "  "])
    tag = st.sampled_from(["O", "B-X", "I-X", "I-Y", "E-X", "S-Y"])
    lines: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        lines += draw(st.lists(st.sampled_from(["", " ", "\t", "# id 1 2 3 4 5", "# x\ty\tz\tw\tv"]), max_size=3))
        if draw(st.booleans()):
            lines += ["-DOCSTART-" + "".join(draw(apart) + "O" for _ in range(width - 1)), ""]
        for _ in range(draw(st.integers(1, 3))):
            fields = [draw(WORDS) for _ in range(width)]
            fields[-1] = draw(tag) if tags else fields[-1]
            gaps = [draw(apart) for _ in fields[1:]]
            row = "".join(itertools.chain(*zip(["", *gaps], fields, strict=True)))
            lines.append(row + draw(st.sampled_from(["", "", " "])))
        lines.append("")
    lines += draw(st.lists(st.sampled_from(["", "# the end 1 2 3"]), max_size=2))
    return end.join(lines) + draw(st.sampled_from(["", end]))


NUMBERS = st.sampled_from([*"1e400 -0.0 1E5 1.0 10000000000000000000000001 -0 0.10 1e-999".split(), "7" * 5000])
TEXTS = st.lists(WORDS, max_size=6).map(" ".join)


@st.composite
def json_lines(draw: st.DrawFn) -> str:
    """JSON lines as people and programs spell them; blank lines between."""
    end, lines = draw(ENDS), list[str]()
    for _ in range(draw(st.integers(1, 4))):
        lines += draw(st.lists(st.sampled_from(["", " "]), max_size=1))
        own = draw(st.sampled_from(['"text"', '"\\u0074ext"', '"tokens"']))
        value = json.dumps(draw(TEXTS), ensure_ascii=draw(st.booleans()))
        value = json.dumps(["Ada", "a }b"]) if own == '"tokens"' else value
        entries = [f"{own}{draw(st.sampled_from([':', ' : ']))}{value}"]
        entries += [f'"n{i}": {n}' for i, n in enumerate(draw(st.lists(NUMBERS, max_size=3)))]
        odd = ['"a": "\\ud800 \\/ \\u00e9"', '"o": {"tags": [1.50, {}]}', '"": null']
        entries += draw(st.lists(st.sampled_from(odd), max_size=2, unique=True))
        gap = draw(st.sampled_from([",", ", ", " ,\t"]))
        lines.append(draw(st.sampled_from(["{%s}", "{ %s }", " {%s} "])) % gap.join(draw(st.permutations(entries))))
    return end.join(lines) + draw(st.sampled_from(["", end]))


PROSE = st.lists(st.tuples(TEXTS, ENDS), min_size=1, max_size=5).map(lambda rows: "".join(map("".join, rows)))
INPUTS = {"text": PROSE, "sentences": PROSE.map(lambda t: t.rstrip("\r\n") + " x"), "conll": conll(), "jsonl": json_lines()}


def strict(line: str) -> dict[str, Any]:
    """The object of a JSON line that has no NaN and no Infinity in it."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    values = json.loads(line, parse_constant=refuse, parse_int=str, parse_float=str)
    assert isinstance(values, dict)
    return values


def without_tags(before: str, after: str) -> None:
    """Each line of ``after`` is that of ``before``, or has a tag more."""
    pairs = list(zip(before.splitlines(True), after.splitlines(True), strict=True))
    for old, new in pairs:
        row = bool(old.strip(" \t\r\n")) and not re.match("# (id|the end|x)", old)
        added = re.search(r"[ \t](O|[BIES]-\w+)(?=[ \t\r\n]*$)", new)
        assert row == (old != new), (old, new)
        assert not row or (added and new[: added.start()] + new[added.end() :] == old), (old, new)


def words_of(form: str, given: str, path: Path) -> list[str]:
    """The words of an input, in order."""
    if form == "conll":
        columns = TAGGER.columns
        return [w for s in read_conll(path, columns=type(columns)(columns.word, None), docstart="drop") for w in s.words]
    if form == "jsonl":
        texts = [strict(line) for line in given.splitlines() if line.strip()]
        return [w for each in texts for w in (each["tokens"] if "tokens" in each else split(each["text"]))]
    return split(given)


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("form", FORMS)
def test_input_is_output_less_what_was_added(form: str, output: str, tmp_path: Path) -> None:
    @given(given_text=INPUTS[form])
    @FEW
    def check(given_text: str) -> None:
        assume(given_text.strip())
        path = tmp_path / "input"
        path.write_text(given_text, encoding="utf-8", newline="")
        whole = "".join(predict_stream(TAGGER, str(path), form, output))
        bare = "".join(predict_stream(TAGGER, str(path), form, output, threshold=1.0))  # no entity is so sure
        words = words_of(form, given_text, path)
        if form == output == "conll":
            without_tags(given_text, whole)
        elif form == output == "jsonl":
            for old, new in zip(given_text.splitlines(True), whole.splitlines(True), strict=True):
                end = old.rfind("}")
                assert new.startswith(old[:end])
                assert new.endswith(old[end:])
                found = strict(new) if old.strip() else {}
                added = {"tags", "entities"}
                assert {name: found[name] for name in found if name not in added} == (strict(old) if found else {})
        elif output == "jsonl":
            lines = [strict(line) for line in whole.splitlines()]
            if form == "conll":
                assert [word for line in lines for word in line["tokens"]] == words
            else:
                assert [line["text"] for line in lines] == [line.rstrip("\r\n") for line in given_text.splitlines(True)]
                assert all(given_text[int(line["offset"]) :].startswith(line["text"]) for line in lines)
        elif output == "text" and form in ("text", "sentences"):
            assert bare == given_text
        elif output == "conll":
            rows = [row.rsplit("\t", 1) for row in whole.split("\n") if row]
            assert [word for word, _ in rows] == words
        else:
            text = bare if output == "text" else html.unescape(re.sub("<[^>]*>", "", bare.partition("<main>")[2]))
            assert "".join(text.split()) == "".join("".join(words).split())

    check()


@given(text=conll(tags=True), scheme=st.sampled_from([None, "IOBES", "IOB2"]), mark=st.booleans())
@settings(FEW, max_examples=25)
def test_a_repaired_file_differs_in_its_tags_alone(tmp_path: Path, text: str, scheme: str | None, mark: bool) -> None:
    source, target = tmp_path / "a.conll", tmp_path / "b.conll"
    target.unlink(missing_ok=True)
    source.write_text(text, encoding="utf-8-sig" if mark else "utf-8", newline="")
    done = repair_file(source, target, scheme)
    with open(source, encoding="utf-8", newline="") as a, open(target, encoding="utf-8", newline="") as b:
        pairs = list(zip(a.read().splitlines(True), b.read().splitlines(True), strict=True))
    changed = [(old, new) for old, new in pairs if old != new]
    pattern = re.compile(r"(?<=[ \t])(O|[BIES]-\w)(?=[ \t\r\n]*$)")
    assert all(pattern.sub("", old) == pattern.sub("", new) for old, new in changed)
    assert len(changed) == done.tags or scheme
    before, after = read_conll(source), read_conll(target)
    assert [to_spans(s.tags) for s in after] == [to_spans(s.tags) for s in before]


def run(*args: object, given: str | None = None) -> Any:
    return CliRunner().invoke(cli.main, [str(arg) for arg in args], input=given)


CLASHES = {
    "jsonl": [('{"text": "Ada won.", "entities": [1]}', "entities"), ('{"tokens": ["Ada"], "tags": "mine"}', "tags"),
              ('{"text": "Ada", "\\u0065ntities": 0}', "entities"), ('{"text": "x", "file": "y"}', "file")],
}  # fmt: skip


@pytest.mark.parametrize(("line", "name"), CLASHES["jsonl"])
def test_an_entry_of_the_users_is_refused_with_a_way_on_and_never_replaced(line: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "first"}\n' + line + "\n")
    sources = [str(path)] * (2 if name == "file" else 1)
    with pytest.raises(DataError, match=rf'a.jsonl:2: the line has an entry "{name}" already.*--key-out NAME'):
        list(predict_stream(TAGGER, sources))
    beside = "".join(predict_stream(TAGGER, sources, key_out="ner")).splitlines()
    assert beside[1].startswith(line[:-1])
    assert name in strict(beside[1])["ner"]
    with pytest.raises(DataError, match="already, which is kept; give --key-out another NAME"):
        list(predict_stream(TAGGER, sources, key_out="text" if "text" in line else "tokens"))
    for wrong in ({"output": "text", "key_out": "x"}, {"key_out": ""}):
        with pytest.raises(ConfigError, match="--key-out: expected the name of an entry, and --format jsonl"):
            list(predict_stream(TAGGER, sources, **wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_json_is_not_passed_on(token: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "x", "n": [{token}]}}\n')
    with pytest.raises(DataError, match=f"a.jsonl:1: expected a JSON object, got {token}, which is not JSON"):
        list(predict_stream(TAGGER, str(path)))


@pytest.mark.parametrize("output", FORMATS)
def test_several_files_are_named_in_every_form(output: str, tmp_path: Path) -> None:
    names = []
    for i, text in enumerate(("Ada x\nwon y", "\n# c 1 2 3\nOslo z\n\n", "Bo w")):
        names.append(str(tmp_path / f"{i} ü.conll"))
        Path(names[-1]).write_text(text)
    whole = "".join(predict_stream(TAGGER, names, "conll", output))
    if output == "jsonl":
        assert [strict(line)["file"] for line in whole.splitlines()] == names
    else:
        heading = {"text": "==> {} <==\n", "conll": "# file: {}\n", "html": "<h2>{}</h2>\n"}[output]
        shown = [whole.index(heading.format(name)) for name in names]
        assert shown == sorted(shown)
    if output == "conll":
        target = tmp_path / "all.conll"
        target.write_text(whole)
        sentences = [s.words for s in read_conll(target)]
        assert sentences == [("Ada", "won"), ("Oslo",), ("Bo",)]
    alone = "".join(predict_stream(TAGGER, names[0], "conll", output))
    assert names[0] not in alone


def test_no_command_writes_over_what_it_reads(small_data: Path, tmp_path: Path) -> None:
    source, link = tmp_path / "a.txt", tmp_path / "link"
    source.write_text("2 2\na 0.1 0.2\nb 0.3 0.4\n")
    link.symlink_to(source)
    for target in (source, link, tmp_path / "." / "a.txt"):
        for args in (("predict", tmp_path, source, "--to", target), ("evaluate", tmp_path, source, "--html", target),
                     ("vectors", "convert", source, target), ("data", "repair", source, target)):  # fmt: skip
            done = run(*args)
            assert done.exit_code != 0
            assert f"{target} exists already" in done.output
            assert source.read_text().startswith("2 2\n")


def test_a_writer_keeps_line_ends_between_files() -> None:
    writer = Writer("text")
    passage = Passage("x", [], "f:1", lines=("x",))
    assert [writer.file("a"), writer.piece(passage, []), writer.file("b")] == ["==> a <==\n", "x", "\n\n==> b <==\n"]
