"""QR of small matrices, many at a time: LAPACK's Householder reflections with one matrix in each lane of a vector, so with its signs.

A = H_1 ... H_k R with H = 1 - tau v v^H, as in `geqr2` and `org2r` (Golub & Van Loan 2013, "Matrix computations", 5.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.emitting import Batch, DType, Index, Reader, Routines, StridedView, where
from .small_batch import Kernel, Lane, decompose, reflector, total

__all__ = ["factorize"]


def factorize(w: Routines, a: Reader, q: StridedView, r: StridedView, one: Callable[[tuple[Any, ...]], StridedView]) -> None:
    """The factors of a stack of matrices; ``one(k)`` factorizes a matrix by LAPACK and gives the status."""
    m, n = a.shape[-2:]

    def body(batch: Batch, a: Any, q: Any, r: Any, left: Any) -> None:
        factors = Factors(w, batch, m, n, a.dtype)
        factors.together(m * max(n, q.shape[-1]), lambda: factors.write(a, q, r, left))

    decompose(w, a, [q, r], body, one, 2 * m * max(n, q.shape[-1]) * min(m, n))


class Factors(Kernel):
    """The factors of a batch of m x n matrices."""

    def __init__(self, w: Routines, batch: Batch, m: int, n: int, dtype: DType):
        super().__init__(w, batch, n, dtype)
        self.m, self.k = m, min(m, n)
        self.work, self.tau, self.diagonal = (batch.scratch(shape, dtype) for shape in ((m, n), (self.k,), (m,)))

    def write(self, a: Any, q: Any, r: Any, left: Any) -> None:
        self.load_all(a, self.work, left)
        for i in range(self.k):
            self.reflect(i)
        self.over(r.shape[0], self.upper, self.work, self.diagonal, r)
        self.over(self.m, self.unit, q)
        for i in range(self.k - 1, -1, -1):
            self.accumulate(i, q)

    def upper(self, i: Index, work: Lane, diagonal: Lane, r: Lane) -> None:
        row, none = self.at(i), self.number(0, self.dtype)
        for j in range(self.n):
            r[i, j] = where(row < j, work[i, j], where(row.equals(j), diagonal[i], none))

    def reflect(self, i: int) -> None:
        """R's diagonal element i, and H_i^H times the columns after i; v is put into column i."""
        rows = range(i, self.m)

        def make(work: Lane, tau: Lane, diagonal: Lane) -> None:
            beta, tau[i], scale = reflector(self, work[i, i], [work[s, i] for s in rows[1:]])
            diagonal[i] = self.of_real(beta)
            work[i, i] = self.number(1, self.dtype)
            for s in rows[1:]:
                work[s, i] = work[s, i] * scale

        def column(j: Index, work: Lane, tau: Lane) -> None:
            at = i + 1 + j
            part = -(self.conj(tau[i]) * total([(self.conj(work[s, i]), work[s, at]) for s in rows]))
            for s in rows:
                work[s, at] = work[s, i].fused(part, work[s, at])

        self.each(make, self.work, self.tau, self.diagonal)
        self.over(self.n - i - 1, column, self.work, self.tau)

    def accumulate(self, i: int, q: Any) -> None:
        """H_i times the columns of Q from i on."""
        rows = range(i, self.m)

        def column(j: Index, work: Lane, tau: Lane, q: Lane) -> None:
            part = -(tau[i] * total([(self.conj(work[s, i]), q[s, i + j]) for s in rows]))
            for s in rows:
                q[s, i + j] = work[s, i].fused(part, q[s, i + j])

        self.over(q.shape[-1] - i, column, self.work, self.tau, q)
