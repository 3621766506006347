"""libmvec: the vector variants of functions of libm that glibc has."""

from __future__ import annotations

__all__ = ["VECTOR_FUNCTIONS"]

ONE_ARGUMENT = (
    *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cbrt", "cos", "cosh", "erf", "erfc", "exp"),
    *("exp2", "expm1", "log", "log10", "log1p", "log2", "sin", "sinh", "tan", "tanh"),
)
VECTOR_FUNCTIONS = dict.fromkeys(ONE_ARGUMENT, 1) | dict.fromkeys(("atan2", "hypot", "pow"), 2)
"""The functions of libm that have variants in libmvec, and their numbers of arguments."""
