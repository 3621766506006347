"""Random programs: a program is its seed. Steps take the values so far and return a new one; ``STEPS`` gives their weights.

`fuzz` runs them; `further_steps` has the steps of rarer functions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.errors import CotanError

__all__ = ["STEPS", "Step", "inner", "kind", "made", "moderate", "pick", "together"]

FLOATS = (np.float64, np.float64, np.float64, np.float32)
DTYPES = (*FLOATS, np.float64, np.int64, np.int32, np.uint8, np.int8, np.bool_, np.complex128, np.complex64)


class Step:
    """The choices of a program: numbers that follow from its seed, and the values that it has made so far."""

    def __init__(self, seed: int, depth: int = 0):
        self.random, self.depth = random.Random(seed), depth

    def choose(self, options: Sequence[Any]) -> Any:
        return self.random.choice(options)

    def chance(self, p: float) -> bool:
        return self.random.random() < p

    def number(self, low: int, high: int) -> int:
        return self.random.randint(low, high)


# ---- inputs -----------------------------------------------------------------------------------------------------------------
def shape_of_input(s: Step) -> tuple[int, ...]:
    """Mostly small; sometimes empty, sometimes large enough for threads."""
    if s.chance(0.04):
        return (s.choose([20_000, 70_000]),)
    if s.chance(0.04):
        return (s.choose([150, 300]), s.choose([64, 130]))
    if s.chance(0.08):  # rows that fill vectors and leave a rest
        return (s.number(1, 6), *[s.number(1, 5)] * s.number(0, 1), s.number(9, 70))
    return tuple(s.choose([1, 2, 3, 3, 4, 5, 7, 8, 9, 12, 17, 33, 0 if s.chance(0.1) else 6]) for _ in range(s.choose([0, 1, 1, 2, 2, 3])))


def array(s: Step, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Moderate numbers of a dtype, in some layout."""
    rng = np.random.default_rng(s.number(0, 2**31))
    layout = s.choose(["plain", "plain", "reversed", "strided", "transposed", "read-only", "swapped"])
    wide: tuple[int, ...] = tuple(2 * n for n in shape) if layout == "strided" else shape[::-1] if layout == "transposed" else shape
    kind = np.dtype(dtype).kind
    if kind == "b":
        x = rng.random(wide) < 0.5
    elif kind in "iu":
        x = rng.integers(0 if kind == "u" else -6, 7, wide).astype(dtype)
    elif kind == "c":
        x = (rng.uniform(-2, 2, wide) + 1j * rng.uniform(-2, 2, wide)).astype(dtype)
    else:
        x = rng.uniform(-2, 2, wide).astype(dtype)
    x = np.asarray(x)
    if layout == "strided":
        x = x[tuple(slice(None, None, 2) for _ in shape)]
    elif layout == "transposed":
        x = x.T
    elif layout == "reversed" and shape:
        x = x[::-1]
    elif layout == "read-only":
        x.flags.writeable = False
    elif layout == "swapped" and kind in "iufc":
        x = x.astype(x.dtype.newbyteorder())
    return x


# ---- steps: each takes the values so far and gives a new one, or None where it does not apply --------------------------------
def kind(x: Any) -> str:
    return np.dtype(x.dtype).kind


def pick(s: Step, values: Sequence[Any], kinds: str = "fciub") -> Any:
    """A value of one of these kinds, mostly a late one."""
    fitting = [v for v in values if kind(v) in kinds]
    return None if not fitting else fitting[-1] if s.chance(0.5) else s.choose(fitting)


def moderate(x: Any) -> Any:
    """A float or complex value of moderate size."""
    return cnp.sin(x) if kind(x) == "f" else x / (1.0 + cnp.abs(x)) if kind(x) == "c" else x


REAL = {
    name: getattr(cnp, name)
    for name in (
        *("sin", "cos", "tanh", "arctan", "exp", "expm1", "log1p", "sqrt", "abs", "floor", "ceil", "sign", "square", "negative", "sinh"),
        *("cosh", "arcsinh", "cbrt", "exp2", "rint", "trunc", "isfinite", "isnan", "signbit", "reciprocal", "sinc", "log", "log2", "tan"),
    )
}
BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "arctan2", "hypot", "power", "remainder", "floor_divide")
BINARY_ALL = (*BINARY, "logaddexp", "copysign", "less", "less_equal", "equal", "not_equal", "greater", "fmax", "fmod", "heaviside")


def unary(s: Step, values: Sequence[Any]) -> Any:
    x = pick(s, values)
    k = kind(x)
    if k == "f":
        return REAL[s.choose(list(REAL))](x)
    if k == "c":
        return s.choose([cnp.conj, cnp.real, cnp.imag, cnp.abs, lambda z: z * z, cnp.negative, cnp.exp, cnp.sin, cnp.tanh, cnp.sqrt])(
            moderate(x)
        )
    if k in "iu":
        return s.choose([cnp.abs, cnp.negative, cnp.invert, cnp.sign, cnp.square, lambda v: v % 3, lambda v: v // 2, lambda v: v << 1])(x)
    return s.choose([cnp.logical_not, lambda v: v ^ True])(x)


def together(s: Step, x: Any, y: Any) -> tuple[Any, Any]:
    """Two values in shapes that go together."""
    try:
        cnp.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        y = cnp.sum(y) if kind(y) != "b" else cnp.any(y)
    return (x, y) if s.chance(0.5) else (y, x)


def binary(s: Step, values: Sequence[Any]) -> Any:
    x, y = together(s, pick(s, values), s.choose(values))
    name = s.choose(BINARY_ALL)
    if "c" in (kind(x), kind(y)):
        name = s.choose(["add", "subtract", "multiply", "equal", "divide"])
    if name == "power":
        if "f" in kind(x) + kind(y):
            return cnp.power(1.0 + cnp.abs(x), cnp.tanh(y))
        return cnp.power(x, cnp.abs(y) % 5 if kind(y) in "iu" else s.choose([0, 1, 2, 3]))
    if name in ("floor_divide", "remainder", "fmod") and kind(y) == "b":
        name = "logical_or"
    if name == "subtract" and kind(x) == kind(y) == "b":
        name = "not_equal"
    return getattr(cnp, name)(x, y)


def literal(s: Step, values: Sequence[Any]) -> Any:
    x = pick(s, values, "fciu")
    if x is None:
        return None
    c = s.choose([0, 1, 2, -1, 0.5, -1.5, 3.0]) if kind(x) in "fc" else s.choose([0, 1, 2])
    return s.choose([lambda: x + c, lambda: c - x, lambda: x * c, lambda: cnp.maximum(x, c) if kind(x) != "c" else x + c])()


def where(s: Step, values: Sequence[Any]) -> Any:
    x, y = together(s, pick(s, values), s.choose(values))
    test = pick(s, values, "b") if s.chance(0.5) else None
    if test is None:
        test = cnp.real(x) > 0.1
    try:
        np.broadcast_shapes(test.shape, x.shape, y.shape)
    except ValueError:
        test = cnp.any(test)
    return cnp.where(test, x, y)


def reduce(s: Step, values: Sequence[Any]) -> Any:
    x = pick(s, values)
    axes = [k for k in range(x.ndim) if s.chance(0.5)]
    axis = tuple(axes) if axes else None
    names = ["sum", "mean", "max", "min", "prod", "any", "all", "var", "count_nonzero", "argmax", "argmin", "logsumexp"]
    name = s.choose(names)
    if kind(x) == "c" and name in ("max", "min", "argmax", "argmin", "logsumexp", "prod"):
        name = "sum"
    if name in ("argmax", "argmin"):
        return getattr(cnp, name)(x, axis=axes[0] if axes else None) if 0 not in x.shape else None
    if name in ("max", "min", "logsumexp", "mean", "var") and 0 in x.shape:
        return None
    if name == "logsumexp":
        return cotan.special.logsumexp(x, axis=axis) if kind(x) == "f" else None
    return getattr(cnp, name)(moderate(x) if name == "prod" else x, axis=axis, keepdims=s.chance(0.3))


def move(s: Step, values: Sequence[Any]) -> Any:
    x = pick(s, values)
    ways: list[Callable[[], Any]] = [
        lambda: cnp.reshape(x, (-1,)),
        lambda: cnp.transpose(x, s.random.sample(range(x.ndim), x.ndim)),
        lambda: cnp.flip(x),
        lambda: cnp.broadcast_to(x, (s.number(1, 3), *x.shape)),
        lambda: cnp.pad(x, [(s.number(0, 2), s.number(0, 2)) for _ in x.shape]),
        lambda: cnp.expand_dims(x, s.number(0, x.ndim)),
        lambda: cnp.squeeze(x),
    ]
    if x.ndim:
        ways += [
            lambda: x[tuple(slice(s.choose([None, 0, 1, -2]), s.choose([None, -1, 4]), s.choose([None, 1, 2, -1])) for _ in x.shape)],
            lambda: cnp.roll(x, s.number(-3, 3), axis=s.number(0, x.ndim - 1)),
            lambda: cnp.concatenate([x, x[: s.number(0, 2)], cnp.flip(x, 0)], axis=0),
            lambda: cnp.stack([x, x], axis=s.number(0, x.ndim)),
            lambda: cnp.repeat(x, 2, axis=0),
            lambda: cnp.swapaxes(x, 0, -1),
            lambda: cnp.diff(x, axis=0) if kind(x) != "b" else x,
            lambda: cnp.tril(x) if x.ndim > 1 else cnp.diag(x) if x.size < 40 else x,
        ]
        if x.shape[0]:
            ways += [lambda: x[s.number(-x.shape[0], x.shape[0] - 1)]]
    return s.choose(ways)()


def indices(s: Step, n: int, values: Sequence[Any]) -> Any:
    """Indices along an axis of length n: fixed, or computed from a value."""
    count = s.number(1, 6)
    traced = pick(s, values, "iu")
    if traced is not None and s.chance(0.4):
        return cnp.reshape(traced, (-1,))[:count].astype(np.int64)
    return np.array([s.number(-n, n - 1) for _ in range(count)])


def gather(s: Step, values: Sequence[Any]) -> Any:
    x = pick(s, values)
    if not x.ndim or not x.shape[0]:
        return None
    i = indices(s, x.shape[0], values)
    return s.choose(
        [
            lambda: x[i] if isinstance(i, np.ndarray) else cnp.take(x, i, axis=0, mode="clip"),
            lambda: cnp.take(x, i, axis=0, mode=s.choose(["clip", "wrap", "fill"]) if kind(x) == "f" else "clip"),
            lambda: x.at[i].get(mode=s.choose(["clip", "fill"])),
            lambda: lax.dynamic_slice(x, [cnp.sum(i), *[0] * (x.ndim - 1)], (1, *x.shape[1:])),
        ]
    )()


def update(s: Step, values: Sequence[Any]) -> Any:
    """Changes of parts, often several in a row: these happen in place."""
    x = pick(s, values)
    if not x.ndim or not x.shape[0]:
        return None
    for _ in range(s.number(1, 4)):
        i = indices(s, x.shape[0], values) if s.chance(0.5) else s.number(0, x.shape[0] - 1)
        if s.chance(0.3):
            i = slice(s.number(0, 2), None, s.choose([1, 2]))
        way = (
            s.choose(["set", "add", "add", "multiply", "min", "max"])
            if kind(x) in "fi"
            else "set"
            if kind(x) == "b"
            else s.choose(["set", "add"])
        )
        y = x[s.number(0, x.shape[0] - 1)]
        if s.chance(0.5) and kind(x) == "f":
            y = cnp.sin(y) + 0.5
        x = getattr(x.at[i], way)(y, mode=s.choose(["drop", "clip"]))
    return x


def product(s: Step, values: Sequence[Any]) -> Any:
    x, y = pick(s, values, "fc"), pick(s, values, "fc")
    if x is None or not x.ndim or not y.ndim or x.size > 20_000 or y.size > 20_000:
        return None
    if x.shape[-1] == y.shape[-1]:
        return cnp.matmul(x, cnp.swapaxes(y, -1, -2)) if x.ndim == y.ndim == 2 else cnp.inner(x, y) if x.ndim < 3 > y.ndim else None
    if x.ndim == 2:
        return s.choose([lambda: x.T @ x, lambda: x @ x.T, lambda: cnp.einsum("ij,ik->jk", x, x)])()
    return cnp.outer(x.ravel()[:9], y.ravel()[:7])


def cast(s: Step, values: Sequence[Any]) -> Any:
    x = pick(s, values)
    to = s.choose([np.float32, np.float64, np.int64, np.int32, np.bool_, np.complex128])
    if kind(x) == "c" and np.dtype(to).kind != "c":
        x = cnp.real(x)
    if kind(x) == "f" and np.dtype(to).kind in "iu":
        x = cnp.rint(3.0 * cnp.sin(x) * 1.37)
    return x.astype(to)


def order(s: Step, values: Sequence[Any]) -> Any:
    x = pick(s, values, "fiu")
    if x is None or not x.ndim or x.size > 3000:
        return None
    axis = s.number(0, x.ndim - 1)
    return s.choose(
        [
            lambda: cnp.sort(x, axis=axis),
            lambda: cnp.argsort(x, axis=axis),
            lambda: cnp.cumsum(x, axis=axis),
            lambda: cnp.cumprod(moderate(x), axis=axis),
            lambda: cnp.searchsorted(cnp.sort(x.ravel()), x.ravel()[:5]),
            lambda: cnp.median(x, axis=axis) if x.shape[axis] else x,
            lambda: lax.cummax(x, axis=axis),
        ]
    )()


def matrices(s: Step, values: Sequence[Any]) -> Any:
    x = pick(s, values, "f")
    if x is None or x.ndim < 2 or not 0 < x.shape[-1] <= 12 or x.size > 2000:
        return None
    x = cnp.sin(x)
    n = x.shape[-1]
    a = cnp.matmul(cnp.swapaxes(x, -1, -2), x) + 2.0 * np.eye(n)
    return s.choose(
        [
            lambda: cnp.linalg.cholesky(a),
            lambda: cnp.linalg.solve(a, cnp.swapaxes(x, -1, -2)),
            lambda: cnp.linalg.det(a),
            lambda: cnp.linalg.inv(a),
            lambda: cnp.linalg.eigh(a)[0],
            lambda: cnp.linalg.slogdet(a)[1],
            lambda: cnp.linalg.svd(x, full_matrices=False)[1],
            lambda: cnp.linalg.eigvalsh(a, UPLO="U"),
            lambda: cnp.linalg.svdvals(x),
        ]
    )()


# ---- control flow and transformations ------------------------------------------------------------------------------------------
def inner(s: Step, values: Sequence[Any], like: Any) -> Callable[[Any], Any]:
    """A function of a value that closes over others and keeps the type."""
    seed, depth, around = s.number(0, 2**31), s.depth + 1, [v for v in values if v.size <= 3000][-3:]

    def f(x: Any) -> Any:
        y = grow(Step(seed, depth), [*around, x], 3)[-1]
        y = cnp.sum(y) if y.shape != like.shape and kind(y) in "fciu" else y
        if y.shape != like.shape or kind(y) == "b":
            return x
        if kind(like) == "f":
            y = 0.5 * cnp.sin(cnp.real(y)) + 0.25 * x if kind(y) in "fc" else x * 0.5
            return y.astype(like.dtype)
        if kind(like) == "c":
            return (x * 0.5 + cnp.sin(cnp.real(y))).astype(like.dtype)
        return (y % 5 if kind(y) in "iu" else x).astype(like.dtype)

    return f


def loop(s: Step, values: Sequence[Any]) -> Any:
    x = pick(s, values, "fciu")
    if x is None or s.depth > 1 or x.size > 3000:
        return None
    f = inner(s, values, x)
    n = s.number(0, 5)
    way = s.choose(["fori", "while", "scan", "carry", "map", "cond", "switch", "in place"])
    if way == "fori":
        return lax.fori_loop(0, n, lambda i, v: f(v), x)
    if way == "while":
        return lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, f(c[1])), (0, x))[1]
    if way == "scan" and x.ndim:
        carry, ys = lax.scan(lambda c, row: (c + row, c * row), x[0] * 0 if x.shape[0] else x.sum(0), x, reverse=s.chance(0.3))
        return carry if s.chance(0.4) else ys
    if way == "carry":
        carry, ys = lax.scan(lambda c, k: (f(c), c), x, np.arange(n))
        return carry if s.chance(0.5) else ys
    if way == "map" and x.ndim:
        return lax.map(lambda row: row * 2 + row * row, x)
    if way == "in place" and x.ndim == 1 and x.size and kind(x) == "f":
        return lax.fori_loop(1, x.size, lambda i, v: v.at[i].set(cnp.sin(v[i - 1]) + v[i]), x)
    test = cnp.sum(cnp.real(x)) > 0.05
    if way == "switch":
        return lax.switch(cnp.clip(cnp.sum(cnp.real(x)), -3, 5).astype(int), [f, lambda v: v + v, lambda v: v * v], x)
    return lax.cond(test, f, lambda v: v + v, x)


def transformed(s: Step, values: Sequence[Any]) -> Any:
    x = pick(s, values, "f")
    if x is None or s.depth > 1 or x.size > 3000:
        return None
    f = inner(s, values, x)
    scalar = lambda v: cnp.sum(f(v) * v)  # noqa: E731
    way = s.choose(["grad", "grad", "jvp", "vmap", "checkpoint", "jit", "hvp", "vmap of grad"])
    if way == "grad":
        return cotan.grad(scalar)(x)
    if way == "jvp":
        return cotan.jvp(f, (x,), (cnp.ones_like(x),))[1]
    if way == "vmap":
        return cotan.vmap(f)(cnp.stack([x, 0.5 * x]))
    if way == "vmap of grad":
        return cotan.vmap(cotan.grad(scalar))(cnp.stack([x, 0.5 * x]))
    if way == "checkpoint":
        return cotan.grad(lambda v: cnp.sum(cotan.checkpoint(f)(v) ** 2))(x)
    if way == "hvp":
        return cotan.jvp(cotan.grad(scalar), (x,), (cnp.ones_like(x),))[1]
    return cotan.jit(f)(x)


STEPS: list[tuple[Callable[[Step, Sequence[Any]], Any], int]] = [
    *((unary, 6), (binary, 6), (literal, 3), (where, 2), (reduce, 4), (move, 5), (gather, 2), (update, 3), (product, 2), (cast, 1)),
    *((order, 2), (matrices, 1), (loop, 3), (transformed, 3)),
]
"""Steps and their weights."""


def grow(s: Step, values: Sequence[Any], most: int) -> list[Any]:
    """The values and up to so many more."""
    values = [cnp.asarray(v) for v in values]
    wanted = len(values) + s.number(1 + most // 3, most)
    for _ in range(3 * most):
        if len(values) >= wanted:
            break
        try:
            y = s.random.choices([step for step, _ in STEPS], [weight for _, weight in STEPS])[0](s, values)
        except (CotanError, TypeError, ValueError, IndexError, OverflowError, NotImplementedError):  # not for values of these types
            continue
        if y is not None and y.size <= 200_000 and y.ndim < 6:
            values.append(y)
    return values


def made(seed: int) -> tuple[Callable[..., Any], list[np.ndarray]]:
    """The program of a seed and its inputs."""
    s = Step(seed)
    inputs = [array(s, shape_of_input(s), np.float16 if s.chance(0.02) else s.choose(DTYPES)) for _ in range(s.number(1, 3))]
    inner_seed, most, last = s.number(0, 2**31), s.number(1, 16), s.number(1, 4)

    def f(*xs: Any) -> tuple[Any, ...]:
        return tuple(grow(Step(inner_seed), xs, most)[-last:])

    return f, inputs
