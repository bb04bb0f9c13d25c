"""A run and its folder: what makes it resumable, comparable and checkable."""
