"""Singular values of small matrices, many at a time: one-sided Jacobi rotations with one matrix in each lane of a vector.

A rotation of two columns x, y makes them orthogonal. The tangent of its angle is the smaller root t of t^2 + t (|y|^2 - |x|^2) / g = 1, for
g = x^H y, whose phase y has lost if it is complex. After some sweeps all columns are orthogonal, and the singular values are their norms
(Demmel & Veselic 1992, "Jacobi's method is more accurate than QR"). The vectors of these rotations would not have LAPACK's signs; `Svd`
calls LAPACK for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.emitting import Batch, DType, Index, Reader, Routines, StridedView, where
from .small import Entry
from .small_batch import UNROLLED, Kernel, Lane, decompose, total

__all__ = ["singular_values"]

SWEEPS = 30
RANGES = {8: (1e-50, 1e50), 4: (1e-4, 1e8)}
"""By the bytes of a real number: between which sizes the largest number of a matrix is for products of squared norms to be normal."""


def singular_values(w: Routines, a: Reader, values: StridedView, one: Callable[[tuple[Any, ...]], StridedView]) -> None:
    """The singular values of a stack of matrices, descending; ``one(k)`` has LAPACK find those of a matrix and gives the status."""
    m, n = a.shape[-2:]

    def body(batch: Batch, a: Any, values: Any, left: Any) -> None:
        Jacobi(w, batch, m, n, a.dtype).write(a, values, left)

    decompose(w, a, [values], body, one, 4 * m * n * min(m, n))


class Jacobi(Kernel):
    """The rotations of the columns of a batch of matrices, or of the rows, if these are fewer."""

    def __init__(self, w: Routines, batch: Batch, m: int, n: int, dtype: DType):
        super().__init__(w, batch, n, dtype)
        self.least, self.most = RANGES[self.part.itemsize]
        self.wide, self.length, self.count = m < n, max(m, n), min(m, n)
        self.work, self.biggest, self.moved = batch.scratch((m, n), dtype), self.reals(), self.reals()

    def place(self, i: int, j: Index) -> tuple[Index, Index]:
        """Where element i of column j is."""
        return (j, i) if self.wide else (i, j)

    def write(self, a: Any, values: Any, left: Any) -> None:
        self.load_all(a, self.work, left)
        self.each(self.measure, self.work, self.biggest, self.moved)
        if self.count > 1:
            self.batch.repeat(SWEEPS, self.moved, self.sweep)
            self.each(lambda left, moved: left.__setitem__((), where(moved[()].equals(0), left[()], 1)), left, self.moved)
        self.each(self.order, self.work, values)

    def measure(self, work: Lane, biggest: Lane, moved: Lane) -> None:
        found = self.number(0)
        for i, j in np.ndindex(self.length, self.count):
            found, _ = self.measured(work[self.place(i, j)], found, found)
        biggest[()], moved[()] = found, self.number(1)

    def sweep(self) -> None:
        arrays = (self.work, self.biggest, self.moved)

        def whole() -> None:
            self.each(lambda moved: moved.__setitem__((), self.number(0)), self.moved)
            for apart in range(1, self.count):
                self.over(self.count - apart, lambda j, *views, apart=apart: self.rotate(j, j + apart, *views), *arrays)

        if self.count <= UNROLLED:
            self.batch.each(whole)
        else:
            whole()

    def rotate(self, p: Index, q: Index, work: Lane, biggest: Lane, moved: Lane) -> None:
        """Make columns p and q orthogonal."""
        eps = float(np.finfo(self.part).eps)
        x, y = ([work[self.place(i, j)] for i in range(self.length)] for j in (p, q))
        xx, yy = self.norm(x), self.norm(y)
        product = total([(self.conj(a), b) for a, b in zip(x, y, strict=True)])
        size = self.squared(product).math("sqrt") if self.is_complex else abs(product)
        floor = eps / 4 * biggest[()]
        least = where(xx < yy, xx, yy)
        taken = (size > self.length * eps * (xx * yy).math("sqrt")) & (least > floor * floor)
        ratio = (yy - xx) / (2 * where(taken, size if self.is_complex else product, 1))
        t = where(taken, 1 / (abs(ratio) + ratio.fused(ratio, 1).math("sqrt")), 0)
        t = where(ratio < 0, -t, t)
        c = 1 / t.fused(t, 1).math("sqrt")
        s = c * t
        moved[()] = where(taken, 1, moved[()])
        if self.is_complex:
            re, im = product.parts
            over = 1 / where(taken, size, 1)
            phase = Entry(self.e, self.e.math("complex", (re * over).scalar, (-im * over).scalar), self.dtype)
            y = [where(taken, phase * b, b) for b in y]
        c, s = self.of_real(c), self.of_real(s)
        for i, (a, b) in enumerate(zip(x, y, strict=True)):
            work[self.place(i, p)], work[self.place(i, q)] = c.fused(a, -(s * b)), s.fused(a, c * b)

    def norm(self, x: list[Entry]) -> Entry:
        """The square of the norm."""
        found = self.number(0)
        for a in x:
            found = found + self.squared(a)
        return found

    def order(self, work: Lane, values: Lane) -> None:
        found = [self.norm([work[self.place(i, j)] for i in range(self.length)]).math("sqrt") for j in range(self.count)]
        for end in range(self.count - 1, 0, -1):
            for j in range(end):
                less = found[j] < found[j + 1]
                found[j : j + 2] = where(less, found[j + 1], found[j]), where(less, found[j], found[j + 1])
        for j, x in enumerate(found):
            values[j] = x
