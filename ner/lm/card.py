"""What a card of a language model says beside what all cards say: how much text there was, and how many words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from training.run.card import Described, Sections, counts, in_all


def add(manifests: Sequence[Described], sections: Sections) -> None:
    """Add to a card what is known of language models' runs alone."""
    text = in_all(manifests, "text")
    found = counts({name: text.get(name) for name in ("words", "vocabulary")}) if isinstance(text, Mapping) else None
    facts = {**found, "ids_sha256": str(text.get("ids_sha256"))} if found is not None else None
    lines = [f"{found['words']:,} words of text; the model knows {found['vocabulary']:,} different words." if found else ""]
    sections.add("text", "Text", facts, lines, "how much text there was, and how many words the model knows")
    sections.unknown.append("what its states are worth to a tagger: train one with and without them")
