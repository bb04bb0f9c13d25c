"""The commands of word vectors."""
