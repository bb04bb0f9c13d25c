from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner.corpus.conll import Columns, Sentence, format_sentence, iter_conll, read_conll, to_scheme, write_conll
from training.errors import ConfigError, DataError


def parse(content: str | bytes, **options: object) -> list[Sentence]:
    raw = content.encode() if isinstance(content, str) else content
    return list(iter_conll(io.BytesIO(raw), "f", **options))  # type: ignore[arg-type]


def pairs(content: str | bytes, **options: object) -> list[list[tuple[str, str]]]:
    return [list(zip(each.words, each.tags, strict=True)) for each in parse(content, **options)]


NO_TAG = "expected O or a tag like B-PER (a letter of B I E S L U M, a hyphen, a type), got"
PLAIN = [[("EU", "B-ORG"), ("rejects", "O")], [("Peter", "B-PER")]]


@pytest.mark.parametrize(
    "content",
    [
        "EU B-ORG\nrejects O\n\nPeter B-PER\n",
        "EU B-ORG\nrejects O\n\nPeter B-PER",
        "EU B-ORG\r\nrejects O\r\n\r\nPeter B-PER\r\n",
        "EU B-ORG\r\r\nrejects O\r\r\n\r\nPeter B-PER\r\n",
        "\ufeffEU B-ORG\nrejects O\n\nPeter B-PER\n",
        "\n\n\nEU B-ORG\nrejects O\n\n\n \t \n\nPeter B-PER\n\n\n",
        "EU\tB-ORG\nrejects\tO\n\t\nPeter\tB-PER\n",
        "EU   B-ORG  \n  rejects \t O\t\n\nPeter B-PER \n",
        "EU\tB-ORG  \n rejects \t O\n\nPeter\tB-PER\r\n",
        "EU NNP I-NP B-ORG\nrejects VBZ I-VP O\n\nPeter NNP I-NP B-PER\n",
        "EU\t\t\tB-ORG\nrejects\tVBZ\t\tO\n\nPeter\t\tI-NP\tB-PER\n",
        "# id 1 domain=en\nEU B-ORG\nrejects O\n\n# text = Peter\n#\nPeter B-PER\n",
    ],
)
def test_forms_of_one_text(content: str) -> None:
    assert pairs(content) == PLAIN


def test_published_conll2003() -> None:
    text = "-DOCSTART- -X- O O\n\nEU NNP I-NP I-ORG\n. . O O\n\n-DOCSTART- -X- -X- O\n\nPeter NNP I-NP I-PER\n\n"
    kept = parse(text)
    assert [each.words for each in kept] == [("-DOCSTART-",), ("EU", "."), ("-DOCSTART-",), ("Peter",)]
    assert [each.is_docstart for each in kept] == [True, False, True, False]
    assert [each.document for each in kept] == [1, 1, 2, 2]
    assert [each.line for each in kept] == [1, 3, 6, 8]
    assert kept[1].columns == (("EU", "NNP", "I-NP", "I-ORG"), (".", ".", "O", "O"))
    assert kept[1].where(1) == "f:4"
    assert parse(text, docstart="drop") == [kept[1], kept[3]]


@pytest.mark.parametrize("row", ["-DOCSTART-", "-DOCSTART- O", "-DOCSTART- (1 EU)", "-DOCSTART-\tO", "-DOCSTART- -X- O O"])
@pytest.mark.parametrize("tab", [False, True])
def test_docstart_rows_of_any_width(row: str, tab: bool) -> None:
    text = f"{row}\nEU X B-ORG\n{row}\n\nPeter X B-PER\n"
    found = parse(text.replace(" X ", "\tX\t") if tab else text)
    assert [each.words for each in found] == [("-DOCSTART-",), ("EU",), ("-DOCSTART-",), ("Peter",)]
    assert found[0].tags == ("O",)
    assert [each.document for each in found] == [1, 1, 2, 2]


def test_cyrillic_and_odd_white_space() -> None:
    text = "Пловдив B-LOC\n10\u00a0000 O\n\u3000 O\na\u2028b O\n\x85 O\nне\u0301т I-люди\n"
    words = ("Пловдив", "10\u00a0000", "\u3000", "a\u2028b", "\x85", "не\u0301т")
    assert parse(text) == parse(text.encode())
    assert parse(text)[0].words == words


def test_words_with_spaces_in_tab_files() -> None:
    found = parse("New York\tB-LOC\n-\tO\n# 1\tO\n")
    assert found[0].words == ("New York", "-", "# 1")
    assert format_sentence(found[0], ["O", "O", "O"]) == "New York\tB-LOC\tO\n-\tO\tO\n# 1\tO\tO\n\n"
    with pytest.raises(DataError, match="f:2: expected 3 columns separated by spaces as in line 1, got 2"):
        parse("New York B-LOC\n- O\n")


def test_hash_is_a_word_where_it_can_be() -> None:
    assert pairs("# O\n1 O\n\n# comment here\n# B-X\n\n# O\n") == [[("#", "O"), ("1", "O")], [("#", "B-X")], [("#", "O")]]
    assert pairs("# O\n") == [[("#", "O")]]
    assert pairs("#tag O\n#\tO\n") == [[("#tag", "O"), ("#", "O")]]
    assert pairs("1 NN O\n# # O\n") == [[("1", "O"), ("#", "O")]]
    with pytest.raises(DataError, match=r"f:2: expected 2 columns .*, got 3: '# no comment'; a comment may only"):
        parse("1 O\n# no comment\n")


def test_columns() -> None:
    germeval = "#\thttp://example.org\t[2009]\n1\tAufgrund\tO\tO\n2\tOTHO\tB-OTH\tB-PER\n"
    assert pairs(germeval, columns=Columns(word=1, tag=2)) == [[("Aufgrund", "O"), ("OTHO", "B-OTH")]]
    assert pairs(germeval, columns=Columns(word=1)) == [[("Aufgrund", "O"), ("OTHO", "B-PER")]]
    untagged = parse("EU\nrejects\n\nPeter\n", columns=Columns(tag=None))
    assert [each.words for each in untagged] == [("EU", "rejects"), ("Peter",)]
    assert untagged[0].tags == ()
    multiconer = "# id 61a3 domain=en\nSpiez _ _ B-LOC\n# _ _ O\n"  # read without tags, the comment is still none
    assert [each.words for each in parse(multiconer, columns=Columns(tag=None))] == [("Spiez", "#")]
    assert format_sentence(untagged[0], ["B-ORG", "O"]) == "EU B-ORG\nrejects O\n\n"
    some = Columns(), Columns(word=1), Columns(tag=None), Columns(-1, -3)
    assert [each.needed() for each in some] == [2, 3, 1, 3]
    with pytest.raises(ConfigError, match="expected the word and the tag in two columns"):
        Columns(word=0, tag=0)
    with pytest.raises(ConfigError, match="expected docstart keep or drop"):
        parse("EU O\n", docstart="maybe")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"EU O\nrejects\n", "f:2: expected 2 columns separated by spaces as in line 1, got 1: 'rejects'"),
        (
            b"EU\nrejects O\n",
            "f:1: expected a word and its tag in at least 2 columns, separated by tabs or spaces, got 1: 'EU'",
        ),
        (b"EU A O\n\nx O\n", "f:3: expected 3 columns separated by spaces as in line 1, got 2: 'x O'"),
        (b"EU\tO\nrejects O\n", "f:2: expected 2 columns separated by tabs as in line 1, got 1: 'rejects O'"),
        (b"EU\tO\n\tO\n", "f:2: expected a word, got an empty column: ' O'"),
        (b"EU\tA\tO\nx\tA\t\n", f"f:2: {NO_TAG} '' in column 3"),
        (b"EU NNP\n", f"f:1: {NO_TAG} 'NNP' in column 2"),
        (
            b"EU O\n\xcc\xee\xf1 O\n",
            "f:2: expected UTF-8, got byte 0xcc at byte 1 of the line; it may be CP1251,",
        ),
        ("EU O\n".encode("utf-16"), "f:1: expected a CoNLL file, got text in UTF-16 (with a byte-order mark)"),
        (b"EU O\rrejects O\r", "f:1: expected lines that end with LF or CRLF, got a bare CR within a line"),
    ],
)
def test_errors_name_the_line(content: bytes, message: str) -> None:
    with pytest.raises(DataError) as error:
        parse(content)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\n \n\n", b"# only a comment\n", b"\xef\xbb\xbf"])
def test_files_without_sentences(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "empty.conll"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"empty.conll: expected sentences, got none"):
        read_conll(path)


def test_only_document_marks(tmp_path: Path) -> None:
    path = tmp_path / "marks.conll"
    path.write_text("-DOCSTART- -X- O O\n\n")
    assert len(read_conll(path)) == 1
    with pytest.raises(DataError, match="expected sentences, got none"):
        read_conll(path, docstart="drop")


def test_folder_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a CoNLL file, got a folder; name the file itself"):
        read_conll(tmp_path)
    with pytest.raises(DataError, match=r"nothing.conll: expected a CoNLL file, cannot read it: No such file"):
        read_conll(tmp_path / "nothing.conll")


words = st.text(st.characters(exclude_characters=" \t\n\r", exclude_categories=["Cs"]), min_size=1, max_size=6).filter(
    lambda word: "-DOCSTART-" not in word and not word.startswith("\ufeff")
)
rows = st.lists(st.tuples(words, words, st.sampled_from(["O", "B-PER", "I-creative-work"])), min_size=1, max_size=5)


@given(st.lists(rows, min_size=1, max_size=5), st.sampled_from([" ", "\t"]))
@settings(deadline=None)
def test_round_trip(text: list[list[tuple[str, str, str]]], separator: str) -> None:
    first = [("word", "NN", "O")]  # "#" in the first row could begin a comment
    given_ = [
        Sentence(
            words=tuple(row[0] for row in rows_),
            tags=tuple(row[2] for row in rows_),
            path="f",
            columns=tuple(rows_),
            separator=separator,
        )
        for rows_ in [first, *text]
    ]
    stream = io.StringIO()
    write_conll(stream, given_)
    found = parse(stream.getvalue())
    assert [(each.words, each.tags, each.columns) for each in found] == [(e.words, e.tags, e.columns) for e in given_]
    assert all(stream.getvalue().split("\n")[each.line - 1].startswith(each.words[0]) for each in found)


@given(st.binary(max_size=60) | st.text("#-BIOX \t\r\n\ufeffПé\u00a0", max_size=60).map(str.encode))
@settings(deadline=None, max_examples=1000)
def test_any_bytes_are_read_or_refused_in_one_line(content: bytes) -> None:
    problem = ""
    found: list[Sentence] = []
    try:
        found = parse(content)
    except DataError as error:
        problem = str(error)
    assert len(problem.splitlines()) <= 1
    assert all(len(each.words) == len(each.tags) == len(each.columns) > 0 for each in found)


def test_write_to_a_path_and_with_predictions(tmp_path: Path) -> None:
    sentences = parse("-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n")
    path = tmp_path / "predictions.conll"
    write_conll(path, sentences, [["O"], ["B-LOC", "O"]])
    assert path.read_text() == "-DOCSTART- -X- O O\n\nEU NNP B-ORG B-LOC\nrejects VBZ O O\n\n"
    assert [each.tags for each in read_conll(path)] == [("O",), ("B-LOC", "O")]
    path.unlink()
    bad = [Sentence(words=("New York",), tags=("O",), path="f", line=7)]
    with pytest.raises(DataError, match="f:7: expected words and tags that columns can hold"):
        write_conll(path, bad)
    assert list(tmp_path.iterdir()) == []


def test_to_scheme_mends_only_when_asked() -> None:
    sentences = parse("EU B-ORG\nhas O\n\nPeter B-PER\nsays O\nParis I-LOC\n")
    with pytest.raises(DataError, match=r"f:6: expected IOB2 tags, but I-LOC cannot follow O; data check shows all faults"):
        to_scheme(sentences, "IOBES")
    mended, count = to_scheme(sentences, "IOBES", mend=True)
    assert [each.tags for each in mended] == [("S-ORG", "O"), ("S-PER", "O", "S-LOC")]
    assert count == 1
    assert [each.columns for each in mended] == [each.columns for each in sentences]


def test_to_scheme_takes_the_scheme_of_another_split() -> None:
    outside = parse("a O\nb O\n")
    assert to_scheme(outside, "IOBES", source="IOB1") == (outside, 0)
    with pytest.raises(DataError, match="f:1: expected IOB1 tags, but IOB1 has no prefix S"):
        to_scheme(parse("a S-X\n"), "IOBES", source="IOB1")


def test_harmless_faults_of_published_iob1() -> None:
    sentences = parse("Peter I-PER\nat O\nAtlanta B-MISC\nGames I-MISC\n\nEU I-ORG\n")
    converted, changed = to_scheme(sentences, "IOBES")
    assert converted[0].tags == ("S-PER", "O", "B-MISC", "E-MISC")
    assert changed == 0


def test_all_problems_of_a_file_can_be_noted() -> None:
    text = b"a O\nb\n\nc O\n\nd NN\ne O extra\n\xff O\n\n-DOCSTART-\nf O\n"
    problems: list[str] = []
    assert [each.words for each in parse(text, problems=problems)] == [("c",), ("-DOCSTART-",), ("f",)]
    assert [each.split(": ")[0] for each in problems] == ["f:2", "f:6", "f:7", "f:8"]
