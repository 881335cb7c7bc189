"""What computes here: the versions and kernels on which the last bits of a result may depend."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import scipy
from threadpoolctl import threadpool_info


@dataclass(frozen=True)
class Environment:
    """Versions, processor, and the kernels that NumPy and BLAS have chosen for it.

    Attributes
    ----------
    numeric_class
        A short hash of all but the processor's name: where it is equal, results agree to the last bit.
    """

    machine: str
    processor: str
    python: str
    numpy: str
    scipy: str
    blas: str
    vector_instructions: str
    numeric_class: str


@cache
def environment() -> Environment:
    """Return the environment of this process."""
    simd: Mapping[str, Any] = np.show_config(mode="dicts").get("SIMD Extensions", {})
    blas = sorted(
        {
            " ".join(str(library.get(key)) for key in ("internal_api", "version", "architecture"))
            for library in threadpool_info()
            if library.get("user_api") == "blas"
        }
    )
    parts = (
        platform.machine(),
        processor_name(),
        platform.python_version(),
        np.__version__,
        scipy.__version__,
        ", ".join(blas),
        " ".join(simd.get("found", [])),
    )
    kernels = "|".join((parts[0], *parts[3:]))
    return Environment(*parts, hashlib.sha256(kernels.encode()).hexdigest()[:8])


def processor_name() -> str:
    """Return the processor's model."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
