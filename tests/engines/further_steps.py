"""Further steps of random programs: special functions, functions of `cotan.lax`, custom rules, differentiated loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import cotan
import cotan.numpy as cnp
from cotan import lax, special

from .random_programs import STEPS, Step, inner, kind, moderate, pick, together

__all__ = ["ADDED"]

SPECIAL: list[Callable[[Any], Any]] = [
    lambda x: cnp.arcsin(cnp.tanh(x)), lambda x: cnp.arccos(cnp.tanh(x)), lambda x: cnp.arctanh(0.9 * cnp.sin(x)),
    lambda x: cnp.arccosh(1.5 + cnp.abs(x)), special.erf, special.erfc, lambda x: special.erfinv(0.9 * cnp.sin(x)),
    lambda x: special.digamma(0.5 + cnp.abs(x)), lambda x: special.gammaln(0.5 + cnp.abs(x)), special.gamma, special.expit,
    lambda x: special.polygamma(1, 0.5 + cnp.abs(x)), special.i0e, special.i1e, lambda x: special.i0(cnp.sin(x)), special.i1,
    lambda x: special.entr(cnp.abs(x)), lambda x: lax.rsqrt(0.1 + cnp.abs(x)), lambda x: cnp.log10(0.1 + cnp.abs(x)), cnp.isinf,
    special.ndtr, special.log_ndtr, special.log_expit, lambda x: special.logit(0.5 + 0.4 * cnp.sin(x)), lax.logistic, cnp.cbrt,
    lambda x: cnp.nan_to_num(1.0 / x), lambda x: lax.integer_pow(cnp.sin(x), 5), lambda x: lax.integer_pow(2.0 + cnp.sin(x), -3),
    lambda x: lax.clamp(x.dtype.type(-0.5), x, x.dtype.type(0.5)), special.sinc, cnp.deg2rad, lambda x: cnp.round(x, 1),
    lambda x: special.softmax(x, axis=-1) if x.ndim else x, lambda x: special.log_softmax(x, axis=0) if x.ndim else x,
]  # fmt: skip
SPECIAL_OF_TWO: list[Callable[[Any, Any], Any]] = [
    lambda x, y: special.xlogy(x, cnp.abs(y)), lambda x, y: special.xlog1py(x, cnp.abs(y)), special.huber, cnp.nextafter, special.kl_div,
    lambda x, y: special.betaln(0.5 + cnp.abs(x), 0.5 + cnp.abs(y)), lambda x, y: special.gammainc(0.5 + cnp.abs(x), cnp.abs(y)),
    lambda x, y: special.gammaincc(0.5 + cnp.abs(x), cnp.abs(y)), special.rel_entr, cnp.greater_equal, cnp.logaddexp2,
    lambda x, y: cnp.linalg.norm(cnp.stack(cnp.broadcast_arrays(x, y)), axis=0), lambda x, y: cnp.clip(x, -cnp.abs(y), cnp.abs(y)),
]  # fmt: skip


def special_function(s: Step, values: Sequence[Any]) -> Any:
    x = pick(s, values, "f")
    if x is None or x.size > 30_000:
        return None
    if s.chance(0.6):
        return s.choose(SPECIAL)(x)
    y = pick(s, values, "f")
    return s.choose(SPECIAL_OF_TWO)(*together(s, x, y.astype(x.dtype)))


def slope(s: Step, values: Sequence[Any]) -> Any:
    """The derivative of a special function, or its second."""
    x = pick(s, values, "f")
    if x is None or x.size > 3000:
        return None
    f = s.choose(SPECIAL)
    first = cotan.grad(lambda v: cnp.sum(cnp.sin(f(v))))
    return first(x) if s.chance(0.7) else cotan.jvp(first, (x,), (cnp.cos(x),))[1]


def outside(s: Step, values: Sequence[Any]) -> Any:
    """A call back into Python, also within a loop."""
    x = pick(s, values, "f")
    if x is None or x.size > 3000:
        return None
    call = lambda v: cotan.pure_callback(np.cos, cotan.ShapeDtypeStruct(x.shape, x.dtype), v)  # noqa: E731
    return lax.fori_loop(0, 3, lambda _, v: call(v) * 0.5 + v, x) if s.chance(0.5) else call(x)


def bits(s: Step, values: Sequence[Any]) -> Any:
    x, y = pick(s, values, "iu"), pick(s, values, "iu")
    if x is None:
        return None
    x, y = together(s, x, y)
    return s.choose(
        [
            *[lambda f=f: f(x, y) for f in (cnp.bitwise_and, cnp.bitwise_or, cnp.bitwise_xor, cnp.greater_equal)],
            lambda: cnp.right_shift(x, 1),
            lambda: cnp.bitwise_count(x),
            lambda: cnp.gcd(x, y) if hasattr(cnp, "gcd") else cnp.left_shift(x, 2),
        ]
    )()


def forms(s: Step, values: Sequence[Any]) -> Any:
    """Forms of arrays that JAX and NumPy have names for."""
    x = pick(s, values, "fiu")
    if x is None or not x.ndim or not x.size or x.size > 4000:
        return None
    axis, n = s.number(0, x.ndim - 1), x.shape[0]
    ids = np.array([s.number(-2, 4) for _ in range(n)])
    spread = s.choose([lax.segment_sum, lax.segment_max, lax.segment_min, lax.segment_prod])
    return s.choose(
        [
            lambda: lax.cummin(x, axis=axis, reverse=s.chance(0.5)),
            lambda: lax.cumlogsumexp(cnp.sin(x), axis=axis, reverse=s.chance(0.5)) if kind(x) == "f" else x,
            lambda: lax.top_k(x, s.number(1, x.shape[-1]))[s.number(0, 1)],
            lambda: lax.sort_key_val(x, cnp.flip(x, -1))[1],
            lambda: spread(moderate(x), ids, num_segments=4),
            lambda: lax.pad(x, x.dtype.type(1), [(s.number(-1, 2), s.number(-1, 2), s.number(0, 2)) for _ in x.shape]),
            lambda: lax.dynamic_update_slice(x, x[:1], [s.number(-4, 9)] + [0] * (x.ndim - 1)),
            lambda: cnp.convolve(x.ravel()[:30], x.ravel()[:4], mode=s.choose(["full", "same", "valid"])),
            lambda: cnp.correlate(x.ravel()[:20], x.ravel()[:3], mode=s.choose(["full", "same", "valid"])),
            lambda: cnp.interp(x, np.arange(5.0), np.array([1.0, -1.0, 2.0, 0.5, 3.0])),
            lambda: cnp.take_along_axis(x, cnp.argsort(x, axis=axis), axis=axis),
            lambda: cnp.gradient(x, axis=axis) if x.shape[axis] > 1 and kind(x) == "f" else x,
            lambda: cnp.kron(x[:3], x[-2:]) if x.ndim < 3 else x,
            lambda: cnp.tensordot(x, x, axes=([axis], [axis])) if x.size < 400 else x,
            lambda: cnp.quantile(x, 0.3, axis=axis) if kind(x) == "f" else x,
            lambda: cnp.rot90(x) if x.ndim > 1 else cnp.polyval(x[:4], 0.5),
            lambda: cnp.unwrap(x, axis=axis) if kind(x) == "f" else x,
            lambda: cnp.einsum("i...,i...->...", x, x),
            lambda: cnp.std(x, axis=axis, keepdims=True),
            lambda: cnp.trapezoid(x, axis=axis),
            lambda: x * cnp.reshape(cnp.arange(n).astype(x.dtype), (n, *[1] * (x.ndim - 1))),
        ]
    )()


def factors(s: Step, values: Sequence[Any]) -> Any:
    x = pick(s, values, "f")
    if x is None or x.ndim < 2 or not 0 < x.shape[-1] <= 9 or x.size > 1000 or 0 in x.shape:
        return None
    x, n = cnp.sin(x), x.shape[-1]
    a = cnp.matmul(cnp.swapaxes(x, -1, -2), x) + 2.0 * np.eye(n)
    b = cnp.swapaxes(x, -1, -2)
    return s.choose(
        [
            lambda: cnp.abs(cnp.linalg.qr(a)[1]),
            lambda: cnp.linalg.matrix_power(a, 3),
            lambda: cnp.linalg.pinv(a),
            lambda: cotan.grad(lambda a: cnp.sum(cnp.linalg.det(a)))(a),
            lambda: cotan.grad(lambda a: cnp.sum(cnp.sin(cnp.linalg.cholesky(a @ cnp.swapaxes(a, -1, -2)))))(a),
            lambda: cotan.grad(lambda a: cnp.sum(cnp.linalg.solve(a, b) ** 2))(a),
            lambda: lax.custom_linear_solve(
                lambda v: cnp.matmul(a, v), b, lambda _, y: cnp.linalg.solve(a, y), lambda _, y: cnp.linalg.solve(a, y), symmetric=True
            ),
        ]
    )()


def associative(s: Step, values: Sequence[Any]) -> Any:
    x = pick(s, values, "fc")
    if x is None or not x.ndim or not x.shape[0] or x.size > 1000:
        return None
    x = moderate(x)
    scan = s.choose([lambda v: lax.associative_scan(cnp.add, v), lambda v: lax.associative_scan(cnp.multiply, v, reverse=True)])
    affine = lambda a, b: (a[0] * b[0], a[1] * b[0] + b[1])  # noqa: E731
    return s.choose(
        [
            lambda: scan(x),
            lambda: lax.associative_scan(affine, (0.5 * x, x))[1],
            lambda: cotan.grad(lambda v: cnp.sum(scan(v) ** 2))(x) if kind(x) == "f" else scan(x),
        ]
    )()


def custom(s: Step, values: Sequence[Any]) -> Any:
    """Functions with rules of their own, as values and differentiated."""
    x = pick(s, values, "f")
    if x is None or s.depth > 1 or x.size > 3000:
        return None
    f = inner(s, values, x)

    @cotan.custom_jvp
    def with_jvp(v: Any) -> Any:
        return cnp.sin(v) * v

    @with_jvp.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (v,), (t,) = primals, tangents
        return with_jvp(v), 0.5 * cnp.cos(v) * t

    @cotan.custom_vjp
    def with_vjp(v: Any) -> Any:
        return cnp.cos(v) * v

    with_vjp.defvjp(lambda v: (with_vjp(v), v), lambda v, y_bar: (0.25 * cnp.sin(v) * y_bar,))
    g = s.choose([with_jvp, with_vjp, cotan.checkpoint(lambda v: cnp.exp(-cotan.checkpoint_name(cnp.sin(v), "kept")))])
    loss = lambda v: cnp.sum(g(f(v)) * v)  # noqa: E731
    return s.choose(
        [
            lambda: g(x),
            lambda: cotan.grad(loss)(x),
            lambda: cotan.vmap(cotan.grad(loss))(cnp.stack([x, 0.5 * x])),
            lambda: cotan.jvp(lambda v: with_jvp(f(v)), (x,), (cnp.cos(x),))[1],
            lambda: lax.custom_root(
                lambda y: y + 0.2 * cnp.sin(y) - cnp.sin(x), x, lambda h, _: newton(h, x), lambda h, y: y / h(cnp.ones_like(y))
            ),
            lambda: cotan.grad(lambda v: cnp.sum(root(v) * v))(x),
        ]
    )()


def newton(h: Any, start: Any) -> Any:
    return lax.fori_loop(0, 25, lambda _, y: y - h(y) / 1.2, start * 0.0)


def root(v: Any) -> Any:
    """The y for which y + 0.2 sin(y) = sin(v), differentiated implicitly."""
    return lax.custom_root(lambda y: y + 0.2 * cnp.sin(y) - cnp.sin(v), v, lambda h, _: newton(h, v), lambda h, y: y / h(cnp.ones_like(y)))


def differentiated_loop(s: Step, values: Sequence[Any]) -> Any:
    """Derivatives of loops of known and unknown length, with and without checkpoints, of branches, of updates in place."""
    x = pick(s, values, "f")
    if x is None or s.depth > 1 or x.size > 400:
        return None
    f, n, keep = inner(s, values, x), s.number(0, 5), s.choose([False, False, True, 2])
    count = cnp.asarray(n) + (cnp.sum(x) > 1e9).astype(int)  # traced
    level = 3.0 + n
    table = {
        "scan": lambda v: lax.scan(lambda c, k: (f(c), c * k), v, np.arange(float(n)), checkpoint=keep)[s.chance(0.5)],
        "fori": lambda v: lax.fori_loop(0, count, lambda _, c: f(c), v, checkpoint=keep),
        "while": lambda v: lax.while_loop(lambda c: c[0] < level, lambda c: (c[0] * 1.5, f(c[1])), (1.0, v))[1],
        "nested": lambda v: lax.fori_loop(0, 2, lambda _, c: lax.fori_loop(0, count, lambda _, d: f(d) * 0.9, c), v),
        "cond": lambda v: lax.cond(cnp.sum(v) > 0.1, f, lambda w: w * w, v),
        "switch": lambda v: lax.switch(count % 3, [f, cnp.sin, lambda w: w * w], v),
        "map": lambda v: lax.map(lambda row: cnp.sin(row) * row, v) if v.ndim else f(v),
        "in place": lambda v: (
            lax.fori_loop(1, v.shape[0], lambda i, c: c.at[i].set(cnp.sin(c[i - 1]) * c[i]), v) if v.ndim and v.shape[0] else f(v)
        ),
        "rows": lambda v: lax.scan(lambda c, row: (c + row * row, c * row), v[0] * 0.0, v, reverse=True)[1] if v.ndim and v.shape[0] else v,
    }
    g = table[s.choose(list(table))]
    loss = lambda v: cnp.sum(g(v) ** 2)  # noqa: E731
    ways = [
        lambda: cotan.grad(loss)(x),
        lambda: cotan.grad(loss)(x),
        lambda: cotan.vmap(cotan.grad(loss))(cnp.stack([x, 0.5 * x, -x])),
        lambda: cotan.jvp(g, (x,), (cnp.cos(x),))[1],
        lambda: cotan.jvp(cotan.grad(loss), (x,), (cnp.ones_like(x),))[1],
        lambda: cotan.vmap(g)(cnp.stack([x, 0.5 * x])),
    ]
    if x.size <= 9:
        ways += [lambda: cotan.jacrev(lambda v: g(v).ravel()[:4])(x), lambda: cotan.jacfwd(g)(x), lambda: cotan.hessian(loss)(x)]
    return s.choose(ways)()


ADDED = [
    (special_function, 3),
    (slope, 1),
    (outside, 1),
    (bits, 1),
    (forms, 4),
    (factors, 1),
    (associative, 1),
    (custom, 2),
    (differentiated_loop, 2),
]
STEPS += ADDED
