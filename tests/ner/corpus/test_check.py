from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import cli
from ner.corpus.check import data_check
from ner.corpus.conll import Columns, read_conll
from ner.corpus.findings import DataCheck, Finding
from ner.corpus.odd_words import oddities
from ner.corpus.repair import repair_file
from ner.corpus.scheme import check as check_tags
from ner.corpus.scheme import to_spans
from training.errors import ConfigError

LONG = "one O\ntwo O\nthree O\nfour O\nfive O\nsix O\nseven O\nEight B-LOC\n\n"


def check(folder: Path, **files: str | bytes) -> DataCheck:
    """data_check of files with these contents, named train.conll and so on."""
    for name, content in files.items():
        (folder / f"{name}.conll").write_bytes(content if isinstance(content, bytes) else content.encode())
    return data_check([folder / f"{name}.conll" for name in files])


def only(found: DataCheck, kind: str) -> Finding:
    (finding,) = (each for each in found.findings if each.kind == kind)
    return finding


def test_numbers_of_a_good_file(tmp_path: Path) -> None:
    found = check(tmp_path, train="-DOCSTART- O\n\nEU B-ORG\nmet O\n\nAnna B-PER\nLund I-PER\nin O\nOslo B-LOC\n")
    assert found.ok
    assert found.findings == []
    (only_file,) = found.files
    assert (only_file.sentences, only_file.words, only_file.documents, only_file.distinct_words) == (2, 6, 1, 6)
    assert only_file.scheme == "IOB2"
    assert only_file.tags == {"O": 2, "B-LOC": 1, "B-ORG": 1, "B-PER": 1, "I-PER": 1}
    assert only_file.entities == {"LOC": 1, "ORG": 1, "PER": 1}
    assert only_file.lengths == {"min": 2, "median": 3, "mean": 3, "max": 4}
    assert "2 sentences, 6 words (6 distinct), 1 document marked, scheme IOB2" in found.to_text()
    assert found.to_text().endswith("0 errors, 0 warnings, 0 notes\n")
    assert json.loads(json.dumps(found.to_dict()))["ok"] is True


def test_faults_of_the_scheme(tmp_path: Path) -> None:
    rows = "a B-X\nb O\n\nc O\nd I-X\n\n" + "\n".join(f"w{i} O\nv{i} B-X\n" for i in range(9)) + "\ne I-Y\n"
    found = check(tmp_path, some=rows)
    finding = only(found, "scheme")
    assert not found.ok
    assert (finding.level, finding.count) == ("error", 2)
    assert finding.places[0] == f"{tmp_path}/some.conll:5: I-X cannot follow O"
    assert finding.places[1].endswith(": I-Y cannot begin a sentence")
    assert "error: " in found.to_text()


def test_needless_tags_of_iob1_are_a_note(tmp_path: Path) -> None:
    found = check(tmp_path, some="a I-X\nb I-X\n\nc O\nd B-X\n\ne O\nf I-X\n")
    assert found.ok
    assert only(found, "scheme").level == "note"
    assert "tags that are unnecessary in IOB1: 1" in only(found, "scheme").text


def test_rows_that_cannot_be_read_are_all_named(tmp_path: Path) -> None:
    found = check(tmp_path, some=b"a O\n\nb\n\nc NN\n\n\xff O\n\nd B-X\n")
    finding = only(found, "form")
    assert finding.count == 3
    assert [place.split(":")[1] for place in finding.places] == ["3", "5", "7"]
    assert found.files[0].words == 2
    assert not found.ok


def test_files_that_cannot_be_read_at_all(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n\n")
    (tmp_path / "marks").write_text("-DOCSTART- O\n")
    (tmp_path / "good").write_text("a B-X\n")
    names = ["empty", "marks", "nothing", ".", "good"]
    found = data_check([tmp_path / name for name in names])
    assert [each.kind for each in found.findings] == ["empty", "empty", "form", "form"]
    assert [each.path for each in found.files] == [str(tmp_path / "good")]
    assert "cannot read it: No such file" in found.to_text()
    assert not found.ok


def test_more_places_than_are_shown(tmp_path: Path) -> None:
    finding = only(found := check(tmp_path, some="a O\n" + "b NN\n" * 25), "form")
    assert (finding.count, len(finding.places)) == (25, 10)
    assert "\n  and 15 more\n" in found.to_text()


def test_overlap_and_unseen_words(tmp_path: Path) -> None:
    found = check(tmp_path, train=LONG + "Oslo B-LOC\n", test="Oslo B-LOC\n\n" + LONG + "Riga B-LOC\nOslo B-LOC\n")
    overlap = only(found, "overlap")
    assert overlap.level == "warning"
    assert "2 of 3 sentences occur in" in overlap.text
    assert overlap.places == (f"{tmp_path}/test.conll:3: line 1 there, 'one two three four five six seven Eight'",)
    unseen = only(found, "unseen words")
    assert "1 of 11 words (9.1 %) do not occur in" in unseen.text
    assert found.ok


def test_short_sentences_in_both_are_a_note(tmp_path: Path) -> None:
    assert only(check(tmp_path, train="Oslo B-LOC\n", valid="Oslo B-LOC\n"), "overlap").level == "note"


def test_duplicates(tmp_path: Path) -> None:
    found = check(tmp_path, some=LONG + LONG.replace("B-LOC", "O") + "a O\n\na O\n")
    notes = {each.level: each for each in found.findings}
    place = f"{tmp_path}/some.conll:10: the same as in line 1, 'one two three four five six seven Eight'"
    assert notes["note"].places == (place,)
    assert "tagged differently: 1" in notes["warning"].text
    assert len(found.findings) == 2


def test_types(tmp_path: Path) -> None:
    found = check(tmp_path, train="a B-PER\nb B-Per\n", test="c O\nd B-GPE\n")
    errors = [each for each in found.findings if each.level == "error"]
    assert [each.places for each in errors] == [(f"{tmp_path}/test.conll:2: B-GPE",)]
    assert any("types that may be the same: PER, Per" in each.text for each in found.findings)


def test_no_entities(tmp_path: Path) -> None:
    found = check(tmp_path, some="a O\nb O\n")
    assert found.files[0].scheme is None
    assert only(found, "no entities").level == "warning"


@pytest.mark.parametrize(
    ("train", "test", "differ"),
    [
        ("a B-X\nb I-X\n", "a S-X\n", True),
        ("a B-X\nb I-X\n", "a I-X\n", True),
        ("a I-X\nb I-X\n", "a B-X\nb I-X\n", False),  # IOB1 reads IOB2 rightly
        ("a B-X\nb M-X\nc E-X\n", "a B-X\nb E-X\n", False),  # BMES without an inside word looks like IOBES
        ("a B-X\n", "a O\n", False),
    ],
)
def test_schemes_of_two_files(tmp_path: Path, train: str, test: str, differ: bool) -> None:
    found = check(tmp_path, test=test, train=train)
    assert any("its tags are" in each.text for each in found.findings) == differ
    assert found.ok != differ


def test_known_sums_of_another_file(tmp_path: Path) -> None:
    (tmp_path / "eng.testb").write_text("Oslo I-LOC\n")
    finding = only(data_check([tmp_path / "eng.testb"]), "known sums")
    assert finding.level == "warning"
    assert "expected the counts of CoNLL-2003 English, test split, 3,453 sentences, 46,435 words" in finding.text
    assert "got 1 sentence, 1 word, 1 entity" in finding.text


def test_known_sums_are_confirmed(tmp_path: Path) -> None:
    """A made-up file with as many sentences, words and entities as CoNLL-2003's validation split."""
    sentences, words, entities = 3250, 51362, 5942
    rows = [[f"w{i}-{j} O" for j in range(words // sentences)] for i in range(sentences)]
    rows[0] += [f"x{j} O" for j in range(words - sentences * (words // sentences))]
    flat = [(i, j) for i in range(sentences) for j in range(0, len(rows[i]), 2)][:entities]
    for i, j in flat:
        rows[i][j] = rows[i][j].replace(" O", " B-X")
    finding = only(check(tmp_path, some="\n\n".join("\n".join(each) for each in rows) + "\n"), "known sums")
    assert finding.level == "note"
    assert "3,250 sentences, 51,362 words, 5,942 entities, as CoNLL-2003 English, validation split has" in finding.text


def test_words_without_vectors(tmp_path: Path) -> None:
    (tmp_path / "some.conll").write_text("a O\nb B-X\nb B-X\nc O\n")
    found = data_check([tmp_path / "some.conll"], lambda word: word == "a")
    finding = only(found, "vectors")
    assert "2 of 3 distinct words have no vector, 3 of 4 in the text (75.0 %)" in finding.text
    assert finding.places == ("'b' 2", "'c' 1")
    assert found.ok


def test_columns(tmp_path: Path) -> None:
    (tmp_path / "some.conll").write_text("1\tOslo\tB-LOC\tx\n")
    found = data_check([tmp_path / "some.conll"], columns=Columns(word=1, tag=2))
    assert found.ok
    assert found.files[0].entities == {"LOC": 1}


@pytest.mark.parametrize(
    ("word", "what", "shown"),
    [
        ("10\u00a0000", "white space", "'10\\xa0000'"),
        ("a\u3000", "white space", "'a\\u3000'"),
        ("a\u200bb", "zero-width", "'a\\u200bb'"),
        ("a\ufeff", "zero-width", "'a\\ufeff'"),
        ("soft\u00adhyphen", "zero-width", "'soft\\xadhyphen'"),
        ("a\x00", "control", "'a\\x00'"),
        ("a\x9d", "control", "'a\\x9d'"),
        ("\ufffdber", "replacement", "'\\ufffdber'"),
        ("MÃ¼nchen", "UTF-8 that was read", "'M\\xc3\\xbcnchen'"),
        ("donâ€™t", "UTF-8 that was read", "'don\\xe2\\u20ac\\u2122t'"),
        ("New York", "a space", "'New York'"),
        ("стартaпов", "two alphabets", "'стартaпов' (Latin a)"),
        ("Cтив", "two alphabets", "'Cтив' (Latin C)"),
        ("e\u0301te", "NFC", "'e\\u0301te'"),
    ],
)
def test_odd_words(word: str, what: str, shown: str) -> None:
    ((found, as_shown),) = oddities(word)
    assert what in found
    assert as_shown == shown


@pytest.mark.parametrize("word", "München IT-отдел Москва 10,5 №7 « – 日本 été α-Test naïve ß İ ’s".split())
def test_words_that_are_not_odd(word: str) -> None:
    assert list(oddities(word)) == []


def test_odd_words_are_found_by_line(tmp_path: Path) -> None:
    found = check(tmp_path, some="a O\n\nb B-X\n10\u00a0000 O\n")
    finding = only(found, "characters")
    assert finding.level == "warning"
    assert finding.places == (f"{tmp_path}/some.conll:4: '10\\xa0000'",)


@given(st.lists(st.binary(max_size=40) | st.text("-#OBIX \t\r\n\u00a0я", max_size=60).map(str.encode), max_size=3))
@settings(deadline=None, max_examples=200)
def test_any_files_give_a_report(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("any")
    paths = [folder / name for name in ("train.conll", "valid.conll", "test.conll")][: len(contents)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    found = data_check(paths, str.isascii)
    json.dumps(found.to_dict())
    assert found.to_text().strip()
    assert len(found.files) == len(paths) or not found.ok


def test_marks_and_line_ends_are_noted(tmp_path: Path) -> None:
    found = check(tmp_path, some=b"\xef\xbb\xbfAda B-PER\r\nran O\r\n\r\n", other=b"Bo B-PER\n")
    notes = [each.text for each in found.findings if each.kind == "encoding"]
    assert notes == [
        f"{tmp_path}/some.conll: begins with a byte-order mark, which is left out",
        f"{tmp_path}/some.conll: lines that end with CRLF, which is read as LF: 3",
    ]
    assert found.ok
    assert found.files[0].words == 2


def sums(marks: int) -> str:
    """A made-up file with as many sentences, words and entities as CoNLL-2003's test split, and so many articles."""
    sentences, words, entities = 3453, 46435, 5648
    rows = [["w O"] * (words // sentences) for _ in range(sentences)]
    rows[0] += ["w O"] * (words - sentences * (words // sentences))
    flat = [(i, j) for i in range(sentences) for j in range(0, len(rows[i]), 2)][:entities]
    for i, j in flat:
        rows[i][j] = "w B-X"
    return "-DOCSTART- O\n\n" * marks + "\n\n".join("\n".join(each) for each in rows) + "\n"


@pytest.mark.parametrize(
    ("marks", "level", "said"),
    [
        (231, "note", "; with the -DOCSTART- rows 3,684 sentences"),
        (0, "note", "0 -DOCSTART- rows where 231 were published"),
        (7, "warning", "7 -DOCSTART- rows where 231 were published"),
    ],
)
def test_known_sums_with_the_docstart_rows(tmp_path: Path, marks: int, level: str, said: str) -> None:
    finding = only(check(tmp_path, some=sums(marks)), "known sums")
    assert finding.level == level
    assert said in finding.text


def test_repair_writes_what_conlleval_reads_and_counts(tmp_path: Path) -> None:
    source, target = tmp_path / "a.conll", tmp_path / "b.conll"
    source.write_text("-DOCSTART- -X- O\n\n# a comment\nAda x I-PER\nran y O\nBo z B-PER\nLi z I-ORG\n\nOslo q B-LOC\n")
    done = repair_file(source, target)
    assert (done.tags, done.sentences, done.scheme) == (2, 1, "IOB2")
    assert done.faults == {"I-ORG cannot follow B-PER": 1, "I-PER cannot begin a sentence": 1}
    assert done.places == (f"{source}:4: I-PER cannot begin a sentence", f"{source}:7: I-ORG cannot follow B-PER")
    assert target.read_text() == (
        "-DOCSTART- -X- O\n\n# a comment\nAda x B-PER\nran y O\nBo z B-PER\nLi z B-ORG\n\nOslo q B-LOC\n"
    )
    again = repair_file(target, tmp_path / "c.conll")
    assert (again.tags, again.faults) == (0, {})
    other = repair_file(target, tmp_path / "d.conll", "iobes")
    assert other.written == "IOBES"
    assert "Ada x S-PER\n" in (tmp_path / "d.conll").read_text()
    assert "2 tags in 1 sentence changed" in done.to_text()
    with pytest.raises(ConfigError, match="exists already"):
        repair_file(source, target)
    with pytest.raises(ConfigError, match="cannot be written"):
        repair_file(source, tmp_path / "none" / "x.conll")


TAG = st.sampled_from("O B-X I-X E-X S-X B-Y I-Y".split())
TAGS = st.lists(st.lists(TAG, min_size=1, max_size=5), min_size=1, max_size=4)


@given(TAGS)
@settings(max_examples=100)
def test_a_repaired_file_has_the_same_entities_and_no_fault(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("repair")
    source, target = folder / "a.conll", folder / "b.conll"
    source.write_text("\n\n".join("\n".join(f"w\t{tag}" for tag in row) for row in rows) + "\n")
    done = repair_file(source, target)
    before, after = read_conll(source), read_conll(target)
    assert [to_spans(s.tags) for s in after] == [to_spans(s.tags) for s in before]
    assert all(check_tags(s.tags, done.scheme) == [] for s in after)
    assert done.tags == sum(a != b for s, t in zip(before, after, strict=True) for a, b in zip(s.tags, t.tags, strict=True))


def test_the_commands(tmp_path: Path) -> None:
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.conll").write_text("1 Ada B-PER x\n2 ran O x\n")
    columns = ["--word-column", "1", "--tag-column", "2"]
    result = CliRunner().invoke(cli.main, ["data", "check", str(tmp_path), *columns])
    assert result.exit_code == 0, result.output
    assert result.output.count(": 1 sentence, 2 words") == 3, "a folder stands for its splits"
    (tmp_path / "bad.txt").write_text("Ada I-PER\nran O\n\nBo B-PER\n")
    result = CliRunner().invoke(cli.main, ["data", "check", str(tmp_path / "bad.txt")])
    assert result.exit_code == 1
    assert "data repair mends them" in result.output
    result = CliRunner().invoke(cli.main, ["data", "repair", str(tmp_path / "bad.txt"), str(tmp_path / "good.txt")])
    assert result.exit_code == 0, result.output
    assert "1 tag in 1 sentence changed" in result.output
    assert CliRunner().invoke(cli.main, ["data", "check", str(tmp_path / "good.txt")]).exit_code == 0


def test_a_line_that_is_not_utf8_is_one_finding_and_its_sentence_is_left_out(tmp_path: Path) -> None:
    """The characters that stand for its bytes are none of the file's: they are no finding of their own."""
    path = tmp_path / "a.conll"
    path.write_bytes("# España\nOslo B-LOC\n\nEspaña B-LOC\nwon O\n\n# Köln\nBo B-PER\n".encode("latin-1"))
    told: list[tuple[str, int, int]] = []
    found = data_check([path], progress=lambda *each: told.append(each))
    assert [each.kind for each in found.findings if each.level != "note"] == ["form"]
    (form,) = [each for each in found.findings if each.kind == "form"]
    assert [place.split(": ")[0] for place in form.places] == [f"{path}:{line}" for line in (1, 4, 7)]
    assert "iconv -f LATIN1" in form.places[1]
    assert found.files[0].entities == {"LOC": 1, "PER": 1}
    assert told == [(f"reading {path}", path.stat().st_size, path.stat().st_size)]


def test_one_is_not_plural(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("-DOCSTART- O\n\nOslo B-LOC\n")
    assert "1 sentence, 1 word (1 distinct), 1 document marked" in data_check([path]).to_text()


def test_a_pair_without_its_text_is_a_finding_beside_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Ada ran.\n")
    (tmp_path / "a.ann").write_text("T1\tPER 0 3\tAda\nnonsense\n")
    (tmp_path / "b.ann").write_text("T1\tPER 0 3\tAda\n")
    found = data_check([tmp_path])
    (error,) = [each for each in found.findings if each.level == "error"]
    assert [place.partition(": ")[0] for place in error.places] == [str(tmp_path / "a.ann:2"), str(tmp_path / "b.txt")]
    assert [file.entities for file in found.files] == [{"PER": 1}]
