"""A cluster that is not there: fleets, workloads and a virtual clock behind the loop's own protocol."""
