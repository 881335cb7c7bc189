"""Files that are broken on purpose, read as the commands read them: ``python -m benchmarks.fuzz``."""
