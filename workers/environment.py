"""What computes here: the versions and kernels on which the last bits of a result may depend."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from threadpoolctl import threadpool_info


@dataclass(frozen=True)
class Environment:
    """Versions, processor, and the kernels that NumPy and BLAS have chosen for it.

    Attributes
    ----------
    gpu, torch
        The GPUs that this process may use, and the version of PyTorch; empty where there is none.
    numeric_class
        A short hash of whatever NumPy's results depend on: where it is equal, they agree to the last bit.
    """

    def computes_like(self, kind: str) -> tuple[str, ...]:
        """Return what must be equal for equal bits in an architecture of this ``kind``."""
        return (self.numeric_class, self.gpu, self.torch) if kind == "torch" else (self.numeric_class,)

    machine: str
    processor: str
    python: str
    numpy: str
    scipy: str
    scikit_learn: str
    libc: str
    blas: str
    vector_instructions: str
    gpu: str
    torch: str
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
        _version("scikit-learn"),
        " ".join(platform.libc_ver()),
        ", ".join(blas),
        " ".join(simd.get("found", [])),
    )
    kernels = hashlib.sha256("|".join((parts[0], *parts[3:])).encode()).hexdigest()[:8]
    return Environment(*parts, gpu=_gpus(), torch=_version("torch"), numeric_class=kernels)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _gpus() -> str:
    """Return the models of NVIDIA's GPUs, unless none is visible to this process."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return ""
    models = set()
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("Model:"):
                models.add(line.partition(":")[2].strip())
    return ", ".join(sorted(models))


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
