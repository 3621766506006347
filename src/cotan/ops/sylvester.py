"""The Sylvester equation A X + X B = C, for stacks of matrices.

Reference: Bartels & Stewart (1972), "Solution of the matrix equation AX + XB = C"; Higham (2008), "Functions of Matrices", section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Reader, Routines, StridedView
from ..core.errors import ShapeError, teach
from ..core.op import Op, op
from ..core.program import Var
from ..core.types import ArrayType
from .arithmetic import neg
from .contraction import matmul
from .failing import failed, guarded, scaled_by
from .families import default_rng, spread, sum_tangents
from .lapack import by_columns, every_matrix, fill_nan, is_finite, named, not_zero
from .linalg import MatrixOp, transposed
from .routines import lapack_function

__all__ = ["Sylvester", "schur_of", "strong_sylvester", "sylvester"]

BLOCK = 64
"""The block size for which the workspace of a LAPACK routine is allocated."""
WORK = 25
"""How many times n^3 operations the Schur form of a matrix takes (Golub & Van Loan 2013, section 7.5.6)."""
NOT_SOLVED = "sylvester: A and -B have an eigenvalue in common, or eigenvalues did not converge"


@op
class Sylvester(MatrixOp):
    """X with A X + X B = C, for A m x m, B n x n and C m x n; there is one where no eigenvalue of A is one of -B.

    It is linear in C. dX solves the equation with dC - dA X - X dB on the right; the adjoint in C solves A^T Y + Y B^T = X_bar.
    By the Schur forms A = U S U^H and B = V T V^H, X = U Y V^H with S Y + Y T = U^H C V (Bartels & Stewart).
    """

    strong_zero: bool = False
    """Whether the solution for a C of zero is zero, whatever A and B are."""

    linear = ((2,),)
    library: ClassVar[str] = "sylvester"

    def type_rule(self, a: ArrayType, b: ArrayType, c: ArrayType) -> ArrayType:
        self.check_matrices(a, c)
        self.check_matrices(b, c)
        if (a.shape[-1], b.shape[-1]) != c.shape[-2:]:
            raise teach(
                ShapeError,
                f"sylvester: matrices of shapes {a.shape} and {b.shape} with a right-hand side of shape {c.shape}.",
                do="give as many rows on the right as A has, and as many columns as B has.",
            )
        return c.with_shape(c.shape)

    def fails_on(self, *types: ArrayType) -> Sequence[int]:
        return (0, 1)

    def impl(self, a: Any, b: Any, c: Any) -> Any:
        x = np.empty_like(c, order="C")
        if c.size == 0:
            return x
        solve = lapack_function("trsyl", c.dtype)
        for k in np.ndindex(*c.shape[:-2]):
            if self.strong_zero and not c[k].any():
                x[k] = 0
                continue
            try:
                (s, u), (t, v) = schur_of(a[k]), schur_of(b[k])
                y, scaled, status = solve(s, t, u.conj().T @ c[k] @ v)
                if status:
                    raise np.linalg.LinAlgError(NOT_SOLVED)
                x[k] = u @ (y / scaled) @ v.conj().T
            except np.linalg.LinAlgError as error:
                x[k] = failed(str(error))
        return x

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        a, b, c = (w.strided(x) for x in operands)
        (x,) = results
        *lead, m, n = c.shape
        if m == 0 or n == 0:
            return
        dtype, turn = c.dtype, "C" if c.dtype.kind == "c" else "T"
        part, one, none, e = np.finfo(dtype).dtype, dtype.type(1), dtype.type(0), w.emitter

        def solve(k: tuple[Any, ...]) -> None:
            (s, u, first), (t, v, second) = (schur_form(w, y.part(*k)) for y in (a, b))
            y, z = by_columns(w, m, n, dtype), by_columns(w, m, n, dtype)
            scaled, info = w.scratch((), part), w.scratch((), w.integer)
            info[()] = e.constant(1, w.integer)
            status = e.math("add", first[()], second[()])

            def triangular() -> None:
                w.copy(c.part(*k), y)
                multiply(turn, u, y, z)
                multiply_right("N", z, v, y)
                w.call(named(dtype, "trsyl"), "N", "N", 1, m, n, s, m, t, n, y, m, scaled, info, work=m * n * (m + n))
                w.every((n, m), lambda i: y.__setitem__((i[1], i[0]), e.math("div", y[i[1], i[0]], e.cast(scaled[()], dtype))))
                multiply("N", u, y, z)
                multiply_right(turn, z, v, y)
                w.copy(y, x.part(*k))

            w.when(e.math("eq", status, e.constant(0, w.integer)), triangular)
            w.when(not_zero(w, info), lambda: fill_nan(w, x.part(*k)))
            if self.strong_zero:
                some = w.variable(e.constant(0, w.integer))
                yes, no = e.constant(1, w.integer), e.constant(0, w.integer)
                zero = e.constant(0, dtype)
                w.every((m, n), lambda i: some.__setitem__((), e.math("select", e.math("ne", c[(*k, *i)], zero), some[()], yes)))
                w.when(e.math("eq", some[()], no), lambda: w.fill(x.part(*k), lambda _: zero))

        def multiply(letter: str, left: StridedView, right: StridedView, target: StridedView) -> None:
            w.call(named(dtype, "gemm", library="blas"), letter, "N", m, n, m, one, left, m, right, m, none, target, m, work=m * m * n)

        def multiply_right(letter: str, left: StridedView, right: StridedView, target: StridedView) -> None:
            w.call(named(dtype, "gemm", library="blas"), "N", letter, m, n, n, one, left, m, right, n, none, target, m, work=m * n * n)

        every_matrix(w, lead, solve, WORK * (m**3 + n**3))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (a, b, c), (da, db, dc) = primals, tangents
        x = self(a, b, c)
        known, unknown = guarded(x)
        moved = [neg(matmul(da, known)) if da is not None else None, neg(matmul(known, db)) if db is not None else None]
        return x, scaled_by(unknown, strong_sylvester(a, b, sum_tangents([t for t in (dc, *moved) if t is not None])))

    def transpose(self, y_bar: Any, a: Any, b: Any, c: Var) -> Sequence[Any | None]:
        return [None, None, strong_sylvester(transposed(a), transposed(b), y_bar)]

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, bool]:
        return self(*[x if flag else spread(x, size) for x, flag in zip(operands, batched, strict=True)]), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()

        def example(m: int, n: int, lead: tuple[int, ...] = (), turn: complex = 0) -> tuple[Op, tuple[Any, ...]]:
            a, b, c = (rng.normal(size=(*lead, *shape)) for shape in ((m, m), (n, n), (m, n)))
            return cls(), (a + 3 * np.eye(m) + turn * a, b + 3 * np.eye(n) - turn * b, c + turn)

        yield example(3, 3)
        yield example(2, 3)
        yield example(2, 2, (2,))
        yield example(3, 2, turn=1j)
        yield example(0, 2)
        yield cls(strong_zero=True), example(2, 3)[1]


def schur_of(a: Any, message: str = NOT_SOLVED, size: int | None = None) -> tuple[Any, Any]:
    """The Schur form T and the unitary Z with A = Z T Z^H of one concrete matrix: of a real one the real form. The size is that of the
    workspace.

    Raises:
        numpy.linalg.LinAlgError: the eigenvalues do not converge, or the matrix is not finite.
    """
    if not np.isfinite(a).all():
        raise np.linalg.LinAlgError(message)
    *form, status = lapack_function("gees", a.dtype)(lambda *_: None, a, **({} if size is None else {"lwork": size}))
    if status:
        raise np.linalg.LinAlgError(message)
    return form[0], form[-2]


def schur_form(w: Routines, a: StridedView, size: int = 0) -> tuple[StridedView, StridedView, StridedView]:
    """The Schur form T, the unitary Z and the status of one matrix. LAPACK may not end on what is not finite: it is not called then."""
    n, e, dtype = a.shape[-1], w.emitter, a.dtype
    part, info = np.finfo(dtype).dtype, w.scratch((), w.integer)
    form, vectors, count = by_columns(w, n, n, dtype), by_columns(w, n, n, dtype), w.scratch((), w.integer)
    size = size or (3 + BLOCK) * n
    work = w.scratch((size,), dtype)
    values = [w.scratch((n,), dtype)] if dtype.kind == "c" else [w.scratch((n,), dtype), w.scratch((n,), dtype)]
    reals, flags = [w.scratch((n,), part)] if dtype.kind == "c" else [], w.scratch((n,), w.integer)
    w.copy(a, form)
    finite = is_finite(w, form)
    info[()] = e.constant(1, w.integer)

    def decompose() -> None:
        last = (vectors, n, work, size, *reals, flags, info)
        w.call(named(dtype, "gees"), "V", "N", None, n, form, n, count, *values, *last, work=WORK * n**3)

    w.when(finite, decompose)
    return form, vectors, info


sylvester, strong_sylvester = Sylvester(), Sylvester(strong_zero=True)
