"""A bidirectional language model over words, whose states the tagger may read."""
