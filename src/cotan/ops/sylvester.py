"""The Sylvester equation A X + X B = C, and that in which B is A or A^H, for stacks of matrices.

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
from .linalg import MatrixOp, adjoint, transposed
from .routines import lapack_function

__all__ = ["Lyapunov", "Sylvester", "schur_of", "strong_sylvester", "sylvester"]

BLOCK = 64
"""The block size for which the workspace of a LAPACK routine is allocated."""
WORK = 25
"""How many times n^3 operations the Schur form of a matrix takes (Golub & Van Loan 2013, section 7.5.6)."""
NOT_SOLVED = "sylvester: A and -B have an eigenvalue in common, or eigenvalues did not converge"


class BartelsStewart(MatrixOp):
    """A X + X B = C, solved for C, in which it is linear; B may be a function of A.

    By the Schur forms A = U S U^H and B = V T V^H, X = U Y V^H with S Y + Y T = U^H C V (Bartels & Stewart).
    """

    strong_zero: bool
    """Whether the solution for a C of zero is zero, whatever A and B are."""
    of_adjoint: ClassVar[bool] = False
    """Whether T is the conjugate transpose of the given form."""

    def impl(self, *operands: Any) -> Any:
        *matrices, c = operands
        x = np.empty_like(c, order="C")
        if c.size == 0:
            return x
        solve = lapack_function("trsyl", c.dtype)
        for k in np.ndindex(*c.shape[:-2]):
            if self.strong_zero and not c[k].any():
                x[k] = 0
                continue
            try:
                forms = [schur_of(a[k]) for a in matrices]
                (s, u), (t, v) = forms[0], forms[-1]
                y, scaled, status = solve(s, t, u.conj().T @ c[k] @ v, tranb="C" if self.of_adjoint else "N")
                if status:
                    raise np.linalg.LinAlgError(NOT_SOLVED)
                x[k] = u @ (y / scaled) @ v.conj().T
            except np.linalg.LinAlgError as error:
                x[k] = failed(str(error))
        return x

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        *matrices, c = (w.strided(x) for x in operands)
        (x,) = results
        *lead, m, n = c.shape
        if m == 0 or n == 0:
            return
        dtype, turn = c.dtype, "C" if c.dtype.kind == "c" else "T"
        part, one, none, e = np.finfo(dtype).dtype, dtype.type(1), dtype.type(0), w.emitter

        def solve(k: tuple[Any, ...]) -> None:
            forms = [schur_form(w, a.part(*k)) for a in matrices]
            (s, u, first), (t, v, second) = forms[0], forms[-1]
            y, z = by_columns(w, m, n, dtype), by_columns(w, m, n, dtype)
            scaled, info = w.scratch((), part), w.scratch((), w.integer)
            info[()] = e.constant(1, w.integer)
            status = e.math("add", first[()], second[()])

            def triangular() -> None:
                w.copy(c.part(*k), y)
                multiply(turn, u, y, z)
                multiply_right("N", z, v, y)
                other = turn if self.of_adjoint else "N"
                w.call(named(dtype, "trsyl"), "N", other, 1, m, n, s, m, t, n, y, m, scaled, info, work=m * n * (m + n))
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

        every_matrix(w, lead, solve, WORK * sum(a.shape[-1] ** 3 for a in matrices))

    def fails_on(self, *types: ArrayType) -> Sequence[int]:
        return range(len(types) - 1)

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, bool]:
        return self(*[x if flag else spread(x, size) for x, flag in zip(operands, batched, strict=True)]), True


@op
class Sylvester(BartelsStewart):
    """X with A X + X B = C, for A m x m, B n x n and C m x n; there is one where no eigenvalue of A is one of -B.

    It is linear in C. dX solves the equation with dC - dA X - X dB on the right; the adjoint in C solves A^T Y + Y B^T = X_bar.
    """

    strong_zero: bool = False
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

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (a, b, c), (da, db, dc) = primals, tangents
        x = self(a, b, c)
        known, unknown = guarded(x)
        moved = [neg(matmul(da, known)) if da is not None else None, neg(matmul(known, db)) if db is not None else None]
        return x, scaled_by(unknown, strong_sylvester(a, b, sum_tangents([t for t in (dc, *moved) if t is not None])))

    def transpose(self, y_bar: Any, a: Any, b: Any, c: Var) -> Sequence[Any | None]:
        return [None, None, strong_sylvester(transposed(a), transposed(b), y_bar)]

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


@op
class Lyapunov(BartelsStewart):
    """X with A X + X A = C, or A X + X A^H = C if ``of_adjoint``: one Schur form. There is one where no sum of two eigenvalues of A (of one
    and the conjugate of one) is zero.

    It is linear in C. With B = A or A^H, dX solves the equation with dC - dA X - X dB on the right; the adjoint in C is that of A^T.
    """

    of_adjoint: bool  # type: ignore[misc]
    strong_zero: bool = False
    linear = ((1,),)
    library: ClassVar[str] = "lyapunov"

    def type_rule(self, a: ArrayType, c: ArrayType) -> ArrayType:
        self.check_matrices(a, c)
        if a.shape != c.shape:
            raise teach(ShapeError, f"lyapunov: matrices of shapes {a.shape} and {c.shape}.", do="give square matrices of one size.")
        return c.with_shape(c.shape)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (a, c), (da, dc) = primals, tangents
        x, solve_for = self(a, c), Lyapunov(self.of_adjoint, strong_zero=True)
        if da is None:
            return x, solve_for(a, dc)
        known, unknown = guarded(x)
        moved = [neg(matmul(da, known)), neg(matmul(known, adjoint(da) if self.of_adjoint else da))]
        return x, scaled_by(unknown, solve_for(a, sum_tangents([t for t in (dc, *moved) if t is not None])))

    def transpose(self, y_bar: Any, a: Any, c: Var) -> Sequence[Any | None]:
        return [None, Lyapunov(self.of_adjoint, strong_zero=True)(transposed(a), y_bar)]

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for n, lead, turn in ((0, (), 0), (1, (), 0), (3, (), 0), (2, (2,), 0), (2, (), 1j)):
            a, c = rng.normal(size=(2, *lead, n, n))
            for of_adjoint in (False, True):
                yield cls(of_adjoint), (a + 3 * np.eye(n) + turn * a, c + turn)
        yield cls(True, strong_zero=True), (a + 3 * np.eye(n), c)


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
