"""The scheduler service: one queue for all jobs of a cluster, who has a right to what, and a journal of every decision."""
