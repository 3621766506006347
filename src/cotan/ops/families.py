"""The families of ops, and the four linear ops in which their rules are written.

Most rules are derived here, once for each family:

- `Elementwise`: one scalar function at every index. Operands have one shape, or are scalars, and one dtype. Its derivative is
  y' = sum_k (df/dx_k) x_k', each product a `Scale`; an op states its local derivatives and nothing else.
- `Multilinear`: linear in each operand of ``linear`` alone; its tangent is the sum of itself with one operand replaced by its tangent.
- `Structural`: linear in all its operands together and reading each element at most once (movement); its tangent is itself.
- `Flat`: piecewise constant; no tangent.

The four ops are `Add`, `Scale`, `BroadcastInDim` and `ReduceSum`: addition of tangents, local derivative times tangent, and the
adjoint pair of copying a value and summing it up.

**Strong zero.** ``scale(d, t)`` is d*t, except that it is zero wherever either factor is zero, even if the other is infinite or nan. So an
element that ``where`` or ``cond`` has masked has derivative zero, even if the local derivative there is infinite.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Emitter, Reader
from ..core.errors import DtypeError, ShapeError, teach
from ..core.formula import Formula, Number, array_of, axes_text, called, shown
from ..core.op import LinearIn, Op, op
from ..core.program import Var
from ..core.tracing import type_of
from ..core.types import ArrayType, Shape, array_type

__all__ = [
    "Add",
    "Analytic",
    "BroadcastInDim",
    "Elementwise",
    "Flat",
    "Multilinear",
    "Reals",
    "ReduceSum",
    "Scale",
    "ScaleSpread",
    "ScaledSum",
    "Structural",
    "Unary",
    "Weighted",
    "add",
    "broadcast_in_dim",
    "default_rng",
    "fill_shape",
    "put_back",
    "reduce_sum",
    "scale",
    "scaled_sum",
    "spread",
    "sum_tangents",
    "sum_to",
]  # fmt: skip

PYTHON_SCALARS = (float, int, complex)


def default_rng(seed: int = 0) -> np.random.Generator:
    """The generator of example operands, with the same seed in every run."""
    return np.random.default_rng(seed)


class Reals:
    """The numbers from which examples of an operand are drawn: an open interval (both ends finite in effect), and whether they may be
    complex.
    """

    def __init__(self, low: float = -2.0, high: float = 2.0):
        self.low, self.high = low, high

    def sample(self, rng: np.random.Generator, shape: Shape) -> Any:
        """An array of this shape."""
        return np.asarray(rng.uniform(self.low, self.high, shape))


# ---- elementwise -----------------------------------------------------------------------------------------------------
class Elementwise(Op):
    """One scalar function at every index. ``numpy`` is its meaning, ``machine`` its name to an emitter."""

    total = True
    family = "elementwise"
    tangent = "local"
    numpy: ClassVar[Callable[..., Any]]
    machine: ClassVar[str] = ""
    takes: ClassVar[str] = "fc"
    """The kinds of dtype that the op accepts, as NumPy letters."""
    arity: ClassVar[int] = 1
    domain: ClassVar[Reals | tuple[Reals, ...]] = Reals()
    keeps_weak: ClassVar[bool] = False
    """Whether Python scalars give a Python scalar, as in Python's own operators."""

    def type_rule(self, *types: ArrayType) -> ArrayType:
        first, shape = types[0], ()
        dtype = first.dtype
        if not first.weak and types.count(first) == len(types) and dtype.kind in self.takes:  # most often
            result = self.result_dtype(dtype)
            return first if result is dtype else array_type(first.shape, result)
        for t in types:
            if t.dtype is not dtype and t.dtype != dtype:
                raise self.wrong_dtypes(types)
            if t.shape:
                if shape and t.shape != shape:
                    raise self.wrong_shapes(types)
                shape = t.shape
        if dtype.kind not in self.takes:
            raise self.wrong_dtypes(types)
        return array_type(shape, self.result_dtype(dtype), self.keeps_weak and all(t.weak for t in types))

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return dtype

    def wrong_shapes(self, types: Sequence[ArrayType]) -> ShapeError:
        return teach(
            ShapeError,
            f"{self.verb}: shapes {' and '.join(str(t.shape) for t in types)} differ.",
            do="the ops of cotan.lax do not broadcast (scalars apart): use cotan.numpy, or lax.broadcast_in_dim first.",
        )

    def wrong_dtypes(self, types: Sequence[ArrayType]) -> DtypeError:
        if len({t.dtype for t in types}) > 1:
            return teach(
                DtypeError,
                f"{self.verb}: dtypes {' and '.join(str(t.dtype) for t in types)} differ.",
                do="the ops of cotan.lax do not promote: use cotan.numpy, or lax.convert_element_type first.",
            )
        kinds = ", ".join(name for letter, name in KINDS.items() if letter in self.takes)
        return teach(DtypeError, f"{self.verb} does not take {types[0].dtype} operands.", do=f"convert them first; it takes {kinds}.")

    def impl(self, *operands: Any) -> Any:
        return self.numpy(*operands)

    def element(self, e: Emitter, i: Sequence[Any], *readers: Reader) -> Any:
        return e.math(self.machine or self.name, *[x(i if x.shape else ()) for x in readers])

    def derivative(self, k: int, y: Any, *operands: Any) -> Any | None:
        """The local derivative in operand ``k`` at these operands, where the value is ``y``; None if it is zero everywhere."""
        raise NotImplementedError

    def local_derivative(self, k: int, y: Any, operands: Sequence[Any]) -> Any | None:
        """`derivative`, for any arity."""
        return self.derivative(k, y, *operands)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        y = self(*primals)
        dy = None
        for k, dx in enumerate(tangents):
            if dx is not None:
                d = self.local_derivative(k, y, primals)
                if d is not None:
                    term = fill_shape(scale(d, dx), y)
                    dy = term if dy is None else add(dy, term)
        return y, dy

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, bool]:
        if len(operands) == 1:
            return self(operands[0]), True
        return self(*align(size, batched, operands)), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        domains = cls.domain if isinstance(cls.domain, tuple) else (cls.domain,) * cls.arity
        mixed = [[()] * k + [(3,)] * (cls.arity - k) for k in range(1, cls.arity)]
        real = "f" in cls.takes
        for shapes in [[shape] * cls.arity for shape in ((), (3,), (2, 3), (0,))] + mixed:
            operands = tuple(d.sample(rng, s) for d, s in zip(domains, shapes, strict=True))
            yield (
                cls(),
                operands if real else tuple(np.asarray(x + 1j * d.sample(rng, x.shape)) for d, x in zip(domains, operands, strict=True)),
            )


KINDS = {"b": "bool", "i": "integer", "u": "unsigned integer", "f": "float", "c": "complex"}


class Unary(Elementwise):
    """An elementwise op of one operand. It defines ``derivative(x, y)``, which may use the output y, as exp and tanh do."""

    def derivative(self, x: Any, y: Any) -> Any | None:  # type: ignore[override]
        raise NotImplementedError

    def local_derivative(self, k: int, y: Any, operands: Sequence[Any]) -> Any | None:
        return self.derivative(operands[0], y)


class Analytic(Unary):
    """A function that is approximated, such as exp and sin."""

    costly = True


class Flat(Elementwise):
    """Piecewise constant, or with a result that is not a number: the tangent is zero, and is not recorded."""

    family = "flat"
    tangent = "none"
    takes = "biuf"

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, None]:
        return self(*primals), None


class Multilinear(Op):
    """Linear in each operand of ``linear`` by itself: the tangent is the sum of the op with one operand replaced by its tangent."""

    total = True
    family = "multilinear"
    tangent = "termwise"

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        y = self(*primals)
        terms = [self(*primals[:k], dx, *primals[k + 1 :]) for k, dx in enumerate(tangents) if dx is not None]
        return y, sum_tangents(terms)


class Weighted(Op):
    """A reduction whose tangent is the sum of the tangents of the elements with the weights that `weighted` gives, times the factor that it
    gives, if any.
    """

    total = True
    family = "reduction"
    tangent = "weighted"
    axes: tuple[int, ...]

    def weighted(self, x: Any) -> tuple[Any, Any, Any | None]:
        """The value at x; the weights, of the shape of x; the factor, of the shape of the value or a scalar."""
        raise NotImplementedError

    def summed(self, x: Any) -> tuple[int, ...]:
        """The axes over which the tangents of the elements are summed."""
        return self.axes

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        y, weights, factor = self.weighted(primals[0])
        total = scaled_sum(weights, tangents[0], self.summed(primals[0]))
        return y, total if factor is None else scale(factor, total)


class Structural(Op):
    """Linear in all operands together; the tangent is the op itself on tangents (an absent one becomes zeros)."""

    total = True
    family = "movement"
    tangent = "itself"
    linear: ClassVar[LinearIn] = "all"

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        y = self(*primals)
        filled = [zeros(t) if dx is None else dx for dx, t in zip(tangents, map(type_of, primals), strict=True)]
        return y, self(*filled)

    def formula(self, *operands: Formula) -> Formula:
        return super().formula(*map(array_of, operands))


# ---- the four ops ----------------------------------------------------------------------------------------------------
@op
class Add(Elementwise):
    """Sum, elementwise."""

    sign = "+"
    linear = ((0, 1),)
    arity, takes, machine, keeps_weak = 2, "iufc", "add", True
    numpy = staticmethod(operator.add)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        y = self(*primals)
        return y, sum_tangents([fill_shape(dx, y) for dx in tangents if dx is not None])

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Any | None]:
        return [sum_to(y_bar, x.type) if type(x) is Var else None for x in operands]


FEW = 500
"""Up to this number of elements, a pass over them takes no longer than a few calls."""
flat, part_of_complex = np.ndarray.ravel, {"D": np.dtype("d"), "F": np.dtype("f")}


def has_nan(y: np.ndarray) -> bool:
    """Whether an array of floating-point numbers has a nan: ``argmax`` gives the first one, in one pass and in this thread. A dot product
    would show it too, but BLAS divides one of some 10,000 numbers among threads, and waits for them: milliseconds on a busy machine.
    """
    if not y.size:
        return False
    if y.ndim > 1:
        y = flat(y, "K")
    if y.size > FEW and y.dtype.kind == "c":  # argmax has no vector code for pairs
        y = y.view(part_of_complex[y.dtype.char])
    largest = y.item(y.argmax())
    return largest != largest


def is_one_number(x: Any) -> bool:
    """Whether ``x`` is one finite number that is not zero, or copies of one: then 0 times it is 0, and no product needs another look."""
    if isinstance(x, np.ndarray):
        if not x.size or any(x.strides):
            return False
        x = x.item(0)
    return bool(x) and x - x == 0


@op
class Scale(Elementwise, Multilinear):
    """Local derivative times tangent, elementwise, with a strong zero: zero wherever either factor is zero."""

    linear = ((0,), (1,))
    arity, takes, machine, keeps_weak, unit = 2, "fc", "scale", True, 1

    def impl(self, d: Any, t: Any) -> Any:
        y = d * t
        if isinstance(y, np.ndarray):
            if (y.size > FEW and (is_one_number(d) or is_one_number(t))) or not has_nan(y):
                return y
            return np.where((d == 0) | (t == 0), np.zeros((), y.dtype), y)
        return y if y == y or not (d == 0 or t == 0) else y.dtype.type(0) if isinstance(y, np.generic) else type(y)(0)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        y = self(*primals)
        terms = [fill_shape(self(*primals[:k], dx, *primals[k + 1 :]), y) for k, dx in enumerate(tangents) if dx is not None]
        return y, sum_tangents(terms)

    def transpose(self, y_bar: Any, d: Any, t: Any) -> Sequence[Any | None]:
        if type(t) is Var:
            return [None, scaled_to(d, y_bar, t.type)]
        return [scaled_to(t, y_bar, d.type), None]

    def formula(self, d: Formula, t: Formula) -> Formula:
        return d.times(t)


@op
class BroadcastInDim(Structural):
    """Copy along new or unit axes: input axis k becomes output axis ``dims[k]``; out[i] = x[i[dims[0]], i[dims[1]], ...]."""

    shape: Shape
    dims: tuple[int, ...]

    def type_rule(self, x: ArrayType) -> ArrayType:
        fits = len(self.dims) == x.ndim and all(0 <= d < len(self.shape) for d in self.dims)
        if (
            not fits
            or list(self.dims) != sorted(set(self.dims))
            or any(n not in (1, self.shape[d]) for d, n in zip(self.dims, x.shape, strict=True))
        ):
            raise teach(
                ShapeError,
                f"broadcast_in_dim: shape {x.shape} does not fit in {self.shape} at axes {self.dims}.",
                do="give one increasing output axis for each input axis, of the same length or with the input's length 1.",
            )
        return x.with_shape(self.shape)

    def impl(self, x: Any) -> Any:
        x = np.asarray(x)
        if not x.ndim:
            return repeated(x, self.shape)
        if x.flags.c_contiguous and x.size:  # as broadcast_to, in a third of the time
            strides = [0] * len(self.shape)
            for d, n, step in zip(self.dims, x.shape, x.strides, strict=True):
                if n == self.shape[d]:
                    strides[d] = step
            y = np.ndarray(self.shape, x.dtype, x, 0, strides)
            y.setflags(write=False)
            return y
        # as_strided hides its base array; broadcast_to keeps it, so a recording that holds the result borrows the base too.
        return np.broadcast_to(x[tuple([slice(None) if d in self.dims else None for d in range(len(self.shape))])], self.shape)

    def element(self, e: Emitter, i: Sequence[Any], x: Reader) -> Any:
        return x(tuple(i[d] if n != 1 else i[d] * 0 for d, n in zip(self.dims, x.shape, strict=True)))

    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [summed_back(self.shape, self.dims, x, lambda axes: reduce_sum(y_bar, axes))]

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return BroadcastInDim((size, *self.shape), (0, *[d + 1 for d in self.dims]))(x), True

    def formula(self, x: Formula) -> Formula:
        if isinstance(x, Number):
            return x
        first = self.dims[0] if self.dims else len(self.shape)
        if self.dims != tuple(range(first, len(self.shape))):  # axes that NumPy would not put there
            x = x[", ".join(":" if k in self.dims else "None" for k in range(first, len(self.shape)))]
        return called("broadcast_to", x, _shape=shown(self.shape))

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls((3,), ()), (rng.normal(size=()),)
        yield cls((2, 3), (1,)), (rng.normal(size=3),)
        yield cls((2, 3, 4), (0, 2)), (rng.normal(size=(2, 1)),)
        yield cls((0, 3), (1,)), (rng.normal(size=3),)
        yield cls((2, 0), (0, 1)), (rng.normal(size=(1, 0)),)


def summed_back(shape: Shape, dims: Sequence[int], x: Var, total: Callable[[Sequence[int]], Any]) -> Any:
    """The cotangent of ``x``, which `BroadcastInDim` copies, given sums over the axes along which it copies."""
    new = tuple([k for k in range(len(shape)) if k not in dims])
    stretched = tuple([d for d, n in zip(dims, x.shape, strict=True) if n == 1 != shape[d]])
    x_bar = total(tuple(sorted(new + stretched)))
    return BroadcastInDim(x.shape, tuple([k for k, d in enumerate(dims) if d not in stretched]))(x_bar) if stretched else x_bar


def repeated(x: Any, shape: Shape) -> Any:
    """A 0-d array at every index of ``shape``, without copying it."""
    return np.ndarray(shape, x.dtype, x, 0, (0,) * len(shape))


@op
class ReduceSum(Structural):
    """Sum over ``axes``: out[i] = sum_r x[i with r inserted at axes]."""

    family = "reduction"
    axes: tuple[int, ...]
    takes: ClassVar[str] = "iufc"

    def type_rule(self, x: ArrayType) -> ArrayType:
        check_axes(self, x)
        if x.dtype.kind == "b":
            raise teach(
                DtypeError, "reduce_sum does not take bool operands.", do="convert to an integer dtype first (cotan.numpy.sum does)."
            )
        return x.with_shape(tuple(n for k, n in enumerate(x.shape) if k not in self.axes))

    def impl(self, x: Any) -> Any:
        return np.add.reduce(x, None if len(self.axes) == x.ndim else self.axes, x.dtype)

    def element(self, e: Emitter, i: Sequence[Any], x: Reader) -> Any:
        return fold_axes(e, "add", self.axes, i, x)

    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [BroadcastInDim(x.shape, tuple(k for k in range(x.ndim) if k not in self.axes))(y_bar)]

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return ReduceSum(tuple(k + 1 for k in self.axes))(x), True

    def formula(self, x: Formula) -> Formula:
        return called("sum", x, **axes_text(self.axes, x))

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        return axes_examples(cls)


@op
class ScaledSum(Multilinear):
    """The sum over ``axes`` of local derivatives times tangents, each product with a strong zero (see `Scale`)."""

    family = "reduction"
    linear = ((0,), (1,))
    axes: tuple[int, ...]
    takes: ClassVar[str] = "fc"
    library: ClassVar[str] = "scaled_sum"

    def type_rule(self, d: ArrayType, t: ArrayType) -> ArrayType:
        check_axes(self, d)
        if d.dtype != t.dtype or d.dtype.kind not in self.takes:
            raise teach(DtypeError, f"{self.name} of {d.dtype} and {t.dtype}.", do="give floating-point numbers of one dtype.")
        if d.shape != t.shape:
            raise teach(ShapeError, f"{self.name}: shapes {d.shape} and {t.shape} differ.", do="give arrays of one shape.")
        return d.with_shape(tuple([n for k, n in enumerate(d.shape) if k not in self.axes]))

    def impl(self, d: Any, t: Any) -> Any:
        """Without an array of the products, unless the result shows that one of them is nan."""
        if d.dtype.char == "d" and d.size > FEW:
            every = list(range(d.ndim))
            y = np.einsum(d, every, t, every, [k for k in every if k not in self.axes])
            if not has_nan(np.asarray(y)):
                return y
        return np.add.reduce(scale.impl(d, t), self.axes, d.dtype)

    def written_out(self, d: Any, t: Any) -> Sequence[Any]:  # type: ignore[override]
        return [reduce_sum(scale(d, t), self.axes)]

    # <y_bar, scaled_sum(d, t')> = sum_r (y_bar d_r) t'_r
    def transpose(self, y_bar: Any, d: Any, t: Any) -> Sequence[Any | None]:
        shape = type_of(d).shape
        factor = y_bar if len(self.axes) == len(shape) else put_back(y_bar, shape, self.axes)
        return [None, scale(d, factor)] if type(t) is Var else [scale(t, factor), None]

    def batch(self, size: int, batched: Sequence[bool], d: Any, t: Any) -> tuple[Any, bool]:
        d, t = (x if b else spread(x, size) for x, b in zip((d, t), batched, strict=True))
        return ScaledSum(tuple([k + 1 for k in self.axes]))(d, t), True

    def formula(self, d: Formula, t: Formula) -> Formula:
        return called("sum", d.times(t), **axes_text(self.axes, d))

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for axes, shape in (((0,), (3,)), ((1,), (2, 3, 2)), ((0, 2), (2, 3, 2)), ((0,), (0, 3))):
            yield cls(axes), (rng.normal(size=shape), rng.normal(size=shape))


@op
class ScaleSpread(Multilinear):
    """`Scale` of a local derivative and a tangent that is broadcast first, its axis k to axis ``dims[k]``.

    Its adjoint sums the products without storing them.
    """

    linear = ((0,), (1,))
    dims: tuple[int, ...]
    takes: ClassVar[str] = "fc"
    library: ClassVar[str] = "scale_spread"

    def type_rule(self, d: ArrayType, t: ArrayType) -> ArrayType:
        return scale.type_rule(d, BroadcastInDim(d.shape, self.dims).type_rule(t))

    def impl(self, d: Any, t: Any) -> Any:
        return scale.impl(d, BroadcastInDim(d.shape, self.dims).impl(t))

    def written_out(self, d: Any, t: Any) -> Sequence[Any]:  # type: ignore[override]
        return [scale(d, broadcast_in_dim(t, type_of(d).shape, self.dims))]

    # <y_bar, scale_spread(d, t')> = sum_i y_bar[i] d[i] t'[i of the axes in dims]
    def transpose(self, y_bar: Any, d: Any, t: Any) -> Sequence[Any | None]:
        if type(d) is Var:
            return [scale(broadcast_in_dim(t, d.shape, self.dims), y_bar), None]
        return [None, summed_back(type_of(d).shape, self.dims, t, lambda axes: scaled_sum(d, y_bar, axes))]

    def batch(self, size: int, batched: Sequence[bool], d: Any, t: Any) -> tuple[Any, bool]:
        d, t = (x if b else spread(x, size) for x, b in zip((d, t), batched, strict=True))
        return ScaleSpread((0, *[k + 1 for k in self.dims]))(d, t), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for dims, shape, small in (((), (3,), ()), ((1,), (2, 3), (3,)), ((0, 2), (2, 3, 4), (2, 1)), ((1,), (0, 3), (3,))):
            yield cls(dims), (rng.normal(size=shape), rng.normal(size=small))


def put_back(y: Any, shape: Sequence[int], axes: Sequence[int]) -> Any:
    """A reduced array, broadcast along the reduced ``axes`` again."""
    return BroadcastInDim(tuple(shape), tuple(k for k in range(len(shape)) if k not in axes))(y)


def axes_examples(cls: Any, *, empty: bool = True) -> Iterable[tuple[Op, tuple[Any, ...]]]:
    """Examples of an op whose only parameter is ``axes``. ``empty``: whether it may reduce no elements."""
    rng = default_rng()
    yield cls((0,)), (rng.normal(size=3),)
    yield cls((1,)), (rng.normal(size=(2, 3, 2)),)
    yield cls((0, 2)), (rng.normal(size=(2, 3, 2)),)
    yield cls((1,)), (rng.normal(size=(0, 3)),)
    if empty:
        yield cls((0,)), (rng.normal(size=(0, 3)),)


def check_axes(op: Any, x: ArrayType) -> None:
    """Refuse axes that are not increasing axes of ``x``."""
    last = -1
    for k in op.axes:
        if not last < k < len(x.shape):
            break
        last = k
    else:
        return
    raise teach(
        ShapeError,
        f"{op.name}: axes {op.axes} of an array of shape {x.shape}.",
        do="give distinct axes from 0 to ndim - 1, increasing.",
    )


def fold_axes(e: Emitter, monoid: str, axes: Sequence[int], i: Sequence[Any], x: Reader) -> Any:
    """The reduction of ``x`` over ``axes`` by ``monoid``, at index ``i`` of the other axes."""

    def at(r: Sequence[Any]) -> Any:
        kept, reduced = iter(i), iter(r)
        return x(tuple(next(reduced) if k in axes else next(kept) for k in range(len(x.shape))))

    return e.reduce(monoid, [x.shape[k] for k in axes], at, x.dtype)


add, scale = Add(), Scale()


def broadcast_in_dim(x: Any, shape: Shape, dims: Sequence[int]) -> Any:
    """`BroadcastInDim`, or ``x`` itself if it has that shape."""
    return x if type_of(x).shape == tuple(shape) else BroadcastInDim(tuple(shape), tuple(dims))(x)


def reduce_sum(x: Any, axes: Sequence[int]) -> Any:
    """`ReduceSum`, or ``x`` itself for no axes."""
    return ReduceSum(tuple(axes))(x) if axes else x


def scaled_sum(d: Any, t: Any, axes: Sequence[int]) -> Any:
    """`ScaledSum`, or the products themselves for no axes."""
    return ScaledSum(tuple(axes))(d, t) if axes else scale(d, t)


# ---- pieces of rules -------------------------------------------------------------------------------------------------
def spread(x: Any, size: int) -> Any:
    """``x`` copied along a new leading axis."""
    shape = type_of(x).shape
    return BroadcastInDim((size, *shape), tuple(range(1, len(shape) + 1)))(x)


def align(size: int, batched: Sequence[bool], operands: Sequence[Any]) -> list[Any]:
    """Operands of an elementwise op, some with a leading batch axis, brought to one shape; unbatched scalars are unchanged."""
    shapes = [type_of(x).shape[1:] if b else type_of(x).shape for x, b in zip(operands, batched, strict=True)]
    common = max(shapes, key=len)
    full = (size, *common)
    aligned: list[Any] = []
    for x, b, shape in zip(operands, batched, shapes, strict=True):
        if b and len(shape) < len(common):
            x = BroadcastInDim(full, (0,))(x)
        elif not b and shape:
            x = BroadcastInDim(full, tuple(range(1, len(full))))(x)
        aligned.append(x)
    return aligned


def zeros(type: ArrayType) -> Any:
    """Zeros of this type, as a scalar and a broadcast: it allocates no memory, and a program that needs it captures no array."""
    zero = type.dtype.type(0)
    return BroadcastInDim(type.shape, ())(zero) if type.shape else zero


def fill_shape(x: Any, y: Any) -> Any:
    """A scalar ``x`` copied to the shape of ``y``; ``x`` itself if it has that shape."""
    have, want = type_of(x).shape, y.shape if type(y) is np.ndarray else type_of(y).shape
    return x if have == want else BroadcastInDim(want, ())(x)


def sum_to(y_bar: Any, type: ArrayType) -> Any:
    """The adjoint of `fill_shape`: the sum of ``y_bar`` if ``type`` is the type of a scalar operand of a larger result."""
    if type.shape:
        return y_bar
    ndim = y_bar.ndim if isinstance(y_bar, np.ndarray) else type_of(y_bar).ndim
    return ReduceSum(tuple(range(ndim)))(y_bar) if ndim else y_bar


def scaled_to(d: Any, y_bar: Any, type: ArrayType) -> Any:
    """``sum_to(scale(d, y_bar), type)``, of two NumPy arrays without an array of the products."""
    if type.shape:
        return scale(d, y_bar)
    if isinstance(d, np.ndarray) and isinstance(y_bar, np.ndarray) and d.ndim == y_bar.ndim > 0:
        return ScaledSum(tuple(range(d.ndim)))(d, y_bar)
    return sum_to(scale(d, y_bar), type)


def sum_tangents(terms: Sequence[Any]) -> Any | None:
    """The sum of tangents; None for none."""
    total = None
    for term in terms:
        total = term if total is None else add(total, term)
    return total
