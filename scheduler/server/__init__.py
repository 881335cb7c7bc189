"""What the parameter server's actor does: a job's run, its workers, its calls, and what is kept of it."""
