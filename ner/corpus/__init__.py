"""Labeled files: reading, checking, repairing."""
