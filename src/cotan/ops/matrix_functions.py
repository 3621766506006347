"""Functions of square matrices, by their Schur form. Stacks of them.

References: Bjorck & Hammarling (1983), "A Schur method for the square root of a matrix"; Higham (2008), "Functions of Matrices", chapter 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Emitter, Reader, Routines, StridedView
from ..core.op import Op, op
from ..core.types import ArrayType
from .families import default_rng
from .lapack import by_columns, every_matrix, magnitude, named, not_zero
from .linalg import MatrixOp, symmetric_examples
from .routines import Routines as Module
from .sylvester import WORK, Lyapunov, schur_form, schur_of

__all__ = ["Sqrtm", "sqrtm"]

scipy_linalg = Module("scipy.linalg")
INT64 = np.dtype(np.int64)


@op
class Sqrtm(MatrixOp):
    """The principal square root S of a square matrix A, S S = A with the eigenvalues of S in the right half-plane.

    The root of a real matrix that has a negative eigenvalue is not real: it is nan, as that of a negative number, and of a matrix that is
    not finite. From S S = A follows the Sylvester equation S dS + dS S = dA (Higham 2008, section 6.1), which has a solution where A is not
    singular; elsewhere dS is nan.
    """

    total = True
    library: ClassVar[str] = "sqrtm"

    def type_rule(self, a: ArrayType) -> ArrayType:
        self.check_matrices(a)
        return a.with_shape(a.shape)

    def impl(self, a: Any) -> Any:
        y = np.empty_like(a, order="C")
        for k in np.ndindex(*a.shape[:-2]):
            y[k] = root_of(a[k])
        return y

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        a, (y,) = w.strided(operands[0]), results
        *lead, n, _ = a.shape
        if n:
            every_matrix(w, lead, lambda k: write_root(w, a.part(*k), y.part(*k)), WORK * n**3)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        y = self(*primals)
        return y, Lyapunov(of_adjoint=False, strong_zero=True)(y, tangents[0])

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[Any, bool]:
        return self(a), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls(), (symmetric_examples(3),)
        yield cls(), (rng.normal(size=(2, 2, 2)) + 4 * np.eye(2),)
        yield cls(), (np.array([[1.0, 2.0, 0.3], [-1.5, 0.5, 0.2], [0.3, 1.0, 3.0]]),)
        yield cls(), (rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3)),)
        yield cls(), (np.zeros((0, 0)),)


# ---- one matrix, by NumPy ----------------------------------------------------------------------------------------------------------
def root_of(a: Any) -> Any:
    """The square root of one concrete matrix."""
    n, real = a.shape[-1], a.dtype.kind != "c"
    if n == 0:
        return a
    try:
        form, vectors = schur_of(a)
    except np.linalg.LinAlgError:
        return np.full_like(a, np.nan)
    if not np.isfinite(form).all():  # it overflows
        return np.full_like(a, np.nan)
    limit = n * np.finfo(a.dtype).eps * np.linalg.norm(form)
    single = np.ones(n, bool)
    if real:
        linked = np.diag(form, -1) != 0
        single[1:] &= ~linked
        single[:-1] &= ~linked
        if np.any(single & (np.diag(form) < -limit)):
            return np.full_like(a, np.nan)
        form, vectors = scipy_linalg.rsf2csf(form, vectors)
    d = np.diag(form)
    d = np.sqrt(np.where(single & (np.real(d) < 0), 0, d) if real else d)
    root = np.diag(d)
    with np.errstate(all="ignore"):
        for j in range(1, n):
            for i in range(j - 1, -1, -1):
                rest = form[i, j] - root[i, i + 1 : j] @ root[i + 1 : j, j]
                both = d[i] + d[j]
                root[i, j] = 0 if both == 0 and abs(rest) <= limit else rest / both
        y = vectors @ root @ vectors.conj().T
    return np.real(y) if real else y


# ---- one matrix, compiled ----------------------------------------------------------------------------------------------------------
def write_root(w: Routines, a: StridedView, target: StridedView) -> None:
    """The square root of one matrix into memory, as in `root_of`."""
    n, e, real = a.shape[-1], w.emitter, a.dtype.kind != "c"
    dtype, part = np.result_type(a.dtype, np.complex64), np.finfo(a.dtype).dtype
    form, vectors, info = schur_form(w, a)
    none, zero = e.constant(0, part), e.constant(0, dtype)
    square, negative = w.variable(none), w.variable(none)
    root, t, z = (by_columns(w, n, n, dtype) for _ in range(3))

    def measure(i: tuple[Any, ...]) -> None:
        length = magnitude(e, form[i])
        square[()] = e.math("add", square[()], e.math("mul", length, length))

    def limit() -> Any:
        return e.math("mul", e.constant(n * np.finfo(part).eps, part), e.math("sqrt", square[()]))

    def check(i: tuple[Any, ...]) -> None:
        """Whether an eigenvalue is below zero, by more than rounding; where it is so by rounding, it is zero."""
        value, alone = form[i[0], i[0]], is_single(e, form, i[0], n)
        far = e.math("and", alone, e.math("lt", value, e.math("neg", limit())))
        negative[()] = e.math("select", far, negative[()], e.constant(1, part))
        below = e.math("and", alone, e.math("lt", value, none))
        t[i[0], i[0]] = e.math("select", below, t[i[0], i[0]], zero)

    def finished(i: tuple[Any, ...]) -> Any:
        if not real:
            return e.math("select", not_zero(w, info), root[i], e.constant(np.nan, dtype))
        bad = e.math("or", not_zero(w, info), e.math("ne", negative[()], none))
        return e.math("select", bad, e.math("real", root[i]), e.constant(np.nan, part))

    w.every((n, n), measure)
    w.fill(t, lambda i: e.cast(form[i], dtype))
    w.fill(z, lambda i: e.cast(vectors[i], dtype))
    w.fill(root, lambda _: zero)
    if real:
        to_complex_form(w, form, t, z)
        w.every((n,), check)
    triangular_root(w, t, root, limit)
    one, nothing = dtype.type(1), dtype.type(0)
    w.call(named(dtype, "gemm", library="blas"), "N", "N", n, n, n, one, z, n, root, n, nothing, t, n, work=n**3)
    w.call(named(dtype, "gemm", library="blas"), "N", "C", n, n, n, one, t, n, z, n, nothing, root, n, work=n**3)
    w.fill(target, finished)


def triangular_root(w: Routines, t: StridedView, root: StridedView, limit: Any) -> None:
    """The square root of an upper triangular matrix: r_ij = (t_ij - sum_k r_ik r_kj) / (r_ii + r_jj), column by column from the diagonal
    up. Where two roots are zero, a numerator up to ``limit()`` is too.
    """
    n, e = t.shape[-1], w.emitter
    zero = e.constant(0, t.dtype)

    def column(at: tuple[Any, ...]) -> None:
        j = at[0]

        def row(back: Any) -> None:
            i = e.as_index(e.math("sub", e.as_scalar(j - 1, INT64), e.as_scalar(back, INT64)))
            rest = w.variable(t[i, j])

            def subtract(k: Any) -> None:
                rest[()] = e.math("sub", rest[()], e.math("mul", root[i, k], root[k, j]))

            w.up_to(e.as_scalar(j, INT64), n, subtract, first=e.as_scalar(i + 1, INT64))
            both = e.math("add", root[i, i], root[j, j])
            nothing = e.math("and", e.math("eq", both, zero), e.math("le", magnitude(e, rest[()]), limit()))
            root[i, j] = e.math("select", nothing, e.math("div", rest[()], both), zero)

        w.up_to(e.as_scalar(j, INT64), n, row)

    w.every((n,), lambda i: root.__setitem__((i[0], i[0]), e.math("sqrt", t[i[0], i[0]])))
    w.every((n,), column)


def is_single(e: Emitter, form: StridedView, k: Any, n: int) -> Any:
    """Whether the k-th eigenvalue of a real Schur form is none of a conjugate pair."""
    none, first, last = e.constant(0, form.dtype), e.as_scalar(k, INT64), e.constant(n - 1, INT64)
    before = e.as_index(e.math("maximum", e.math("sub", first, e.constant(1, INT64)), e.constant(0, INT64)))
    after = e.as_index(e.math("minimum", e.math("add", first, e.constant(1, INT64)), last))
    start, end = e.math("eq", first, e.constant(0, INT64)), e.math("eq", first, last)
    above = e.math("or", start, e.math("eq", form[k, before], none))
    below = e.math("or", end, e.math("eq", form[after, k], none))
    return e.math("and", above, below)


def to_complex_form(w: Routines, form: StridedView, t: StridedView, z: StridedView) -> None:
    """Rotate the blocks of conjugate pairs of a real Schur form, from the last to the first, so that ``t`` is triangular; ``z`` with it.

    A standardized block [[a, b], [c, a]] has the eigenvalues a +- i sqrt(-b c) (Golub & Van Loan 2013, section 7.4.1).
    """
    n, e, dtype, part = form.shape[-1], w.emitter, t.dtype, form.dtype
    none = e.constant(0, part)

    def block(at: tuple[Any, ...]) -> None:
        m = n - 1 - at[0]
        k = m - 1

        def rotate() -> None:
            upper, lower = form[k, m], form[m, k]
            mu = e.math("sqrt", e.math("abs", e.math("mul", upper, lower)))
            length = e.math("hypot", mu, lower)
            c, s = e.math("complex", none, e.math("div", mu, length)), e.cast(e.math("div", lower, length), dtype)
            conjugate = e.math("conj", c)

            def rows(j: Any) -> None:
                x, y = t[k, j], t[m, j]
                t[k, j] = e.math("add", e.math("mul", conjugate, x), e.math("mul", s, y))
                t[m, j] = e.math("sub", e.math("mul", c, y), e.math("mul", s, x))

            def columns_of(target: StridedView) -> Any:
                def turn(i: Any) -> None:
                    x, y = target[i, k], target[i, m]
                    target[i, k] = e.math("add", e.math("mul", x, c), e.math("mul", y, s))
                    target[i, m] = e.math("sub", e.math("mul", y, conjugate), e.math("mul", x, s))

                return turn

            w.up_to(e.constant(n, INT64), n, rows, first=e.as_scalar(k, INT64))
            w.up_to(e.as_scalar(m + 1, INT64), n, columns_of(t))
            w.up_to(e.constant(n, INT64), n, columns_of(z))
            t[m, k] = e.constant(0, dtype)

        w.when(e.math("ne", form[m, k], none), rotate)

    w.every((n - 1,), block)


sqrtm = Sqrtm()
