"""Recipes for arguments: functions of a `Draw` that return a random argument, and may depend on the arguments before it.

A value that may be traced is marked as an `Operand`.
"""

from __future__ import annotations

import inspect
import warnings
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

KINDS = ("f8",) * 8 + ("i8", "i8", "f4", "f4", "c16", "c16", "?", "?", "f2", "c8", "u1", "i1", "u8", "i4", "u4", "i2")
SHAPES = ((3,), (4,), (2, 3), (2, 3), (3, 3), (3, 1), (1, 4), (2, 3, 4), (2, 1, 3), (), (), (1,), (0,), (0, 3), (2, 0))


class Operand(NamedTuple):
    """A value that may be traced: an array, a number, or a (nested) list of them."""

    value: Any


def bare(x: Any) -> Any:
    return x.value if isinstance(x, Operand) else x


# ---- drawing -----------------------------------------------------------------------------------------------------------------
class Draw:
    """One call under way: a generator of random numbers, and the arguments so far by name, with their marks taken off.

    A ``smooth`` one draws numbers in double precision at which functions have derivatives: no ties, no nan, no infinities.
    """

    def __init__(self, name: str, seed: int, smooth: bool = False):
        self.name, self.rng, self.smooth = name, np.random.default_rng([zlib.crc32(name.encode()), seed]), smooth
        self.given: dict[str, Any] = {}

    def one(self, *options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def number(self, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``, both included."""
        return int(self.rng.integers(low, high + 1))

    def kind(self) -> str:
        return str(self.one("f8", "f8", "f8", "c16") if self.smooth else self.one(*KINDS))

    def shape(self) -> tuple[int, ...]:
        return SHAPES[int(self.rng.integers(len(SHAPES)))]

    def values(self, shape: tuple[int, ...], kind: str | None = None, *, special: bool = True) -> Any:
        """An array: halves and quarters, so that ties and exact sums occur; sometimes with nan and infinities."""
        dtype = np.dtype(kind or self.kind())
        if self.smooth and dtype.kind in "fc":
            x = self.rng.normal(size=shape)
            return np.asarray(x + 1j * self.rng.normal(size=shape) if dtype.kind == "c" else x)
        if dtype.kind in "iu":
            return self.rng.integers(0 if dtype.kind == "u" else -4, 5, shape).astype(dtype)
        if dtype.kind == "b":
            return self.rng.random(shape) < 0.5
        x = np.round(self.rng.normal(size=shape) * 4) / 4 if self.chance(0.5) else self.rng.normal(size=shape)
        x = np.asarray(x)
        if special and self.chance(0.15):
            x = np.where(self.rng.random(shape) < 0.3, self.rng.choice([np.nan, np.inf, -np.inf, -0.0], shape), x)
        return (x + 1j * np.round(self.rng.normal(size=shape) * 2) / 2 if dtype.kind == "c" else x).astype(dtype)

    def form(self, x: Any) -> Operand:
        """An array as one of the forms in which arrays are given."""
        if x.ndim == 0:
            return Operand(self.one(x, x[()], x.item(), x.item()))
        return Operand(x.tolist() if x.size and self.chance(0.12) else x)

    def first(self) -> Any:
        """The first argument so far that is an array, as one."""
        for value in self.given.values():
            if isinstance(value, np.ndarray | np.generic | float | int | complex | list):
                try:
                    return np.asarray(value)
                except ValueError:
                    continue
        return np.zeros(())

    def near(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape that broadcasts with this one, mostly."""
        if self.chance(0.04):
            return self.shape()
        short = shape[self.number(0, len(shape)) :] if self.chance(0.4) else shape
        return tuple(1 if self.chance(0.2) else n for n in short)


Recipe = Callable[[Draw], Any]


def constant(*options: Any) -> Recipe:
    return lambda d: d.one(*options)


def array(*shapes: tuple[int, ...], kinds: str = "") -> Recipe:
    """An array of one of these shapes (any if none is given) and kinds of dtype."""

    def recipe(d: Draw) -> Any:
        kind = d.kind() if not kinds or d.chance(0.05) else d.one(*[k for k in KINDS if k[0] in kinds])
        return d.form(d.values(d.one(*shapes) if shapes else d.shape(), kind))

    return recipe


def beside(d: Draw) -> Any:
    """An array that broadcasts with the first one, or a Python number."""
    if d.chance(0.2):
        return Operand(d.one(2, 0.5, -1, 0, True, 1j))
    shape = d.near(d.first().shape)
    return d.form(d.values(shape))


def same_kind(d: Draw) -> Any:
    """An array that broadcasts with the first one, of its dtype."""
    return d.form(d.values(d.near(d.first().shape), d.first().dtype.str))


def several(d: Draw) -> tuple[Any, ...]:
    """Arrays that broadcast."""
    shape = d.shape()
    return tuple(d.form(d.values(d.near(shape))) for _ in range(d.number(1, 3)))


def joined(d: Draw) -> Operand:
    """Arrays of one shape, or all but, as a list, tuple or one array."""
    shape = d.one((3,), (2, 3), (2, 3), (1, 2), (2, 3, 2), (), (0, 2))
    kinds = [d.kind()] * 3 if d.chance(0.4) else [d.kind() for _ in range(3)]
    parts = [d.form(d.values(shape if not d.chance(0.06) else d.shape(), kind)).value for kind in kinds[: d.number(1, 3)]]
    return Operand(d.one(parts, parts, tuple(parts), np.stack(parts) if len({np.shape(p) for p in parts}) == 1 else parts))


def blocks(d: Draw) -> Operand:
    a, b = (d.values(d.one((2, 2), (2, 2), (2, 3))) for _ in range(2))
    return Operand(d.one([[a, a], [b, b]], [a, a], [[a], [a]], a, [1.0, 2.0]))


def axis(d: Draw) -> Any:
    """One axis."""
    n = d.first().ndim
    if d.chance(0.05):
        return n
    k = d.number(-n, n - 1) if n else d.one(0, -1)
    return d.one(k, k, np.int64(k))


def axes(d: Draw) -> Any:
    """None, one axis or several."""
    n = d.first().ndim
    if n >= 2 and d.chance(0.35):
        picked = d.rng.permutation(n)[: d.number(1, n)]
        return tuple(int(k) - (n if d.chance(0.3) else 0) for k in picked)
    return d.one(None, axis(d), axis(d), axis(d), () if d.chance(0.3) and "quantile" not in d.name and "percentile" not in d.name else None)


def axis_or_none(d: Draw) -> Any:
    return d.one(None, axis(d), axis(d))


def mask(d: Draw) -> Any:
    """The ``where`` argument of a reduction."""
    if d.chance(0.15):
        return d.one(True, False, 1, np.int64(0))
    if d.chance(0.1):
        return Operand(d.values(d.near(d.first().shape), "i8"))
    x = d.values(d.near(d.first().shape), "?")
    if x.size and x.ndim and d.chance(0.2):  # numbers other than 0 and 1 NumPy counts as they are
        return Operand(d.one(x, x.astype(int)).tolist())
    return Operand(x)


def dtype(d: Draw) -> Any:
    return d.one(None, float, np.float32, "f8", np.complex128, int, np.int64, np.float16, bool, "u1")


def initial(d: Draw) -> Any:
    return Operand(d.one(0, 1, 2.0, -1.5, np.float32(0.5), True, 1j if d.first().dtype.kind == "c" else 3))


def new_shape(d: Draw) -> Any:
    n = d.first().size
    options: list[Any] = [n, -1, (n,), [1, n], (-1,), (1, -1), (n + 1,)]
    options += [(k, n // k) for k in (2, 3) if n and n % k == 0]
    return d.one(*options)


def shape_only(d: Draw) -> Any:
    return d.one(3, (3,), (2, 3), [2, 3], (), (0,), np.int64(2), (2, np.int64(2)))


def broader(d: Draw) -> Any:
    """A shape to which the first array broadcasts, mostly."""
    shape = d.first().shape
    wide = tuple(n if n != 1 or d.chance(0.5) else 3 for n in shape)
    return d.one(wide, (2, *wide), [2, *wide], wide or 3, (5,))


def sections(d: Draw) -> Any:
    return d.one(1, 2, 3, [1], [1, 2], (0, 2), [-1], np.array([1, 5]))


def ints(low: int, high: int) -> Recipe:
    return lambda d: d.number(low, high)


def index_array(d: Draw) -> Any:
    """Indices along the axis that will be asked for, or all axes."""
    shape = d.first().shape
    n = min(shape) if shape else 1
    size = d.one((), (), (2,), (2,), (2, 2), (0,))
    if d.chance(0.1):
        return Operand(np.array(d.rng.random(size) < 0.5))
    x = d.rng.integers(-n, max(n, 1), size) if n else np.zeros((0,), int)
    return Operand(d.one(np.asarray(x), np.asarray(x), np.asarray(x).astype("i1"), np.asarray(x).tolist()))


def index_along(d: Draw) -> Any:
    """Indices for take_along_axis, of as many axes as the array."""
    shape = d.first().shape
    n = min(shape) if shape else 1
    return Operand(d.rng.integers(-n, max(n, 1), tuple(d.one(m, 2) if m != 1 else m for m in shape)) if n else np.zeros(shape, int))


def vector(kinds: str = "", low: int = 0) -> Recipe:
    return array((3,), (4,), (1,), (2,), *([(0,)] if not low else []), kinds=kinds)


def coefficients(d: Draw) -> Operand:
    """A vector, sometimes with zeros in front, or one number."""
    if d.chance(0.15):
        return Operand(d.one(3.0, 2, np.float32(0.5), 1.5 if d.smooth else 0, d.values((), special=False)))
    x = d.values((d.number(0, 4),), special=False)
    zeros = np.zeros(2 if d.chance(0.2) and not d.smooth else 0, x.dtype)
    return d.form(np.concatenate([zeros, x]))


def ascending(d: Draw) -> Any:
    x = np.sort(d.values((d.number(2, 5),), d.one("f8", "f8", "f4", "i8"), special=False))
    return Operand(d.one(x, x, x, x[::-1], x.tolist()))


def quantiles(d: Draw) -> Any:
    """Quantiles, those at the ends and a rounding away from them among them."""
    q = d.one(0.5, 0, 1, 0.3, np.float32(0.25), [0.1, 0.9], np.array([[0.0, 0.3], [1.0, 0.5]]), 1.5, np.array([0.5], "f4"))
    if d.chance(0.3):
        q = d.one(0.0, 1.0, 1e-9, 1 / 3, 1 - 1e-9, np.array([0, 1]), [0.0, 0.25, 1 / 3, 1.0], np.array([0.0, 1e-30, 0.999], "f4"))
    return Operand(q if "percentile" not in d.name else [100 * v for v in q] if isinstance(q, list) else q * 100)


def weights(d: Draw) -> Any:
    """Nonnegative weights of the shape of the first array, or of one axis."""
    shape = d.first().shape
    axis = d.given.get("axis")
    if isinstance(axis, int | np.integer) and -len(shape) <= axis < len(shape) and d.chance(0.6):
        shape = (shape[axis],)
    return Operand(np.abs(d.values(shape, d.one("f8", "f8", "f4", "i8"), special=False)) + 1)


def mean_of(d: Draw) -> Any:
    x = d.first()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return Operand(np.mean(x, d.given.get("axis"), keepdims=True) if x.ndim else x)
        except np.exceptions.AxisError:
            return Operand(x)


def matrices(square: bool = False, kinds: str = "") -> Recipe:
    shapes = [(3, 3), (2, 2), (2, 3, 3)] + ([] if square else [(2, 3), (4, 2), (3, 1), (2, 3, 2)])

    def recipe(d: Draw) -> Any:
        shape = d.one(*shapes) if not d.chance(0.06) else d.one((3,), (2, 0), (0, 0), (), (1, 1), (2, 3), (0, 2, 2))
        kind = d.kind() if not kinds or d.chance(0.05) else d.one(*[k for k in KINDS if k[0] in kinds])
        return Operand(d.values(shape, kind, special=False))

    return recipe


def definite(d: Draw) -> Any:
    """Hermitian positive definite matrices."""
    x = matrices(square=True, kinds="fci")(d).value
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        return Operand(x)
    return Operand((x @ np.conj(np.swapaxes(x, -1, -2)) + 3 * np.eye(x.shape[-1])).astype(x.dtype))


def hermitian(d: Draw) -> Any:
    x = matrices(square=True, kinds="fci")(d).value
    return Operand(x + np.conj(np.swapaxes(x, -1, -2)) if x.ndim >= 2 and x.shape[-1] == x.shape[-2] else x)


def fitting(d: Draw) -> Any:
    """The right operand of a matrix product or solve, for the first array."""
    shape = d.first().shape
    n = shape[-1] if shape else 3
    options = [(n,), (n, 2), (n, 1), (2, n, 2), (*shape[:-2], n, 3)]
    return d.form(d.values(d.one(*options) if not d.chance(0.05) else d.shape(), special=False))


def left_factor(d: Draw) -> Any:
    return d.form(d.values(d.one((3,), (2, 3), (2, 2, 3), (1, 3), (2, 0), *([()] if d.name in ("dot", "inner") else [])), special=False))


def last_axis(d: Draw) -> Any:
    """An array whose last axis is that of the first array."""
    shape = d.first().shape
    return d.form(d.values(d.one(shape, shape[-1:], (2, *shape[-1:]), d.shape()), special=False))


def of_rows(d: Draw) -> Any:
    """A matrix for the vectors of the first array, on its left."""
    shape = d.first().shape
    return d.form(d.values((*d.one((), (2,)), shape[-1] if shape else 3, 2), special=False))


def bins(d: Draw) -> Any:
    return d.one(3, 4, [-1.0, 0.0, 1.0], np.array([-2.0, -0.5, 0.0, 0.25, 3.0]))


def condition_list(d: Draw) -> Any:
    shape = np.shape(d.given["x"]) if "x" in d.given else d.one((3,), (2, 3))
    d.given["_shape"] = shape
    return Operand([d.values(shape if d.name == "piecewise" else d.near(shape), "?") for _ in range(d.number(1, 2))])


def choice_list(d: Draw) -> Any:
    return Operand([d.form(d.values(d.near(d.given["_shape"]))).value for _ in d.given["condlist"]])


def functions_of(d: Draw) -> Any:
    pieces: list[Any] = [lambda v: v * v, lambda v: -v, 2.0, 1]
    return [d.one(*pieces) for _ in range(len(d.given["condlist"]) + d.one(0, 1))]


def product_of(d: Draw) -> tuple[Any, ...]:
    """The operands of einsum. Of bools beside numbers NumPy's optimized paths sum truth values."""
    kind = d.one(*[k for k in KINDS if k != "?"])
    m = lambda *shape: Operand(d.values(shape, kind if d.chance(0.7) else d.one("f8", "f4", "i8", "c16"), special=False))  # noqa: E731
    options: list[tuple[Any, ...]] = [
        ("ij,jk->ik", m(2, 3), m(3, 2)),
        ("ij->ji", m(2, 3)),
        ("ii->i", m(3, 3)),
        ("ii", m(3, 3)),
        ("...ij,j->...i", m(2, 2, 3), m(3)),
        ("i,i", m(3), m(3)),
        ("ij,jk,k", m(2, 3), m(3, 2), m(2)),
        ("ij,ij->", m(2, 3), m(1, 3)),
        (m(2, 3), [0, 1], m(3), [1], [0]),
        ("ij,k->ik", m(2, 3), m(2)),
        ("ij,jk->ik", m(2, 3), m(2, 2)),
    ]
    return d.one(*options)


def pad_widths(d: Draw) -> Any:
    n = d.first().ndim
    return d.one(1, (1, 2), ((1, 2),), [(k % 2, 1) for k in range(n)] if n else 0, 0, np.array([2, 1]), {-1: (1, 0)} if n else 0)


def pad_arguments(d: Draw) -> dict[str, Any]:
    """The keywords that belong to the mode."""
    mode = d.given.get("mode", "constant")
    if mode == "constant":
        return {"constant_values": Operand(d.one(2, 1.5, (1, 2), 0))} if d.chance(0.5) else {}
    if mode == "linear_ramp":
        return {"end_values": Operand(d.one(2, (0.5, 1)))} if d.chance(0.5) else {}
    if mode in ("reflect", "symmetric"):
        return {"reflect_type": d.one("even", "odd")} if d.chance(0.5) else {}
    if mode in ("maximum", "mean", "median", "minimum"):
        return {"stat_length": d.one(1, 2, (1, 2), None)} if d.chance(0.5) else {}
    return {}


def spacings(d: Draw) -> tuple[Any, ...]:
    """Scalars or coordinates for gradient."""
    shape = d.first().shape
    if d.chance(0.4) or not shape:
        return ()
    line = np.cumsum(np.abs(d.values((shape[0],), "f8", special=False)) + 0.5)
    if len(shape) > 1:
        return tuple(Operand(v) for v in d.one((0.5,), (2,) * len(shape)))
    return (Operand(d.one(0.5, 2, line, line, np.arange(shape[0]).astype("u1") * 3, line.astype("f4"))),)


def nothing(d: Draw) -> Any:
    """A parameter that is not drawn here: a test of its own is about it, or names.md says why it is not taken."""
    return inspect.Parameter.empty
