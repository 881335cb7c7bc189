"""Strict arithmetic: against exact references, and the same bits under other processors, libraries and threads."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from learning_cases import quick
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
from scipy.sparse import csr_array

from workers.data.rows import Dense, Floats
from workers.kernels import FAST
from workers.kernels.strict import FEW, INTEGER_ROWS, STRICT

SCRIPT = Path(__file__).with_name("strict_bits.py")
SWITCHES = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "NPY_DISABLE_CPU_FEATURES",
    "GLIBC_TUNABLES",
)
DIGITS = Context(prec=400)

moderate = st.floats(-1e6, 1e6)


def environments() -> dict[str, dict[str, str]]:
    """Return what makes this processor pass for others; never for one that has instructions which this one lacks."""
    cores = ["Prescott", "Nehalem"]
    cores += ["Haswell"] if __cpu_features__["AVX2"] and __cpu_features__["FMA3"] else []
    cores += ["SkylakeX"] if __cpu_features__["AVX512_SKX"] else []
    dispatched = [name for name in __cpu_dispatch__ if __cpu_features__.get(name)]
    few_features = {"NPY_DISABLE_CPU_FEATURES": " ".join(dispatched)}
    old_libm = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F"}
    found = {f"BLAS for {core}": {"OPENBLAS_CORETYPE": core} for core in cores}
    found |= {"as it is": {}, "two threads": {"OPENBLAS_NUM_THREADS": "2"}}
    found |= {"few features": few_features, "old libm": old_libm}
    found["all at once"] = {"OPENBLAS_CORETYPE": "Prescott"} | few_features | old_libm
    return found


@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="the switches are those of x86")
def test_same_bits_under_other_processors_libraries_and_threads() -> None:
    clean = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    clean |= {"PYTHONPATH": str(Path(__file__).parents[2]), "OPENBLAS_NUM_THREADS": "1"}
    running = {
        name: subprocess.Popen(
            [sys.executable, "-W", "ignore", str(SCRIPT)], env=clean | switches, stdout=subprocess.PIPE, text=True
        )
        for name, switches in environments().items()
    }
    found = {name: json.loads(process.communicate()[0]) for name, process in running.items()}
    reference = found["as it is"]
    for name, hashes in found.items():
        assert hashes["strict"] == reference["strict"], name
    changed = {
        key for hashes in found.values() for key in reference["fast"] if hashes["fast"][key] != reference["fast"][key]
    }
    assert {kernel.split()[0] for kernel in changed} >= {"product", "pull_back", "gram", "exp", "log", "log1p", "solve"}


def worst_ulps(got: Dense, inputs: Floats, exact: Callable[[Decimal], Decimal]) -> float:
    """Return the largest error in units of the last place of the exact results."""
    worst = 0.0
    for x, y in zip(inputs.tolist(), got.tolist(), strict=True):
        expected = exact(Decimal(x))
        worst = max(worst, float(abs(Decimal(y) - expected) / Decimal(math.ulp(float(expected)))))
    return worst


@quick
@given(arrays(np.float64, 20, elements=st.one_of(st.floats(-745.1, 709.7), st.floats(-1e-3, 1e-3))))
def test_exp_is_right_to_one_unit(x: Floats) -> None:
    assert worst_ulps(STRICT.exp(x), x, DIGITS.exp) < 1.1  # subnormal results are rounded twice


@quick
@given(arrays(np.float64, 10, elements=st.one_of(st.floats(5e-324, 1.7e308), st.floats(0.5, 2.0))))
def test_log_is_right_to_one_unit(x: Floats) -> None:
    assert worst_ulps(STRICT.log(x), x, Context(prec=60).ln) < 1.0


@quick
@given(arrays(np.float64, 5, elements=st.one_of(st.floats(0.0, 1.0), st.floats(-0.999, 1e9))))
def test_log1p_is_right_to_one_unit(x: Floats) -> None:
    got = STRICT.log1p(x)
    tiny = np.abs(x) < 1e-60  # the logarithm is x less half its square
    assert (got[tiny] == x[tiny]).all()
    context = Context(prec=140)
    assert worst_ulps(got[~tiny], x[~tiny], lambda d: context.ln(context.add(1, d))) < 1.0


def test_functions_at_the_ends_of_the_range() -> None:
    inf, nan = math.inf, math.nan
    with np.errstate(all="raise"):
        exp = STRICT.exp(np.array([0.0, -0.0, inf, -inf, nan, 709.79, -745.2, 5e-324]))
        log = STRICT.log(np.array([1.0, 0.0, -0.0, inf, -1.0, -inf, nan]))
        log1p = STRICT.log1p(np.array([0.0, 5e-324, -1.0, inf, -1.5, -inf, nan]))
    np.testing.assert_array_equal(exp, [1, 1, inf, 0, nan, inf, 0, 1])
    np.testing.assert_array_equal(log, [0, -inf, -inf, inf, nan, nan, nan])
    np.testing.assert_array_equal(log1p, [0, 5e-324, -inf, inf, nan, nan, nan])


def test_functions_keep_shape_and_type_and_round_float32_once() -> None:
    x = np.linspace(0.1, 80, 40_000, dtype=np.float32).reshape(200, 200)[::2, 1:]
    for name in ("exp", "log", "log1p"):
        got = getattr(STRICT, name)(x)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, getattr(np, name)(x.astype(np.longdouble)).astype(np.float32))
        assert getattr(STRICT, name)(np.array(0.5)).shape == ()
        assert getattr(STRICT, name)(np.empty((0, 3))).shape == (0, 3)


def exact_product(A: Dense, B: Dense) -> Floats:
    left, right = [[[Fraction(v) for v in row] for row in M.tolist()] for M in (A, B.T)]
    return np.array([[float(sum(map(Fraction.__mul__, a, b))) for b in right] for a in left]).reshape(
        len(A), B.shape[1]
    )


def close(got: Dense, A: Dense, B: Dense, sizes: Floats) -> None:
    """Compare with the exact product ``A B``, to a rounding error a term for terms of these sizes."""
    assert got.dtype == A.dtype
    bound = np.finfo(got.dtype).eps * (A.shape[1] + 2) * sizes.astype(np.float64) + 1e-318
    assert (np.abs(got - exact_product(A, B)) <= bound).all()


def peaks(A: Dense, B: Dense) -> Floats:
    """Return the largest entries of each row of ``A`` times those of each column of ``B``, and the number of terms."""
    largest: Floats = np.outer(np.abs(A).max(axis=1), np.abs(B).max(axis=0)) * A.shape[1]
    return largest


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("features", [1, 3, 40])
@pytest.mark.parametrize("outputs", [1, 3, 17])
def test_products_match_fractions(features: int, outputs: int, dtype: Any) -> None:
    random = np.random.default_rng(features + outputs)
    sizes = 10.0 ** random.integers(-6, 6, features)
    X = (random.normal(size=(9, features)) * sizes).astype(dtype)
    W, R = random.normal(size=(features, outputs)) / sizes[:, None], random.normal(size=(9, outputs))
    sparse = csr_array(np.where(np.abs(X) > np.median(np.abs(X)), X, dtype(0)))
    for matrix, plain in ((X, X), (X[::2], X[::2]), (sparse, sparse.toarray())):
        w, r = W.astype(dtype), R[: len(plain)].astype(dtype)
        close(STRICT.product(matrix, W), plain, w, np.abs(plain) @ np.abs(w))
        close(STRICT.pull_back(matrix, R[: len(plain)]), plain.T, r, peaks(plain.T, r))


@pytest.mark.parametrize("features", [5, 200])
def test_bits_depend_on_the_values_only_not_on_their_place_in_memory(features: int) -> None:
    random = np.random.default_rng(features)
    X, W, R = (random.normal(size=shape) for shape in ((900, features), (features, 5), (900, 18)))
    placed = np.zeros((1800, features + 1))[::2, 1:]
    placed[:] = X
    for other in (np.asfortranarray(X), placed):
        for few in (1, 5):
            assert (STRICT.product(other, W[:, :few]) == STRICT.product(X, W[:, :few])).all()
        for few in (1, 18):
            assert (STRICT.pull_back(other, R[:, :few]) == STRICT.pull_back(X, R[:, :few])).all()
    one_by_one = np.vstack([STRICT.product(X[k : k + 1], W) for k in range(len(X))])
    assert (one_by_one == STRICT.product(X, W)).all()


@quick
@given(arrays(np.float64, (7, 18), elements=moderate), arrays(np.float64, (7, 17), elements=moderate))
def test_gram_matches_fractions(A: Floats, B: Floats) -> None:
    close(STRICT.gram(A, B), A.T, B, peaks(A.T, B))
    close(STRICT.gram(A, A), A.T, A, peaks(A.T, A))
    assert (STRICT.gram(A, A) == STRICT.gram(A, A.copy())).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("rows", [0, 1, INTEGER_ROWS, 2 * INTEGER_ROWS + 3])
def test_gram_of_many_rows(rows: int, dtype: Any) -> None:
    A = np.random.default_rng(rows).normal(size=(rows, FEW + 2)).astype(dtype)
    got = STRICT.gram(A, A)
    assert got.dtype == dtype
    expected = A.astype(np.longdouble).T @ A.astype(np.longdouble)
    np.testing.assert_allclose(got, expected.astype(float), rtol=0, atol=4 * np.finfo(dtype).eps * max(rows, 1))
    assert (got == got.T).all()


def test_gram_at_the_ends_of_the_range() -> None:
    A = np.random.default_rng(1).normal(size=(20, 18)) * np.tile([0, 1e-320, 1e-200, 1e-150, 1, 1e100, 1e150, 3, 4], 2)
    largest = np.abs(A).max(axis=0)
    assert (np.abs(STRICT.gram(A, A) - A.T @ A) <= 1e-13 * np.outer(largest, largest) + 1e-318).all()
    A[3, 17] = np.nan
    with np.errstate(invalid="ignore"):
        G = STRICT.gram(A, A)
    assert np.isnan(G[17]).all()
    assert np.isfinite(G[:17, :17]).all()


@quick
@given(st.integers(0, 300), st.integers(0, 2**32))
def test_dot_matches_fsum(size: int, seed: int) -> None:
    a, b = np.random.default_rng(seed).normal(size=(2, size))
    assert STRICT.dot(a, b) == pytest.approx(math.fsum((a * b).tolist()), rel=1e-13, abs=1e-13)


@pytest.mark.parametrize("kernel", ["product", "pull_back"])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 30)])
def test_products_without_rows_or_features_are_zero(kernel: str, shape: tuple[int, int]) -> None:
    X = np.empty(shape)
    inner = shape[1] if kernel == "product" else shape[0]
    for matrix in (X, csr_array(X)):
        for outputs in (1, 18):
            got = getattr(STRICT, kernel)(matrix, np.ones((inner, outputs)))
            np.testing.assert_array_equal(got, np.zeros((sum(shape) - inner, outputs)))


def spectrum(values: list[float], seed: int) -> Floats:
    """Return a symmetric matrix with these eigenvalues."""
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values), len(values))))[0]
    A: Floats = (Q * values) @ Q.T
    return (A + A.T) / 2


@quick
@given(
    st.integers(1, 12).flatmap(lambda d: st.tuples(st.just(d), st.integers(0, d))),
    st.integers(0, 5),
    st.integers(-900, 900),
    st.integers(0, 2**32),
)
def test_solve_is_the_solution_of_least_norm(shape: tuple[int, int], decades: int, size: int, seed: int) -> None:
    d, rank = shape
    values = [10.0 ** (-decades * k / d) if k < rank else 0.0 for k in range(d)]
    A, b = spectrum(values, seed), np.random.default_rng(seed).normal(size=d)
    expected = FAST.solve(A, b)
    error = np.linalg.norm(np.ldexp(STRICT.solve(np.ldexp(A, size), b), size) - expected)
    assert error <= 1e-14 * d**2 * 10**decades * np.linalg.norm(expected)


def test_solve_where_the_matrix_is_nearly_singular() -> None:
    A, x = spectrum([10.0**-k for k in range(12)], 3), np.ones(12)
    got = STRICT.solve(A, A @ x)
    assert np.linalg.norm(A @ got - A @ x) <= 1e-14 * np.linalg.norm(x)
    assert np.linalg.norm(got - x) < 1e-3


def test_solve_of_columns_that_repeat() -> None:
    X = np.random.default_rng(5).normal(size=(400, 30))
    X = np.hstack([X, X[:, :10], X @ np.ones((30, 2)), np.zeros((400, 3))])
    A, b = X.T @ X, X.T @ np.ones(400)
    got = STRICT.solve(A, b)
    np.testing.assert_allclose(got, FAST.solve(A, b), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(got[:10], got[30:40], rtol=1e-9)


def test_solve_of_nothing_one_and_zeros() -> None:
    assert STRICT.solve(np.array([[4.0]]), np.array([2.0])) == pytest.approx(0.5, rel=1e-15)
    assert STRICT.solve(np.zeros((3, 3)), np.ones(3)).tolist() == [0, 0, 0]
    assert STRICT.solve(np.zeros((0, 0)), np.ones(0)).tolist() == []
    A = spectrum([3.0, 2.0, 1.0], 0)
    several = STRICT.solve(A, np.eye(3)[:, :2])
    np.testing.assert_array_equal(several[:, 1], STRICT.solve(A, np.eye(3)[1]))
    with pytest.raises(np.linalg.LinAlgError, match="1 of 4 entries"):
        STRICT.solve(np.array([[1.0, math.nan], [0.0, 1.0]]), np.ones(2))
