"""Steps of random programs: linear algebra, as functions that do not depend on signs or on bases that an engine may choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import cotan
import cotan.numpy as cnp
import cotan.scipy.linalg as sla
from cotan import lax

from .random_programs import STEPS, Step, kind, matrices, pick

__all__ = ["ADDED", "FAVOURED"]


def adjoint(a: Any) -> Any:
    return cnp.conj(cnp.swapaxes(a, -1, -2))


def columns(w: Any) -> Any:
    return w[..., None, :]


def by_eigh(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """V f(w) V^H."""

    def function(a: Any) -> Any:
        w, v = cnp.linalg.eigh(a)
        return cnp.matmul(v * columns(f(w)), adjoint(v))

    return function


def by_svd(x: Any) -> Any:
    u, s, vh = cnp.linalg.svd(x, full_matrices=False)
    return cnp.matmul(u * columns(cnp.tanh(s)), vh)


def by_qr(x: Any) -> Any:
    q, r = cnp.linalg.qr(x)
    return cnp.matmul(q * 0.5, cnp.tanh(0.1 * r * r)) if x.shape[-2] < 1 else cnp.abs(r)


OF_POSITIVE: dict[str, Callable[[Any], Any]] = {
    "cholesky": cnp.linalg.cholesky,
    "inv": cnp.linalg.inv,
    "det": lambda a: cnp.linalg.det(0.3 * a),
    "slogdet": lambda a: cnp.linalg.slogdet(a)[1],
    "eigh": by_eigh(cnp.sqrt),
    "eigh of eigenvalues": lambda a: cnp.sum(cnp.linalg.eigvalsh(a) ** 2),
    "sqrtm": sla.sqrtm,
    "logm": sla.logm,
    "expm": lambda a: sla.expm(0.2 * a),
    "schur": lambda a: sla.schur(a, output="complex")[0].diagonal(0, -2, -1).real.sum() if a.ndim == 2 else a,
    "cho_solve": lambda a: sla.cho_solve((cnp.linalg.cholesky(a), True), a[..., :1]),
    "lu_solve": lambda a: sla.lu_solve(sla.lu_factor(a), a[..., :2]),
    "ldl": lambda a: sla.solve(a, a[..., :1], assume_a="sym") if kind(a) == "f" else a,
    "positive": lambda a: sla.solve(a, a[..., :2], assume_a="pos") if kind(a) == "f" else a,
    "lyapunov": lambda a: sla.solve_continuous_lyapunov(a, a + 1.0) if a.ndim == 2 else a,
    "sylvester": lambda a: sla.solve_sylvester(a, 2.0 * a, a + 1.0) if a.ndim == 2 else a,
    "riccati": lambda a: sla.solve_continuous_are(-a, a, a, a) if a.ndim == 2 and kind(a) == "f" else a,
    "banded": lambda a: sla.solve_banded((1, 1), 5.0 + a[..., :3, :], a[..., :1]) if a.ndim == 2 and a.shape[-1] > 2 else a,
    "toeplitz": lambda a: sla.solve_toeplitz(a[..., 0, :] + 9.0, a[..., :1]) if a.ndim == 2 else a,
    "hessenberg": lambda a: cnp.abs(sla.hessenberg(a)) if a.ndim == 2 else a,
}
OF_ANY: dict[str, Callable[[Any], Any]] = {
    "svd": by_svd,
    "svdvals": cnp.linalg.svdvals,
    "qr": by_qr,
    "pinv": lambda x: cnp.linalg.pinv(x + 0.0),
    "lstsq": lambda x: cnp.linalg.lstsq(x, cnp.ones(x.shape[0], x.dtype))[0] if x.ndim == 2 and x.shape[0] >= x.shape[1] else x,
    "polar": lambda x: sla.polar(x)[1] if x.ndim == 2 and x.shape[0] >= x.shape[1] else x,
    "norm": lambda x: cnp.linalg.norm(x, "nuc", axis=(-2, -1)) + cnp.linalg.norm(x, axis=(-2, -1)),
    "expm": lambda x: sla.expm(cnp.matmul(adjoint(x), x) * 0.3),
}


def matrices_of(s: Step, values: Sequence[Any]) -> tuple[Any, Any] | None:
    """Matrices, and positive definite ones."""
    x = pick(s, values, "fc")
    if x is None or not x.size:
        return None
    if x.ndim < 2 or x.shape[-1] > 14 or x.shape[-2] > 60 or x.size > 2000:
        lead = (2,) if s.chance(0.2) else ()
        rows = cnp.ravel(x)[: s.choose([1, 2, 3, 4, 6, 10])]
        turns = s.random.sample(range(1, 40), s.choose([1, 2, 3, 4, 6, 9])) if not lead else np.arange(1, 7).reshape(2, 1, 3)
        x = cnp.multiply(rows[:, None], np.asarray(turns).astype(x.dtype))
    x = cnp.sin(x) if kind(x) == "f" else x / (1.0 + cnp.abs(x))
    if s.chance(0.5):
        x = x.astype(np.float64 if kind(x) == "f" else np.complex128)
    return x, cnp.matmul(adjoint(x), x) + (2.0 * np.eye(x.shape[-1])).astype(x.dtype)


def decompositions(s: Step, values: Sequence[Any]) -> Any:
    """The function, a derivative of it, or it in a batch of which some examples have no result."""
    found = matrices_of(s, values)
    if found is None:
        return None
    x, a = found
    f, of = (OF_POSITIVE[s.choose(list(OF_POSITIVE))], a) if s.chance(0.65) else (OF_ANY[s.choose(list(OF_ANY))], x)

    def loss(v: Any) -> Any:
        y = f(v)
        return cnp.sum(cnp.real(y * cnp.conj(y))) if kind(y) == "c" else cnp.sum(cnp.sin(y))

    def gradient(v: Any) -> Any:
        return cotan.grad(loss)(v)

    stack = lambda v: cnp.stack([v, 0.5 * v, v + 0.1])  # noqa: E731
    ways = [lambda: f(of), lambda: f(of), lambda: gradient(of), lambda: gradient(of), lambda: cotan.jvp(f, (of,), (cnp.cos(of),))[1]]
    if of.size <= 200:
        ways += [
            lambda: cotan.vmap(f)(stack(of)),
            lambda: cotan.vmap(gradient)(stack(of)),
            lambda: cotan.jvp(gradient, (of,), (cnp.ones_like(of),))[1],
            lambda: lax.map(f, stack(of)),
            lambda: lax.fori_loop(0, 2, lambda _, v: 0.5 * v + 0.01 * gradient(v), of),
        ]
    return s.choose(ways)()


def without_result(s: Step, values: Sequence[Any]) -> Any:
    """A stack in which matrices without a result are left out."""
    found = matrices_of(s, values)
    if found is None or found[1].size > 200:
        return None
    a = found[1]
    f = s.choose([cnp.linalg.inv, cnp.linalg.cholesky, lambda v: cnp.linalg.solve(v, v + 1.0), lambda v: cnp.linalg.solve(v, a)])
    stack = cnp.stack([a, s.choose([0.0, -1.0, 1e-300]) * a, 2.0 * a])
    kept = np.array([True, False, True])
    masked = lambda v, ok: cnp.sum(cnp.abs(cnp.where(ok, f(v), 0.0)) ** 2)  # noqa: E731
    branched = lambda v, ok: lax.cond(ok, lambda v: cnp.sum(cnp.abs(f(v)) ** 2), lambda v: cnp.sum(cnp.abs(v)), v)  # noqa: E731
    g = s.choose([masked, branched])
    return s.choose([lambda: cotan.vmap(g)(stack, kept), lambda: cotan.grad(lambda v: cnp.sum(cotan.vmap(g)(v, kept)))(stack)])()


ADDED = [(decompositions, 1), (without_result, 1)]
STEPS += ADDED
FAVOURED = [matrices, decompositions, without_result]
"""The steps that ``fuzz --matrices`` takes most often."""
