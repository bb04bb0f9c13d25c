"""Learning from a teacher: its readings of the training sentences, and of text without tags."""
