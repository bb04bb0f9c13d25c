"""The encoding of bytes: UTF-8, UTF-16 and UTF-32, and of those that are none, what they probably are.

``encoding_of(data)``  what can be told for sure
``guess(data)``        which others bytes may be in: one where there is little doubt, several where there is
``advice(names)``      what to do, in words

To guess, each candidate decodes a sample. What comes out is weighed letter by letter, by how often a language has it, and by
what no text has: a symbol or another script's letter within a word, a capital after a small letter. Candidates that give the
same text are one, as Latin-1 and Windows-1252 mostly are.
"""

from __future__ import annotations

import codecs
import itertools
import math
import re
import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import NamedTuple

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
SHIFTED = ("iso-2022-jp", "iso-2022-kr")  # of seven bits, with sequences of ESC between alphabets
_SHIFTS = re.compile(rb"\x1b(?:\$[@B]|\(J|(\$\)C))")
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_EASTERN = re.compile("[ -~\n\r\t\u3000-\u30ff\uff00-\uffef]")  # ASCII, and marks and kana of East Asian text

SAMPLE = 2048  # bytes that a guess looks at
DOUBT = 7.0  # odds of about 1,000, as their logarithm
MOST_NAMES = 3

_WESTERN = "iso-8859-1 cp1252 iso-8859-15 mac-roman cp850 cp437"
_CENTRAL = "iso-8859-2 cp1250 cp852"
_BALTIC = "cp1257 iso-8859-13 iso-8859-4 cp775"
_CYRILLIC = "cp1251 koi8-r iso-8859-5 cp866 mac-cyrillic"
# Encodings in order of how usual they are, and letters in order of how frequent: of a language in Latin letters those that
# ASCII lacks, of others all, of Chinese, Japanese and Korean the most frequent.
_LANGUAGES = (
    (_WESTERN, "üäößéàèç"),  # German
    (_WESTERN, "éèàêçîâôùûëïœüæÿ"),  # French
    (_WESTERN, "óíáéñúüºª"),  # Spanish
    (_WESTERN, "ãçáéíóêõâúôàüºª"),  # Portuguese
    (_WESTERN, "èàòùìéîóº"),  # Italian
    (_WESTERN, "àéèíóòçúïü"),  # Catalan
    (_WESTERN, "äåöé"),  # Swedish, Finnish
    (_WESTERN, "åøæéôò"),  # Danish, Norwegian
    (_WESTERN, "áíðþéöóæúý"),  # Icelandic
    (_WESTERN, "ëéïöüèóêâ"),  # Dutch
    (_WESTERN, "éüöäáèóíñåçøàêæßâôúîûëïãõìòùýðþœÿ"),  # names of many languages
    (_CENTRAL, "łąężóśćńź"),  # Polish
    (_CENTRAL, "íáéěšřčžýůúťóňď"),  # Czech
    (_CENTRAL, "áíčéžšýúľťôóäňďĺŕ"),  # Slovak
    (_CENTRAL, "éáöóőüíúű"),  # Hungarian
    (_CENTRAL, "ăîâşţ"),  # Romanian
    ("iso-8859-16", "ăîâșț"),
    (_CENTRAL, "šžčćđ"),  # Slovene, Croatian
    (_CENTRAL, "éáíóšžčćłöüęąäýśěřőńúňůťôżźďđăîâşţűĺŕľßëç"),  # names of many languages
    ("iso-8859-9 cp1254 cp857", "ıüşöğçİâîû"),  # Turkish
    (_BALTIC, "ėųšįžąūčę"),  # Lithuanian
    (_BALTIC, "āīēšūņļžģķč"),  # Latvian
    (f"{_BALTIC} iso-8859-15", "äõüöšž"),  # Estonian
    (_CYRILLIC, "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё"),  # Russian
    ("cp1251 koi8-u iso-8859-5 cp1125", "оаинвіетрслкудмпязьбгйчхїцжюєшщфґ"),  # Ukrainian
    ("cp1251 iso-8859-5", "аінеоыркстлдяумпцвзўгбьчшжйхюэёф"),  # Belarusian
    ("cp1251 iso-8859-5 mac-cyrillic", "аоиетнрсвлкдпмуъзбягчжщйхцшфюь"),  # Bulgarian
    ("cp1251 iso-8859-5 mac-cyrillic", "аоиенрстјувкдмплзгбчшцжњљћђхџфќѓѕ"),  # Serbian, Macedonian
    ("iso-8859-7 cp1253 cp737", "αοιετσνηυρπκμλςίόάέγδήωύθχφβώξζψϊϋΐ"),  # Greek
    ("iso-8859-8 cp1255 cp862", "יוהלארתבשמםנדעקחפצןטכגזסךףץ"),  # Hebrew
    ("cp1256 iso-8859-6", "اليمنتروبهدعسفكقحةجصشأطىخضئءغذثزظإآؤ"),  # Arabic
    ("cp1256", "ایردنهمتوسبشکخزگفپعقجچلحصطضغظژآثذئءٔأؤ"),  # Persian
    ("tis-620 cp874", "านรอกเงมย่ลว้ดทสตะัีปิบคหแจพช์ขใไุโผู็ณญฟซธถศษภฐื๊ฉำฮฎฝฆฏฬฒฤ"),  # Thai
    ("shift-jis cp932 euc-jp", "のいにるしとはたをてがなでんっかれりらこもすまうさきあよくだせめけそどみつわおえじや"
     "ちべばげずへンースルトイラリシアクドフレタロジマコテバキムサプチカハミニセュナツャパブョッグメビウエオ"
     "日本人大年一国中会行見上学分生東時自事者前社場手間方後気今的同子話家"),  # Japanese
    ("gbk gb18030", "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后"
     "作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日"
     "军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见"
     "新京海市北东西南今家来年月。，、"),  # Chinese, simplified
    ("big5 cp950", "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過發後"
     "作裡用道行所然家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心她本前開但因只從想實日"
     "軍者意無力它與長把機十民第公此已工使情明性知全三又關點正業外將兩高間由問很最重並物手應戰向頭文體政美相見"
     "新京海市北東西南今臺灣月。，、"),  # Chinese, traditional
    ("euc-kr cp949 johab", "이다의는에을가고하지한은를로도사기서리나자대어해시인아정수일그스라만과부전으구들제상주보여있"
     "장원동성조게연우유국경공비신무면치계화오안개관것선간세물방생양발모문용요내중소년까지위했습니였되던터"),  # Korean
)  # fmt: skip
_RARE = (  # what is to be added to the cost of a system's or a standard's encoding that few texts have
    (re.compile("mac-roman|mac-cyrillic|cp437|cp850|cp866"), 4.0),
    (re.compile("mac-|cp(7|85|86|1125)|iso-8859-(16|4|13)|johab"), 7.0),
)
_WITHIN = "'’‘`´·-–—…/\u00ad\u200c\u200d"  # what may stand within a word
_MARKS = "“”„‘’«»–—…·\u00a0。、，．：「」『』（）？！；《》ー"
_SIGNS = "¿¡§°€£©®№½"
_DENSE = {  # scripts whose words stand without a blank, and the scripts that are written among them
    "CJK": ("CJK",),
    "HIRAGANA": ("HIRAGANA", "KATAKANA", "CJK"),
    "KATAKANA": (),
    "HANGUL": ("HANGUL", "CJK"),
    "THAI": ("THAI",),
}
_ODD = 10.0  # the cost of what hardly stands in a text of any language


class _Language(NamedTuple):
    costs: Mapping[str, float]
    script: str
    rare: float  # the cost of a letter of the script that is not listed
    most: float  # what a letter may cost on an average


def encoding_of(data: bytes) -> str:
    """The encoding of bytes without a mark: "ascii", "utf-8", one of WIDE or SHIFTED.

    "binary" for what is no text, "" for text in another encoding.
    """
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
        unicode = True
    except UnicodeDecodeError:
        unicode = False
    if data.isascii() and (shift := _SHIFTS.search(data)):
        return SHIFTED[shift[1] is not None]
    printable = len(re.findall(rb"[\t\n\r -~]", data))
    odd = (b"\0" in data or not unicode) and (printable < 0.6 * len(data) or data.count(0) > 0.05 * len(data))
    controls = len(_CONTROLS.findall(data)) > max(4, 0.03 * len(data))
    if (odd or controls) and (wide := _wide(data)) and (unicode or controls or not guess(data)):
        return wide
    return "binary" if controls else "ascii" if data.isascii() else "utf-8" if unicode else ""


def _wide(data: bytes) -> str:
    """UTF-16 or UTF-32 of either order, the one with the most ASCII, if all of its characters are such; else ""."""
    best, most = "", 0
    for name in WIDE:
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            try:
                text = data[:-2].decode(name)  # half of a surrogate pair at the end
            except UnicodeDecodeError:
                continue
        known = len(_EASTERN.findall(text))
        if known > most and all(unicodedata.category(c) not in ("Cn", "Co", "Cc") or c in "\t\n\r\f\v" for c in set(text)):
            best, most = name, known
    return best


def guess(data: bytes) -> tuple[str, ...]:
    """The encodings, by the names that iconv has for them, that bytes which are not UTF-8 may be in, the likeliest first.

    One where there is little doubt, several where there is, none where no candidate gives words; UTF-8 alone where most of
    what is beyond ASCII is UTF-8.
    """
    text = data.decode(errors="surrogateescape")
    bad = sum("\udc80" <= c <= "\udcff" for c in text)
    if sum(c > "\x7f" for c in text) - bad >= bad:
        return ("UTF-8",)
    sample = _sample(data)
    texts: dict[str, tuple[float, str]] = {}
    for name, languages in _candidates().items():
        try:
            text = codecs.getincrementaldecoder(name)().decode(sample)
        except UnicodeDecodeError:
            continue
        cost, (least, first) = _cost(text, languages), texts.get(text, (math.inf, name))
        if cost < math.inf:
            texts[text] = min(cost, least), first
    ranked = sorted(texts.values(), key=lambda found: found[0])
    return tuple(_iconv_name(name) for cost, name in ranked[:MOST_NAMES] if cost < ranked[0][0] + DOUBT)


def advice(names: tuple[str, ...]) -> str:
    """What to do with a file that is not UTF-8, in words; ``names`` are ``guess``'s."""
    if not names:
        return "find out its encoding (file -i FILE), and convert it (iconv -f ENCODING -t UTF-8 FILE > NEW)"
    if names == ("UTF-8",):
        return "the file is UTF-8 elsewhere: mend the line, or drop such bytes (iconv -c -f UTF-8 -t UTF-8 FILE > NEW)"
    how = f"convert the file to UTF-8 (iconv -f {names[0]} -t UTF-8 FILE > NEW)"
    if len(names) == 1:
        return f"it seems to be {named(names)}: {how}"
    return f"it may be {named(names)}: {how} from the one that gives the right words"


def named(names: tuple[str, ...]) -> str:
    """Encodings for a message, by the names that people have for them."""
    shown = [{"LATIN1": "ISO-8859-1", "MACINTOSH": "Mac Roman"}.get(name, name) for name in names]
    return " or ".join([*([", ".join(shown[:-1])] if len(shown) > 1 else []), shown[-1]])


def _iconv_name(name: str) -> str:
    """An encoding's name that GNU's iconv and Python both know."""
    known = {"iso-8859-1": "latin1", "mac-roman": "macintosh", "shift-jis": "shift_jis"}
    return known.get(name, name).upper()


# --- guessing


@lru_cache(maxsize=1)
def _candidates() -> dict[str, list[tuple[_Language, float]]]:
    """Encoding → the languages that are written so, and what is to be added to their cost."""
    found: dict[str, list[tuple[_Language, float]]] = {}
    for names, letters in _LANGUAGES:
        weights = {letter: 1 / (i + 3) for i, letter in reversed(list(enumerate(letters)))}
        ideographs = len(weights) > 80  # of thousands; the listed ones make about half of a text
        total = sum(weights.values()) * (2 if ideographs else 1)
        costs = {letter: math.log(total / weight) for letter, weight in weights.items()}
        rare, most = (math.log(2 * 3000), 8.0) if ideographs else (_ODD, 5.0)
        language = _Language(costs, _script(letters[0]), rare, most)
        for name in names.split():
            more = next((cost for pattern, cost in _RARE if pattern.match(name)), 0.0)
            found.setdefault(name, []).append((language, more))
    return found


def _sample(data: bytes) -> bytes:
    """The lines that are not ASCII, of long ones a part that begins and ends at a blank: about SAMPLE bytes."""
    found, size = [], 0
    for line in data.splitlines():
        high = re.search(rb"[\x80-\xff]", line)
        if high is None:
            continue
        begin = line.rfind(b" ", 0, high.start()) + 1 if len(line) > SAMPLE else 0
        end = line.rfind(b" ", begin, begin + SAMPLE) if len(line) - begin > SAMPLE else len(line)
        found.append(line[begin : end if end > begin else begin + SAMPLE])
        size += len(found[-1])
        if size >= SAMPLE:
            break
    return b"\n".join(found)


def _cost(text: str, languages: list[tuple[_Language, float]]) -> float:
    """The least cost of a text in one of the languages; infinite where it is no text of any."""
    beyond = [c for c in text if c > "\x7f"]
    if not beyond or any(unicodedata.category(c) in ("Cc", "Cn", "Co", "Cs") for c in beyond):
        return math.inf
    pairs = [_pair_cost(*pair) for pair in itertools.pairwise(text) if max(pair) > "\x7f"]
    accents = 2 * sum(c.isalpha() for c in beyond) <= sum(map(str.isalpha, text))
    least = math.inf
    for language, more in languages:
        costs = [*pairs, *(_letter_cost(c, language) for c in beyond)]
        if sum(costs) <= _ODD + language.most * len(beyond) and (accents or language.script != "LATIN"):
            least = min(least, more + sum(costs))
    return least


def _letter_cost(character: str, language: _Language) -> float:
    small = character.lower()
    cost = language.costs.get(character, language.costs.get(small))
    if cost is not None:
        return cost + 1.5 * (small != character)
    if unicodedata.category(character)[0] in "LM":
        script = _script(character)
        return language.rare if script in _DENSE.get(language.script, (language.script,)) else _ODD + 2
    return 2.5 if character in _MARKS else 6.0 if character in _SIGNS else _ODD - 1


def _pair_cost(before: str, here: str) -> float:
    """What it costs that two characters, not both ASCII, stand side by side: 0 where that is usual."""
    scripts = _script(before), _script(here)
    kinds = unicodedata.category(before)[0], unicodedata.category(here)[0]
    dense = not set(scripts).isdisjoint(_DENSE)
    if unicodedata.category(here) == "Mn":
        return 0.0 if scripts[1] in (scripts[0], "COMBINING") else _ODD
    if kinds == ("L", "L"):
        if before.islower() and here.isupper():
            return _ODD
        if scripts[0] == scripts[1] or (dense and min(before, here) > "\x7f"):
            return 0.0
        return 5.0 if dense else _ODD  # among ideographs there may be a name in Latin letters
    if "L" not in kinds or before in _WITHIN or here in _WITHIN:
        return 0.0
    other = kinds[kinds[0] == "L"]
    if dense:  # a digit of Thai beside an ASCII letter
        return 5.0 if other == "N" and min(before, here).isascii() and min(before, here).isalpha() else 0.0
    return 5.0 if other == "N" or (other == "S" and max(before, here) > "\x7f") else 0.0


@cache
def _script(letter: str) -> str:
    """LATIN, CYRILLIC, CJK, …: the first word of the letter's name."""
    return unicodedata.name(letter, "").split(" ")[0].partition("-")[0]
