"""On which nodes: one placement a file."""
