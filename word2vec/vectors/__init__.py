"""Word vectors: files, neighbors, evaluation."""
