"""Traces: workloads in files, in our own format and in those of others."""
