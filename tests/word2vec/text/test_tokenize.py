"""The tokenizer, the sentence splitter and the rule that vectors and tagger share."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from training.errors import DataError
from word2vec.text.tokenize import TextRule, Token, is_separator, pretokenized, sentences, split, tokenize

# Each line is its tokens joined by "|"; the raw text is given before it.
EXAMPLES = [
    ("The U.S. and U.N.-led forces.", "The|U.S.|and|U.N.-led|forces|."),
    ("He lives in the U.S.", "He|lives|in|the|U.S."),
    ("Mr. J. Smith met Dr. K.L. Jones, Ph.D.", "Mr.|J.|Smith|met|Dr.|K.L.|Jones|,|Ph.D."),
    ("Germany's, Reuters' and U.S.'s", "Germany|'s|,|Reuters|'|and|U.S.|'s"),
    ("don't can't won't isn’t DON'T cannot", "do|n't|ca|n't|wo|n't|is|n’t|DO|N'T|cannot"),
    ("they'll we're I've he'd I'm WE'VE it’s", "they|'ll|we|'re|I|'ve|he|'d|I|'m|WE|'VE|it|’s"),
    ("O'Brien d'affaires al-Gama'a o'clock", "O'Brien|d'affaires|al-Gama'a|o'clock"),
    ("1,234.5 0.7 .571 3-2 6-4 1/2 2-1/2 +44", "1,234.5|0.7|.571|3-2|6-4|1/2|2-1/2|+44"),
    ("1996-08-22 8/22/96 10:30 1995/96 '90s 12th 10-year-old", "1996-08-22|8/22/96|10:30|1995/96|'90s|12th|10-year-old"),
    ("$5 US$10.5 C$1,000 £3m 5% €7.", "$|5|US$|10.5|C$|1,000|£|3m|5|%|€|7|."),
    ("S&P, AT&T and Procter & Gamble Co.", "S&P|,|AT&T|and|Procter|&|Gamble|Co|."),
    ("Exxon Corp. said Inc., Ltd. and Ill.-based", "Exxon|Corp.|said|Inc.|,|Ltd.|and|Ill.-based"),
    ("He bought Apple Inc.\nThen", "He|bought|Apple|Inc|.|Then"),
    ("on Sept. 11. No. 5 said no.", "on|Sept.|11|.|No.|5|said|no|."),
    ("vitamin C. ", "vitamin|C|."),
    ('("Yes," he said.) [sic] {x}', '(|"|Yes|,|"|he|said|.|)|[|sic|]|{|x|}'),
    ("‘a’ “b” „c“ «г» ‹", "‘|a|’|“|b|”|„|c|“|«|г|»|‹"),
    ("wait... what?! -- no—yes … end", "wait|...|what|?|!|--|no|—|yes|…|end"),
    ("32- and 35-inch pro-U.S. rebels--poll", "32-|and|35-inch|pro-U.S.|rebels|--|poll"),
    ("and/or km/h", "and|/|or|km|/|h"),
    (
        "mail a.b+c@d-e.co.uk, see http://x.org/a_(b)?c=1. www.y.com!",
        "mail|a.b+c@d-e.co.uk|,|see|http://x.org/a_(b)?c=1|.|www.y.com|!",
    ),
    ("1. Tony Rominger 2. x", "1.|Tony|Rominger|2|.|x"),
    ("said.The NEWSru.com Лента.ру", "said|.|The|NEWSru.com|Лента.ру"),
    ("А. С. Пушкин — поэт; 1,5 млн.", "А.|С.|Пушкин|—|поэт|;|1,5|млн|."),
    ("東京は日本 Café cafe\u0301 हिन्दी می‌خواهم", "東|京|は|日|本|Café|cafe\u0301|हिन्दी|می‌خواهم"),
    ("😀👍🏽👩‍👩‍👧🇷🇺❤️", "😀|👍🏽|👩‍👩‍👧|🇷🇺|❤️"),
    ("a\u00a0b\u200bc\ufeff d\u2009e\x00f", "a|b|c|d|e|f"),
    ("", ""),
    (" \t\n ", ""),
]


@pytest.mark.parametrize(("text", "expected"), EXAMPLES)
def test_examples(text: str, expected: str) -> None:
    assert split(text) == (expected.split("|") if expected else [])


ALPHABET = "aZé́ЖяßİΣς日ん०١5٣²_.,-'’\"“&/:@$+!?…—()[] \t\n\r\u00a0\u200b\u200d\ufe0f\u0301\u00ad👍🏽🇷🇺\ud800\x00\U00010400"
PIECES = ["U.S.", "n't", "'s", "Mr.", "Inc.", "No.", "J.", "http://a.b", "a@b.c", "US$", "1,2", "...", "--", " ", "\n", "1."]
TEXTS = st.one_of(
    st.text(st.characters()),
    st.text(st.sampled_from(ALPHABET), max_size=40),
    st.lists(st.one_of(st.sampled_from(PIECES), st.sampled_from(ALPHABET)), max_size=20).map("".join),
)


@example("↊\u200d\x1b")
@settings(deadline=None, max_examples=500)
@given(TEXTS)
def test_tokens_are_slices_in_order_with_only_separators_between(text: str) -> None:
    end = 0
    for token in tokenize(text):
        assert token.start >= end
        assert token.end > token.start
        assert text[token.start : token.end] == token.text
        assert all(map(is_separator, text[end : token.start]))
        assert not any(map(is_separator, token.text))
        end = token.end
    assert all(map(is_separator, text[end:]))
    assert split(text) == [token.text for token in tokenize(text)]


@settings(deadline=None, max_examples=300)
@given(TEXTS)
def test_sentences_partition_the_tokens(text: str) -> None:
    tokens = tokenize(text)
    found = sentences(tokens)
    assert all(found)
    assert [token for sentence in found for token in sentence] == tokens


def test_white_space_characters_separate() -> None:
    # Python's own notion of space is contained in ours; nothing visible is.
    assert all(is_separator(chr(c)) for c in range(0x10000) if chr(c).isspace())
    assert not any(is_separator(chr(c)) for c in range(0x10000) if unicodedata.category(chr(c))[0] in "LMNPS")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He left. She stayed! Why? Nobody knows.", ["He left .", "She stayed !", "Why ?", "Nobody knows ."]),
        ("Mr. Smith met J. Doe. They spoke.", ["Mr. Smith met J. Doe .", "They spoke ."]),
        ('"I know." He left. (So did she.) "Yes!" I', ['" I know . "', "He left .", "( So did she . )", '" Yes ! "', "I"]),
        ('"Yes!" cried he.', ['" Yes ! " cried he .']),
        ("In the U.S. Congress met. In the U.S. The law", ["In the U.S. Congress met .", "In the U.S.", "The law"]),
        ("Exxon Corp. said so. Exxon Corp. It", ["Exxon Corp. said so .", "Exxon Corp.", "It"]),
        ("well... maybe. Well... Maybe", ["well ... maybe .", "Well ...", "Maybe"]),
        ("It cost 3.5. 12 came. no end. here", ["It cost 3.5 .", "12 came . no end . here"]),
        ("1. Tony Rominger won. He", ["1. Tony Rominger won .", "He"]),
        ("Он ушёл. «Да!» — сказал он. 日本。東京。", ["Он ушёл .", "« Да ! » — сказал он .", "日 本 。", "東 京 。"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    found = [" ".join(t.text for t in sentence) for sentence in sentences(tokenize(text))]
    assert found == expected


def test_a_quote_after_a_space_opens_the_next_sentence() -> None:
    found = sentences(tokenize('He left. "Why?"'))
    assert [sentence[0] for sentence in found] == [Token("He", 0, 2), Token('"', 9, 10)]


def test_pretokenized_splits_at_ascii_white_space_only() -> None:
    assert pretokenized("a\u00a0b  c\td\u3000e\x1cf\r\n") == ["a\u00a0b", "c", "d\u3000e\x1cf"]
    assert TextRule(tokenize=False).split("don't U.S. , ") == ["don't", "U.S.", ","]


def test_the_rule_normalizes() -> None:
    assert TextRule().word("Cafe\u0301’s") == "Café's"
    assert TextRule(lowercase=True, digits="zero").words("In 1996-08-22 ٣ ² İ") == ["in", "0000-00-00", "0", "²", "i̇"]
    assert TextRule().words("") == []
    assert TextRule(tokenize=False).words("  ") == []


RULES = st.builds(TextRule, st.booleans(), st.booleans(), st.sampled_from(["keep", "zero"]))


@settings(deadline=None, max_examples=500)
@given(RULES, TEXTS)
def test_words_is_word_of_each_token_and_stable(rule: TextRule, text: str) -> None:
    words = rule.words(text)
    assert words == [rule.word(token) for token in rule.split(text)]
    assert [rule.word(word) for word in words] == words


@given(RULES)
@settings(deadline=None)
def test_the_rule_goes_through_a_dict(rule: TextRule) -> None:
    assert TextRule.from_dict(rule.to_dict()) == rule


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"tokenize": True, "lowercase": True},
        {"tokenize": 1, "lowercase": True, "digits": "keep"},
        {"tokenize": True, "lowercase": True, "digits": "nine"},
        {"tokenize": True, "lowercase": True, "digits": "keep", "more": 1},
    ],
)
def test_a_damaged_rule_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(DataError, match="rule"):
        TextRule.from_dict(values)
