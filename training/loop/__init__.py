"""The loop: fit, evaluation, and what they stand on."""
