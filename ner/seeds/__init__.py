"""One experiment with several seeds."""
