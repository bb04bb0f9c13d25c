"""Where batches come from: plans of an epoch."""
