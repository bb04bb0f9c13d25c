"""The network: words to scores to tags."""
