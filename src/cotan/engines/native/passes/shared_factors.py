"""One factorization for all solves with a matrix: those of a function and of its derivative, which solves with the transpose.

    x = A^-1 b,  z = A^-T y            ->            P L U = A,  x = U^-1 L^-1 P^T b,  z = P L^-T U^-T y

`Factors` and `FactoredSolve` are made by this pass alone; nobody else sees one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cotan.core.emitting import Reader, Routines, StridedView
from cotan.core.op import Op
from cotan.core.program import Equation, Var
from cotan.core.types import ArrayType
from cotan.ops.lapack import by_columns, every_matrix, factorized, is_finite, named, zero_where_zero
from cotan.ops.linalg import Solve
from cotan.ops.movement import Permute
from cotan.ops.small import is_small

__all__ = ["with_shared_factors"]

INT64 = np.dtype(np.int64)


@dataclass(repr=False, eq=False)
class Factors(Op):
    """The factors L and U of matrices, in one array with their columns as its rows, and the row exchanges. The factors of a singular
    matrix are nan.
    """

    name = verb = "lu_factors"
    family = "linalg"
    multiple = True

    def type_rule(self, a: ArrayType) -> tuple[ArrayType, ArrayType]:
        return a.with_shape(a.shape), a.with_shape(a.shape[:-1]).with_dtype(INT64)

    def loop_axes(self, a: ArrayType) -> Sequence[int]:
        return range(a.ndim - 2)

    def impl(self, a: Any) -> Any:
        """Where there is no LAPACK for the routines of both ops, the matrix itself stands for its factors."""
        return np.swapaxes(a, -1, -2).copy(), np.zeros(a.shape[:-1], INT64)

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        (a,), (factors, exchanges) = operands, results
        *lead, n, _ = a.shape
        matrices = w.strided(a)

        def one(k: tuple[Any, ...]) -> StridedView:
            pivots, info = w.scratch((n,), w.integer), w.scratch((), w.integer)
            factorized(w, matrices.part(*k), factors.part(*k).mT, pivots, info)
            w.fill(exchanges.part(*k), lambda i: w.emitter.cast(pivots[i], INT64))
            return info

        every_matrix(w, lead, one, n**3, [factors])


@dataclass(repr=False, eq=False)
class FactoredSolve(Op):
    """x with A x = b, or with A^T x = b, from the factors of A."""

    transposed: bool
    strong_zero: bool
    name = verb = "factored_solve"
    family = "linalg"
    parameter_names = ("transposed", "strong_zero")

    def type_rule(self, factors: ArrayType, exchanges: ArrayType, b: ArrayType) -> ArrayType:
        return b.with_shape(b.shape)

    def loop_axes(self, *types: ArrayType) -> Sequence[int]:
        return range(types[0].ndim - 2)

    def impl(self, factors: Any, exchanges: Any, b: Any) -> Any:
        return Solve(self.strong_zero).impl(factors if self.transposed else np.swapaxes(factors, -1, -2), b)

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        (factors, exchanges, b), (x,) = operands, results
        *lead, n, m = b.shape
        lu, places, sides = w.strided(factors), w.strided(exchanges), w.strided(b)
        which = "T" if self.transposed else "N"

        def one(k: tuple[Any, ...]) -> None:
            pivots, ignored = w.scratch((n,), w.integer), w.scratch((), w.integer)
            y = x.part(*k) if m == 1 else by_columns(w, n, m, b.dtype)
            w.fill(pivots, lambda i: w.emitter.cast(places[(*k, *i)], w.integer))
            w.copy(sides.part(*k), y)
            w.call(named(b.dtype, "getrs"), which, n, m, lu.part(*k), max(n, 1), pivots, y, max(n, 1), ignored, work=n * n * m)
            if self.strong_zero:
                w.when(w.emitter.math("not", is_finite(w, y)), lambda: zero_where_zero(w, sides.part(*k).__getitem__, y))
            if m != 1:
                w.copy(y, x.part(*k))

        every_matrix(w, lead, one, n * n * m)


def with_shared_factors(equations: Sequence[Equation]) -> list[Equation]:
    """The equations, with one factorization for several solves with a matrix."""
    transposes = {e.outputs[0]: e.inputs[0] for e in equations if type(e.op) is Permute and is_transpose(e.op)}
    solves: dict[Var, list[Equation]] = {}
    for e in equations:
        if type(e.op) is Solve and is_factored(e):
            solves.setdefault(transposes.get(e.inputs[0], e.inputs[0]), []).append(e)
    shared = {a for a, group in solves.items() if len(group) > 1}
    found: list[Equation] = []
    factors: dict[Var, list[Var]] = {}
    for e in equations:
        solve = e.op
        matrix = transposes.get(e.inputs[0], e.inputs[0]) if isinstance(solve, Solve) else None
        if not isinstance(solve, Solve) or matrix not in shared or not is_factored(e):
            found.append(e)
            continue
        if matrix not in factors:
            factors[matrix] = [Var(t) for t in Factors().type_rule(matrix.type)]
            found.append(Equation(Factors(), [matrix], factors[matrix], e.origin))
        op = FactoredSolve(matrix is not e.inputs[0], solve.strong_zero)
        found.append(Equation(op, [*factors[matrix], e.inputs[1]], e.outputs, e.origin))
    return found


def is_transpose(op: Permute) -> bool:
    """Whether the last two axes are exchanged, and no others."""
    n = len(op.order)
    return n > 1 and tuple(op.order) == (*range(n - 2), n - 1, n - 2)


def is_factored(solve: Equation) -> bool:
    """Whether a solve calls LAPACK, and for matrices of known sizes."""
    a, b = solve.inputs
    if type(a) is not Var or not all(type(n) is int for n in (*a.type.shape, *b.type.shape)):
        return False
    *lead, n, m = b.type.shape
    return 0 not in b.type.shape and not is_small(lead, b.type.dtype, n, m, "fc")
