"""Orthogonal factorizations: QR and RQ."""

from __future__ import annotations

from typing import Any

from ...core.errors import ArgumentError, ShapeError, UnsupportedFunctionError, teach
from ...numpy import elementwise
from ...numpy.contraction import matmul
from ...numpy.linalg import matrices
from ...numpy.promotion import Numbers, operand, shape_of
from ...ops.lu import resized
from ...ops.movement import reshape, reverse
from ...ops.qr import PivotedQr, Qr
from ..calling import scipys
from .equations import stacks
from .solving import adjoint

__all__ = ["qr", "qr_multiply", "rq"]

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
