"""What commands share, and those for runs of any kind."""
