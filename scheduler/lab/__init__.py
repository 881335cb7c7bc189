"""A lab: the mixed cluster of a Ray cluster file on one machine, each node held to its own speed and network."""
