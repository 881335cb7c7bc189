"""Exponentials and logarithms whose bits depend on IEEE 754 alone, not on the processor or the C library.

Every step is one correctly rounded or exact NumPy operation (``+ - * /``, ``rint``, ``ldexp``, ``frexp``), and NumPy
rounds between two operations, so that no compiler can fuse a product and a sum. Errors stay below one unit in
the last place.

Source: range reduction, polynomials and their coefficients are those of fdlibm's ``e_exp.c``, ``e_log.c`` and
``s_log1p.c`` (Sun Microsystems, 1993), after W. J. Cody and W. Waite, "Software Manual for the Elementary Functions"
(1980); the order of the last additions is that of FreeBSD's ``k_log.h``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.data.rows import Dense, Floats

LN2_HIGH = float.fromhex("0x1.62e42feep-1")
"""The leading 32 bits of the logarithm of 2: an exponent times this is exact."""
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
LOG2_E = float.fromhex("0x1.71547652b82fep+0")
SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")

EXP_TERMS = tuple(
    map(
        float.fromhex,
        (
            "0x1.555555555553ep-3",
            "-0x1.6c16c16bebd93p-9",
            "0x1.1566aaf25de2cp-14",
            "-0x1.bbd41c5d26bf1p-20",
            "0x1.6376972bea4d0p-25",
        ),
    )
)
LOG_TERMS = tuple(
    map(
        float.fromhex,
        (
            "0x1.5555555555593p-1",
            "0x1.999999997fa04p-2",
            "0x1.2492494229359p-2",
            "0x1.c71c51d8e78afp-3",
            "0x1.7466496cb03dep-3",
            "0x1.39a09d078c69fp-3",
            "0x1.2f112df3e5244p-3",
        ),
    )
)

BEYOND = 800.0
"""The exponential of this is infinite, and of minus this 0."""

BLOCK = 16384
"""So many values at a time, for the intermediate results to stay in the cache."""


def exp(values: Dense) -> Dense:
    """Return ``e**x`` of each value, of the same shape and type: 0 and infinity beyond the range, NaN of NaN."""
    return _by_blocks(_exp, values)


def log(values: Dense) -> Dense:
    """Return the natural logarithm of each value, of the same shape and type: ``-inf`` of 0, NaN below and of NaN."""
    return _by_blocks(_log, values)


def log1p(values: Dense) -> Dense:
    """Return the natural logarithm of ``1 + x``, of the same shape and type: ``-inf`` of -1, NaN below and of NaN."""
    return _by_blocks(_log1p, values)


def _by_blocks(function: Callable[[Floats], Floats], values: Dense) -> Dense:
    """Apply a function in float64, and round to the type of ``values``."""
    values = np.asarray(values)
    flat, result = values.reshape(-1), np.empty(values.size, values.dtype)
    with np.errstate(all="ignore"):
        for start in range(0, flat.size, BLOCK):
            block = slice(start, start + BLOCK)
            result[block] = function(flat[block].astype(np.float64, copy=False))
    return result.reshape(values.shape)


def _exp(x: Floats) -> Floats:
    x = np.minimum(np.maximum(x, -BEYOND), BEYOND)
    k = np.rint(x * LOG2_E)
    high, low = x - k * LN2_HIGH, k * LN2_LOW
    r = high - low
    c = r - _polynomial(r * r, EXP_TERMS)
    y = 1.0 - ((low - r * c / (2.0 - c)) - high)
    powers: Floats = np.ldexp(y, k.astype(np.int32))
    return powers


def _log(x: Floats) -> Floats:
    mantissa, k = _reduced(x)
    return _mended(_log_of(mantissa - 1.0, k), x, 0.0)


def _log1p(x: Floats) -> Floats:
    u = 1.0 + x
    mantissa, k = _reduced(u)
    lost = np.where(x > 1.0, 1.0 - (u - x), x - (u - 1.0)) / u  # what rounding took from u, exactly
    near = k == 0
    result = _log_of(np.where(near, x, mantissa - 1.0), k, np.where(near, 0.0, lost))
    return _mended(result, x, -1.0)


def _reduced(x: Floats) -> tuple[Floats, Floats]:
    """Split ``x = m 2**k`` with ``m`` from the root of 1/2 to the root of 2."""
    mantissa, k = np.frexp(x)
    small = mantissa < SQRT_HALF
    return mantissa + mantissa * small, (k - small).astype(np.float64)


def _log_of(f: Floats, k: Floats, correction: Floats | float = 0.0) -> Floats:
    """Return ``log((1 + f) 2**k) + correction``."""
    s = f / (2.0 + f)
    half_square = 0.5 * f * f
    rest = _polynomial(s * s, LOG_TERMS)
    return k * LN2_HIGH - ((half_square - (s * (half_square + rest) + (k * LN2_LOW + correction))) - f)


def _mended(result: Floats, x: Floats, pole: float) -> Floats:
    """Put the values where ``x`` is no positive number above the pole, or infinite."""
    odd = ~((x > pole) & (x < np.inf))
    if odd.any():
        result[odd] = np.where(x[odd] == pole, -np.inf, np.where(x[odd] < pole, np.nan, x[odd]))
    return result


def _polynomial(x: Floats, terms: tuple[float, ...]) -> Floats:
    """Return ``terms[0] x + terms[1] x**2 + ...``, by Horner's rule."""
    total: NDArray[Any] = x * terms[-1]
    for term in reversed(terms[:-1]):
        total += term
        total *= x
    return total
