"""The training loop and its promises. Knows no words, tags or vectors."""
