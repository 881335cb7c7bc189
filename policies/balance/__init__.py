"""How much each worker computes: one balance a file."""
