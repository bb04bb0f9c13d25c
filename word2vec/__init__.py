"""Word vectors trained from scratch: text, vocabulary, models, vector files."""
