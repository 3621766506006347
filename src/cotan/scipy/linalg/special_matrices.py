"""Special matrices: of given diagonals (Toeplitz, Hankel, circulant), of given blocks, of the coefficients of polynomials, of sizes alone.

Vectors may have axes in front: these are then stacks of matrices.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import ArgumentError, ShapeError, teach
from ...core.tracing import type_of
from ...numpy.elementwise import abs, conjugate, divide, negative
from ...numpy.promotion import Numbers, broadcast_shapes, operand, promote, shape_of, spread_to, strong
from ...numpy.selection import where
from ...numpy.shape import atleast_1d, concatenate, flip
from ...ops.families import BroadcastInDim
from ...ops.linalg import OnDiagonal
from ...ops.movement import pad, reshape, slice_
from ...ops.toeplitz import Toeplitz, count_of
from ..calling import concrete_only, scipys

__all__ = [
    "block_diag", "circulant", "companion", "convolution_matrix", "dft", "fiedler", "fiedler_companion", "hadamard", "hankel", "helmert",
    "hilbert", "invhilbert", "invpascal", "khatri_rao", "leslie", "pascal", "toeplitz",
]  # fmt: skip

of_scipy = scipys("scipy.linalg")


# ---- vectors -------------------------------------------------------------------------------------------------------------------------
def vectors(name: str, *xs: Any) -> list[Any]:
    """Operands as stacks of vectors of one dtype and one leading shape; a number is a vector of one."""
    operands = promote(*[atleast_1d(strong(operand(x))) for x in xs])
    lead = broadcast_shapes(name, [shape_of(x)[:-1] for x in operands])
    return [spread_to(x, (*lead, shape_of(x)[-1]), shape_of(x)) for x in operands]


def part(x: Any, start: int, stop: int | None = None) -> Any:
    """The elements of the last axis from ``start`` to before ``stop``, or the end."""
    *lead, n = shape_of(x)
    return slice_(x, (*[0] * len(lead), min(start, n)), (*lead, n if stop is None else stop))


def diagonals(c: Any, r: Any) -> Any:
    """The diagonals of the Toeplitz matrix with the first column c and the first row r, whose first element is not read."""
    return concatenate([flip(c, -1), part(r, 1)], -1)


@of_scipy
def toeplitz(c: Numbers, r: Numbers | None = None) -> Any:
    """The matrices (..., m, n) with constant diagonals, first columns c (..., m) and first rows r (..., n), by default the conjugate of c.
    The first element of r is not read.
    """
    c, r = vectors("toeplitz", c, conjugate(operand(c)) if r is None else r)
    return Toeplitz(shape_of(c)[-1], shape_of(r)[-1])(diagonals(c, r))


@of_scipy
def circulant(c: Numbers) -> Any:
    """The matrices (..., n, n) with the first columns c (..., n), each further column turned by one place."""
    (c,) = vectors("circulant", c)
    n = shape_of(c)[-1]
    turned = flip(c, -1)
    return Toeplitz(n, n)(concatenate([turned, part(turned, 0, max(n - 1, 0))], -1))


@scipys("scipy.linalg", own=True)  # SciPy makes one vector of several before version 1.19
def hankel(c: Numbers, r: Numbers | None = None) -> Any:
    """The matrices (..., m, n) with constant antidiagonals, first columns c (..., m) and last rows r (..., n), by default zeros. The first
    element of r is not read.
    """
    c = strong(operand(c))
    c, r = vectors("hankel", c, np.zeros(shape_of(c), type_of(c).dtype) if r is None else r)
    values = concatenate([c, part(r, 1)], -1)
    return flip(Toeplitz(shape_of(c)[-1], shape_of(r)[-1])(values), -2)


@of_scipy
def convolution_matrix(a: Numbers, n: int, mode: str = "full") -> Any:
    """The matrices A with A @ v = convolve(a, v, mode) for vectors v of length n.

    Raises
    ------
    ArgumentError
        There is no such mode, or n is not positive.
    ShapeError
        a is empty.
    """
    if n <= 0 or mode not in ("full", "same", "valid"):
        what = f"convolution_matrix: n={n}, mode={mode!r}."
        raise teach(ArgumentError, what, do='give a positive n, and mode "full", "same" or "valid".')
    (a,) = vectors("convolution_matrix", a)
    *lead, m = shape_of(a)
    if not m:
        raise teach(ShapeError, "convolution_matrix: an empty array.", do="give at least one number.")
    trimmed = {"full": 0, "same": min(n, m) - 1, "valid": 2 * (min(n, m) - 1)}[mode]
    rows, first = m + n - 1 - trimmed, trimmed - trimmed // 2
    around = pad(flip(a, -1), type_of(a).dtype.type(0), [*[(0, 0, 0)] * len(lead), (n - 1, n - 1, 0)])
    return Toeplitz(rows, n)(part(around, first, first + count_of(rows, n)))


# ---- blocks --------------------------------------------------------------------------------------------------------------------------
def rows_below(*parts: Any) -> Any:
    """Matrices of one leading shape, below each other."""
    return concatenate(parts, -2)


def zeros_around(x: Any, before: int, after: int) -> Any:
    """Matrices between columns of zeros."""
    lead = [(0, 0, 0)] * (len(shape_of(x)) - 1)
    return pad(x, type_of(x).dtype.type(0), [*lead, (before, after, 0)])


@of_scipy
def block_diag(*arrs: Numbers) -> Any:
    """The matrices with these blocks on their diagonals, zeros elsewhere; a vector is a block of one row."""
    blocks = [atleast_1d(strong(x)) for x in promote(*arrs)]
    blocks = [reshape(x, (1, *shape_of(x))) if len(shape_of(x)) == 1 else x for x in blocks]
    lead = broadcast_shapes("block_diag", [shape_of(x)[:-2] for x in blocks])
    blocks = [spread_to(x, (*lead, *shape_of(x)[-2:]), shape_of(x)) for x in blocks]
    sizes = [shape_of(x)[-1] for x in blocks]
    return rows_below(*[zeros_around(x, sum(sizes[:k]), sum(sizes[k + 1 :])) for k, x in enumerate(blocks)])


@of_scipy
def khatri_rao(a: Numbers, b: Numbers) -> Any:
    """The matrices (..., m k, n) whose columns are the Kronecker products of the columns of a (..., m, n) and b (..., k, n).

    Raises
    ------
    ShapeError
        An operand is no matrix, or they differ in the number of columns.
    """
    a, b = promote(a, b)
    first, second = shape_of(a), shape_of(b)
    if len(first) < 2 or len(second) < 2 or first[-1] != second[-1]:
        what = f"khatri_rao: arrays of shapes {first} and {second}."
        raise teach(ShapeError, what, do="give two matrices with as many columns each.")
    lead = broadcast_shapes("khatri_rao", [first[:-2], second[:-2]])
    return reshape(a[..., :, None, :] * b[..., None, :, :], (*lead, first[-2] * second[-2], first[-1]))


@of_scipy
def leslie(f: Numbers, s: Numbers) -> Any:
    """The matrices with the first rows f (..., n) and the first subdiagonals s (..., n - 1), zeros elsewhere (Leslie 1945).

    Raises
    ------
    ShapeError
        s is empty, or has not one element less than f.
    """
    f, s = vectors("leslie", f, s)
    *lead, n = shape_of(f)
    if shape_of(s)[-1] != n - 1 or n < 2:
        what = f"leslie: arrays of shapes {shape_of(f)} and {shape_of(s)}."
        raise teach(ShapeError, what, do="give an s with one element less than f, and at least one.")
    return rows_below(reshape(f, (*lead, 1, n)), OnDiagonal(n - 1, n)(s))


# ---- coefficients of polynomials -----------------------------------------------------------------------------------------------------
def quotients(name: str, a: Any, least: int) -> Any:
    """Coefficients divided by the first one."""
    (a,) = vectors(name, a)
    if shape_of(a)[-1] < least:
        what = f"{name}: an array of shape {shape_of(a)}."
        raise teach(ShapeError, what, do=f"give at least {least} coefficients, the first one not zero.")
    return divide(a, part(a, 0, 1)) if shape_of(a)[-1] else a


@of_scipy
def companion(a: Numbers) -> Any:
    """The matrices (..., n - 1, n - 1) whose eigenvalues are the roots of the polynomials with the coefficients a (..., n), highest power
    first. A traced first coefficient of zero gives what is not finite.
    """
    row = negative(part(quotients("companion", a, 2), 1))
    *lead, n = shape_of(row)
    below = OnDiagonal(n - 1, n)(np.ones((*lead, n - 1), type_of(row).dtype))
    return rows_below(reshape(row, (*lead, 1, n)), below)


@of_scipy
def fiedler_companion(a: Numbers) -> Any:
    """The pentadiagonal matrices with the eigenvalues of `companion` (Fiedler 2003)."""
    a = quotients("fiedler_companion", a, 0)
    *lead, n = shape_of(a)
    n, dtype = n - 1, type_of(a).dtype
    if n < 1:
        return np.zeros((*lead, 0), dtype)
    ones = np.zeros((n, n), dtype)
    for k in range(n):
        ones[k, k - 2 if k % 2 else min(k + 2, n - 1)] = (k > 1) if k % 2 else k + 2 < n
    ones[1:2, 0] = 1
    odd = np.arange(n - 1) % 2 == 1
    behind = negative(part(a, 2))
    first = where(np.arange(n) == 0, negative(part(a, 1)), 0)
    diagonals = ((0, first), (-1, where(odd, behind, 0)), (1, where(odd, 0, behind)))
    return sum((OnDiagonal(n, n, offset)(x) for offset, x in diagonals), np.broadcast_to(ones, (*lead, n, n)))


@of_scipy
def fiedler(a: Numbers) -> Any:
    """The symmetric matrices with the elements |a[i] - a[j]|."""
    a = atleast_1d(strong(operand(a)))
    *lead, n = shape_of(a)
    if not lead and n == 0:
        return np.zeros(0)
    rows = BroadcastInDim((*lead, n, n), (*range(len(lead)), len(lead)))(a)
    columns = BroadcastInDim((*lead, n, n), (*range(len(lead)), len(lead) + 1))(a)
    return abs(rows - columns)


# ---- sizes ---------------------------------------------------------------------------------------------------------------------------
SIZE = "give a Python integer: the shape of the result depends on it."
dft = concrete_only("scipy.linalg", "dft", "The matrix of the discrete Fourier transform.", SIZE)
hadamard = concrete_only(
    "scipy.linalg", "hadamard", "A matrix of ones and minus ones with orthogonal columns, by Sylvester's construction.", SIZE
)
helmert = concrete_only("scipy.linalg", "helmert", "Helmert's orthogonal matrix.", SIZE)
hilbert = concrete_only("scipy.linalg", "hilbert", "The Hilbert matrix, with the elements 1 / (i + j + 1).", SIZE)
invhilbert = concrete_only("scipy.linalg", "invhilbert", "The inverse of the Hilbert matrix.", SIZE)
invpascal = concrete_only("scipy.linalg", "invpascal", "The inverse of the Pascal matrix.", SIZE)
pascal = concrete_only("scipy.linalg", "pascal", "The Pascal matrix, with binomial coefficients.", SIZE)
