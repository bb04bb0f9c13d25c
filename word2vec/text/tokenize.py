r"""One way from text to words, shared by the vectors and the tagger.

``tokenize(text) -> list[Token]``    tokens with offsets: ``text[t.start:t.end] == t.text``
``split(text) -> list[str]``         the same tokens as plain strings, faster
``pretokenized(line) -> list[str]``  only split at ASCII white space
``sentences(tokens) -> list[list[Token]]``
``TextRule(tokenize, lowercase, digits)``  the rule that is recorded beside vectors: ``.split(text)`` gives raw words,
``.word(raw)`` the form that is looked up, ``.words(text)`` both at once.

The tokens follow CoNLL-2003 (which follows the Penn Treebank, without its bracket names and directed quotes):
``U.S.`` ``J.`` ``Mr.`` ``1,234.5`` ``3-2`` ``1996-08-22`` ``10:30`` ``S&P`` ``O'Brien`` ``U.N.-led`` stay whole,
``Germany|'s`` ``do|n't`` ``they|'ll`` ``C$|5`` ``5|%`` are split, a full stop at the end of a sentence is a token. Runs
of dots, dashes and marks (``...`` ``--`` ``!!!``) are one token, as are addresses (http, www, e-mail). Han and kana
characters are one token each, as they are written without spaces; other scripts are words of letters and marks.

Between tokens there is nothing but what ``is_separator`` says: white space, control characters and the invisible marks
U+200B, U+200E, U+200F, U+202A–202E, U+2066–2069 and U+FEFF. All else is in exactly one token.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from training.errors import DataError


class Token(NamedTuple):
    """A token and where it stands: ``[start, end)`` in characters of the text."""

    text: str
    start: int
    end: int


# Abbreviations that keep their full stop unless the line ends there; hardly any is common as a sentence's last word.
_TITLES = (
    "Adm Atty Brig Capt Cmdr Col Cpl Dr Fr Gen Gov Hon Lt Maj Messrs Mme Mr Mrs Ms Mt Prof Rep Reps Rev Sen Sens Sgt "
    "Sr St Ste Supt"
).split()
_ABBREVIATIONS = (
    *_TITLES,
    *"Bros Co Corp Cos Dept Est Inc Jr Ltd Univ Assn Mfg Intl al approx cf dept est etc vs viz".split(),
    *"Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec".split(),
    *"Ala Ariz Ark Calif Colo Conn Del Fla Ga Ill Ind Kan Ky La Md Mich Minn Miss Mo Mont Neb Nev Okla Ore Pa Penn Tenn "
    "Tex Va Vt Wash Wis Wyo".split(),
)
_BEFORE_NUMBERS = "No Nos no nos Nr p pp Vol vol Art Sec Fig fig Ch Bd".split()


_CJK = "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_SEPARATORS = r"\s\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"
_is_separator = re.compile(f"[{_SEPARATORS}]").match


def _word_characters() -> str:
    r"""What words are made of, as the inside of a regular expression's [...]: all but Han and kana.

    Letters, numbers, "_", combining marks (which ``\w`` lacks), soft hyphen, the joiners of Persian and Indic scripts.
    Beyond U+FFFF whole blocks of scripts, so that the class stays small.
    """
    plane = "".join(map(chr, range(0x10000)))
    others = re.sub(r"\w", "", plane)
    extra = {c for c in others if unicodedata.category(c)[0] == "M"} | set("\u00ad\u200c\u200d\u2060")
    cjk = re.compile(f"[{_CJK}]")
    marked = "".join("1" if c.isalnum() or c == "_" or c in extra else "0" for c in cjk.sub("\0", plane))
    spans = [run.span() for run in re.finditer("1+", marked)]
    basic = "".join(f"\\u{first:04x}-\\u{last - 1:04x}" for first, last in spans)
    return basic + "\U00010000-\U0001cfff\U0001d400-\U0001d7ff\U0001e000-\U0001efff\U000e0100-\U000e01ef"


def _by_first_letter(words: Iterable[str]) -> str:
    """An alternation that decides on the first letter: A(?:la|ug)|B(?:ros)|…"""
    groups: dict[str, list[str]] = {}
    for word in sorted(set(words), key=lambda w: (-len(w), w)):
        groups.setdefault(word[0], []).append(word[1:])
    return "|".join(f"{first}(?:{'|'.join(rests)})" for first, rests in groups.items())


_W = f"[{_word_characters()}]"
_LOW = "a-zß-öø-ÿα-ωа-яё"
_BETWEEN_SENTENCES = rf"(?<=[{_LOW}][{_LOW}]\.)[A-ZА-ЯЁ][{_LOW}]"  # "said.The"
_CONTRACTION = r"(?i:s|m|d|re|ve|ll)(?!\w)"
_CORE = rf"""{_W}+(?:(?:[-‐‑&] | \.(?!{_BETWEEN_SENTENCES}) | ['’](?!{_CONTRACTION}) | (?<=\d)[,:/](?=\d)){_W}+)*"""
_LINE_ENDS = r"""[\s"'”’)\]»]*$"""

_TOKEN = re.compile(
    rf"""
    (?!\ )(?:                                                       # found at once where nothing can match
      [A-Za-z0-9]+(?:-[A-Za-z0-9]+)*(?=[ ;)"?!]|,\ |'s\ |\.?$)      # most tokens; no rule below makes them other
    | [,;()"\[\]{{}}<>“”„«»]
    | (?i:https?://|ftp://|www\.)[^{_SEPARATORS}<>"“”«»]*[^{_SEPARATORS}<>"“”«»)\]}}'’.,;:!?…]
    | [\w.+-]{{1,64}}@[\w-]{{1,63}}(?:\.[\w-]{{1,63}})+
    | (?:{_by_first_letter(_ABBREVIATIONS)})\.(?!\w|{_LINE_ENDS})(?:-{_W}+)*
    | (?:{_by_first_letter(_BEFORE_NUMBERS)})\.(?=[ \t]*\d)
    | [^\W\d_{_LOW}]\.(?=[ \t]+[^\W\d_])                            # an initial
    | ^\d{{1,3}}\.(?=[ \t]+[^\W\d_])                                # a place in a list: "1. Tony Rominger"
    | ['’](?:{_CONTRACTION}|\d\ds?(?!\w))                           # 's, 'll; '90s
    | (?i:n['’]t)(?!\w)
    | {_W}+(?:-{_W}+)*(?=(?i:n['’]t)(?!\w))                         # do|n't
    | [A-Z]{{1,3}}\$                                                # US$
    | (?:\+?\.?(?=\d))?{_CORE}                                      # words and numbers, +44, .571
      (?:(?<=\.[^\W\d_])\.(?:-{_W}+)*|\.(?=[,;:])|-(?=[\s)]))?      # U.S., U.N.-led; "etc.,"; "32- and 35-inch"
    | \.+ | …+ | -+ | [–—―]+ | !+ | \?+ | \*+ | =+ | ~+ | \#+
    | [\U0001f1e6-\U0001f1ff]{{2}}                                  # flags
    | [^{_SEPARATORS}](?:(?!\w)(?:{_W}|[\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f])|(?<=\u200d)[^\w{_SEPARATORS}])*  # emoji
    )""",
    re.VERBOSE | re.MULTILINE,
)
_PRETOKENIZED = re.compile(r"[^ \t\n\r\v\f]+")
_DIGIT = re.compile(r"\d")
_STRAIGHT = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"'})


def is_separator(character: str) -> bool:
    """Whether the character only stands between tokens: white space, controls, invisible marks."""
    return _is_separator(character) is not None


def tokenize(text: str) -> list[Token]:
    """The tokens of raw text, with offsets into it; see the module's text for the rules.

    Args:
        text: a paragraph, or more of them.

    Returns:
        The tokens in order, ``text[token.start : token.end] == token.text``; only separators stand between them.

    Source: the tokens of CoNLL-2003, and so of the Penn Treebank.

    Example:
        >>> from word2vec import tokenize
        >>> [token.text for token in tokenize("Mr. Vinken doesn't pay C$5.")]
        ['Mr.', 'Vinken', 'does', "n't", 'pay', 'C$', '5', '.']
        >>> tokenize("  So?")[0]
        Token(text='So', start=2, end=4)
    """
    tokens: list[Token] = []
    end = 0
    for word in _TOKEN.findall(text):
        start = text.index(word, end)  # the first place it can be: only separators stand before it
        end = start + len(word)
        tokens.append(Token(word, start, end))
    return tokens


def split(text: str) -> list[str]:
    """The tokens of raw text as strings: ``[t.text for t in tokenize(text)]``, faster."""
    return _TOKEN.findall(text)


def pretokenized(line: str) -> list[str]:
    """Words of text that is tokenized already: split at ASCII white space (space, \\t, \\n, \\r, \\v, \\f) and nowhere else.

    U+00A0 and other spaces of Unicode are part of a word, as they are in CoNLL files.
    """
    return _PRETOKENIZED.findall(line)


_ENDS = frozenset(". ! ? … 。 ！ ？ । ۔ ؟".split())
_CLOSERS = frozenset("\" ' ” ’ ) ] » 」 』".split())
_OPENERS = frozenset("\" ' “ ‘ „ ( [ « 「 『 - -- – —".split())
_TITLE_TOKENS = frozenset(f"{title}." for title in _TITLES)
_STARTERS = frozenset(
    "A After An And As At But For He His However If In It Its On She That The There They This We When".split()
)


def sentences(tokens: Sequence[Token]) -> list[list[Token]]:
    """Split a paragraph's tokens into sentences.

    A sentence ends at . ! ? or an ellipsis, with the closing quotes and brackets that touch it, where no lower-case letter
    follows. An abbreviation (U.S., Inc.) ends one only before a word that mostly begins sentences (The, He, …); titles and
    initials never do.

    Args:
        tokens: what ``tokenize`` makes of the paragraph.

    Returns:
        The sentences: none is empty, and together they are ``tokens``.

    Example:
        >>> from word2vec import sentences, tokenize
        >>> found = sentences(tokenize("Mr. J. Doe left the U.S. in May. He came back."))
        >>> [len(sentence) for sentence in found]
        [9, 4]
    """
    found: list[list[Token]] = []
    begin = i = 0
    while i < len(tokens):
        end = i + 1
        if _may_end(tokens[i].text):
            while end < len(tokens) and tokens[end].text in _CLOSERS and tokens[end].start == tokens[end - 1].end:
                end += 1
            if end == len(tokens) or _may_begin(tokens, end, tokens[i].text):
                found.append(list(tokens[begin:end]))
                begin = end
        i = end
    if begin < len(tokens):
        found.append(list(tokens[begin:]))
    return found


def _may_end(word: str) -> bool:
    if word in _ENDS or word[0] in "!?…":
        return True
    initial_or_place = len(word) == 2 or word[:-1].isdecimal()
    return word[-1] == "." and (word[0] == "." or not (initial_or_place or word in _TITLE_TOKENS))


def _may_begin(tokens: Sequence[Token], at: int, last: str) -> bool:
    """Whether a sentence can begin at token ``at`` after one that ended with the token ``last``."""
    places = range(at, len(tokens))  # not tokens[at:], a copy of all that follows
    first = next((tokens[i].text for i in places if tokens[i].text not in _OPENERS), "")
    if last[-1] == "." and last[0] != ".":  # an abbreviation
        return first in _STARTERS
    return not first[:1].islower()


@dataclass(frozen=True)
class TextRule:
    """How text becomes words. It is saved beside vectors, and the tagger looks its words up in the same form.

    Whatever else it says, words are in Unicode's NFC, and curly quotes are straight.

    Args:
        tokenize: take raw prose through ``tokenize``, else words as white space separates them.
        lowercase: write words in Unicode's lower case.
        digits: "keep", or "zero" to write every decimal digit as 0.

    Raises:
        DataError: ``digits`` is something else.

    Example:
        >>> from word2vec import TextRule
        >>> rule = TextRule(lowercase=True, digits="zero")
        >>> rule.words("In 1996 it wasn’t so.")
        ['in', '0000', 'it', 'was', "n't", 'so', '.']
        >>> rule.word("Oslo"), TextRule.from_dict(rule.to_dict()) == rule
        ('oslo', True)
    """

    tokenize: bool = True
    lowercase: bool = False
    digits: str = "keep"

    def __post_init__(self) -> None:
        if self.digits not in ("keep", "zero"):
            raise DataError(f"text rule: expected digits keep or zero, got {self.digits!r}")

    def word(self, token: str) -> str:
        """The form of a token that is counted and looked up. Applying it twice changes nothing more."""
        if not token.isascii():
            token = unicodedata.normalize("NFC", token).translate(_STRAIGHT)
        if self.lowercase:
            token = token.lower()
            if not token.isascii():
                token = unicodedata.normalize("NFC", token)
        return _DIGIT.sub("0", token) if self.digits == "zero" else token

    def split(self, text: str) -> list[str]:
        """The raw tokens of a line, by ``tokenize`` or at white space."""
        return _TOKEN.findall(text) if self.tokenize else _PRETOKENIZED.findall(text)

    def words(self, text: str) -> list[str]:
        """``[self.word(t) for t in self.split(text)]``, with one pass over the whole line."""
        joined = self.word(" ".join(self.split(text)))
        return joined.split(" ") if joined else []

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "text rule") -> TextRule:
        """Rebuild from ``to_dict``; DataError (beginning with ``where``) for a missing or unknown entry or a wrong type."""
        expected = {"tokenize": bool, "lowercase": bool, "digits": str}
        if set(values) != set(expected) or any(type(values[name]) is not kind for name, kind in expected.items()):
            wanted = "tokenize, lowercase (true or false) and digits (keep or zero)"
            raise DataError(f"{where}: expected {wanted}, got {dict(values)!r}")
        return cls(**values)
