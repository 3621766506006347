"""Functions of square matrices: exponential, logarithm, roots, powers, trigonometric functions, and the polar decomposition.

References: Higham (2008), "Functions of Matrices"; Higham (2005), "The scaling and squaring method for the matrix exponential revisited".
The derivatives are those of the approximants, the method of Al-Mohy & Higham (2009), "Computing the Frechet derivative of the matrix
exponential, with an application to condition number estimation".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...api.differentiate import jvp
from ...core.errors import ArgumentError, UnsupportedFunctionError, teach
from ...core.tracing import Tracer, type_of
from ...lax.loops import fori_loop, while_loop
from ...numpy import elementwise
from ...numpy.contraction import matmul
from ...numpy.creation import zeros_like
from ...numpy.linalg import matrices, matrix_norm
from ...numpy.linalg import matrix_power as integer_power
from ...numpy.promotion import Numbers, convert_to, operand, shape_of
from ...numpy.reduction import all as all_of
from ...numpy.reduction import any as any_of
from ...numpy.reduction import max as max_of
from ...numpy.selection import where
from ...numpy.shape import matrix_transpose
from ...ops import factorization, spectral
from ...ops.casting import stop_gradient
from ...ops.creation import full
from ...ops.linalg import diagonal, mask, solve
from ...ops.logic import less
from ...ops.matrix_functions import sqrtm as root
from ...ops.schur import StrictSylvester, schur
from ..calling import scipys
from .solving import adjoint

__all__ = [
    "coshm",
    "cosm",
    "expm",
    "expm_frechet",
    "fractional_matrix_power",
    "funm",
    "logm",
    "polar",
    "signm",
    "sinhm",
    "sinm",
    "sqrtm",
    "tanhm",
    "tanm",
]  # fmt: skip

of_scipy = scipys("scipy.linalg")
PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0, 10559470521600.0,
    670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
"""The coefficients of the [13/13] Pade approximant of the exponential (Higham 2005, section 2)."""
WITHIN = {"d": 5.371920351148152, "f": 3.925724783138660}
"""The norm up to which it is exact to rounding: in double precision, and in single precision that of the [7/7] approximant."""
NEAR_ONE = 0.264
"""The distance from the identity, in the 1-norm, up to which a quadrature of 7 nodes gives the logarithm (Higham 2008, table 11.1)."""
NODES, WEIGHTS = np.polynomial.legendre.leggauss(7)
NOT_REAL = {"d": 2.2e-13, "f": 1.2e-4}
"""The imaginary part of a result that is real, but for rounding."""
MOST_ROOTS = 100
"""So many square roots bring a regular matrix near the identity."""


def identity_like(a: Any) -> Any:
    t = type_of(a)
    return np.broadcast_to(np.eye(t.shape[-1], dtype=t.dtype), t.shape)


def square(name: str, a: Any) -> Any:
    """An operand as a stack of square matrices."""
    return matrices(name, a, square=True)[0]


@of_scipy
def sqrtm(A: Numbers) -> Any:
    """The principal square root of square matrices. That of a traced real matrix is real: nan where it would be complex.

    Convert a real matrix with negative eigenvalues first: ``sqrtm(a.astype(complex))``.
    """
    return root(square("sqrtm", A))


@of_scipy
def expm(A: Numbers) -> Any:
    """The exponential of square matrices, by scaling and squaring of a Pade approximant."""
    a = square("expm", A)
    t = type_of(a)
    if t.size == 0:
        return a
    part = np.finfo(t.dtype).dtype
    counts = squarings(matrix_norm(stop_gradient(a), ord=1), WITHIN[part.char])
    y = approximant(a * convert_to(of_each(elementwise.exp2(elementwise.negative(convert_to(counts, part)))), t.dtype))

    def squared(k: Any, y: Any) -> Any:
        return matmul(y, y) if t.ndim == 2 else where(of_each(k < counts), matmul(y, y), y)

    most = max_of(counts)
    if type(most) is Tracer:
        return fori_loop(0, most, squared, y)
    for k in range(int(most)):
        y = squared(k, y)
    return y


def of_each(x: Any) -> Any:
    """A number for each matrix of a stack, with axes for rows and columns."""
    return operand(x)[..., None, None]


def squarings(norm: Any, within: float) -> Any:
    """How often to halve matrices of these norms so that they are within the limit; never, if a norm is not finite."""
    ratio = elementwise.ceil(elementwise.log2(elementwise.maximum(norm / within, 1.0)))
    return convert_to(where(elementwise.isfinite(ratio), ratio, 0.0), np.dtype(np.int64))


def approximant(a: Any) -> Any:
    """The [13/13] Pade approximant of the exponential (Higham 2005, equations 2.3 and 2.6)."""
    b, one = [type_of(a).dtype.type(x) for x in PADE], identity_like(a)
    a2 = matmul(a, a)
    a4 = matmul(a2, a2)
    a6 = matmul(a4, a2)
    odd = matmul(a, matmul(a6, b[13] * a6 + b[11] * a4 + b[9] * a2) + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * one)
    even = matmul(a6, b[12] * a6 + b[10] * a4 + b[8] * a2) + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * one
    return solve(even - odd, even + odd)


@of_scipy
def expm_frechet(A: Numbers, E: Numbers, compute_expm: bool = True) -> Any:
    """(expm(A), its derivative along E); the derivative alone if not ``compute_expm``."""
    y, dy = jvp(expm, (square("expm_frechet", A),), (square("expm_frechet", E),))
    return (y, dy) if compute_expm else dy


@of_scipy
def logm(A: Numbers) -> Any:
    """The principal logarithm of square matrices, by repeated square roots and a quadrature of the logarithm near the identity. That of a
    traced real matrix is real: nan where it would be complex, and at singular matrices.

    The root X of A has X - 1 = (X + 1)^-1 (A - 1), so nothing cancels in the difference from the identity (Al-Mohy 2012, "A more accurate
    Briggs method for the logarithm").
    """
    a = square("logm", A)
    t = type_of(a)
    if t.size == 0:
        return a

    def far(a: Any) -> Any:
        return matrix_norm(stop_gradient(a) - identity_like(a), ord=1) > NEAR_ONE

    def step(state: Any) -> Any:
        a, x, counts, k = state
        on, half = far(a), root(a)
        return where(of_each(on), half, a), where(of_each(on), solve(half + identity_like(a), x), x), counts + on, k + 1

    start = (a, a - identity_like(a), np.zeros(t.shape[:-2], np.int64), 0)
    a, x, counts, _ = while_loop(lambda state: any_of(far(state[0])) & (state[3] < MOST_ROOTS), step, start)
    total = zeros_like(x)
    for node, weight in zip(NODES, WEIGHTS, strict=True):
        total = total + t.dtype.type(weight / 2) * solve(identity_like(x) + t.dtype.type((1 + node) / 2) * x, x)
    y = total * convert_to(of_each(elementwise.exp2(convert_to(counts, np.finfo(t.dtype).dtype))), t.dtype)
    return y * convert_to(of_each(where(far(a), np.nan, 1.0)), np.finfo(t.dtype).dtype)  # so the derivatives are nan, too


@of_scipy
def fractional_matrix_power(A: Numbers, t: float) -> Any:
    """The power t of square matrices: exp(t log(A)); an integer power is a product."""
    a = square("fractional_matrix_power", A)
    if type(t) is not Tracer and float(t) == int(t):
        return integer_power(a, int(t))
    return expm(convert_to(operand(t), type_of(a).dtype) * logm(a))


def of_real(a: Any) -> bool:
    return type_of(a).dtype.kind != "c"


@of_scipy
def cosm(A: Numbers) -> Any:
    """The cosine of square matrices."""
    a = square("cosm", A)
    return expm(1j * a).real if of_real(a) else (expm(1j * a) + expm(-1j * a)) / 2


@of_scipy
def sinm(A: Numbers) -> Any:
    """The sine of square matrices."""
    a = square("sinm", A)
    return expm(1j * a).imag if of_real(a) else (expm(1j * a) - expm(-1j * a)) / 2j


@of_scipy
def tanm(A: Numbers) -> Any:
    """The tangent of square matrices."""
    return solve(cosm(A), sinm(A))


@of_scipy
def coshm(A: Numbers) -> Any:
    """The hyperbolic cosine of square matrices."""
    a = square("coshm", A)
    return (expm(a) + expm(-a)) / 2


@of_scipy
def sinhm(A: Numbers) -> Any:
    """The hyperbolic sine of square matrices."""
    a = square("sinhm", A)
    return (expm(a) - expm(-a)) / 2


@of_scipy
def tanhm(A: Numbers) -> Any:
    """The hyperbolic tangent of square matrices."""
    return solve(coshm(A), sinhm(A))


@of_scipy
def polar(a: Numbers, side: str = "right") -> Any:
    """(u, p) with a = u @ p (``side`` "right") or a = p @ u ("left"): u with orthonormal columns or rows, p Hermitian and not negative.

    Raises
    ------
    ArgumentError
        There is no such side.
    """
    if side not in ("right", "left"):
        raise teach(ArgumentError, f"polar: side={side!r}.", do='give "right" or "left".')
    (a,) = matrices("polar", a)
    left, s, right = factorization.svd(stop_gradient(a))
    kept = np.ones(shape_of(s), bool)
    u = spectral.polar_factor(a, left, convert_to(s, type_of(a).dtype), right, kept)
    p = matmul(adjoint(u), a) if side == "right" else matmul(a, adjoint(u))
    return u, (p + adjoint(p)) / 2


@of_scipy
def funm(A: Numbers, func: Any, disp: bool = True) -> Any:
    """f(A) of square matrices, for a function ``func`` of arrays of complex numbers.

    By the complex Schur form A = Z T Z^H and Parlett's recurrence for F = f(T), T F = F T (Higham 2008, section 4.6). The result of a
    traced real matrix is real: nan where it would be complex. It is nan where two eigenvalues are equal to rounding, unless T is diagonal,
    and loses digits where they are close.

    Raises
    ------
    UnsupportedFunctionError
        An estimate of the error is asked for (``disp=False``).
    """
    if not disp:
        raise teach(
            UnsupportedFunctionError, "funm: disp=False of a traced matrix.", do="leave disp out: there is no estimate of the error."
        )
    a = square("funm", A)
    dtype = np.result_type(type_of(a).dtype, np.complex64)
    t, z = schur(convert_to(a, dtype))
    d = convert_to(operand(func(diagonal(t))), dtype)
    lead, n = shape_of(d)[:-1], shape_of(d)[-1]

    def largest(x: Any) -> Any:
        return max_of(abs(x), (-2, -1), keepdims=True, initial=0.0)

    part = np.finfo(dtype).dtype
    fixed = stop_gradient(t)
    values = diagonal(fixed)
    gaps = abs(values[..., None, :] - values[..., :, None]) + 2 * largest(fixed) * np.eye(n, dtype=part)
    apart, is_diagonal = gaps > n * np.finfo(part).eps * largest(fixed), largest(mask(fixed, less)) == 0
    # Below the diagonal of the transposed matrix: T^T Y - Y T^T = C with c_ji = t_ij (d_j - d_i), for F = diag(d) + Y^T.
    c = matrix_transpose(t * (d[..., None, :] - d[..., :, None]))
    above = matrix_transpose(StrictSylvester(transposes=True)(t, c, full((*lead, max(n - 1, 0)), np.bool_(False))))
    above = where(is_diagonal & ~apart, 0, above)
    y = matmul(z * d[..., None, :] + matmul(z, above), adjoint(z))

    # A factor that is 1 or nan makes the derivatives nan, too.
    right = all_of(apart, (-2, -1), keepdims=True) | is_diagonal
    if of_real(a):
        fixed = stop_gradient(y)
        right = right & (largest(fixed.imag) <= NOT_REAL[part.char] * elementwise.maximum(largest(fixed), 1.0))
    return (y.real if of_real(a) else y) * convert_to(where(right, 1.0, np.nan), part)


@of_scipy
def signm(A: Numbers) -> Any:
    """The sign of square matrices without eigenvalues on the imaginary axis: A (A^2)^(-1/2), whose eigenvalues are 1 and -1."""
    a = square("signm", A)
    return solve(root(matmul(a, a)), a)
