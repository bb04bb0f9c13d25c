"""What is odd about a word's characters: what one cannot see, and what a wrong conversion left behind."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_PATTERNS = {
    "no-break or other odd white space": re.compile(r"[^\S \t\n\r]"),
    "a zero-width or direction mark": re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"),
    "a control character": re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]"),
    "a replacement character (lost in an earlier conversion)": re.compile("\ufffd"),
    "UTF-8 that was read as Latin-1 or Windows-1252": re.compile("[ÂÃÐÑ][\x80-¿]|â€"),
    "a space (the columns are separated by tabs)": re.compile(" "),
}
_ALIKE = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN")  # alphabets with letters that look the same


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    name = unicodedata.name(letter, "").split(" ")[0] if letter.isalpha() else ""
    return name if name in _ALIKE else ""


def _mixed(word: str) -> str:
    """The letters of the rarer alphabet ("Latin a") in a part of the word that mixes two; "" if none does."""
    for part in re.split(r"[\W\d_]+", word):
        by_script: dict[str, str] = {}
        for letter in part:
            if script := _script(letter):
                by_script[script] = by_script.get(script, "") + letter
        if len(by_script) > 1:
            script, letters = min(by_script.items(), key=lambda item: (len(item[1]), item[0]))
            return f"{script.capitalize()} {letters}"
    return ""


def oddities(word: str) -> Iterator[tuple[str, str]]:
    """(what is odd, the word written so that one sees it), for everything that is odd about a word."""
    for what, pattern in _PATTERNS.items():
        if pattern.search(word):
            yield what, ascii(word) if word.isprintable() else repr(word)
    if word.isascii():
        return
    if letters := _mixed(word):
        yield "letters of two alphabets", f"{word!r} ({letters})"
    if not unicodedata.is_normalized("NFC", word):
        yield "letters that are not composed (not Unicode NFC)", ascii(word)
