"""Data: sources (bundled, CSV, NumPy), the split into training and test rows, and shards."""
