"""Flags and modes for equal bits."""
