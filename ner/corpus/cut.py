"""Raw text as sentences of tokens: the one way in which predict, training and evaluation cut it."""

from __future__ import annotations

from collections.abc import Sequence

from word2vec.text.tokenize import Token, pretokenized, sentences, tokenize

LONGEST_SENTENCE = 1000  # tokens; text without a sentence's end for so long is cut there


def cut_text(text: str, split_words: bool = False) -> list[list[Token]]:
    """The sentences of raw text; a blank line ends one, a single line end is a space.

    With ``split_words`` white space separates the words already.
    """
    return cut_tokens(text, text_tokens(text, split_words))


def cut_tokens(text: str, tokens: list[Token]) -> list[list[Token]]:
    """The sentences of a text whose tokens are known, as ``cut_text`` has them."""
    if "\n" not in text:
        return cut_paragraph(tokens)
    begins = [0, *(i for i in range(1, len(tokens)) if text.count("\n", tokens[i - 1].end, tokens[i].start) > 1)]
    pairs = zip(begins, [*begins[1:], len(tokens)], strict=True)
    return [part for first, last in pairs for part in cut_paragraph(tokens[first:last])]


def text_tokens(text: str, split_words: bool = False) -> list[Token]:
    """The tokens of raw text, or with ``split_words`` its words as white space separates them."""
    return placed(text, pretokenized(text)) if split_words else tokenize(text)


def placed(text: str, words: Sequence[str], start: int = 0) -> list[Token]:
    """Words where they stand in the text, from ``start`` on, one after the other; ValueError if one does not stand there."""
    tokens, end = [], start
    for word in words:
        at = text.index(word, end)
        end = at + len(word)
        tokens.append(Token(word, at, end))
    return tokens


def cut_paragraph(tokens: list[Token]) -> list[list[Token]]:
    """The sentences of a paragraph, the longest cut: a page of numbers is not one sentence."""
    parts = sentences(tokens)
    return [part[i : i + LONGEST_SENTENCE] for part in parts for i in range(0, len(part), LONGEST_SENTENCE)]


def joined(words: Sequence[str]) -> tuple[str, list[list[Token]]]:
    """A sentence's words with a space between, and where each of them stands."""
    tokens, at = [], 0
    for word in words:
        tokens.append(Token(word, at, at + len(word)))
        at += len(word) + 1
    return " ".join(words), [tokens] if tokens else []
