"""Who goes next, with how many workers: one order a file.

An order ranks the jobs that wait. It says whether running jobs have a turn too and may lose their nodes to jobs before
them, and who may overtake a job that does not fit.
"""
