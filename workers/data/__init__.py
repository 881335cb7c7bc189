"""Data: sources, the split into training and test rows, and shards.

The sources are CSV, Parquet, libsvm, NPY and NPZ files, the sets of scikit-learn and OpenML, arrays in memory, and
datasets of Ray Data.
"""
