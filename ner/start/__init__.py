"""Going on from a trained tagger on new data."""
