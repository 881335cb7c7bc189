"""How much each: one balance a file.

A balance divides a job's shards among its workers, never more bytes to one than its bundle has memory. It changes the
time of a job, not its result.
"""
