"""A trained tagger at work."""
