"""The models: CBOW and skip-gram, and their losses."""
