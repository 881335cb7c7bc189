"""A mixed cluster at the speed of its hardware: policies, their bound, and Ray Train on the same slow nodes."""
