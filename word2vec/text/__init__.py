"""From text to batches of word ids."""
