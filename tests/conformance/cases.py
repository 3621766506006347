"""The cases of the conformance tests: every op of the registry on its examples, and on the same examples in other dtypes.

A *case* is an op with operands. An op class defines its examples. No op is named here, except a few whose meaning has more freedom than a
test allows for, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

import cotan.ops  # noqa: F401 - defines the ops
from cotan.core.op import REGISTRY, Op
from cotan.core.tracing import type_of

DERIVATIVE_BY_DEFINITION = {
    "stop_gradient": "is the identity with derivative zero",
    **dict.fromkeys(
        ("pseudo_inverse", "polar_factor", "nuclear_norm"),
        "is a function of its first operand, of which others are the factorization (see test_spectral)",
    ),
}
"""Ops whose derivative is deliberately not the derivative of their value."""

OF_ONE_POINT = {
    **dict.fromkeys(("pseudo_inverse", "polar_factor", "nuclear_norm"), "takes a matrix with its factorization"),
}
"""Ops with dependent operands, so that other dtypes need examples of their own."""

FIRST_ORDER_OPS = [cls for cls in REGISTRY.values() if not cls.holds_programs and cls.__module__.startswith("cotan.ops.")]


class Case(NamedTuple):
    op: Op
    operands: tuple[Any, ...]

    @property
    def floats(self) -> list[int]:
        """The operands that have tangents."""
        return [k for k, x in enumerate(self.operands) if np.asarray(x).dtype.kind in "fc"]

    def function(self) -> Any:
        """The op as a function from the operands with tangents to a list of all results that have tangents."""
        floats = self.floats

        def call(*xs: Any) -> list[Any]:
            operands = list(self.operands)
            for k, x in zip(floats, xs, strict=True):
                operands[k] = x
            return [y for y in results(self.op, operands) if type_of(y).inexact]

        return call

    @property
    def point(self) -> list[Any]:
        return [self.operands[k] for k in self.floats]


def results(op: Op, operands: Sequence[Any]) -> list[Any]:
    """The results of an op as a list, be it one or many."""
    y = op(*operands)
    return list(y) if op.multiple else [y]


def label(case: Case) -> str:
    return f"{case.op}-{'-'.join(str(type_of(x)) for x in case.operands)}"


def examples(cls: type[Op]) -> list[Case]:
    return [Case(op, tuple(operands)) for op, operands in cls.examples()]


ALL_CASES = [case for cls in FIRST_ORDER_OPS for case in examples(cls)]


def params(cases: Sequence[Case], marks: Any = ()) -> list[Any]:
    return [pytest.param(case, id=label(case), marks=marks) for case in cases]


# ---- the same cases in other dtypes -------------------------------------------------------------------------------------
DTYPES = [
    np.dtype(name)
    for name in ("float16", "float32", "float64", "complex64", "complex128", "int8", "int32", "int64", "uint8", "uint64", "bool")
]


def claimed(op: Op) -> str:
    """The kinds of dtype that the op says it takes."""
    return getattr(op, "takes", "biufc")


def cast(x: Any, dtype: np.dtype[Any]) -> Any:
    """Example values in another dtype: complex ones with an imaginary part, integers small, not zero, and of the same order."""
    x = np.asarray(x)
    if dtype.kind == x.dtype.kind == "c":
        return x.astype(dtype)
    x = x.real
    if dtype.kind == "c":
        wave = np.sin(1.0 + np.arange(x.size)).reshape(x.shape)
        return (x + 0.25j * wave).astype(dtype)
    if dtype.kind == "b":
        return x > 0.4
    if dtype.kind in "iu":
        if x.dtype.kind == "f":
            x = np.where(x < 0, np.floor(2 * x), np.ceil(2 * x))
        return np.asarray(np.abs(x) if dtype.kind == "u" else x).astype(dtype)
    return x.astype(dtype)


def in_dtype(case: Case, dtype: np.dtype[Any]) -> Case | None:
    """The case with its main operands in ``dtype``; None if the op does not claim it, or the values have no meaning there."""
    if dtype.kind not in claimed(case.op) or case.op.name in OF_ONE_POINT:
        return None
    arrays = [np.asarray(x) for x in case.operands]
    main = case.floats
    if not main and len({x.dtype for x in arrays}) == 1:
        main = list(range(len(arrays)))
    if not main or any(arrays[k].dtype.kind == "b" for k in main):
        return None
    if dtype.kind not in "fc" and not all(np.all(np.isfinite(arrays[k])) for k in main):
        return None
    if dtype.kind == "f" and any(arrays[k].dtype.kind == "c" for k in main):
        return None
    if dtype.kind in "fc" and "f" not in claimed(case.op) and "c" not in claimed(case.op):
        return None
    operands = [cast(x, dtype) if k in main else x for k, x in enumerate(case.operands)]
    if case.op.name == "power" and dtype.kind == "i":  # NumPy's integers have no negative powers
        operands[1] = np.abs(operands[1])
    return Case(case.op, tuple(operands))


def in_dtypes(cases: Sequence[Case], dtypes: Sequence[np.dtype[Any]]) -> list[Case]:
    found: dict[str, Case] = {}
    for case in cases:
        for dtype in dtypes:
            other = in_dtype(case, dtype)
            if other is not None:
                found.setdefault(label(other) + repr([np.asarray(x).tobytes() for x in other.operands]), other)
    return list(found.values())


def differentiable(cases: Sequence[Case]) -> list[Case]:
    """The cases with an operand and a result that have tangents, and with elements in both."""
    kept = []
    for case in cases:
        if case.floats:
            types = case.op.type_rule(*map(type_of, case.operands))
            if any(t.inexact for t in (types if case.op.multiple else (types,))):
                kept.append(case)
    return kept


def unique(cases: Sequence[Case]) -> list[Case]:
    seen: dict[str, Case] = {}
    for case in cases:
        seen.setdefault(label(case) + repr([np.asarray(x).tobytes() for x in case.operands]), case)
    return list(seen.values())


REAL_AND_COMPLEX = unique(ALL_CASES + in_dtypes(ALL_CASES, [np.dtype(np.complex128)]))
"""Every example as it stands, and in double-precision complex numbers where the op takes them."""
OTHER_PRECISIONS = in_dtypes(ALL_CASES, [np.dtype(np.float32), np.dtype(np.complex64)])


def seeded(case: Case) -> np.random.Generator:
    """A generator that is the same for the same case on every run."""
    return np.random.default_rng(sum(label(case).encode()))


def direction(rng: np.random.Generator, x: Any) -> Any:
    """A random tangent for ``x``, complex if x is."""
    x = np.asarray(x)
    v = rng.normal(size=x.shape)
    if x.dtype.kind == "c":
        v = v + 1j * rng.normal(size=x.shape)
    return np.asarray(v).astype(x.dtype)


def in_double(case: Case) -> Case:
    """The case with its single-precision operands as double ones, which are exactly the same numbers."""
    wider = {"f": np.float64, "F": np.complex128}
    return Case(case.op, tuple(np.asarray(x).astype(wider.get(np.asarray(x).dtype.char, np.asarray(x).dtype)) for x in case.operands))


def tolerance(*values: Any) -> float:
    """Relative error allowed, by the coarsest precision among these."""
    return 2e-2 if any(np.finfo(np.asarray(v).dtype).eps > 1e-10 for v in values if np.asarray(v).dtype.kind in "fc") else 2e-7
