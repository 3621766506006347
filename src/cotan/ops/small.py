"""Linear algebra of small matrices as straight-line code: unrolled eliminations, in which every choice is a select.

For up to `LARGEST` rows a call of LAPACK costs more than the arithmetic. Straight-line code vectorizes over a stack of matrices, one in
each lane of a vector (`Routines.batched`). Pivots are chosen as in LAPACK: the first of the largest elements of the column. `linalg`,
`determinant` and `contraction` call this module where `is_small` holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import NamedTuple, Self

import numpy as np

from ..core.emitting import DType, Emitter, Expression, Index, Reader, Routines, Scalar, StridedView, where
from .lapack import any_failed, fill_nan, is_finite, not_zero, zero_where_zero

__all__ = ["LONGEST_ROW", "Triangle", "cholesky", "cofactors", "is_small", "multiply", "sign_and_logarithm", "solve", "triangular_solve"]

LARGEST, FEWEST, FEWEST_COLUMNS, LONGEST_ROW = 8, 4, 4, 16
LITTLE_WORK, MANY = 600, 64
"""Eliminations with more work than `LITTLE_WORK` compile slowly; they are unrolled for stacks of at least `MANY` matrices."""
MOST_ACCESSES = 248
"""LLVM vectorizes no loop that reads and writes more than 250 places: it no longer tells them apart (alias-set-saturation-threshold)."""


class Entry(Expression[Emitter, Scalar]):
    """A scalar of a matrix. A condition has the dtype of the numbers that it compares."""

    __slots__ = ("_dtype",)

    def __init__(self, e: Emitter, scalar: Scalar, dtype: DType):
        self.e, self.scalar, self._dtype = e, scalar, dtype

    @property
    def dtype(self) -> DType:
        return self._dtype

    def of(self, scalar: Scalar) -> Self:
        return type(self)(self.e, scalar, self._dtype)

    @property
    def parts(self) -> tuple[Entry, Entry]:
        """The real and the imaginary part of a complex number."""
        part = np.finfo(self._dtype).dtype
        re, im = (Entry(self.e, self.e.math(name, self.scalar), part) for name in ("real", "imag"))
        return re, im

    def fused(self, factor: Self | complex, term: Self | complex) -> Self:
        if self._dtype.kind != "c":
            return super().fused(factor, term)
        (a, b), (c, d), (re, im) = self.parts, self.like(factor).parts, self.like(term).parts
        re, im = a.fused(c, (-b).fused(d, re)), a.fused(d, b.fused(c, im))
        return self.of(self.e.math("complex", re.scalar, im.scalar))

    def size(self) -> Entry:
        """The size by which LAPACK chooses pivots: |re| + |im| of a complex number."""
        return abs(self) if self._dtype.kind != "c" else abs(self.parts[0]) + abs(self.parts[1])


def is_small(lead: Sequence[int], dtype: DType, n: int, m: int = 1, kinds: str = "f", results: int = 0) -> bool:
    """Whether straight-line code is faster than a call for each of a stack of n x n matrices (and n x m right-hand sides). It reads and
    writes the right-hand sides, or writes so many results.
    """
    parts = 2 if dtype.kind == "c" else 1
    work, accesses = n * n * (n + m) * parts**2, (n * n + (results or 2 * n * m)) * parts
    fewest = 1 if n <= 3 else FEWEST if work <= LITTLE_WORK else MANY
    return dtype.kind in kinds and 0 < n <= LARGEST and 0 < m <= LARGEST and accesses <= MOST_ACCESSES and prod(lead) >= fewest


def element(e: Emitter, x: StridedView, *index: Index) -> Entry:
    """An element of a block of memory."""
    return Entry(e, x[index], x.dtype)


def elements(e: Emitter, x: StridedView, rows: int, columns: int) -> list[list[Entry]]:
    """The elements of a matrix."""
    return [[element(e, x, i, j) for j in range(columns)] for i in range(rows)]


def less_products(x: Entry, pairs: Iterable[tuple[Entry, Entry]]) -> Entry:
    """x minus the sum of products."""
    for a, b in pairs:
        x = (-a).fused(b, x)
    return x


SINGULAR, NOT_FINITE = 2, 1
"""What is noted of a matrix that has no solutions, and of one that has some which are not finite; 0 of others."""


def where_failed(w: Routines, lead: Sequence[int], failed: StridedView, mend: Callable[[tuple[Index, ...]], None]) -> None:
    """``mend(k)`` for each matrix of a stack for which the scalar ``failed[k]`` is not 0."""
    w.when(any_failed(w, lead, failed), lambda: w.every(lead, lambda k: w.when(not_zero(w, failed, k), lambda: mend(k))))


def status(e: Emitter, failed: StridedView, singular: Entry | None, not_finite: Entry | None = None) -> Scalar:
    """What to note in ``failed`` of a matrix for which these conditions hold."""
    noted = e.constant(0, failed.dtype)
    for condition, value in ((not_finite, NOT_FINITE), (singular, SINGULAR)):
        if condition is not None:
            noted = e.math("select", condition.scalar, noted, e.constant(value, failed.dtype))
    return noted


# ---- Cholesky ------------------------------------------------------------------------------------------------------------
def cholesky(w: Routines, a: Reader, factor: StridedView) -> None:
    """L by rows: l_ij = (a_ij - sum_k l_ik l_jk) / l_jj."""
    lead, n, e = a.shape[:-2], a.shape[-1], w.emitter
    failed = w.scratch(lead, a.dtype)

    def body(a: StridedView, factor: StridedView, failed: StridedView) -> None:
        rows: list[list[Entry]] = []
        inverses: list[Entry] = []
        wrong: Entry | None = None
        for i in range(n):
            row: list[Entry] = []
            for j in range(i):
                row.append(less_products(element(e, a, i, j), zip(row, rows[j], strict=False)) * inverses[j])
                factor[i, j] = row[j].scalar
            square = less_products(element(e, a, i, i), [(x, x) for x in row])
            bad = square <= 0
            wrong = bad if wrong is None else wrong | bad
            root = square.math("sqrt")
            factor[i, i] = root.scalar
            row.append(root)
            rows.append(row)
            inverses.append(1 / root)
            for j in range(i + 1, n):
                factor[i, j] = e.constant(0, a.dtype)
        assert wrong is not None  # a matrix has a row
        failed[()] = status(e, failed, wrong)

    w.batched(lead, [a], [factor, failed], body)
    where_failed(w, lead, failed, lambda k: nan_factor(w, factor.part(*k)))


def nan_factor(w: Routines, factor: StridedView) -> None:
    """Set the lower triangle of a matrix to nan."""
    e = w.emitter
    w.fill(factor, lambda i: e.choose(i[0] >= i[1], lambda: e.constant(np.nan, factor.dtype), lambda: e.constant(0, factor.dtype)))


# ---- triangular systems ------------------------------------------------------------------------------------------------------
class Triangle(NamedTuple):
    """A triangular system: op(A) X = B, or X op(A) = B, whose transpose has A on the left."""

    left_side: bool
    lower: bool
    transposed: bool
    unit: bool

    @property
    def on_transpose(self) -> bool:
        """Whether the system with the matrix on the left is the transposed one."""
        return self.transposed if self.left_side else not self.transposed

    def order(self, n: int) -> list[int]:
        """The rows in the order of substitution."""
        return list(range(n)) if self.lower != self.on_transpose else list(range(n))[::-1]

    def column(self, e: Emitter, a: StridedView, inverse: Callable[[int], Entry], b: Callable[[int], Entry]) -> dict[int, Entry]:
        """The solution for one right-hand side, by rows; ``inverse(i)`` is the reciprocal of diagonal element i."""
        found: dict[int, Entry] = {}
        for i in self.order(a.shape[-1]):
            rest = less_products(b(i), [(element(e, a, *((k, i) if self.on_transpose else (i, k))), y) for k, y in found.items()])
            found[i] = rest if self.unit else rest * inverse(i)
        return found

    def inverses(self, e: Emitter, a: StridedView) -> tuple[list[Entry], Entry | None]:
        """The reciprocals of the diagonal elements, and whether one of these elements is zero; None if they are not read."""
        found: list[Entry] = []
        wrong: Entry | None = None
        for i in [] if self.unit else range(a.shape[-1]):
            bad = element(e, a, i, i).equals(0)
            wrong = bad if wrong is None else wrong | bad
            found.append(1 / element(e, a, i, i))
        return found, wrong


def triangular_solve(w: Routines, a: Reader, b: Reader, x: StridedView, triangle: Triangle, *, strong_zero: bool) -> None:
    """Forward or back substitution, vectorized over right-hand sides or over matrices."""
    lead = a.shape[:-2]
    failed = w.scratch(lead, np.finfo(a.dtype).dtype)
    m = b.shape[-1] if triangle.left_side else b.shape[-2]
    (matrices_in_lanes if m < FEWEST_COLUMNS else columns_in_lanes)(w, a, b, x, triangle, failed, strong_zero)
    if strong_zero or not triangle.unit:
        finish(w, lead, failed, b, x, strong_zero=strong_zero, rows=not triangle.left_side)


def finish(
    w: Routines, lead: Sequence[int], failed: StridedView, b: Reader, x: StridedView, *, strong_zero: bool, rows: bool = False
) -> None:  # fmt: skip
    """Set the solutions for singular matrices to nan, and then those for a right-hand side of zero to zero, if it is a strong one."""
    e = w.emitter

    def mend(k: tuple[Index, ...]) -> None:
        y = x.part(*k)
        w.when(e.math("eq", failed[k], e.constant(SINGULAR, failed.dtype)), lambda: fill_nan(w, y))
        if strong_zero:
            zero_where_zero(w, lambda i: b((*k, *i)), y, rows=rows)

    where_failed(w, lead, failed, mend)


def note_not_finite(w: Routines, numbers: StridedView, failed: StridedView, k: tuple[Index, ...]) -> None:
    """Note of matrix k that one of these numbers is not finite, if nothing is noted yet."""
    e = w.emitter
    none = e.constant(0, failed.dtype)
    fine = e.math("or", is_finite(w, numbers), e.math("ne", failed[k], none))
    failed[k] = e.math("select", fine, e.constant(NOT_FINITE, failed.dtype), failed[k])


def matrices_in_lanes(w: Routines, a: Reader, b: Reader, x: StridedView, triangle: Triangle, failed: StridedView, strong: bool) -> None:
    """Systems with few right-hand sides, one system in each lane."""
    e, n, m = w.emitter, a.shape[-1], b.shape[-1] if triangle.left_side else b.shape[-2]

    def body(a: StridedView, b: StridedView, x: StridedView, failed: StridedView) -> None:
        inverses, singular = triangle.inverses(e, a)
        unknown: Entry | None = None
        for j in range(m):
            at = (lambda i, j=j: (i, j)) if triangle.left_side else (lambda i, j=j: (j, i))
            solution = triangle.column(e, a, inverses.__getitem__, lambda i, at=at: element(e, b, *at(i)))
            for i, y in solution.items():
                x[at(i)] = y.scalar
            last = solution[triangle.order(n)[-1]]  # it depends on the others
            unknown = last.differs(last) if unknown is None else unknown | last.differs(last)
        assert unknown is not None  # there is a right-hand side
        failed[()] = status(e, failed, singular, unknown if strong else None)

    w.batched(a.shape[:-2], [a, b], [x, failed], body)


def columns_in_lanes(w: Routines, a: Reader, b: Reader, x: StridedView, triangle: Triangle, failed: StridedView, strong: bool) -> None:
    """Systems with several right-hand sides, one system after the other, one right-hand side in each lane; rows are transposed before and
    after.
    """
    *lead, n, _ = a.shape
    e, left = w.emitter, triangle.left_side
    m = b.shape[-1] if left else b.shape[-2]
    factors, sides, diagonal = w.dense(a), w.strided(b), w.scratch((*lead, n), a.dtype)

    def reciprocals(a: StridedView, diagonal: StridedView, failed: StridedView) -> None:
        inverses, singular = triangle.inverses(e, a)
        failed[()] = status(e, failed, singular)
        for i, y in enumerate(inverses):
            diagonal[i] = y.scalar

    w.batched(lead, [a], [diagonal, failed], reciprocals)
    copy = w.scratch((n, m), a.dtype)

    def one(k: tuple[Index, ...]) -> None:
        matrix, inverses = factors.part(*k), diagonal.part(*k)
        given, target = (sides.part(*k), x.part(*k)) if left else (sides.part(*k).mT, copy)
        source = given if given.strides[-1] == 1 else copy
        if source is copy:
            w.copy(given, copy)

        def column(j: Index) -> None:
            solution = triangle.column(e, matrix, lambda i: element(e, inverses, i), lambda i: element(e, source, i, j))
            for i, y in solution.items():
                target[i, j] = y.scalar

        w.vectorized(m, column)
        if strong:
            last = target.part(triangle.order(n)[-1])  # the elements that depend on the others
            note_not_finite(w, last, failed, k)
        if not left:
            w.copy(copy, x.part(*k).mT)

    w.outlined(lambda: w.every(lead, one))


# ---- elimination ---------------------------------------------------------------------------------------------------------------
class Elimination:
    """Gaussian elimination of ``rows`` (with right-hand sides as further columns), by partial pivoting.

    A column whose numbers from the diagonal on are at most ``least`` is left as it is, as if its numbers below the diagonal were zero.
    """

    def __init__(self, rows: list[list[Entry]], least: float = 0.0):
        self.rows, self.n = rows, len(rows)
        self.sign = rows[0][0].like(1)
        self.inverses: list[Entry] = []
        for k in range(self.n):
            self.pivot(k)
            bad = rows[k][k].size() <= least
            self.singular = self.singular | bad if k else bad
            self.inverses.append(where(bad, 0, 1 / rows[k][k]))
            for i in range(k + 1, self.n):
                factor = rows[i][k] * self.inverses[k]
                for j in range(k + 1, len(rows[i])):
                    rows[i][j] = less_products(rows[i][j], [(factor, rows[k][j])])

    def pivot(self, k: int) -> None:
        """Exchange row k and the first row from k on with the largest element of column k."""
        rows = self.rows
        best, larger = rows[k][k].size(), list[Entry]()
        for i in range(k + 1, self.n):
            size = rows[i][k].size()
            larger.append(size > best)
            best = where(larger[-1], size, best)
        later: Entry | None = None
        top = rows[k]
        for i in range(self.n - 1, k, -1):  # the last one found larger is the first of the largest
            taken = larger[i - k - 1] if later is None else larger[i - k - 1] & ~later
            later = larger[i - k - 1] if later is None else later | larger[i - k - 1]
            old = rows[i]
            rows[i] = [y if j < k else where(taken, x, y) for j, (x, y) in enumerate(zip(top, old, strict=True))]
            rows[k] = [y if j < k else where(taken, x, y) for j, (x, y) in enumerate(zip(old, rows[k], strict=True))]
        if later is not None:
            self.sign = where(later, -self.sign, self.sign)

    def solution(self, column: int) -> list[Entry]:
        """The solution for a right-hand side, by back substitution."""
        found: list[Entry] = []
        for i in range(self.n - 1, -1, -1):
            row = self.rows[i]
            rest = less_products(row[column], list(zip(row[i + 1 : self.n], reversed(found), strict=True)))
            found.append(rest * self.inverses[i])
        return found[::-1]


def solve(w: Routines, a: Reader, b: Reader, x: StridedView, *, strong_zero: bool) -> None:
    """A x = b."""
    lead, (n, m), e = a.shape[:-2], b.shape[-2:], w.emitter
    failed = w.scratch(lead, np.finfo(a.dtype).dtype)

    def body(a: StridedView, b: StridedView, x: StridedView, failed: StridedView) -> None:
        rows = [[*p, *q] for p, q in zip(elements(e, a, n, n), elements(e, b, n, m), strict=True)]
        done = Elimination(rows)
        unknown: Entry | None = None
        for j in range(m):
            solution = done.solution(n + j)
            for i, y in enumerate(solution):
                x[i, j] = y.scalar
            first = solution[0]  # it depends on the others
            unknown = first.differs(first) if unknown is None else unknown | first.differs(first)
        assert unknown is not None  # there is a right-hand side
        failed[()] = status(e, failed, done.singular, unknown if strong_zero else None)

    w.batched(lead, [a, b], [x, failed], body)
    finish(w, lead, failed, b, x, strong_zero=strong_zero)


def sign_and_logarithm(
    w: Routines, a: Reader, results: Sequence[StridedView], finish: Callable[[Emitter, Scalar, Scalar], Sequence[Scalar]]
) -> None:
    """The sign of the determinant and the logarithm of its magnitude; ``finish(e, sign, logarithm)`` gives the results."""
    lead, n, e = a.shape[:-2], a.shape[-1], w.emitter

    def body(a: StridedView, *results: StridedView) -> None:
        done = Elimination(elements(e, a, n, n))
        sign, total = done.sign, None
        for i in range(n):
            d = done.rows[i][i]
            if d.dtype.kind == "c":
                re, im = d.parts
                size = re.math("hypot", im)
                sign = sign * d.of(e.math("complex", (re / size).scalar, (im / size).scalar))
            else:
                size = abs(d)
                sign = where(d < 0, -sign, sign)
            total = size.math("log") if total is None else total + size.math("log")
        assert total is not None  # a matrix has a row
        sign, total = where(done.singular, 0, sign), where(done.singular, -np.inf, total)
        for y, value in zip(results, finish(e, sign.scalar, total.scalar), strict=True):
            y[()] = value

    w.batched(lead, [a], results, body)


def cofactors(w: Routines, a: Reader, result: StridedView) -> None:
    """The cofactors, by the adjugate of the factors (`determinant.cofactors_by_factors`)."""
    n, e = a.shape[-1], w.emitter

    def body(a: StridedView, result: StridedView) -> None:
        one = Entry(e, e.constant(1, a.dtype), a.dtype)
        rows = [[*row, *[one.like(int(i == j)) for j in range(n)]] for i, row in enumerate(elements(e, a, n, n))]
        done = Elimination(rows, least=float(np.finfo(a.dtype).tiny))
        adjugate = triangular_adjugate(rows, done.sign)
        for i, j in np.ndindex(n, n):
            total = adjugate[i][i] * rows[i][n + j]
            for k in range(i + 1, n):
                total = adjugate[i][k].fused(rows[k][n + j], total)
            result[j, i] = total.scalar

    w.batched(a.shape[:-2], [a], [result], body)


def triangular_adjugate(u: list[list[Entry]], factor: Entry) -> list[list[Entry]]:
    """The adjugate of the upper triangular matrix ``u``, times a factor: by products alone, so it may be singular.

    With M the adjugate of the first k rows and columns, d their determinant, and v, s the next column, that of one row more is
    [[s M, -M v], [0, d]]. So column k is -M v and d, and is multiplied by the diagonal elements that follow.
    """
    n = len(u)
    following = [[factor.like(1)] for _ in range(n)]
    """The products of diagonal elements from j + 1 to before k, by j and k - j - 1."""
    for j in range(n):
        for k in range(j + 1, n):
            following[j].append(following[j][-1] * u[k][k])
    found: list[list[Entry]] = [[] for _ in range(n)]
    for k in range(n):
        column = [following[j][k - j - 1] * u[j][k] for j in range(k)]
        for i in range(k):
            total = found[i][0] * column[i]
            for j in range(i + 1, k):
                total = found[i][j - i].fused(column[j], total)
            found[i].append(-total)
        found[k].append(factor)
        factor = factor * u[k][k]
    return [[factor.like(0)] * i + [x * following[j][-1] for j, x in enumerate(found[i], i)] for i in range(n)]


# ---- products ------------------------------------------------------------------------------------------------------------------
def multiply(w: Routines, x: StridedView, y: StridedView, z: StridedView) -> None:
    """Products of stacks of matrices: one element of a row of the result in each lane."""
    lead, (n, k), m, e = x.shape[:-2], x.shape[-2:], y.shape[-1], w.emitter
    copy = w.scratch((k, m), y.dtype) if y.strides[-1] != 1 else None

    def one(b: tuple[Index, ...]) -> None:
        right = copy or y.part(*b)
        if copy is not None:
            w.copy(y.part(*b), copy)

        def row(i: tuple[Index, ...]) -> None:
            def number(j: Index) -> None:
                total = element(e, x, *b, *i, 0) * element(e, right, 0, j)
                for r in range(1, k):
                    total = element(e, x, *b, *i, r).fused(element(e, right, r, j), total)
                z[(*b, *i, j)] = total.scalar

            w.vectorized(m, number)

        w.every((n,), row)

    w.outlined(lambda: w.every(lead, one))
