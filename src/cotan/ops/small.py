"""Linear algebra of small real matrices as straight code: eliminations written out, in which choices are selects.

For up to `LARGEST` rows a call of LAPACK costs more than the arithmetic. Written out, many matrices are done side by side, each in a lane
of a vector (`Routines.batched`). Pivots are those of LAPACK: the first of the largest in its column, whose row changes places with the
row at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..core.emitting import Emitter, Reader, Routines, StridedView

__all__ = ["LONGEST_ROW", "Triangle", "cholesky", "is_small", "multiply", "sign_and_logarithm", "solve", "triangular_solve"]

LARGEST, FEWEST, FEWEST_COLUMNS, LONGEST_ROW = 8, 4, 4, 16
LITTLE_WORK, MANY = 600, 64
"""More than so much takes long to compile, and is so only for many matrices."""


class Real:
    """A real scalar with operators."""

    __slots__ = ("e", "x")

    def __init__(self, e: Emitter, x: Any):
        self.e, self.x = e, x

    def made(self, name: str, *others: Real) -> Real:
        return Real(self.e, self.e.math(name, self.x, *[y.x for y in others]))

    def __add__(self, y: Real) -> Real:
        return self.made("add", y)

    def __sub__(self, y: Real) -> Real:
        return self.made("sub", y)

    def __mul__(self, y: Real) -> Real:
        return self.made("mul", y)

    def __truediv__(self, y: Real) -> Real:
        return self.made("div", y)


def is_small(lead: Sequence[int], dtype: np.dtype[Any], n: int, m: int = 1) -> bool:
    """Whether straight code is better than a call for each of a stack of n x n matrices (and n x m right-hand sides)."""
    fewest = 1 if n <= 3 else FEWEST if n * n * (n + m) <= LITTLE_WORK else MANY
    return dtype.kind == "f" and 0 < n <= LARGEST and 0 < m <= LARGEST and prod(lead) >= fewest


def numbers(e: Emitter, x: Any, rows: int, columns: int) -> list[list[Real]]:
    """The elements of a matrix."""
    return [[Real(e, x[i, j]) for j in range(columns)] for i in range(rows)]


def less_products(x: Real, pairs: Sequence[tuple[Real, Real]]) -> Real:
    """x minus the sum of products."""
    for a, b in pairs:
        x = a.made("neg").made("fmuladd", b, x)
    return x


def any_failed(w: Routines, lead: Sequence[int], failed: StridedView) -> Any:
    """Whether a matrix of the stack failed."""
    e = w.emitter
    none = e.constant(0, failed.dtype)
    total = w.variable(none)
    w.outlined(lambda: w.every(lead, lambda k: total.__setitem__((), e.math("add", total[()], failed[k]))))
    return e.math("ne", total[()], none)


# ---- Cholesky ------------------------------------------------------------------------------------------------------------
def cholesky(w: Routines, a: Reader, factor: StridedView) -> None:
    """L by rows: l_ij = (a_ij - sum_k l_ik l_jk) / l_jj."""
    lead, n, e = a.shape[:-2], a.shape[-1], w.emitter
    failed = w.scratch(lead, a.dtype)
    zero, one = e.constant(0, a.dtype), e.constant(1, a.dtype)

    def body(a: Any, factor: Any, failed: Any) -> None:
        rows: list[list[Real]] = []
        inverses: list[Real] = []
        wrong: Any = None
        for i in range(n):
            row: list[Real] = []
            for j in range(i):
                rest = less_products(Real(e, a[i, j]), list(zip(row, rows[j], strict=False)))
                row.append(rest * inverses[j])
                factor[i, j] = row[j].x
            square = less_products(Real(e, a[i, i]), [(x, x) for x in row])
            bad = e.math("le", square.x, zero)
            wrong = bad if wrong is None else e.math("or", wrong, bad)
            root = square.made("sqrt")
            factor[i, i] = root.x
            row.append(root)
            rows.append(row)
            inverses.append(Real(e, one) / root)
            for j in range(i + 1, n):
                factor[i, j] = zero
        failed[()] = e.math("select", wrong, zero, one)

    w.batched(lead, [a], [factor, failed], body)
    w.fail(any_failed(w, lead, failed), np.linalg.LinAlgError, "Matrix is not positive definite")


# ---- triangular systems ------------------------------------------------------------------------------------------------------
class Triangle(NamedTuple):
    """A triangular system: op(A) X = B, or X op(A) = B, which is the transposed one on the left."""

    left_side: bool
    lower: bool
    transposed: bool
    unit: bool

    @property
    def turned(self) -> bool:
        return self.transposed if self.left_side else not self.transposed

    def order(self, n: int) -> list[int]:
        """The rows in the order in which they are solved for."""
        return list(range(n)) if self.lower != self.turned else list(range(n))[::-1]

    def column(self, e: Emitter, a: Any, inverses: Any, b: Callable[[int], Any]) -> dict[int, Real]:
        """The solution for one right-hand side, by rows."""
        found: dict[int, Real] = {}
        for i in self.order(a.shape[-1]):
            products = [(Real(e, a[(k, i) if self.turned else (i, k)]), y) for k, y in found.items()]
            rest = less_products(Real(e, b(i)), products)
            found[i] = rest if self.unit else rest * Real(e, inverses[i])
        return found

    def inverses(self, e: Emitter, a: Any) -> tuple[list[Any], Any]:
        """One over each number of the diagonal, and whether one of these is zero."""
        zero, one = e.constant(0, a.dtype), e.constant(1, a.dtype)
        found, wrong = [], None
        for i in [] if self.unit else range(a.shape[-1]):
            bad = e.math("eq", a[i, i], zero)
            wrong = bad if wrong is None else e.math("or", wrong, bad)
            found.append(e.math("div", one, a[i, i]))
        return found, zero if wrong is None else e.math("select", wrong, zero, one)


def triangular_solve(w: Routines, a: Reader, b: Reader, x: StridedView, triangle: Triangle, find: Callable[[], None]) -> None:
    """Forward or back substitution: several right-hand sides side by side, or else the matrices; ``find`` is for a zero on a diagonal."""
    lead = a.shape[:-2]
    failed = w.scratch(lead, a.dtype)
    m = b.shape[-1] if triangle.left_side else b.shape[-2]
    (matrices_in_lanes if m < FEWEST_COLUMNS else columns_in_lanes)(w, a, b, x, triangle, failed)
    if not triangle.unit:
        w.when(any_failed(w, lead, failed), find)


def matrices_in_lanes(w: Routines, a: Reader, b: Reader, x: StridedView, triangle: Triangle, failed: StridedView) -> None:
    """Systems with few right-hand sides."""
    e, m = w.emitter, b.shape[-1] if triangle.left_side else b.shape[-2]

    def body(a: Any, b: Any, x: Any, failed: Any) -> None:
        inverses, failed[()] = triangle.inverses(e, a)
        for j in range(m):
            at = (lambda i, j=j: (i, j)) if triangle.left_side else (lambda i, j=j: (j, i))
            for i, y in triangle.column(e, a, inverses, lambda i, at=at: b[at(i)]).items():
                x[at(i)] = y.x

    w.batched(a.shape[:-2], [a, b], [x, failed], body)


def columns_in_lanes(w: Routines, a: Reader, b: Reader, x: StridedView, triangle: Triangle, failed: StridedView) -> None:
    """Systems with several right-hand sides, one system after the other; where they are rows, they are turned before and after."""
    *lead, n, _ = a.shape
    e, left = w.emitter, triangle.left_side
    m = b.shape[-1] if left else b.shape[-2]
    factors, sides, diagonal = w.dense(a), w.strided(b), w.scratch((*lead, n), a.dtype)

    def reciprocals(a: Any, diagonal: Any, failed: Any) -> None:
        inverses, failed[()] = triangle.inverses(e, a)
        for i, y in enumerate(inverses):
            diagonal[i] = y

    w.batched(lead, [a], [diagonal, failed], reciprocals)
    copy = w.scratch((n, m), a.dtype)

    def one(k: tuple[Any, ...]) -> None:
        matrix, inverses = factors.part(*k), diagonal.part(*k)
        given, target = (sides.part(*k), x.part(*k)) if left else (sides.part(*k).mT, copy)
        source = given if given.strides[-1] == 1 else copy
        if source is copy:
            w.copy(given, copy)

        def column(j: Any) -> None:
            for i, y in triangle.column(e, matrix, inverses, lambda i: source[i, j]).items():
                target[i, j] = y.x

        w.vectorized(m, column)
        if not left:
            w.copy(copy, x.part(*k).mT)

    w.outlined(lambda: w.every(lead, one))


# ---- elimination ---------------------------------------------------------------------------------------------------------------
class Elimination:
    """Gaussian elimination of ``rows`` (with right-hand sides as further columns), by partial pivoting."""

    def __init__(self, e: Emitter, rows: list[list[Real]], dtype: np.dtype[Any]):
        self.e, self.rows, self.n = e, rows, len(rows)
        self.zero, self.one = Real(e, e.constant(0, dtype)), Real(e, e.constant(1, dtype))
        self.sign, self.inverses = self.one, []
        self.singular: Any = None
        for k in range(self.n):
            self.pivot(k)
            bad = e.math("eq", rows[k][k].x, self.zero.x)
            self.singular = bad if self.singular is None else e.math("or", self.singular, bad)
            self.inverses.append(self.one / rows[k][k])
            for i in range(k + 1, self.n):
                factor = rows[i][k] * self.inverses[k]
                for j in range(k + 1, len(rows[i])):
                    rows[i][j] = less_products(rows[i][j], [(factor, rows[k][j])])

    def pivot(self, k: int) -> None:
        """Exchange row k and the first row from k on with the largest number in column k."""
        e, rows = self.e, self.rows
        best, larger = rows[k][k].made("abs"), []
        for i in range(k + 1, self.n):
            size = rows[i][k].made("abs")
            larger.append(e.math("gt", size.x, best.x))
            best = self.chosen(larger[-1], size, best)
        later: Any = None
        top = rows[k]
        for i in range(self.n - 1, k, -1):  # the last that was larger is the largest
            taken = larger[i - k - 1] if later is None else e.math("and", larger[i - k - 1], e.math("not", later))
            later = larger[i - k - 1] if later is None else e.math("or", later, larger[i - k - 1])
            old = self.rows[i]
            rows[i] = [y if j < k else self.chosen(taken, x, y) for j, (x, y) in enumerate(zip(top, old, strict=True))]
            rows[k] = [y if j < k else self.chosen(taken, x, y) for j, (x, y) in enumerate(zip(old, rows[k], strict=True))]
        if later is not None:
            self.sign = self.chosen(later, self.sign.made("neg"), self.sign)

    def chosen(self, condition: Any, yes: Real, no: Real) -> Real:
        return Real(self.e, self.e.math("select", condition, no.x, yes.x))

    def solution(self, column: int) -> list[Real]:
        """The solution for a right-hand side, from below."""
        found: list[Real] = []
        for i in range(self.n - 1, -1, -1):
            row = self.rows[i]
            rest = less_products(row[column], list(zip(row[i + 1 : self.n], reversed(found), strict=True)))
            found.append(rest * self.inverses[i])
        return found[::-1]


def solve(w: Routines, a: Reader, b: Reader, x: StridedView) -> None:
    """A x = b."""
    lead, (n, m), e = a.shape[:-2], b.shape[-2:], w.emitter
    failed = w.scratch(lead, a.dtype)

    def body(a: Any, b: Any, x: Any, failed: Any) -> None:
        rows = [[*p, *q] for p, q in zip(numbers(e, a, n, n), numbers(e, b, n, m), strict=True)]
        done = Elimination(e, rows, a.dtype)
        for j in range(m):
            for i, y in enumerate(done.solution(n + j)):
                x[i, j] = y.x
        failed[()] = done.chosen(done.singular, done.one, done.zero).x

    w.batched(lead, [a, b], [x, failed], body)
    w.fail(any_failed(w, lead, failed), np.linalg.LinAlgError, "Singular matrix")


def sign_and_logarithm(
    w: Routines, a: Reader, results: Sequence[StridedView], finish: Callable[[Emitter, Any, Any], Sequence[Any]]
) -> None:
    """The determinant as its sign and the logarithm of its size, of which ``finish(e, sign, logarithm)`` makes the results."""
    lead, n, e = a.shape[:-2], a.shape[-1], w.emitter

    def body(a: Any, *results: Any) -> None:
        done = Elimination(e, numbers(e, a, n, n), a.dtype)
        sign, total = done.sign, done.zero
        for i in range(n):
            size = done.rows[i][i]
            sign = done.chosen(e.math("lt", size.x, done.zero.x), sign.made("neg"), sign)
            total = total + size.made("abs").made("log")
        least = Real(e, e.constant(-np.inf, a.dtype))
        sign, total = done.chosen(done.singular, done.zero, sign), done.chosen(done.singular, least, total)
        for y, value in zip(results, finish(e, sign.x, total.x), strict=True):
            y[()] = value

    w.batched(lead, [a], results, body)


# ---- products ------------------------------------------------------------------------------------------------------------------
def multiply(w: Routines, x: StridedView, y: StridedView, z: StridedView) -> None:
    """Products of stacks of matrices: the numbers of a row of the result side by side."""
    lead, (n, k), m, e = x.shape[:-2], x.shape[-2:], y.shape[-1], w.emitter
    copy = w.scratch((k, m), y.dtype) if y.strides[-1] != 1 else None

    def one(b: tuple[Any, ...]) -> None:
        right = copy or y.part(*b)
        if copy is not None:
            w.copy(y.part(*b), copy)

        def row(i: tuple[Any, ...]) -> None:
            def number(j: Any) -> None:
                total = e.math("mul", x[(*b, *i, 0)], right[0, j])
                for r in range(1, k):
                    total = e.math("fmuladd", x[(*b, *i, r)], right[r, j], total)
                z[(*b, *i, j)] = total

            w.vectorized(m, number)

        w.every((n,), row)

    w.outlined(lambda: w.every(lead, one))
