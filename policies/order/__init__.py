"""Who goes next, with how many workers: one order a file."""
