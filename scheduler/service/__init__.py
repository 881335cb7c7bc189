"""The scheduler service: one queue for all jobs of a cluster, and a journal of every decision."""
