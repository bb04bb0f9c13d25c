"""One file, one reading: each content in each encoding, archive, line end and name, given to every reader there is."""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import io
import lzma
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import word2vec.text.corpus
from ner.config import TaggerConfig
from ner.corpus.check import data_check
from ner.corpus.conll import Columns
from ner.corpus.dataset import read_dataset
from ner.corpus.repair import repair_file
from ner.predict import evaluate_file, predict_stream
from tests.ner.small_tagger import tagger
from tests.word2vec.text.languages import LANGUAGES
from training.errors import DataError
from word2vec.text.corpus import encode
from word2vec.text.file_kinds import opened
from word2vec.text.tokenize import TextRule
from word2vec.vectors.evaluate import read_set
from word2vec.vectors.read import read_table

TAGGER = tagger(3)
ROWS = "Ünsal NNP B-PER\nwon VBD O\nin IN O\nOslo NNP B-LOC\n\nAda NNP B-PER\nleft VBD O\n\n"
CONTENTS = {
    "text": "Ünsal flew to Oslo, and came back at once.\nThe year was 1996; New York fell.\n\nMore of it.\n",
    "columns": 2 * ROWS,
    "tabs": ROWS.replace(" ", "\t"),
    "trailing": ROWS.replace(" ", "\t").replace("\n", "\t\n").replace("\n\t\n", "\n\n"),
    "documents": f"-DOCSTART- -X- O\n\n{ROWS}",
    "germeval": "#\thttp://x [2009]\n1\tÜnsal\tB-PER\tO\n2\twon\tO\tO\n3\t.\tO\tO\n\n#\thttp://y\n1\tAda\tB-PER\tO\n2\tran\tO\tO\n\n",
    "conllu": "# sent_id = 1\n1-2\tdu\t_\t_\tO\n1\tÜnsal\tx\tX\tB-PER\n2\tle\tx\tX\tO\n2.1\t_\t_\t_\tO\n3\tvin\tx\tX\tO\n\n",
    "commas": "Ünsal,B-PER\nwon,O\nin,O\n",
    "table": "1\tÜnsal flew to Oslo today.\n2\tBo won in New York again.\n",
    "json_lines": '{"text": "Ünsal won."}\n{"text": "Bo lost."}\n',
    "json_list": '[{"text": "Ünsal won."},\n {"text": "Bo lost."}]\n',
    "json_object": '{\n "text": "Ünsal won."\n}\n',
    "vectors": "2 3\nthe 0.1 0.2 0.3\nÜnsal -1 2.5 3e-1\n",
    "glove": "the\t0.1\t0.2\t0.3\nÜnsal\t-1\t2.5\t3e-1\n",
    "set": "word1\tword2\tPOS\tSimLex999\tconc\nÜnsal\tnew\tA\t1.58\t2.7\nsmart\thard\tA\t9.2\t1.7\n",
    "html": "<!DOCTYPE html>\n<p>Ünsal won.</p>\n",
    "empty": "",
}
READ = ""  # what a reader does not take: a piece of the one line that says so
TO_TEXT = {name: f"expected text, got {what}" for name, what in {
    "columns": "columns", "tabs": "columns", "trailing": "columns", "documents": "columns", "germeval": "columns",
    "conllu": "columns", "commas": "columns separated by commas", "json_lines": "JSON lines", "json_list": "a JSON list",
    "json_object": "a JSON object", "vectors": "word vectors", "glove": "word vectors", "html": "an HTML page",
    "empty": "no word",
}.items()}  # fmt: skip
NO_SPANS = "expected a list of spans in an entry label"
TO_COLUMNS = {
    "text": "a tag like", "table": "a tag like", "commas": "columns",
    "json_lines": NO_SPANS, "json_list": NO_SPANS, "json_object": NO_SPANS, "set": "a tag like",
    "vectors": "got word vectors", "glove": "got word vectors", "html": "got an HTML page", "empty": "got none",
}  # fmt: skip
TO_REPAIR = TO_COLUMNS | dict.fromkeys(("json_lines", "json_list", "json_object"), "data convert FILE NEW.conll")
TO_PREDICT = {
    "commas": "columns separated by commas", "table": "cut -f2",
    "vectors": "got word vectors", "glove": "got word vectors",
    "html": "got an HTML page",
}  # fmt: skip
TO_VECTORS = dict.fromkeys(CONTENTS, "word vectors, got") | {
    "text": "expected a word and its numbers", "table": "expected a word and its numbers",
    "set": "expected a word and", "vectors": READ, "glove": READ,
}  # fmt: skip
TO_SET = dict.fromkeys(CONTENTS, "expected") | {"set": READ}


def words_of(path: Path) -> Any:
    return encode([str(path)], path.parent / "ids", TextRule(), min_count=1)[0].words


def dataset_of(path: Path) -> Any:
    files: dict[str, Any] = {name: str(path) for name in ("train", "valid", "test")}
    return [(each.words, each.tags) for each in read_dataset(dataclasses.replace(TaggerConfig(), **files)).train]


def checked(path: Path) -> Any:
    found = data_check([path])
    forms = [finding for finding in found.findings if finding.kind in ("form", "empty")]
    if forms:
        raise DataError(forms[0].places[0] if forms[0].places else forms[0].text)
    return found.files[0].words, found.files[0].tags


def repaired(path: Path) -> Any:
    target = path.parent / "mended"
    target.unlink(missing_ok=True)
    repair_file(path, target)
    return target.read_text(encoding="utf-8-sig")


def tagged(path: Path) -> Any:
    return "".join(predict_stream(TAGGER, str(path)))


def evaluated(path: Path) -> Any:
    return evaluate_file(TAGGER, str(path)).to_dict(2)["strict"]


def table_of(path: Path) -> Any:
    table = read_table(path)
    return table.words, table.matrix.tobytes()


READERS: dict[str, tuple[Callable[[Path], Any], dict[str, str]]] = {
    "train-w2v": (words_of, TO_TEXT),
    "train-ner": (dataset_of, TO_COLUMNS),
    "data check": (checked, TO_COLUMNS),
    "data repair": (repaired, TO_REPAIR),
    "evaluate": (evaluated, TO_COLUMNS),
    "predict": (tagged, TO_PREDICT),
    "vectors": (table_of, TO_VECTORS),
    "sets": (lambda path: dataclasses.replace(read_set(path), name=""), TO_SET),
}
WIDE = {
    "utf-16": "iconv -f UTF-16 ", "utf-16-le": "iconv -f UTF-16LE ", "utf-16-be": "iconv -f UTF-16BE ",
    "utf-32": "iconv -f UTF-32 ", "utf-32-le": "iconv -f UTF-32LE ", "utf-32-be": "iconv -f UTF-32BE ",
}  # fmt: skip
NAMES = ("a.txt", "train.json", "b.conll", "c.jsonl", "d.gz", "e.bin")


def zipped(data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", data)
    return stream.getvalue()


PACKS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}
UNREAD: dict[str, Callable[[bytes], bytes]] = {"zip": zipped, "zstd": lambda data: b"\x28\xb5\x2f\xfd" + data}


def outcome(read: Callable[[Path], Any], path: Path) -> tuple[str, Any]:
    """("", what was read) or (the error, None)."""
    try:
        found = read(path)
    except DataError as error:
        return str(error).replace(str(path), "FILE"), None
    if isinstance(found, str):
        found = found.replace("\r\n", "\n")
    return "", found


def forms(text: str) -> dict[str, tuple[bytes, str]]:
    """Ways to write a content: name → (bytes, what the message must say; "" where it is read as UTF-8 is)."""
    made = {"plain": (text.encode(), ""), "mark": (text.encode("utf-8-sig"), "")}
    made |= {name: (text.replace("\n", end).encode(), "") for name, end in (("CRLF", "\r\n"), ("CR", "\r"))}
    made |= {name: (pack(text.encode()), "") for name, pack in PACKS.items()}
    made |= {name: (pack(text.encode()), f"got a {name} archive; unpack it first") for name, pack in UNREAD.items()}
    if text:
        made |= {name: (text.encode(name), advice) for name, advice in WIDE.items()}
        made["gzip, utf-16-le"] = gzip.compress(text.encode("utf-16-le")), WIDE["utf-16-le"]
    if "Ü" in text:
        made["latin-1"] = text.encode("latin-1"), "iconv -f LATIN1 "
        made["cp1252"] = text.replace("Ü", "“Ü").encode("cp1252"), "iconv -f CP1252 "
    return made


def kind_of(path: Path) -> str:
    with opened(path, "a file") as stream:
        return stream.kind.kind


@pytest.mark.parametrize("content", CONTENTS)
def test_every_reader_reads_a_file_in_one_way_or_says_what_it_is(content: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(CONTENTS[content].encode())
    kind, cases = kind_of(plain), 0
    base = {name: outcome(read, plain) for name, (read, _) in READERS.items()}
    for name, (_, refused) in READERS.items():
        said, wanted = base[name][0], refused.get(content, READ)
        assert (wanted in said and said.startswith(("FILE", "standard"))) if wanted else not said, (name, content, said)
        assert "\n" not in said
    for i, (how, (data, advice)) in enumerate(forms(CONTENTS[content]).items()):
        for file in NAMES if how == "plain" else (NAMES[i % len(NAMES)],):
            path = tmp_path / file
            path.write_bytes(data)
            open_case = content == "set" and file == "b.conll"  # words in columns without tags: there the name decides
            if not advice and how != "latin-1" and not open_case:
                assert kind_of(path) == kind, (how, file)
            for name, (read, _) in READERS.items():
                found, cases = outcome(read, path), cases + 1
                if open_case and name in ("predict", "train-w2v", "vectors"):
                    continue
                where = (name, content, how, file, found, base[name])
                if not advice:
                    assert found == base[name] or (content == "empty" and how == "CR"), where
                elif how in ("latin-1", "cp1252"):
                    assert found[0], where  # the content may be refused before a line is read
                    assert advice in found[0] or base[name][0] or "a word in UTF-8" in found[0], where
                else:
                    assert advice in found[0], where
                assert "\n" not in found[0], where
            path.unlink()
    assert cases >= 100


UNTAGGED = {
    "sentences": "Ada\nMarlow\nflew\nto\nOslo\n.\n\nBo\nwon\n.\n\n",
    "a sentence": "Ada\nflew\nto\nOslo\n.\n",
    "comments": "# sent_id = 1\n# text = Ada flew\nAda\nflew\n\n# sent_id = 2\n# text = Bo won\nBo\nwon\n\n",
    "blanks behind": "Ada \nflew \n \nBo \nwon \n",
    "tabs behind": "Ada\t\nflew\t\n\nBo\t\nwon\t\n\n",
    "numbers": "1\n2\n3\n\n1\n2\n\n",
    "other letters": "Жан\nел\n\n東京\n遠い\n\n",
}
COLUMN_NAMES = (
    "a.conll", "A.CONLL", "b.conllu", "c.iob", "d.bio", "e.tsv", "f.iob2", "g.bioes", "eng.testb", "dev.bmes", "h.conll.gz",
    "i.conllu.bz2", "eng.train.xz",
)  # fmt: skip
SILENT_NAMES = ("a.txt", "b", "c.json", "test.txt", "d.text.gz", "conll", "e.conll.txt", "tsv.dat")


def packed(name: str, data: bytes) -> bytes:
    pack = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz"}.get(Path(name).suffix)
    return PACKS[pack](data) if pack else data


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("content", UNTAGGED)
def test_a_word_a_line_is_columns_by_its_name_and_else_text_with_a_line(content: str, end: str, tmp_path: Path) -> None:
    text = UNTAGGED[content].replace("\n", end)
    rows = [line for line in UNTAGGED[content].splitlines() if line.strip() and not line.startswith("# ")]
    for file in (*COLUMN_NAMES, *SILENT_NAMES):
        said: list[str] = []
        path = tmp_path / file
        path.write_bytes(packed(file, text.encode()))
        found = "".join(predict_stream(TAGGER, str(path), warn=said.append))
        if file in COLUMN_NAMES:
            lines = found.splitlines()
            assert len(lines) == len(text.splitlines()), file
            assert sum(bool(re.search("[ \t](O|[BIES]-[A-Z]+)[ \t]*$", line)) for line in lines) == len(rows), file
            assert said == ([f"{path}: words in column 1 are nothing but numbers; name another with --word-column, from 0"]
                            if content == "numbers" else [])  # fmt: skip
            assert "NF ? $1" in outcome(words_of, path)[0]
            for read in (dataset_of, checked, repaired, evaluated):
                assert "expected a word and its tag in at least 2 columns" in outcome(read, path)[0]
        else:
            text_of = re.sub(r"\[([^]]*)\]\{[^}]*\}", r"\1", found)
            assert text_of == text, file
            open_case = content != "a sentence"  # without a blank line nothing speaks for sentences
            assert [f"{path}: one word per" in line and "read as text" in line for line in said] == [True] * open_case, said
            assert all("--input conll" in line and "\n" not in line for line in said)
            told: list[str] = []
            encode([str(path)], tmp_path / "ids", TextRule(), min_count=1, warn=told.append)
            assert ["read as text" in line for line in told] == [True] * open_case


def test_what_is_asked_for_is_no_doubt(tmp_path: Path) -> None:
    path, said = tmp_path / "a.txt", list[str]()
    path.write_text(UNTAGGED["sentences"])
    for form in ("text", "sentences", "conll"):
        assert "".join(predict_stream(TAGGER, str(path), form, warn=said.append))
    assert said == []


def test_prose_with_a_name_of_columns_is_told_as_such(tmp_path: Path) -> None:
    path, said = tmp_path / "a.conll", list[str]()
    path.write_text(CONTENTS["text"])
    assert "".join(predict_stream(TAGGER, str(path), warn=said.append))
    assert len(said) == 1
    assert "its name suggests columns, but its lines do not: it is read as text" in said[0]


def written(text: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """A sentence as each kind of file has it: the file's text, and who reads it."""
    words = text.split()
    rows = "".join(f"{word}\tO\n" for word in words)
    pairs = "".join(f"{word}\tthe\t{i}.5\n" for i, word in enumerate(words))
    table = "".join(f"{word} 0.{i} -1.5\n" for i, word in enumerate(words))
    return {
        "text": (f"It began at once.\n{text}\n", ("train-w2v", "predict")),
        "one line": (f"it began at once {text}", ("train-w2v", "predict")),
        "JSON lines": (f'{{"text": "It began."}}\n{{"text": "{text}"}}\n', ("predict",)),
        "columns": (f"The\tO\nend\tB-X\n{rows}\n", ("train-ner", "data check", "data repair", "evaluate", "predict")),
        "vectors": (f"{len(words) + 1} 2\nthe 0.5 0.25\n{table}", ("vectors",)),
        "glove": (f"the 0.5 0.25\n{table}", ("vectors",)),
        "set": (f"old\tnew\t1.5\n{pairs}", ("sets",)),
    }


def first_not_utf8(data: bytes) -> tuple[int, int]:
    """Line and byte of the first byte that is not UTF-8, both from 1."""
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            return number, error.start + 1
    raise AssertionError


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reader_names_the_line_the_byte_and_the_encoding(
    language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encodings, text = LANGUAGES[language]
    path = tmp_path / "file"
    for encoding in encodings.split():
        for form, (content, readers) in written(text).items():
            monkeypatch.setattr(word2vec.text.corpus, "PIECE", 16 if form == "one line" else 1 << 20)
            data = content.encode(encoding)
            path.write_bytes(data)
            line, byte = first_not_utf8(data)
            for name in readers:
                said = outcome(READERS[name][0], path)[0]
                where = (form, name, encoding, said)
                assert said.startswith(f"FILE:{line}: expected "), where
                assert data.decode(said.split("iconv -f ")[1].split()[0]) == content, where
                if form not in ("vectors", "glove"):  # these quote a word, and go by the words alone
                    assert f"at byte {byte:,} of the line" in said, where
                    assert "it seems to be " in said, where
                assert "\n" not in said, where


def test_a_line_behind_the_part_that_is_looked_at_is_judged_by_itself(tmp_path: Path) -> None:
    path, content = tmp_path / "file", "It began at once.\n" * 4000 + LANGUAGES["Russian"][1]
    path.write_bytes(content.encode("koi8-r"))
    for name in ("train-w2v", "predict"):
        said = outcome(READERS[name][0], path)[0]
        assert said.startswith("FILE:4001: expected UTF-8, got byte 0xf0 at byte 1 of the line; it seems to be KOI8-R: ")


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_of_a_binary_file_are_named_without_iconv(language: str, tmp_path: Path) -> None:
    encodings, text = LANGUAGES[language]
    for encoding in encodings.split():
        words = [word.encode(encoding) for word in text.split()]
        (tmp_path / "v.bin").write_bytes(b"%d 2\n" % len(words) + b"".join(b"%b \0\0\0\0\0\0\0\0\n" % w for w in words))
        said = outcome(table_of, tmp_path / "v.bin")[0]
        assert re.match(r"FILE: word \d+ of \d+: expected a word in UTF-8", said)
        assert "iconv" not in said
        named = said.split('encoding="')[1].split('"')[0]
        assert b" ".join(words).decode(named) == " ".join(text.split())


def test_columns_that_are_named_are_read(tmp_path: Path) -> None:
    for content, columns, words in (
        ("germeval", Columns(1, 2), ("Ünsal", "won", ".")),
        ("conllu", Columns(1, 4), ("Ünsal", "le", "vin")),
    ):
        path = tmp_path / content
        path.write_text(CONTENTS[content])
        found = data_check([path], columns=columns)
        assert [finding.text for finding in found.findings if finding.level == "error"] == []
        assert found.files[0].entities["PER"] >= 1
        written = "".join(predict_stream(TAGGER, str(path), columns=columns))
        rows = [line.split("\t") for line in written.splitlines()]
        assert tuple(row[1] for row in rows if row[0].isdigit())[:3] == words
        left = [line for line in written.splitlines() if line.startswith(("#", "1-2", "2.1"))]
        assert left == [line for line in CONTENTS[content].splitlines() if line.startswith(("#", "1-2", "2.1"))]
        assert evaluate_file(TAGGER, str(path), columns=columns).to_dict(1)["strict"]
