"""Word vectors as the tagger takes them in."""
