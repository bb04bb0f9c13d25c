"""Makes the sample: train.conll, valid.conll, test.conll and text.txt from patterns.txt and names.txt.

    python data/sample/generate.py [FOLDER]

Only the standard library is used, and every choice is a SHA-256 of (seed, purpose, counter), so the same bytes come out
everywhere. The .conll files have two columns, word and tag (IOB2), an empty line after each sentence and a -DOCSTART- line
before each article. text.txt is raw prose, a paragraph a line.

About half of all names are kept out of train.conll; valid.conll and test.conll mostly use these. text.txt uses all.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEED = "samebits-sample-1"
SENTENCES = {"train": 2000, "valid": 500, "test": 500}
TEXT_WORDS = 300_000
COMMON_PERCENT, RARE_PERCENT = 25, 35  # of the names; the others are unseen: train.conll has none of them
RARE_SLOTS = 9  # percent of the slots take a rare name, so that most of these come up once or twice in train.conll
UNSEEN_PERCENT = 60  # of the slots of valid and test take a name that train never has
TAIL_PERCENT = 45  # of the sentences that end with a period get a tail ", said ..."
ANY_PERCENT = 15  # of the sentences of a labelled article are those of "any", which seldom tell a name's type
ENTITY_TYPES = ("PER", "LOC", "ORG", "MISC")
NO_TAIL = re.compile(r"said|told|wrote|reported|remarked|say\b|:|;|\. ")  # sentences that bear no more


class Dice:
    """Random numbers that depend on nothing but SEED, the purpose and how many were drawn for it."""

    def __init__(self, purpose: str) -> None:
        self.purpose = purpose
        self.count = 0

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1."""
        digest = hashlib.sha256(f"{SEED}/{self.purpose}/{self.count}".encode()).digest()
        self.count += 1
        return int.from_bytes(digest[:8], "big") % n

    def percent(self, p: int) -> bool:
        return self.below(100) < p


class Deck:
    """Deals items in a shuffled order and shuffles anew when all were dealt, so that all come up equally often."""

    def __init__(self, items: list[str], purpose: str) -> None:
        if not items:
            raise ValueError(f"nothing to draw from for {purpose}")
        self.items, self.dice = items, Dice(purpose)
        self.order: list[int] = []

    def draw(self) -> str:
        if not self.order:
            keys = [(self.dice.below(1 << 60), i) for i in range(len(self.items))]
            self.order = [i for _, i in sorted(keys)]
        return self.items[self.order.pop()]


@dataclass
class Sentence:
    """Raw text and its entities as (start, end, type), in characters."""

    text: str = ""
    entities: list[tuple[int, int, str]] = field(default_factory=list)

    def tagged(self) -> Iterator[tuple[str, str]]:
        """Tokens with IOB2 tags."""
        for start, end in tokenize(self.text):
            inside = [e for e in self.entities if e[0] <= start and end <= e[1]]
            tag = ("B-" if start == inside[0][0] else "I-") + inside[0][2] if inside else "O"
            yield self.text[start:end], tag


TOKEN = re.compile(
    r"(?:[A-Z]\.){2,}"  # U.S.
    r"|^\d\.(?= )|[A-Z]\.(?= [A-Z])"  # 1. Anna Keller; A. Keller
    r"|\d+(?:[.,:-]\d+)+(?!\w)"  # 1,234.5  2-1  2:03.45  1996-08-22
    r"|'s\b|'S\b|n't\b|[A-Za-z]+?(?=n't\b)"
    r"|\w+(?:-\w+)*"
    r"|\S"
)


def tokenize(text: str) -> list[tuple[int, int]]:
    """Offsets of the tokens; on this text the same as word2vec/text/tokenize.py gives (a test compares them)."""
    return [m.span() for m in TOKEN.finditer(text)]


def read_names(path: Path = HERE / "names.txt") -> dict[str, list[str]]:
    """All lists; an entry with a number in front comes that many times."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    blocks = re.split(r"^\[([\w.]+)\]\n", "\n".join(lines) + "\n", flags=re.M)
    lists: dict[str, list[str]] = {}
    for name, body in zip(blocks[1::2], blocks[2::2], strict=True):
        found = re.findall(r"(?:(\d+) )?([^;\n]+)", re.sub(r" *[;\n] *", "\n", body))
        lists[name] = [entry for times, entry in found for _ in range(int(times or 1))]
    return lists


def fate(entry: str) -> str:
    """Common or rare in train.conll, or unseen there. The same word in two lists (a town, its club) has one fate."""
    percent = hashlib.sha256(f"{SEED}/fate/{entry}".encode()).digest()[0] * 100 // 256
    return "common" if percent < COMMON_PERCENT else "rare" if percent < COMMON_PERCENT + RARE_PERCENT else "unseen"


def read_patterns(path: Path = HERE / "patterns.txt") -> dict[str, dict[str, list[str]]]:
    """kind → use → patterns."""
    kinds: dict[str, dict[str, list[str]]] = {}
    kind = use = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            kind = line[3:]
        elif line.startswith("-- "):
            use = line[3:]
        elif line and not line.startswith("#"):
            kinds.setdefault(kind, {}).setdefault(use, []).append(line)
    return kinds


class Writer:
    """Writes the sentences of one file.

    unseen_percent: how many of the slots take a name that train never has; None takes all names alike.
    """

    def __init__(self, purpose: str, unseen_percent: int | None) -> None:
        self.names, self.kinds = read_names(), read_patterns()
        self.purpose, self.unseen_percent = purpose, unseen_percent
        self.dice = Dice(purpose)
        self.decks: dict[str, Deck] = {}
        self.recent: dict[str, list[str]] = {}  # the names of this article, so that it comes back to them

    def deal(self, key: str, items: Callable[[], list[str]]) -> str:
        if key not in self.decks:
            self.decks[key] = Deck(items(), f"{self.purpose}/{key}")
        return self.decks[key].draw()

    def pattern(self, kind: str, use: str) -> str:
        return self.deal(f"{kind}/{use}", lambda: self.kinds[kind][use])

    def from_list(self, listed: str, pool: str) -> str:
        """An entry of a list, its {slot} filled from that list, and so on; of common, rare, unseen or all names."""

        def entries() -> list[str]:
            return [e for e in self.names[listed] if pool == "all" or "{" in e or fate(e) == pool]

        entry = self.deal(f"{listed}/{pool}", entries)
        return re.sub(r"\{([\w.]+)\}", lambda slot: self.from_list(slot[1], pool), entry)

    def name(self, listed: str, used: set[str]) -> str:
        """A name of a list that this sentence has not used yet; one time in three one that the article already has."""
        pool = "all"
        if self.unseen_percent is not None and listed.startswith((*ENTITY_TYPES, "first")) and listed != "LOC.us":
            pool = "rare" if self.dice.percent(RARE_SLOTS) else "common"
            pool = "unseen" if self.dice.percent(self.unseen_percent) else pool
        recent = [n for n in self.recent.get(listed, []) if n not in used]
        if recent and self.dice.percent(33):
            return recent[self.dice.below(len(recent))]
        name = self.from_list(listed, pool)
        while name in used and len(self.names[listed]) > 2:
            name = self.from_list(listed, pool)
        if pool != "rare":
            self.recent.setdefault(listed, []).append(name)
        return name

    def sentence(self, pattern: str) -> Sentence:
        capitals = pattern.startswith("^")
        rest = pattern.lstrip("^")
        while choice := re.search(r"\[([^\[\]]*)\]", rest):
            options = re.split(r"\|(?![^{}]*\})", choice.group(1))
            rest = rest[: choice.start()] + options[self.dice.below(len(options))] + rest[choice.end() :]
        rest = re.sub(r" +(?=[ .,]|$)", "", rest)
        out, used = Sentence(), set[str]()
        for literal, slot in re.findall(r"([^{]*)(?:\{([^}]*)\}|$)", rest):
            self.append(out, literal, "", capitals)
            if slot:
                options = slot.split("|")
                self.fill(out, options[self.dice.below(len(options))], used, capitals)
        if not capitals and out.text[0].islower() and (not out.entities or out.entities[0][0] > 0):
            out.text = out.text[0].upper() + out.text[1:]
        return out

    def fill(self, out: Sentence, slot: str, used: set[str], capitals: bool) -> None:
        kind = slot.split(".")[0]
        if slot == "year":
            text, kind = str(1950 + self.dice.below(48)), ""
        elif numbers := re.fullmatch(r"(\d+)-(\d+)", slot):
            low, high = int(numbers[1]), int(numbers[2])
            text, kind = str(low + self.dice.below(high - low + 1)), ""
        elif decimals := re.fullmatch(r"(\d+)\.(\d)-(\d+)\.(\d)", slot):
            low, high = int(decimals[1] + decimals[2]), int(decimals[3] + decimals[4])
            tenths = low + self.dice.below(high - low + 1)
            text, kind = f"{tenths // 10}.{tenths % 10}", ""
        else:
            name = self.name("PER.last" if kind == "PER" else slot, used)
            used.add(name)
            text = name
            if slot in ("PER", "PER.short"):
                first = self.name("first", used)
                text = f"{first if slot == 'PER' else first[0] + '.'} {text}"
        if re.search(r"\b[Aa]n? $", out.text) and kind:
            out.text = re.sub(r"n? $", "n " if text[0] in "AEIOaeio" else " ", out.text)
        if text.startswith("the ") and kind in ENTITY_TYPES:
            self.append(out, "" if out.text.endswith("the ") else "the ", "", capitals)
            text = text[4:]
        self.append(out, text, kind if kind in ENTITY_TYPES else "", capitals)

    @staticmethod
    def append(out: Sentence, text: str, kind: str, capitals: bool) -> None:
        start = len(out.text)
        out.text += text.upper() if capitals else text
        if kind:
            out.entities.append((start, len(out.text), kind))

    def article(self, kind: str, uses: tuple[str, ...], any_percent: int) -> list[Sentence]:
        """Often a heading and a dateline, then 4 to 9 sentences. A use that is listed more often is drawn more often."""
        self.recent = {}
        result = [self.sentence(self.pattern(kind, "heading"))] if self.dice.percent(50) else []
        if self.dice.percent(60):
            result.append(self.sentence(self.pattern("any", "dateline")))
        for _ in range(4 + self.dice.below(6)):
            chosen = "any" if self.dice.percent(any_percent) else kind
            pattern = self.pattern(chosen, uses[self.dice.below(len(uses))])
            if pattern.endswith(".") and not NO_TAIL.search(pattern) and self.dice.percent(TAIL_PERCENT):
                new = "heldout" in uses and self.dice.percent(25)
                pattern = pattern[:-1] + self.pattern("any", "new tail" if new else "tail")
            result.append(self.sentence(pattern))
        return result

    def articles(self, uses: tuple[str, ...], any_percent: int) -> Iterator[list[Sentence]]:
        kinds = [k for k in self.kinds if k != "any"]
        while True:
            yield self.article(self.deal("kinds", lambda: kinds), uses, any_percent)


def labelled(split: str) -> list[list[Sentence]]:
    """The articles of train, valid or test; the last is cut where the number of sentences is reached."""
    left, result = SENTENCES[split], []
    uses = ("labelled",) if split == "train" else ("labelled", "labelled", "heldout")
    for article in Writer(split, 0 if split == "train" else UNSEEN_PERCENT).articles(uses, ANY_PERCENT):
        result.append(article[:left])
        left -= len(result[-1])
        if not left:
            return result
    raise AssertionError("articles never end")


def conll(articles: list[list[Sentence]]) -> str:
    lines: list[str] = []
    for article in articles:
        lines += ["-DOCSTART- O", ""]
        for sentence in article:
            lines += [f"{word} {tag}" for word, tag in sentence.tagged()] + [""]
    return "\n".join(lines) + "\n"


def prose() -> str:
    """Paragraphs of running sentences; headings and table lines stand alone."""
    paragraphs: list[str] = []
    words = 0
    for article in Writer("text", None).articles(("raw",) * 7 + ("labelled",) * 2 + ("heldout",), 25):
        running: list[str] = []
        for text in (s.text for s in article):
            words += len(text.split())
            if text.endswith((".", '."')):
                running.append(text)
            else:
                paragraphs.append(text)
        if running:
            paragraphs.append(" ".join(running))
        if words >= TEXT_WORDS:
            return "\n".join(paragraphs) + "\n"
    raise AssertionError("articles never end")


def make(folder: Path) -> None:
    """Writes the four outputs and SHA256SUMS, which covers the inputs too."""
    folder.mkdir(parents=True, exist_ok=True)
    outputs = {f"{split}.conll": conll(labelled(split)) for split in SENTENCES} | {"text.txt": prose()}
    sums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in outputs.items()}
    for name in ("names.txt", "patterns.txt"):
        sums[name] = hashlib.sha256((HERE / name).read_bytes()).hexdigest()
    outputs["SHA256SUMS"] = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))
    for name, text in outputs.items():
        part = folder / f"{name}.part"
        part.write_bytes(text.encode())
        part.replace(folder / name)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
