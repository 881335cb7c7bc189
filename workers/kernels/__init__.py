"""The arithmetic whose last bits may depend on the processor, in one place, so that it can be exchanged.

``FAST`` takes BLAS, LAPACK and NumPy's vector functions: the fastest there is, and the same bits on processors with
the same kernels (a node's ``numeric_class``). ``STRICT`` takes only what has the same bits everywhere.
"""

from workers.kernels.base import Kernels
from workers.kernels.fast import FAST
from workers.kernels.strict import STRICT

__all__ = ["FAST", "STRICT", "Kernels"]
