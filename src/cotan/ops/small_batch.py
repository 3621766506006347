"""Kernels with loops for many small matrices: one matrix in each lane of a vector (`Routines.batches`), written in numbers of a lane.

A matrix whose numbers are not finite, or too large or small to be squared, is left to LAPACK itself. So are stacks of few matrices, for
which the time to compile a kernel does not pay. `small_spectra` and `small_qr` have the kernels; `small` has straight-line code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from ..core.emitting import Batch, DType, Emitter, Index, Reader, Routines, StridedView, where
from .lapack import any_failed, fill_nan, not_zero
from .small import Entry

__all__ = ["UNROLLED", "Kernel", "Lane", "decompose", "pays", "reflector", "total"]

LARGEST, LONGEST, FEWEST, MANY = 8, 16, 4, 64
UNROLLED = 3
"""Up to this order steps are written as straight-line code, and kernels compile quickly: `FEWEST` matrices pay, else `MANY`."""
RANGES = {8: (1e-100, 1e100, 1e-290), 4: (1e-6, 1e15, 1e-35)}
"""By the bytes of a real number: between which sizes the largest number of a matrix is for its squares to be normal; what squares count as
zero."""


class Lane:
    """The numbers of an array of one lane."""

    def __init__(self, e: Emitter, view: StridedView):
        self.e, self.view = e, view

    def __getitem__(self, index: Any) -> Entry:
        return Entry(self.e, self.view[index], self.view.dtype)

    def __setitem__(self, index: Any, x: Entry) -> None:
        self.view[index] = x.scalar


class Kernel:
    """Arrays of a batch of matrices, and steps on them."""

    def __init__(self, w: Routines, batch: Batch, n: int, dtype: DType):
        self.e, self.batch, self.n, self.dtype = w.emitter, batch, n, dtype
        self.part = np.finfo(dtype).dtype
        self.least, self.most, self.none = RANGES[self.part.itemsize]
        self.is_complex = dtype.kind == "c"

    def each(self, step: Callable[..., None], *arrays: Any) -> None:
        self.batch.each(lambda *views: step(*[Lane(self.e, x) for x in views]), *arrays)

    def over(self, count: int, step: Callable[..., None], *arrays: Any) -> None:
        self.batch.over(count, lambda k, *views: step(k, *[Lane(self.e, x) for x in views]), *arrays)

    def reals(self, *shape: int) -> Any:
        return self.batch.scratch(shape, self.part)

    def together(self, size: int, write: Callable[[], None]) -> None:
        """``write()`` as straight-line code, if it is about matrices of few elements."""
        if size <= UNROLLED**2:
            self.batch.each(write)
        else:
            write()

    def load_all(self, a: Any, work: Any, left: Any) -> None:
        """Copy matrices; zeros in place of those that are left to LAPACK, for which ``left`` is 1."""
        (m, n), sizes = a.shape[-2:], self.reals(2)

        def begin(sizes: Lane) -> None:
            sizes[0], sizes[1] = self.number(0), self.number(0)

        def measure(i: Index, a: Lane, sizes: Lane) -> None:
            biggest, sound = sizes[0], sizes[1]
            for j in range(n):
                biggest, sound = self.measured(a[i, j], biggest, sound)
            sizes[0], sizes[1] = biggest, sound

        def judge(sizes: Lane, left: Lane) -> None:
            left[()] = where(self.fits(sizes[0], sizes[1]), self.number(0), 1)

        def copy(i: Index, a: Lane, work: Lane, left: Lane) -> None:
            fits = left[()].equals(0)
            for j in range(n):
                work[i, j] = where(fits, a[i, j], 0)

        self.each(begin, sizes)
        self.over(m, measure, a, sizes)
        self.each(judge, sizes, left)
        self.over(m, copy, a, work, left)

    def unit(self, i: Index, q: Lane) -> None:
        """Row i of the identity."""
        row, one = self.at(i), self.number(1, self.dtype)
        for j in range(q.view.shape[-1]):
            q[i, j] = where(row.equals(j), one, 0)

    def measured(self, x: Entry, biggest: Entry, sound: Entry) -> tuple[Entry, Entry]:
        """The larger of ``biggest`` and the parts of x, and 0 if these are finite too."""
        for y in x.parts if self.is_complex else (x,):
            size = abs(y)
            biggest, sound = where(size > biggest, size, biggest), y.fused(0, sound)
        return biggest, sound

    def fits(self, biggest: Entry, sound: Entry) -> Entry:
        """Whether a matrix has finite numbers whose squares are normal."""
        return sound.equals(0) & (biggest <= self.most) & ((biggest >= self.least) | biggest.equals(0))

    def number(self, x: complex, dtype: DType | None = None) -> Entry:
        dtype = dtype or self.part
        return Entry(self.e, self.e.constant(x, dtype), dtype)

    def at(self, i: Index) -> Entry:
        """An index as a real number."""
        return self.number(i) if isinstance(i, int) else Entry(self.e, self.e.as_scalar(i, self.part), self.part)

    def of_real(self, x: Entry) -> Entry:
        """A real number in the dtype of the matrix."""
        if not self.is_complex:
            return x
        return Entry(self.e, self.e.math("complex", x.scalar, self.e.constant(0, self.part)), self.dtype)

    def conj(self, x: Entry) -> Entry:
        return x.math("conj") if self.is_complex else x

    def real(self, x: Entry) -> Entry:
        return x.parts[0] if self.is_complex else x

    def squared(self, x: Entry) -> Entry:
        if not self.is_complex:
            return x * x
        re, im = x.parts
        return re.fused(re, im * im)


def pays(lead: Sequence[int], m: int, n: int) -> bool:
    """Whether a kernel is better than a call for each of a stack of m x n matrices."""
    return 0 < min(m, n) <= LARGEST and max(m, n) <= LONGEST and prod(lead) >= (FEWEST if max(m, n) <= UNROLLED else MANY)


def total(terms: Sequence[tuple[Entry, Entry]]) -> Entry:
    """The sum of products."""
    (x, y), *rest = terms
    found = x * y
    for x, y in rest:
        found = x.fused(y, found)
    return found


def reflector(k: Kernel, alpha: Entry, below: Sequence[Entry]) -> tuple[Entry, Entry, Entry]:
    """LAPACK's `larfg`: (beta, tau, scale) with H^H (alpha, below) = (beta, 0), H = 1 - tau v v^H, v = (1, scale below)."""
    rest = k.number(0)
    for x in below:
        rest = rest + k.squared(x)
    re, im = alpha.parts if k.is_complex else (alpha, k.number(0))
    others = im.fused(im, rest) if k.is_complex else rest
    flat = others <= k.none
    size = where(flat, 1, re.fused(re, others)).math("sqrt")
    beta = -size.math("copysign", re)
    inverse = 1 / beta
    if not k.is_complex:
        tau = where(flat, 0, (beta - re) * inverse)
        scale = 1 / where(flat, 1, re - beta)
        return where(flat, re, beta), tau, scale
    tau_re, tau_im = where(flat, 0, (beta - re) * inverse), where(flat, 0, -im * inverse)
    difference = where(flat, 1, re - beta)
    over = 1 / difference.fused(difference, im * im)
    e = k.e
    tau = Entry(e, e.math("complex", tau_re.scalar, tau_im.scalar), k.dtype)
    scale = Entry(e, e.math("complex", (difference * over).scalar, where(flat, 0, -im * over).scalar), k.dtype)
    return where(flat, re, beta), tau, scale


def decompose(
    w: Routines,
    a: Reader,
    results: Sequence[StridedView],
    body: Callable[..., None],
    one: Callable[[tuple[Any, ...]], StridedView],
    work: int,
) -> None:
    """``body(batch, a, *results, left)`` on a stack of matrices. Those where it makes the number ``left`` other than zero are left to
    LAPACK: ``one(k)``, which gives the status. The results of a matrix for which that is not zero are nan.
    """
    lead, part = a.shape[:-2], np.finfo(a.dtype).dtype
    left = w.scratch(lead, part)
    w.batches(lead, [a], [*results, left], body, work)

    def again(k: tuple[Any, ...]) -> None:
        status = one(k)
        for y in results:
            w.when(not_zero(w, status), lambda y=y: fill_nan(w, y.part(*k)))

    w.when(any_failed(w, lead, left), lambda: w.every(lead, lambda k: w.when(not_zero(w, left, k), lambda: again(k))))
