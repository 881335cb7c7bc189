"""Learning: pure shard updates, exact sums, solvers and data; one thin Ray actor."""
