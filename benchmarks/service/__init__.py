"""The scheduler service measured: ``python -m benchmarks.service``."""
