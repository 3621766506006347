"""Eigenvalues and singular values."""

from __future__ import annotations

from typing import Any

from ...core.errors import ArgumentError, UnsupportedFunctionError, teach
from ...numpy import linalg as cnp_linalg
from ...numpy.contraction import matmul
from ...numpy.elementwise import conjugate
from ...numpy.linalg import matrices
from ...numpy.promotion import Numbers, shape_of
from ...numpy.reduction import sum as sum_of
from ...ops import eigen
from ...ops import linalg as ops
from ...ops.linalg import triangular_solve
from ...ops.movement import slice_
from ..calling import scipys
from .equations import stacks
from .solving import adjoint

__all__ = ["eig", "eigh", "eigvals", "eigvalsh", "svd", "svdvals"]

of_scipy = scipys("scipy.linalg")


@of_scipy
def svd(a: Numbers, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """(u, s, vh) with a = u diag(s) vh, s descending; s alone if not ``compute_uv``. See `cotan.numpy.linalg.svd`."""
    found = cnp_linalg.svd(a, full_matrices=full_matrices, compute_uv=compute_uv)
    return tuple(found) if compute_uv else found


@of_scipy
def svdvals(a: Numbers) -> Any:
    """The singular values, descending."""
    return cnp_linalg.svdvals(a)


@of_scipy
def eig(a: Numbers, b: Numbers | None = None, left: bool = False, right: bool = True) -> Any:
    """(w, vr): eigenvalues and eigenvectors as columns, a @ vr = vr * w, complex; (w, vl, vr) if ``left`` too, w alone if neither.

    With b, of the generalized problem a @ v = b @ v * w for a regular b. Each vector has the norm 1.
    """
    a = pencil("eig", a, b)
    if not left and not right:
        return eigen.eigvals(a)
    w, vr = eigen.eig(a)
    if not left:
        return w, vr
    if b is not None:
        raise teach(UnsupportedFunctionError, "eig: left vectors of a traced generalized problem.", do="give the transposed problem.")
    vl = adjoint(ops.Inverse()(vr))
    vl = vl / sum_of((vl * conjugate(vl)).real, -2, keepdims=True) ** 0.5
    return (w, vl, vr) if right else (w, vl)


@of_scipy
def eigvals(a: Numbers, b: Numbers | None = None) -> Any:
    """The eigenvalues, complex; with b, those of a @ v = b @ v * w."""
    return eigen.eigvals(pencil("eigvals", a, b))


def pencil(name: str, a: Any, b: Any) -> Any:
    """The matrix whose eigenvalues are those of a problem."""
    if b is None:
        return matrices(name, a, square=True)[0]
    a, b = stacks(name, *matrices(name, a, b, square=True))
    return ops.solve(b, a)


@of_scipy
def eigh(
    a: Numbers,
    b: Numbers | None = None,
    *,
    lower: bool = True,
    eigvals_only: bool = False,
    subset_by_index: Any = None,
    type: int = 1,
) -> Any:
    """(w, v): eigenvalues, ascending, and eigenvectors of Hermitian a (of which one triangle is read); w alone if ``eigvals_only``.

    With a positive definite b, those of a @ v = b @ v * w (``type`` 1), a @ b @ v = v * w (2) or b @ a @ v = v * w (3), normalized so that
    v^H b v = 1 (v^H b^-1 v = 1 for type 3). ``subset_by_index`` (first, last), both included, keeps some of them.

    Raises
    ------
    ArgumentError
        There is no such type.
    """
    letter = "L" if lower else "U"
    if b is None:
        (a,) = matrices("eigh", a, square=True)
        w, v = (cnp_linalg.eigvalsh(a, letter), None) if eigvals_only else cnp_linalg.eigh(a, letter)
    else:
        if type not in (1, 2, 3):
            raise teach(ArgumentError, f"eigh: type={type!r}.", do="give 1, 2 or 3.")
        a, b = stacks("eigh", *matrices("eigh", a, b, square=True))
        a, b = (a, b) if lower else (adjoint(a), adjoint(b))
        a, factor = ops.read_lower(a), ops.cholesky(b)
        if type == 1:
            inner = triangular_solve(factor, triangular_solve(factor, a), left_side=False, transpose_a=ops.ADJOINT)
        else:
            inner = matmul(matmul(adjoint(factor), a), factor)
        w, v = (cnp_linalg.eigvalsh(inner), None) if eigvals_only else cnp_linalg.eigh(inner)
        if v is not None:
            v = matmul(factor, v) if type == 3 else triangular_solve(factor, v, transpose_a=ops.ADJOINT)
    if subset_by_index is not None:
        first, last = map(int, subset_by_index)
        if not 0 <= first <= last < shape_of(w)[-1]:
            what = f"eigh: subset_by_index={(first, last)} of {shape_of(w)[-1]} eigenvalues."
            raise teach(ArgumentError, what, do="give the first and the last index, 0 <= first <= last < n.")
        w, v = (None if x is None else last_axis(x, first, last + 1) for x in (w, v))
    return w if v is None else (w, v)


def last_axis(x: Any, start: int, stop: int) -> Any:
    """The elements from ``start`` to ``stop`` of the last axis."""
    shape = shape_of(x)
    return slice_(x, (*[0] * (len(shape) - 1), start), (*shape[:-1], stop))


@of_scipy
def eigvalsh(
    a: Numbers,
    b: Numbers | None = None,
    *,
    lower: bool = True,
    subset_by_index: Any = None,
    type: int = 1,
) -> Any:
    """The eigenvalues alone; the arguments are those of `eigh`."""
    return eigh(a, b, lower=lower, eigvals_only=True, subset_by_index=subset_by_index, type=type)
