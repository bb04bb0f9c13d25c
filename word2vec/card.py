"""What a card of word vectors says beside what all cards say: how much text there was, and how many words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from training.run.card import Described, Sections, counts, in_all


def add(manifests: Sequence[Described], sections: Sections) -> None:
    """Add to a card what is known of word vectors' runs alone."""
    text = in_all(manifests, "text")
    found = counts({name: text.get(name) for name in ("words", "vocabulary")}) if isinstance(text, Mapping) else None
    facts = {**found, "ids_sha256": str(text.get("ids_sha256"))} if found is not None else None
    lines = [f"{found['words']:,} words of text; vectors for {found['vocabulary']:,} of them." if found else ""]
    sections.add("text", "Text", facts, lines, "how much text there was, and how many words have vectors")
    if not any(str(name).startswith("evaluate/") for each in manifests for name in each.get("metrics", {})):
        sections.unknown.append("how good the vectors are: they were scored on no set (--evaluate)")
