"""Policies that decide who runs and where at once: one a file, most of them by a linear programme."""
