"""QR and RQ factorizations, Schur and Hessenberg forms."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import ArgumentError, ShapeError, UnsupportedFunctionError, teach
from ...core.tracing import type_of
from ...numpy import elementwise
from ...numpy.contraction import matmul
from ...numpy.linalg import matrices
from ...numpy.promotion import Numbers, convert_to, operand, shape_of
from ...ops.hessenberg import hessenberg as hessenberg_op
from ...ops.lu import resized
from ...ops.movement import reshape, reverse
from ...ops.qr import PivotedQr, Qr
from ...ops.schur import complex_form
from ...ops.schur import schur as schur_op
from ..calling import scipys
from .equations import stacks
from .solving import adjoint

__all__ = ["hessenberg", "qr", "qr_multiply", "rq", "rsf2csf", "schur"]

of_scipy = scipys("scipy.linalg")


@of_scipy
def qr(a: Numbers, mode: str = "full", pivoting: bool = False) -> Any:
    """(q, r) with a = q @ r; (r,) in mode "r"; in mode "economic" q has as many columns as r has rows, the lesser size of a. With
    ``pivoting`` the last result is the order p of the columns, a[:, p] = q @ r. LAPACK chooses the signs: a complex r has a real diagonal.

    Raises
    ------
    ArgumentError
        There is no such mode.
    UnsupportedFunctionError
        The mode is "raw".
    """
    if mode == "raw":
        what = "qr: mode 'raw' of a traced matrix: Householder vectors have no derivative here."
        raise teach(UnsupportedFunctionError, what, do='use mode "full" or "economic"; lax.linalg.householder_product takes vectors.')
    if mode not in ("full", "r", "economic"):
        raise teach(ArgumentError, f"qr: mode={mode!r}.", do='give "full", "r" or "economic".')
    (a,) = matrices("qr", a)
    q, *rest = (PivotedQr if pivoting else Qr)(full=mode == "full")(a)
    if mode != "r":
        return q, *rest
    return resized(rest[0], *shape_of(a)[-2:]), *rest[1:]


@of_scipy
def qr_multiply(a: Numbers, c: Numbers, mode: str = "right", pivoting: bool = False, conjugate: bool = False) -> Any:
    """(c @ q, r) for the economic q and r of a; (q @ c, r) in mode "left"; with q.conj() if ``conjugate``. With ``pivoting`` the order of
    the columns is the last result. A vector c gives a vector.

    Raises
    ------
    ArgumentError
        There is no such mode.
    ShapeError
        The shapes do not fit.
    """
    if mode not in ("left", "right"):
        raise teach(ArgumentError, f"qr_multiply: mode={mode!r}.", do='give "left" or "right".')
    c = operand(c)
    given, vector = shape_of(c), len(shape_of(c)) == 1
    if vector:
        c = reshape(c, (*given, 1) if mode == "left" else (1, *given))
    a, c = stacks("qr_multiply", a, c)
    (m, n), (rows, across) = shape_of(a)[-2:], shape_of(c)[-2:]
    if (rows != min(m, n)) if mode == "left" else (across != m):
        what = f"qr_multiply: a of shape {shape_of(a)}, c of shape {given}."
        raise teach(ShapeError, what, do="give a c with as many rows as q has columns, or for mode right, as many columns as a has rows.")
    q, *rest = (PivotedQr() if pivoting else Qr())(a)
    q = elementwise.conjugate(q) if conjugate else q
    product = matmul(q, c) if mode == "left" else matmul(c, q)
    if vector:
        product = reshape(product, (*shape_of(product)[:-2], shape_of(product)[-2 if mode == "left" else -1]))
    return product, *rest


@of_scipy
def rq(a: Numbers, mode: str = "full") -> Any:
    """(r, q) with a = r @ q; r alone in mode "r"; in mode "economic" r has as many columns as q has rows, the lesser size of a.

    It is the QR factorization of the conjugate transpose of a with rows and columns in the opposite order.

    Raises
    ------
    ArgumentError
        There is no such mode.
    """
    if mode not in ("full", "r", "economic"):
        raise teach(ArgumentError, f"rq: mode={mode!r}.", do='give "full", "r" or "economic".')
    (a,) = matrices("rq", a)
    q, r = (adjoint(turned(x)) for x in Qr(full=mode == "full")(adjoint(turned(a))))
    if mode != "r":
        return r, q
    m, n = shape_of(a)[-2:]
    return r if m >= n else turned(resized(turned(r), m, n))


def turned(a: Any) -> Any:
    """Matrices with rows and columns in the opposite order."""
    n = len(shape_of(a))
    return reverse(a, (n - 2, n - 1))


@of_scipy
def schur(a: Numbers, output: str = "real", sort: Any = None) -> tuple[Any, Any]:
    """(t, z) with a = z @ t @ z^H: z unitary, t upper triangular. The ``output`` "real" of a real a is real, with 2 x 2 blocks for pairs of
    conjugate eigenvalues; "complex" makes it complex first. See `cotan.ops.schur.Schur` for what has a derivative.

    Raises
    ------
    ArgumentError
        There is no such output.
    UnsupportedFunctionError
        The eigenvalues are to be sorted.
    """
    if sort is not None:
        what = "schur: sort= of a traced matrix: the order of the eigenvalues would depend on values."
        raise teach(UnsupportedFunctionError, what, do="leave sort out.")
    if output not in ("real", "r", "complex", "c"):
        raise teach(ArgumentError, f"schur: output={output!r}.", do='give "real" or "complex".')
    (a,) = matrices("schur", a, square=True)
    return schur_op(as_complex(a) if output[0] == "c" else a)


@of_scipy
def rsf2csf(T: Numbers, Z: Numbers) -> tuple[Any, Any]:
    """The complex Schur form of a real one.

    Raises
    ------
    UnsupportedFunctionError
        The form is complex.
    """
    t, z = stacks("rsf2csf", *matrices("rsf2csf", T, Z, square=True))
    if type_of(t).dtype.kind == "c":
        raise teach(UnsupportedFunctionError, "rsf2csf: a traced complex form.", do="give the real form: the complex one is triangular.")
    return complex_form(t, z)


def as_complex(a: Any) -> Any:
    """Matrices as complex ones of the same precision."""
    return convert_to(a, np.result_type(type_of(a).dtype, np.complex64))


@of_scipy
def hessenberg(a: Numbers, calc_q: bool = False) -> Any:
    """h with a = q @ h @ q^H: q unitary, h zero below the first subdiagonal; (h, q) if ``calc_q``. The first column of q is that of the
    identity, and a complex h has a real subdiagonal (but for 2 x 2 matrices, which are their own form).
    """
    h, q = hessenberg_op(*matrices("hessenberg", a, square=True))
    return (h, q) if calc_q else h
