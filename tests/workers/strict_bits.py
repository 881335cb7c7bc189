"""Print hashes of all kernels' results on fixed inputs, for `test_kernels.py` under many environments."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from workers.kernels import FAST, Kernels
from workers.kernels.strict import STRICT


def results(kernels: Kernels, dtype: Any) -> dict[str, Any]:
    random = np.random.default_rng(7)
    wide = (random.random((3000, 70)) * 8 - 4).astype(dtype)
    w, r = (random.random((70, 5)) - 0.5).astype(dtype), (random.random((3000, 20)) - 0.5).astype(dtype)
    sparse = csr_array(np.where(np.abs(wide) < 0.5, wide, dtype(0)))
    whole = np.rint(wide[:200, :60].astype(np.float64) * 9)
    values = np.abs(wide[:, :9]) * dtype(20)
    found: dict[str, Any] = {}
    for name, X in {"short": wide[:, :13], "long": wide[::2], "across": np.asfortranarray(wide)}.items():
        for outputs in (1, 5):
            found[f"product {name} {outputs}"] = kernels.product(X, w[: X.shape[1], :outputs])
        for outputs in (1, 20):
            found[f"pull_back {name} {outputs}"] = kernels.pull_back(X, r[: len(X), :outputs])
        found[f"gram {name}"] = kernels.gram(X, X)
        found[f"gram {name} of two"] = kernels.gram(X, X * dtype(0.3))
    found["product sparse"] = kernels.product(sparse, w)
    found["pull_back sparse"] = kernels.pull_back(sparse, r)
    found |= {"exp": kernels.exp(-values), "log": kernels.log(values), "log1p": kernels.log1p(values / dtype(80))}
    found["dot"] = kernels.dot(wide[:, 0], r[:, 0])
    found["solve"] = kernels.solve(whole.T @ whole, w[:60, 0].astype(np.float64))
    found["solve deficient"] = kernels.solve(whole[:20].T @ whole[:20], w[:60, 0].astype(np.float64))
    return found


def digest(value: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16]


if __name__ == "__main__":
    hashes = {
        kernels.name: {
            f"{name} {dtype.__name__}": digest(value)
            for dtype in (np.float64, np.float32)
            for name, value in results(kernels, dtype).items()
        }
        for kernels in (STRICT, FAST)
    }
    print(json.dumps(hashes))  # noqa: T201
