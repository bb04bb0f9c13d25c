"""Loggers: where metrics and hyperparameters are written to."""
