"""The commands of the tagger."""
