"""How good predictions are, and where they are wrong."""
