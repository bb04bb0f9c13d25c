"""From sentences to batches of ids."""
