"""Weights of classes: balanced, or given for each label."""

from collections.abc import Mapping
from math import inf
from typing import Any, Literal, TypeAlias

import numpy as np

from workers.data.rows import Floats
from workers.data.source import DataInfo
from workers.data.tally import number
from workers.errors import DataError, did_you_mean

ClassWeight: TypeAlias = Literal["balanced"] | Mapping[Any, float]


def class_weights(choice: ClassWeight, info: DataInfo) -> Floats:
    """Return the weight (k,) of each class.

    `balanced` is n / (k * count), as in scikit-learn, where n and count are of all rows of the data, not only of the
    training rows, so that it is known before any shard is read. Classes that a mapping does not name weigh 1. Raise
    `DataError` for regression, labels that are not there, and weights that are not finite, negative, or all 0.
    """
    if info.classes is None:
        raise DataError("class weights are for classification, and the data was described for regression. Remove them.")
    if choice == "balanced":
        return info.num_rows / (len(info.classes) * np.array(info.class_counts, dtype=np.float64))
    if not isinstance(choice, Mapping):
        raise DataError(f"class weights must be 'balanced' or a weight for each label, got {choice!r}.")
    weights = np.ones(len(info.classes))
    for label, weight in choice.items():
        key = str(label) if isinstance(info.classes[0], str) else number(label)
        if key not in info.classes:
            known = did_you_mean(str(label), map(str, info.classes))
            raise DataError(f"class weights: no class {label!r} in {info.target_name!r}. {known}")
        if not 0 <= weight < inf:
            raise DataError(f"class weights: the weight of {label!r} must be finite and not negative, got {weight}.")
        weights[info.classes.index(key)] = weight
    if not weights.any():
        raise DataError("class weights: every class has the weight 0. Give one of them a positive weight.")
    return weights
