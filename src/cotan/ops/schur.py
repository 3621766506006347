"""The Schur form of (stacks of) matrices, and the triangular equation of its derivative.

The eigenvalues stand on the diagonal in LAPACK's order. References: Golub & Van Loan (2013), "Matrix Computations", section 7.4; Bai &
Demmel (1993), "On swapping diagonal blocks in real Schur form", for standardized blocks. The rules follow from A = Z T Z^H as those of
eigenvectors do (Giles 2008, "Collected matrix derivative results for forward and reverse mode AD", section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Emitter, Reader, Routines, StridedView
from ..core.errors import DtypeError, ShapeError, teach
from ..core.op import Op, op
from ..core.program import Var
from ..core.tracing import type_of
from ..core.types import ArrayType
from .arithmetic import constant_of, mul, neg, sub
from .casting import complex_, conj, convert, real
from .contraction import matmul
from .creation import full
from .failing import where_regular
from .families import add, default_rng, scale, spread
from .gaps import plain_product
from .lapack import by_columns, every_matrix
from .linalg import Diagonal, MatrixOp, OnDiagonal, adjoint, columns, diagonal, mask, transposed
from .logic import bitwise_and, less, less_equal, not_equal, select
from .movement import pad, slice_
from .ordering import abs_
from .routines import lapack_function
from .sylvester import WORK, schur_form, schur_of
from .transcendental import inverse_or_infinity, sqrt

__all__ = ["Schur", "StrictSylvester", "block_rotations", "complex_form", "schur"]

INT64, BOOL = np.dtype(np.int64), np.dtype(bool)
ROUNDING = 8
"""Numbers that differ by fewer rounding errors are equal."""
NO_FORM = "Schur form not found: eigenvalues did not converge, or the matrix is not finite"


@op
class Schur(MatrixOp):
    """The Schur form A = Z T Z^H with unitary Z: (T, Z). T is upper triangular; that of a real matrix is real, with a 2 x 2 block
    [[a, b], [c, a]], b c < 0, for each pair of conjugate eigenvalues.

    With P = Z^H dA Z and dZ = Z X, X skew:  dT = P + T X - X T. Since T is triangular, so is what the strict upper triangle of X adds
    below the diagonal, none. So the strict lower triangle L of X solves the triangular equation T L - L T = -P there (`StrictSylvester`),
    and X = L - L^H. Phases of complex columns are free: the diagonal of X is zero.

    In a real form L has zeros within the blocks. It is found from the complex form, T and P turned by the rotations that make the blocks
    triangular, which leave the elements outside of the blocks outside. Within a block X is a rotation by w, which keeps the diagonal
    elements equal: for G = P + T (L - L^T) - (L - L^T) T,  2 w (b + c) = G_22 - G_11.

    Where eigenvalues are equal, and in blocks of normal matrices (b = -c), a form is determined up to a rotation, and the derivative is
    infinite.
    """

    multiple = True
    library: ClassVar[str] = "schur"

    def type_rule(self, a: ArrayType) -> tuple[ArrayType, ArrayType]:
        self.check_matrices(a)
        return a.with_shape(a.shape), a.with_shape(a.shape)

    def impl(self, a: Any) -> tuple[Any, Any]:
        form, vectors = np.empty_like(a, order="C"), np.empty_like(a, order="C")
        for k in np.ndindex(*a.shape[:-2]):
            if a.shape[-1]:
                size = workspace(a.shape[-1], a.dtype)
                form[k], vectors[k] = where_regular(lambda x, size=size: schur_of(x, NO_FORM, size), a[k])
        return form, vectors

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        (form, vectors), a = results, w.strided(operands[0])
        *lead, n, _ = a.shape
        if n == 0:
            return
        size = workspace(n, a.dtype)

        def one(k: tuple[Any, ...]) -> StridedView:
            t, z, info = schur_form(w, a.part(*k), size)
            w.copy(t, form.part(*k))
            w.copy(z, vectors.part(*k))
            return info

        every_matrix(w, lead, one, WORK * n**3, results)

    def singular(self, a: Any) -> Any:
        """Whether two eigenvalues of a matrix are equal."""
        return np.any(np.diff(np.sort_complex(np.linalg.eigvals(a)), axis=-1) == 0, axis=-1)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        (a,), (da,) = primals, tangents
        t, z = self(a)
        if type_of(a).shape[-1] == 0:
            return (t, z), (None, None)
        p = matmul(matmul(adjoint(z), da), z)
        if type_of(a).dtype.kind == "c":
            below = StrictSylvester()(t, neg(p), no_blocks(type_of(t)))
            turn = sub(below, adjoint(below))
            return (t, z), (mask(turned(p, t, turn), less_equal), matmul(z, turn))
        is_block = not_equal(Diagonal(-1)(t), constant_of(0, type_of(t).dtype))
        rotations = block_rotations(t)
        inner = StrictSylvester()(within(t, rotations), neg(within(p, rotations)), is_block)
        below = real(within(inner, inverse_rotations(rotations)))
        turn = sub(below, transposed(below))
        g = turned(p, t, turn)
        w = block_turns(t, g, is_block)
        n = type_of(t).shape[-1]
        blocks = sub(OnDiagonal(n, n, -1)(w), OnDiagonal(n, n, 1)(w))
        dt = turned(g, t, blocks)
        kept = OnDiagonal(n, n, -1)(select(is_block, Diagonal(-1)(dt), constant_of(0, type_of(t).dtype)))
        return (t, z), (add(mask(dt, less_equal), kept), matmul(z, add(turn, blocks)))

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[tuple[Any, Any], tuple[bool, bool]]:
        return self(a), (True, True)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls(), (rng.normal(size=(3, 3)) + np.diag([0.0, 3.0, 6.0]),)
        yield cls(), (np.array([[0.0, 2.0, 0.2, 0.0], [-2.2, 0.1, 0.4, 0.3], [-0.2, -0.4, 3.8, 1.5], [-0.7, -0.1, -3.4, 3.8]]),)
        yield cls(), (rng.normal(size=(2, 2, 2)) + np.diag([0.0, 3.0]),)
        yield cls(), (rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3)),)
        yield cls(), (np.zeros((0, 0)),)


@op
class StrictSylvester(MatrixOp):
    """The strictly lower triangular L for which T L - L T equals C below the diagonal, for an upper triangular T. Of T and C no other
    triangle is read. Where ``apart[j]`` is true, L[j + 1, j] is zero, and C is not read there.

    (t_ii - t_jj) l_ij = c_ij - sum_(k > i) t_ik l_kj + sum_(k < j) l_ik t_kj,  from the lower left corner to the diagonal. L is linear in
    C; dL solves the equation with dC - dT L + L dT. The transposed equation (``transposes``) has T^T L - L T^T on the left: it is adjoint
    in C, and is solved from the diagonal to the corner. Where t_ii = t_jj, to rounding, the quotient is infinite, or nan if its numerator
    is zero.
    """

    transposes: bool = False

    linear = ((1,),)
    total = True
    library: ClassVar[str] = "strict_sylvester"

    def type_rule(self, t: ArrayType, c: ArrayType, apart: ArrayType) -> ArrayType:
        self.check_matrices(t, c)
        if t.shape != c.shape or apart.shape != (*t.shape[:-2], max(t.shape[-1] - 1, 0)):
            shapes = f"matrices of shapes {t.shape} and {c.shape}, flags of shape {apart.shape}"
            raise teach(ShapeError, f"strict_sylvester: {shapes}.", do="give matrices of one shape, and a flag for each row but the first.")
        if apart.dtype != BOOL:
            raise teach(DtypeError, f"strict_sylvester: flags of dtype {apart.dtype}.", do="give bools.")
        return c.with_shape(c.shape)

    def impl(self, t: Any, c: Any, apart: Any) -> Any:
        y = np.zeros_like(c, order="C")
        with np.errstate(all="ignore"):
            for k in np.ndindex(*c.shape[:-2]):
                (transposed_lower if self.transposes else lower)(np.triu(t[k]), c[k], apart[k], y[k])
        return y

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        t, c, apart = (w.strided(x) for x in operands)
        (y,) = results
        *lead, n, _ = c.shape
        if n == 0:
            return

        def one(k: tuple[Any, ...]) -> None:
            write_lower(w, t.part(*k), c.part(*k), apart.part(*k), y.part(*k), self.transposes)

        every_matrix(w, lead, one, n**3)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (t, c, apart), (dt, dc, _) = primals, tangents
        y = self(t, c, apart)
        if dt is None:
            return y, None if dc is None else self(t, dc, apart)
        dt = mask(dt, less_equal)
        dt = transposed(dt) if self.transposes else dt
        moved = sub(matmul(y, dt), matmul(dt, y))
        return y, self(t, moved if dc is None else add(dc, moved), apart)

    def transpose(self, y_bar: Any, t: Any, c: Var, apart: Any) -> Sequence[Any | None]:
        return [None, StrictSylvester(not self.transposes)(t, y_bar, apart), None]

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, bool]:
        return self(*[x if flag else spread(x, size) for x, flag in zip(operands, batched, strict=True)]), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for transposes in (False, True):
            for n, lead, turn in ((4, (), 0), (3, (2,), 0), (3, (), 1j), (0, (), 0)):
                t, c = (rng.normal(size=(*lead, n, n)) for _ in range(2))
                apart = np.zeros((*lead, max(n - 1, 0)), bool)
                apart[..., 1:2] = True
                yield cls(transposes), (t + np.diag(2.0 * np.arange(n)) + turn * t, c + turn, apart)


schur = Schur()


# ---- pieces of the rule --------------------------------------------------------------------------------------------------------------
def turned(p: Any, t: Any, x: Any) -> Any:
    """P + T X - X T."""
    return add(p, sub(matmul(t, x), matmul(x, t)))


def no_blocks(t: ArrayType) -> Any:
    """The flags of a triangular form."""
    return full((*t.shape[:-2], max(t.shape[-1] - 1, 0)), np.bool_(False))


def block_turns(t: Any, g: Any, is_block: Any) -> Any:
    """The rotations of the blocks of a real form: they keep the diagonal elements of blocks equal in the tangent ``g``."""
    dtype, n = type_of(t).dtype, type_of(t).shape[-1]
    below, above, d = Diagonal(-1)(t), Diagonal(1)(t), diagonal(g)
    both = add(above, below)
    lost = less_equal(abs_(both), scale(constant_of(ROUNDING * np.finfo(dtype).eps, dtype), abs_(sub(above, below))))
    divisor = select(is_block, select(lost, constant_of(0, dtype), both), constant_of(1, dtype))
    inverse = inverse_or_infinity(divisor)
    difference = sub(along(d, 1, n), along(d, 0, n - 1))
    half = scale(constant_of(0.5, dtype), plain_product(inverse, difference))
    return select(is_block, half, constant_of(0, dtype))


def along(x: Any, start: int, stop: int) -> Any:
    """The elements from ``start`` to ``stop`` of the last axis."""
    shape = type_of(x).shape
    return slice_(x, (*[0] * (len(shape) - 1), min(start, shape[-1])), (*shape[:-1], max(stop, min(start, shape[-1]))))


def block_rotations(t: Any) -> tuple[Any, Any, Any]:
    """The unitary matrix W of rotations that make the blocks of a real form triangular, W^H T W: its diagonal, and the diagonals below and
    above it.

    The eigenvalue a + i m of a block [[a', b], [c, d']] has the eigenvector (a + i m - d', c), whose rotation it is (as in SciPy's
    rsf2csf).
    """
    dtype, n = type_of(t).dtype, type_of(t).shape[-1]
    one, half, none = constant_of(1, dtype), constant_of(0.5, dtype), constant_of(0, dtype)
    below, above, d = Diagonal(-1)(t), Diagonal(1)(t), diagonal(t)
    is_block = not_equal(below, none)
    p = scale(half, sub(along(d, 0, n - 1), along(d, 1, n)))
    square = add(mul(p, p), mul(below, above))
    turns = bitwise_and(is_block, less(square, none))
    m = sqrt(select(is_block, abs_(square), one))
    re = add(p, select(turns, none, select(less(p, none), neg(m), m)))
    im = select(turns, m, none)
    length = sqrt(select(is_block, add(add(mul(re, re), mul(im, im)), mul(below, below)), one))
    inverse = inverse_or_infinity(length)
    c = complex_(select(is_block, mul(re, inverse), one), select(is_block, mul(im, inverse), none))
    s = complex_(select(is_block, mul(below, inverse), none), scale(none, below))
    # c stands in the first row of a block and its conjugate in the second: in other rows both are one.
    first, second = beside(c, 0, 1), beside(conj(c), 1, 0)
    return mul(first, second), s, neg(s)


def beside(x: Any, before: int, after: int) -> Any:
    """Numbers with further ones at an end of the last axis."""
    t = type_of(x)
    return pad(x, constant_of(1, t.dtype), [*[(0, 0, 0)] * (t.ndim - 1), (before, after, 0)])


def inverse_rotations(rotations: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """W^H."""
    main, below, above = (conj(x) for x in rotations)
    return main, above, below


def within(x: Any, rotations: tuple[Any, Any, Any]) -> Any:
    """W^H X W."""
    x = x if type_of(x).dtype.kind == "c" else convert(x, type_of(rotations[0]).dtype)
    return adjoint(times_rotations(adjoint(times_rotations(x, rotations)), rotations))


def times_rotations(x: Any, rotations: tuple[Any, Any, Any]) -> Any:
    """X W, for a W with three diagonals."""
    main, below, above = rotations
    t = type_of(x)
    n = t.shape[-1]
    zero, lead = constant_of(0, t.dtype), [(0, 0, 0)] * (t.ndim - 1)
    after = pad(mul(along(x, 1, n), columns(below, n)), zero, [*lead, (0, 1, 0)])
    before = pad(mul(along(x, 0, n - 1), columns(above, n)), zero, [*lead, (1, 0, 0)])
    return add(mul(x, columns(main, n)), add(after, before))


def complex_form(t: Any, z: Any) -> tuple[Any, Any]:
    """The complex Schur form of a real one."""
    rotations = block_rotations(t)
    return mask(within(t, rotations), less_equal), times_rotations(convert(z, type_of(rotations[0]).dtype), rotations)


# ---- one matrix, by NumPy -------------------------------------------------------------------------------------------------------------
def lower(t: Any, c: Any, apart: Any, y: Any) -> None:
    """`StrictSylvester` for one concrete matrix, column by column from the left, each from the last row up."""
    n, limit = t.shape[-1], limit_of(t)
    for j in range(n - 1):
        start = j + 1 + apart[j]
        rest = c[start:, j] + y[start:, :j] @ t[:j, j]
        for i in range(n - 1, start - 1, -1):
            y[i, j] = quotient(rest[i - start], t[i, i] - t[j, j], limit)
            rest[: i - start] -= t[start:i, i] * y[i, j]


def transposed_lower(t: Any, c: Any, apart: Any, y: Any) -> None:
    """The transposed equation: column by column from the right, each from the first row down."""
    n, limit = t.shape[-1], limit_of(t)
    for j in range(n - 2, -1, -1):
        start = j + 1 + apart[j]
        rest = c[start:, j] + y[start:, j + 1 :] @ t[j, j + 1 :]
        for i in range(start, n):
            y[i, j] = quotient(rest[i - start], t[i, i] - t[j, j], limit)
            rest[i + 1 - start :] -= t[i, i + 1 :] * y[i, j]


def limit_of(t: Any) -> Any:
    """Up to which difference eigenvalues are equal."""
    return t.shape[-1] * np.finfo(t.dtype).eps * np.linalg.norm(t)


def quotient(x: Any, difference: Any, limit: Any) -> Any:
    """x / difference, infinite where that is zero to rounding (nan if x is zero: what depends on it is not known)."""
    return x / difference if abs(difference) > limit else x * np.inf


# ---- one matrix, compiled --------------------------------------------------------------------------------------------------------------
def write_lower(w: Routines, t: StridedView, c: StridedView, apart: StridedView, target: StridedView, transposes: bool) -> None:
    """`StrictSylvester` for one matrix, into memory, as in `lower` and `transposed_lower`."""
    n, e, dtype = t.shape[-1], w.emitter, c.dtype
    zero = e.constant(0, dtype)
    # The inner loops go along columns of the unknown, and of T, or along rows of T.
    factor, y = w.scratch((n, n), dtype) if transposes else by_columns(w, n, n, dtype), by_columns(w, n, n, dtype)
    w.copy(t, factor)
    w.fill(y.mT, lambda i: e.choose(i[1] > i[0], lambda: c[i[1], i[0]], lambda: zero))
    square = square_norm(w, factor, lambda i: i[0] <= i[1])

    def column(at: tuple[Any, ...]) -> None:
        j = n - 2 - at[0] if transposes else at[0]
        next_row = e.as_scalar(j + 1, INT64)
        start, end = e.math("add", next_row, e.cast(apart[j], INT64)), e.constant(n, INT64)
        w.when(apart[j], lambda: y.__setitem__((j + 1, j), zero))

        def gather(k: Any) -> None:
            weight = factor[j, k] if transposes else factor[k, j]
            w.up_to(end, n, lambda i: y.__setitem__((i, j), e.math("add", y[i, j], e.math("mul", y[i, k], weight))), first=start)

        def solve(i: Any) -> None:
            y[i, j] = written_quotient(e, y[i, j], e.math("sub", factor[i, i], factor[j, j]), square, n)
            found, here = y[i, j], e.as_scalar(i, INT64)

            def subtract(k: Any) -> None:
                weight = factor[i, k] if transposes else factor[k, i]
                y[k, j] = e.math("sub", y[k, j], e.math("mul", weight, found))

            if transposes:
                w.up_to(end, n, subtract, first=e.math("add", here, e.constant(1, INT64)))
            else:
                w.up_to(here, n, subtract, first=start)

        def back(k: Any) -> None:
            last = e.math("sub", e.constant(n - 1, INT64), e.as_scalar(k, INT64))
            solve(e.as_index(last))

        if transposes:
            w.up_to(end, n, gather, first=next_row)
            w.up_to(end, n, solve, first=start)
        else:
            w.up_to(e.as_scalar(j, INT64), n, gather)
            w.up_to(e.math("sub", end, start), n, back)

    w.outlined(lambda: w.every((n - 1,), column))
    w.fill(target, lambda i: e.choose(i[0] > i[1], lambda: y[i], lambda: zero))


def square_norm(w: Routines, x: StridedView, kept: Callable[[tuple[Any, ...]], Any]) -> StridedView:
    """The sum of the squares of the absolute values of those elements of a matrix in memory whose indices are kept."""
    e = w.emitter
    none = e.constant(0, np.finfo(x.dtype).dtype)
    square = w.variable(none)

    def measure(i: tuple[Any, ...]) -> None:
        re, im = (e.math("real", x[i]), e.math("imag", x[i])) if x.dtype.kind == "c" else (x[i], none)
        size = e.math("add", e.math("mul", re, re), e.math("mul", im, im))
        square[()] = e.math("add", square[()], e.choose(kept(i), lambda: size, lambda: none))

    w.outlined(lambda: w.every(x.shape, measure))
    return square


def written_quotient(e: Emitter, x: Any, difference: Any, square: StridedView, n: int) -> Any:
    """x / difference as in `quotient`, for a matrix of ``n`` rows whose norm has this square."""
    dtype = x.dtype
    part = np.finfo(dtype).dtype
    limit = e.math("mul", e.constant(n * np.finfo(part).eps, part), e.math("sqrt", square[()]))
    far = e.math("not", e.math("le", e.math("abs", difference), limit))
    one, lost = e.constant(1, dtype), e.math("mul", x, e.constant(np.inf, dtype))
    return e.math("select", far, lost, e.math("div", x, e.math("select", far, one, difference)))


def workspace(n: int, dtype: np.dtype[Any]) -> int:
    """The best size of the workspace. The order of the eigenvalues may depend on it, so it is SciPy's."""
    found = lapack_function("gees", dtype)(lambda *_: None, np.zeros((int(n), int(n)), dtype), lwork=-1)
    return int(found[-2][0].real)
