"""``cotan.numpy.linalg``: linear algebra under NumPy's names. Stacks of matrices everywhere; integers become float64."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import ArgumentError, DtypeError, ShapeError, UnsupportedFunctionError, teach
from ..core.listing import listing
from ..core.tracing import BOOL, type_of
from ..ops import casting, determinant, eigen, factorization, moments
from ..ops import linalg as ops
from ..ops.movement import reshape as reshape_op
from ..ops.qr import Qr
from ..ops.spectral import nuclear_norm, pseudo_inverse
from . import contraction, creation
from .calling import eager
from .contraction import matmul, tensordot, vecdot
from .elementwise import abs, conjugate, divide, isnan, multiply, not_equal, power, sign, square
from .indexing import take_along_axis
from .promotion import (
    ABSENT,
    Numbers,
    broadcast_shapes,
    canonical_axes,
    canonical_axis,
    convert_to,
    operand,
    shape_of,
    size_of,
    spread_to,
    strong,
)
from .reduction import any, keep, max, min, safe_sqrt, sum
from .roots import rooted
from .selection import where
from .shape import broadcast_to, flip, matrix_transpose, moveaxis, reshape
from .sorting import argsort

__all__ = [
    "LinAlgError", "cholesky", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "lstsq", "matmul",
    "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "multi_dot", "norm", "outer", "pinv", "qr", "slogdet", "solve",
    "svd", "svdvals", "tensordot", "tensorinv", "tensorsolve", "trace", "vecdot", "vector_norm",
]  # fmt: skip
__dir__ = listing(__all__)

LinAlgError = np.linalg.LinAlgError


class SVDResult(NamedTuple):
    """U, S, Vh of a singular value decomposition."""

    U: Any
    S: Any
    Vh: Any


class QRResult(NamedTuple):
    """Q, R of a QR factorization."""

    Q: Any
    R: Any


class EighResult(NamedTuple):
    """Eigenvalues and eigenvectors of Hermitian matrices."""

    eigenvalues: Any
    eigenvectors: Any


class SlogdetResult(NamedTuple):
    """The sign and the logarithm of the absolute value of determinants."""

    sign: Any
    logabsdet: Any


def named(numpy_function: Callable[..., Any], kind: Callable[..., Any]) -> Callable[..., Any]:
    """NumPy's function with its tuple of results as ``kind``: eager and traced results have one structure."""

    @wraps(numpy_function)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = numpy_function(*args, **kwargs)
        return kind(*result) if hasattr(result, "_fields") else result

    return call


def matrices(name: str, *xs: Any, square: bool = False) -> list[Any]:
    """Operands as floating or complex stacks of matrices.

    Raises
    ------
    ShapeError
        An operand is no matrix, or not square where it must be.
    """
    operands = [operand(x) for x in xs]
    for x in operands:
        shape = shape_of(x)
        if len(shape) < 2 or (square and shape[-1] != shape[-2]):
            raise teach(
                ShapeError, f"{name}: an array of shape {shape}.", do=f"give a {'square ' if square else ''}matrix, or a stack of them."
            )
    kinds = [t.dtype if t.inexact else np.dtype(np.float64) for t in map(type_of, operands)]
    if np.dtype(np.float16) in kinds:
        raise teach(DtypeError, f"{name}: NumPy's linear algebra has no float16.", do="convert with x.astype(numpy.float32).")
    dtype = np.result_type(*kinds)
    return [convert_to(x, dtype) for x in operands]


def columns(x: Any) -> Any:
    """A number for each matrix of a stack, with an axis that aligns it with the singular values."""
    return x[..., None] if shape_of(x) else x


@eager(np.linalg.cholesky)
def cholesky(a: Numbers, /, *, upper: bool = False) -> Any:
    """The lower triangular L with a = L L^H of Hermitian positive definite matrices (of which the lower triangle is read); or L^H."""
    (a,) = matrices("cholesky", a, square=True)
    factor = ops.cholesky(conjugate(matrix_transpose(a)) if upper else a)
    return conjugate(matrix_transpose(factor)) if upper else factor


@eager(np.linalg.solve)
def solve(a: Numbers, b: Numbers, /) -> Any:
    """x with a @ x = b, for square a (..., n, n); b is a vector (n,) or a stack of matrices (..., n, k).

    Raises
    ------
    ShapeError
        The shapes do not fit.
    """
    b = operand(b)
    given = shape_of(b)
    vector = len(given) == 1
    a, b = matrices("solve", a, reshape_op(b, (*given, 1)) if vector else b)
    square, sides = shape_of(a), shape_of(b)
    if square[-1] != square[-2]:
        matrices("solve", a, square=True)
    if square[-1] != sides[-2]:
        raise teach(ShapeError, f"solve: a of shape {square}, b of shape {given}.", do="b must have as many rows as a.")
    lead = broadcast_shapes("solve", [square[:-2], sides[:-2]])
    x = ops.solve(spread_to(a, (*lead, *square[-2:]), square), spread_to(b, (*lead, *sides[-2:]), sides))
    return reshape_op(x, shape_of(x)[:-1]) if vector else x


@eager(np.linalg.inv)
def inv(a: Numbers, /) -> Any:
    """The inverse of square matrices. To solve equations, `solve` is faster and more accurate."""
    (a,) = matrices("inv", a, square=True)
    return ops.Inverse()(a)


@eager(named(np.linalg.svd, SVDResult))
def svd(a: Numbers, /, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """(U, S, Vh) with a = U diag(S) Vh, S descending; S alone if not ``compute_uv``.

    With ``full_matrices`` U (m, m) and Vh (n, n) are square. The further columns are a basis of the complement. The derivative of a single
    one is right; several are no functions of ``a``, and their derivative is not finite. For ``hermitian`` matrices, of which the lower
    triangle is read, the factors are made of eigenvalues and eigenvectors.
    """
    (a,) = matrices("svd", a, square=hermitian)
    if hermitian:
        return of_hermitian(a, compute_uv)
    if not compute_uv:
        return factorization.Svdvals()(a)
    m, n = shape_of(a)[-2:]
    return SVDResult(*(factorization.full_svd if full_matrices and m != n else factorization.svd)(a))


def of_hermitian(a: Any, vectors: bool) -> Any:
    """The singular values, and vectors if they are asked for, of Hermitian matrices: eigenvalues w give the singular values |w|."""
    w, v = eigh(a) if vectors else (eigvalsh(a), None)
    order = flip(argsort(abs(w), axis=-1), -1)
    w = take_along_axis(w, order, -1)
    if v is None:
        return abs(w)
    v = take_along_axis(v, order[..., None, :], -1)
    return SVDResult(v, abs(w), conjugate(matrix_transpose(v * convert_to(sign(w), type_of(v).dtype)[..., None, :])))


@eager(np.linalg.svdvals)
def svdvals(a: Numbers, /) -> Any:
    """The singular values, descending."""
    return svd(a, compute_uv=False)


@eager(np.linalg.pinv)
def pinv(a: Numbers, /, rcond: Numbers | None = None, hermitian: bool = False, *, rtol: Numbers = ABSENT) -> Any:
    """The Moore-Penrose inverse of matrices (..., m, n), of shape (..., n, m).

    Singular values up to ``rtol`` (default 1e-15; None is max(m, n) eps) times the largest are dropped. ``rtol`` is a number, or one for
    each matrix of a stack; ``rcond`` is another name for it. For a ``hermitian`` matrix the lower triangle is read. The derivative is for a
    constant number of kept singular values, which may be equal (Golub & Pereyra 1973).
    """
    if rcond is not None and rtol is not ABSENT:
        raise teach(ArgumentError, "pinv: rcond= and rtol= are one thing.", do="give one of them.")
    relative = 1e-15 if rcond is None and rtol is ABSENT else rtol if rcond is None else rcond
    a, shape = operand(a), shape_of(a)
    if 0 in shape[-2:] and len(shape) > 1:  # an empty matrix of any dtype
        return broadcast_to(type_of(a).dtype.type(0), (*shape[:-2], shape[-1], shape[-2]))
    (a,) = matrices("pinv", a, square=hermitian)
    t = type_of(a)
    if relative is None:
        relative = builtins.max(t.shape[-2:]) * float(np.finfo(t.dtype).eps)
    if 0 in t.shape:
        return broadcast_to(t.dtype.type(0), (*t.shape[:-2], t.shape[-1], t.shape[-2]))
    a = ops.read_lower(a) if hermitian else a
    u, s, vh = factorization.svd(casting.stop_gradient(a))
    kept = s > multiply(columns(relative), max(s, -1, keepdims=True))
    return pseudo_inverse(a, u, convert_to(s, t.dtype), vh, kept)


@eager(named(np.linalg.qr, QRResult))
def qr(a: Numbers, /, mode: str = "reduced") -> Any:
    """(Q, R) with a = Q R, Q with orthonormal columns; R alone for mode "r". In mode "complete" Q is square: its further columns have a
    derivative if there is one of them. Of a traced matrix there is no "raw".
    """
    (a,) = matrices("qr", a)
    if mode not in ("reduced", "r", "complete"):
        raise teach(UnsupportedFunctionError, f"qr: mode {mode!r} of a traced array.", do='use mode "reduced", "complete" or "r".')
    q, r = Qr(full=mode == "complete")(a)
    return r if mode == "r" else QRResult(q, r)


@eager(named(np.linalg.eigh, EighResult))
def eigh(a: Numbers, /, UPLO: str = "L") -> Any:
    """Eigenvalues, ascending, and orthonormal eigenvectors (as columns) of Hermitian matrices; one triangle is read."""
    (a,) = matrices("eigh", a, square=True)
    return EighResult(*(factorization.eigh if reads_lower("eigh", UPLO) else factorization.eigh_of_upper)(a))


def reads_lower(name: str, letter: str) -> bool:
    """Whether a letter names the lower triangle, and not the upper one."""
    if letter.upper() not in ("L", "U"):
        raise teach(ArgumentError, f"{name}: UPLO={letter!r}.", do="give 'L' or 'U', the triangle that is read.")
    return letter.upper() == "L"


@eager(np.linalg.eigvalsh)
def eigvalsh(a: Numbers, /, UPLO: str = "L") -> Any:
    """The eigenvalues, ascending, of Hermitian matrices."""
    (a,) = matrices("eigvalsh", a, square=True)
    return factorization.Eigvalsh(reads_lower("eigvalsh", UPLO))(a)


@eager(np.linalg.det)
def det(a: Numbers, /) -> Any:
    """The determinant of square matrices. Its derivatives are right at singular matrices too."""
    return determinant.det(*matrices("det", a, square=True))


@eager(named(np.linalg.slogdet, SlogdetResult))
def slogdet(a: Numbers, /) -> Any:
    """The sign and the logarithm of the absolute value of the determinant of square matrices."""
    return SlogdetResult(*determinant.slogdet(*matrices("slogdet", a, square=True)))


# ---- norms -----------------------------------------------------------------------------------------------------------------------
def floating(x: Any) -> Any:
    """``x`` in a floating or complex dtype."""
    x = operand(x)
    t = type_of(x)
    x = strong(x) if t.weak else x
    return x if t.dtype.kind in "fc" else convert_to(x, np.dtype(np.float64))


def sum_of_squares(x: Any, axis: Any, keepdims: bool) -> Any:
    """The sum of |x|^2."""
    return sum(multiply(x, conjugate(x)).real if type_of(x).dtype.kind == "c" else square(x), axis, keepdims=keepdims)


def two_norm(x: Any, axis: Any, keepdims: bool) -> Any:
    """The square root of the sum of |x|^2 over these axes (all, if None)."""
    t = type_of(x)
    axes = canonical_axes("norm", axis, t.ndim)
    if t.dtype.kind == "c" or not axes:
        return safe_sqrt(sum_of_squares(x, axis, keepdims))
    return rooted(keep(moments.norm(x, axes), t.shape, axes, keepdims), lambda: sum_of_squares(x, axes, keepdims))


def of_vectors(x: Any, ord: Any, axis: Any, keepdims: bool) -> Any:
    """The norm ``ord`` of vectors along ``axis``."""
    if ord is None or ord == 2:
        return two_norm(x, axis, keepdims)
    size = abs(x)
    if ord == np.inf:
        return max(size, axis, keepdims=keepdims, initial=0)
    if ord == -np.inf:
        return min(size, axis, keepdims=keepdims)
    if ord == 0:
        return convert_to(sum(convert_to(x, BOOL), axis, keepdims=keepdims), type_of(size).dtype)
    if ord == 1:
        return sum(size, axis, keepdims=keepdims)
    if isinstance(ord, str):
        raise teach(
            ArgumentError, f"norm: order {ord!r} of vectors.", do="give a number; 'fro' and 'nuc' are norms of matrices (two axes)."
        )
    return power(sum(power(size, ord), axis, keepdims=keepdims), 1.0 / ord)


def sum_of_singular_values(x: Any) -> Any:
    """The nuclear norm of traced matrices."""
    u, s, vh = factorization.svd(casting.stop_gradient(x))
    return nuclear_norm(x, u, convert_to(s, type_of(x).dtype), vh, s > 0)


def of_matrices(x: Any, ord: Any, axes: tuple[int, int], keepdims: bool) -> Any:
    """The norm ``ord`` of matrices along two axes."""
    rows, columns = axes
    if ord is None or ord == "fro":
        return two_norm(x, axes, keepdims)
    if ord in (1, -1, np.inf, -np.inf):
        summed, kept = (rows, columns) if ord in (1, -1) else (columns, rows)
        sizes = sum(abs(x), summed, keepdims=True)
        y = max(sizes, kept, keepdims=True, initial=0) if ord > 0 else min(sizes, kept, keepdims=True)
    elif ord in (2, -2, "nuc"):
        # The least subgradient: 0 in the direction of a singular value that is 0, and at a matrix of zeros.
        x = where(any(not_equal(x, 0), axes, keepdims=True), x, 0)
        moved = moveaxis(x, axes, (-2, -1))
        if ord == "nuc":
            y = sum_of_singular_values(moved)
        else:
            s = abs(svdvals(moved))
            none = {"initial": 0} if ord == 2 and not shape_of(s)[-1] else {}
            y = (max if ord == 2 else min)(s, -1, **none)  # equal singular values share the derivative
        shape = shape_of(x)
        return reshape(y, [1 if k in axes else n for k, n in enumerate(shape)]) if keepdims else y
    else:
        raise teach(ArgumentError, f"norm: order {ord!r} of matrices.", do="give 'fro', 'nuc', inf, -inf, 1, -1, 2 or -2.")
    return y if keepdims else reshape(y, [n for k, n in enumerate(shape_of(y)) if k not in axes])


@eager(np.linalg.norm)
def norm(x: Numbers, ord: Any = None, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
    """The norm ``ord`` of vectors (one axis) or matrices (two); of the flat array for ord None and axis None.

    The derivative of a norm at 0 is 0.
    """
    x = floating(x)
    shape = shape_of(x)
    if axis is None and ord is None:
        y = two_norm(x, None, False)
        return reshape(y, (1,) * len(shape)) if keepdims else y
    axes = (
        tuple(range(len(shape)))
        if axis is None
        else tuple(canonical_axis("norm", k, len(shape)) for k in (axis if isinstance(axis, tuple) else (axis,)))
    )
    if len(axes) == 1:
        return of_vectors(x, ord, axes[0], keepdims)
    if len(axes) != 2:
        raise teach(ShapeError, f"norm: {len(axes)} axes of an array of shape {shape}.", do="give one axis (vectors) or two (matrices).")
    return of_matrices(x, ord, (axes[0], axes[1]), keepdims)


@eager(np.linalg.vector_norm)
def vector_norm(x: Numbers, /, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """The norm ``ord`` over ``axis`` (one, several, or all if None) as one vector."""
    axes = canonical_axes("vector_norm", axis, len(shape_of(x)))
    return of_vectors(floating(x), ord, axes, keepdims)


@eager(np.linalg.matrix_norm)
def matrix_norm(x: Numbers, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The norm ``ord`` of matrices in the last two axes."""
    rows, columns = (canonical_axis("matrix_norm", k, len(shape_of(x))) for k in (-2, -1))
    return of_matrices(floating(x), ord, (rows, columns), keepdims)


@eager(np.linalg.cond)
def cond(x: Numbers, p: Any = None) -> Any:
    """The condition number: for ``p`` None or 2, the ratio of the extreme singular values; else norm(x, p) norm(inv(x), p)."""
    if 0 in shape_of(x)[-2:]:
        raise teach(ShapeError, f"cond: of no elements (shape {shape_of(x)}).", do="give matrices that have elements.")
    if p is None or p in (2, -2):
        s = abs(svdvals(x))  # LAPACK's zeros may be negative
        least, largest = min(s, -1), max(s, -1)  # equal singular values share the derivative
        y = divide(least, largest) if p == -2 else divide(largest, least)
    else:
        (a,) = matrices("cond", x, square=True)
        # A singular matrix has an infinite condition number, and must not make the others of its stack fail: the identity is inverted in
        # its place.
        regular = not_equal(determinant.slogdet(casting.stop_gradient(a))[0], 0)
        inverse = inv(where(regular[..., None, None], a, np.eye(shape_of(a)[-1], dtype=type_of(a).dtype)))
        y = divide(multiply(norm(a, p, (-2, -1)), norm(inverse, p, (-2, -1))), convert_to(regular, type_of(abs(a)).dtype))
    return where(isnan(y) & ~any(isnan(x), (-2, -1)), np.inf, y)


# ---- products --------------------------------------------------------------------------------------------------------------------
@eager(np.linalg.cross)
def cross(x: Numbers, y: Numbers, /, *, axis: int = -1) -> Any:
    """The cross product of vectors of length 3 along ``axis``; the other axes broadcast."""
    for v in (x, y):
        if shape_of(v)[canonical_axis("linalg.cross", axis, len(shape_of(v)))] != 3:
            raise teach(ShapeError, f"linalg.cross: an array of shape {shape_of(v)}.", do="give vectors of length 3 along the axis.")
    return contraction.cross(x, y, axis=axis)


@eager(np.linalg.outer)
def outer(x: Numbers, y: Numbers, /) -> Any:
    """The products of all pairs of elements of two vectors."""
    if len(shape_of(x)) != 1 or len(shape_of(y)) != 1:
        what = f"linalg.outer: arrays of shapes {shape_of(x)} and {shape_of(y)}."
        raise teach(ShapeError, what, do="give two vectors; cotan.numpy.outer flattens other arrays.")
    return contraction.outer(x, y)


@eager(np.linalg.diagonal)
def diagonal(x: Numbers, /, *, offset: int = 0) -> Any:
    """The ``offset``-th diagonals of matrices in the last two axes."""
    return creation.diagonal(x, offset, -2, -1)


@eager(np.linalg.trace)
def trace(x: Numbers, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """The sums of the ``offset``-th diagonals of matrices in the last two axes."""
    return creation.trace(x, offset, -2, -1, dtype)


@eager(np.linalg.matrix_power)
def matrix_power(a: Numbers, n: int) -> Any:
    """The ``n``-th power of square matrices, by squaring; a negative power is a power of the inverse."""
    if len(shape_of(a)) < 2 or shape_of(a)[-1] != shape_of(a)[-2]:
        raise teach(ShapeError, f"matrix_power: an array of shape {shape_of(a)}.", do="give a square matrix, or a stack of them.")
    if n == 0:
        t = type_of(a)
        return broadcast_to(np.eye(t.shape[-1], dtype=t.dtype), t.shape)
    if n < 0:
        a, n = inv(a), -n
    result: Any = None
    for bit in f"{n:b}":
        result = a if result is None else matmul(result, result)
        if bit == "1" and result is not a:
            result = matmul(result, a)
    return result


@eager(np.linalg.multi_dot)
def multi_dot(arrays: Sequence[Numbers]) -> Any:
    """The product of several matrices (the first and last may be vectors), in the cheapest order."""
    parts = [strong(operand(x)) for x in arrays]  # each product has the dtype of its two factors
    first, last = len(shape_of(parts[0])) == 1, len(shape_of(parts[-1])) == 1
    parts[0] = reshape(parts[0], (1, -1)) if first else parts[0]
    parts[-1] = reshape(parts[-1], (-1, 1)) if last else parts[-1]
    y = chain(parts, chain_order([shape_of(x) for x in parts]), 0, len(parts) - 1)
    return reshape(y, shape_of(y)[first : len(shape_of(y)) - last])


def chain_order(shapes: Sequence[tuple[int, ...]]) -> dict[tuple[int, int], int]:
    """The split of each run of matrices, by the dynamic programming of Cormen et al., section 15.2."""
    sizes = [shapes[0][0], *[shape[1] for shape in shapes]]
    cost = {(k, k): 0 for k in range(len(shapes))}
    split: dict[tuple[int, int], int] = {}
    for width in range(1, len(shapes)):
        for i in range(len(shapes) - width):
            j = i + width
            options = [(cost[i, k] + cost[k + 1, j] + size_of((sizes[i], sizes[k + 1], sizes[j + 1])), k) for k in range(i, j)]
            cost[i, j], split[i, j] = builtins.min(options)
    return split


def chain(parts: Sequence[Any], split: dict[tuple[int, int], int], i: int, j: int) -> Any:
    """The product of the matrices i to j, in the order of ``split``."""
    return parts[i] if i == j else matmul(chain(parts, split, i, split[i, j]), chain(parts, split, split[i, j] + 1, j))


# ---- general matrices, least squares, tensors ----------------------------------------------------------------------------------------
class EigResult(NamedTuple):
    """Eigenvalues and eigenvectors of square matrices."""

    eigenvalues: Any
    eigenvectors: Any


@eager(named(np.linalg.eig, EigResult))
def eig(a: Numbers, /) -> Any:
    """Eigenvalues w and eigenvectors (as columns of v) of square matrices, a @ v = v * w. Those of a traced matrix are complex.

    Each vector has the norm 1 and a real largest element, and so have its derivatives. Single vectors of equal eigenvalues have none.
    """
    return EigResult(*eigen.eig(*matrices("eig", a, square=True)))


@eager(np.linalg.eigvals)
def eigvals(a: Numbers, /) -> Any:
    """The eigenvalues of square matrices. Those of a traced matrix are complex."""
    return eigen.eigvals(*matrices("eigvals", a, square=True))


@eager(np.linalg.lstsq)
def lstsq(a: Numbers, b: Numbers, rcond: float | None = None) -> Any:
    """(x, residuals, rank, s): the x of least norm among those that minimize |a @ x - b|, for a (m, n), b (m,) or (m, k).

    Singular values s up to ``rcond`` (default max(m, n) eps) times the largest count as zero. For traced values, residuals has the sums of
    squares if m > n, whatever the rank; the derivative is for a constant rank.
    """
    b = operand(b)
    vector = len(shape_of(b)) == 1
    a, b = matrices("lstsq", a, reshape_op(b, (*shape_of(b), 1)) if vector else b)
    t = type_of(a)
    if t.ndim != 2 or len(shape_of(b)) != 2 or t.shape[0] != shape_of(b)[0]:
        raise teach(ShapeError, f"lstsq: a of shape {t.shape}, b of shape {shape_of(b)}.", do="give a matrix a, and a b with as many rows.")
    m, n = t.shape
    relative = builtins.max(m, n) * float(np.finfo(t.dtype).eps) if rcond is None or rcond < 0 else rcond
    x = matmul(pinv(a, rtol=relative), b)
    s = svdvals(a)
    rank = convert_to(sum(s > relative * max(s, -1, keepdims=True, initial=0), -1), np.dtype(np.int32))
    residuals = sum(square(abs(matmul(a, x) - b)), 0) if m > n else np.zeros(0, type_of(s).dtype)
    return (reshape_op(x, (n,)) if vector else x), residuals, rank, s


@eager(np.linalg.tensorinv)
def tensorinv(a: Numbers, ind: int = 2) -> Any:
    """The inverse of ``tensordot(a, x, ndim of x)``: with the first ``ind`` axes of a as rows, and the others as columns."""
    shape = shape_of(a)
    if ind <= 0 or size_of(shape[:ind]) != size_of(shape[ind:]):
        raise teach(ArgumentError, f"tensorinv: ind={ind} of an array of shape {shape}.", do="split the axes into two halves of one size.")
    rows = size_of(shape[ind:])
    return reshape(inv(reshape(a, (-1, rows))), (*shape[ind:], *shape[:ind]))


@eager(np.linalg.tensorsolve)
def tensorsolve(a: Numbers, b: Numbers, axes: Sequence[int] | None = None) -> Any:
    """x with ``tensordot(a, x, ndim of x) = b``. ``axes`` of a are moved to the end first."""
    a, b = operand(a), operand(b)
    if axes:
        last = canonical_axes("tensorsolve", tuple(axes), len(shape_of(a)))
        a = moveaxis(a, last, range(-len(last), 0))
    shape = shape_of(a)[len(shape_of(b)) :]
    if size_of(shape_of(b)) != size_of(shape) or size_of(shape_of(a)) != size_of(shape) ** 2:
        what = f"tensorsolve: a of shape {shape_of(a)}, b of shape {shape_of(b)}."
        raise teach(ShapeError, what, do="give an a whose last axes have as many elements as b.")
    return reshape(solve(reshape(a, (-1, size_of(shape))), reshape(b, (-1,))), shape)


@eager(np.linalg.matrix_rank)
def matrix_rank(a: Numbers, tol: Numbers | None = None, hermitian: bool = False, *, rtol: Numbers | None = None) -> Any:
    """The number of singular values above ``tol``, or above ``rtol`` (default max(M, N) eps) times the largest.

    Both are numbers, or one for each matrix of a stack. The rank of a vector or a number is 1, unless it is zero.
    """
    if tol is not None and rtol is not None:
        raise teach(ArgumentError, "matrix_rank: tol= and rtol= together.", do="give one of them.")
    if len(shape_of(a)) < 2:
        return convert_to(any(a), np.dtype(np.int64))
    (a,) = matrices("matrix_rank", a, square=hermitian)
    s = svd(a, compute_uv=False, hermitian=hermitian)
    m, n = shape_of(a)[-2:]
    longer = builtins.max(m, n)
    relative = longer * float(np.finfo(type_of(s).dtype).eps) if rtol is None else rtol
    limit = multiply(max(s, -1, keepdims=True, initial=0), columns(relative)) if tol is None else columns(tol)
    return sum(s > limit, -1)
