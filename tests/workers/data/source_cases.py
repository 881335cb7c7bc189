"""What the tests of sources share."""

import numpy as np
import pytest

from workers.errors import DataError


def refusal(source, task="regression"):
    """Return the message with which a source refuses to describe its data."""
    with pytest.raises(DataError) as caught:
        source.describe(task)
    return str(caught.value)


def everything(source, task="regression"):
    """Return what is said of the data, and all of X and y."""
    info = source.describe(task)
    read = source.read(np.arange(info.num_rows), info)
    return info, read.X, read.y
