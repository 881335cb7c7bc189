"""The loop and its edges: what people run, on Ray."""

__version__ = "0.1.0"
