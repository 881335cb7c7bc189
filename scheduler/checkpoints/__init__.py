"""What is kept of a run while it goes on, so that it can go on without those who began it."""
