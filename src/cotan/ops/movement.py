"""Movement: ops that move elements and compute nothing.

Each op is linear, reads an element of its operand at most once, and is its own tangent (`Structural`). The adjoints stay in the family:

    reshape <-> reshape      permute(p) <-> permute(p^-1)      reverse <-> itself      roll(s) <-> roll(-s)
    slice <-> pad with zeros      concatenate <-> slices

The lower-case functions skip ops that would change nothing, so rules call them without a test.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np

from ..core.emitting import Emitter, Reader
from ..core.errors import DtypeError, ShapeError, teach
from ..core.formula import Brackets, Formula, Number, array_of, called, shown, slice_text
from ..core.op import Op, op
from ..core.program import Var
from ..core.tracing import type_of
from ..core.types import ArrayType, Shape
from .families import PYTHON_SCALARS, BroadcastInDim, ReduceSum, Structural, broadcast_in_dim, check_axes, default_rng, spread
from .logic import select

__all__ = [
    "Concatenate", "Pad", "Permute", "Reshape", "Reverse", "Roll", "Slice", "concatenate", "pad", "permute", "reshape", "reverse", "roll",
    "slice_",
]  # fmt: skip

PadConfig = tuple[tuple[int, int, int], ...]


@op
class Reshape(Structural):
    """The same elements in the same (row-major) order under another shape."""

    shape: Shape

    def type_rule(self, x: ArrayType) -> ArrayType:
        if prod(self.shape) != x.size or any(n < 0 for n in self.shape):
            raise teach(
                ShapeError,
                f"reshape: an array of shape {x.shape} has {x.size} elements, the new shape {self.shape} has {prod(self.shape)}.",
                do="give a shape with the same number of elements (cotan.numpy.reshape finds one length for you where it is -1).",
            )
        return x.with_shape(self.shape)

    def impl(self, x: Any) -> Any:
        return (x if type(x) is np.ndarray else np.asarray(x)).reshape(self.shape)

    def element(self, e: Emitter, i: Sequence[Any], x: Reader) -> Any:
        # Runs of axes with equal products are reshaped separately, so an unchanged axis keeps its plain index.
        read: list[Any] = []
        if 0 in x.shape:
            return x((0,) * len(x.shape))  # there are no elements
        for outer, inner in matching_axes(self.shape, x.shape):
            flat: Any = 0
            for k in outer:
                flat = i[k] if k == outer[0] else flat * self.shape[k] + i[k]
            digits: list[Any] = []
            for k in reversed(inner):
                digits.append(flat if k == inner[0] else flat % x.shape[k])
                flat = flat if k == inner[0] else flat // x.shape[k]
            read += reversed(digits)
        return x(tuple(read))

    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [reshape(y_bar, x.shape)]

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return Reshape((size, *self.shape))(x), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls((3, 2)), (rng.normal(size=(2, 3)),)
        yield cls((2, 6, 1)), (rng.normal(size=(2, 2, 1, 3)),)
        yield cls((1, 4, 3)), (rng.normal(size=(2, 2, 3)),)
        yield cls(()), (rng.normal(size=(1, 1)),)
        yield cls((1,)), (rng.normal(size=()),)
        yield cls((0, 5)), (rng.normal(size=(3, 0)),)


def matching_axes(shape: Shape, other: Shape) -> list[tuple[list[int], list[int]]]:
    """The finest split of two shapes of one size into runs of axes of equal products."""
    runs: list[tuple[list[int], list[int]]] = []
    a = b = 0
    while a < len(shape) or b < len(other):
        left, right = [a] if a < len(shape) else [], [b] if b < len(other) else []
        a, b = a + len(left), b + len(right)
        while (here := prod(shape[k] for k in left)) != (there := prod(other[k] for k in right)):
            if (here < there and a < len(shape)) or b == len(other):
                left.append(a)
                a += 1
            else:
                right.append(b)
                b += 1
        runs.append((left, right))
    return runs


@op
class Permute(Structural):
    """Reorder axes: output axis k is input axis ``order[k]``."""

    order: tuple[int, ...]

    def type_rule(self, x: ArrayType) -> ArrayType:
        if sorted(self.order) != list(range(x.ndim)):
            raise teach(
                ShapeError,
                f"permute: {self.order} does not order the axes of an array of shape {x.shape}.",
                do="name each axis from 0 to ndim - 1 once.",
            )
        return x.with_shape(tuple(x.shape[k] for k in self.order))

    def impl(self, x: Any) -> Any:
        return (x if type(x) is np.ndarray else np.asarray(x)).transpose(self.order)

    def element(self, e: Emitter, i: Sequence[Any], x: Reader) -> Any:
        return x(tuple(i[k] for k in inverse_order(self.order)))

    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [Permute(inverse_order(self.order))(y_bar)]

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return Permute((0, *[k + 1 for k in self.order]))(x), True

    def formula(self, x: Formula) -> Formula:
        x = array_of(x)
        return x.T if self.order in ((1, 0), (0, 2, 1)) else called("transpose", x, _order=shown(self.order))

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls((1, 0)), (rng.normal(size=(2, 3)),)
        yield cls((2, 0, 1)), (rng.normal(size=(2, 3, 4)),)
        yield cls(()), (rng.normal(size=()),)
        yield cls((1, 0)), (rng.normal(size=(0, 3)),)


def inverse_order(order: Sequence[int]) -> tuple[int, ...]:
    """The inverse of a permutation."""
    inverse = [0] * len(order)
    for k, axis in enumerate(order):
        inverse[axis] = k
    return tuple(inverse)


@op
class Reverse(Structural):
    """Reverse the order of the elements along ``axes``: out[i] = x[n-1-i]."""

    axes: tuple[int, ...]

    def type_rule(self, x: ArrayType) -> ArrayType:
        check_axes(self, x)
        return x.with_shape(x.shape)

    def impl(self, x: Any) -> Any:
        return np.flip(x, self.axes)

    def element(self, e: Emitter, i: Sequence[Any], x: Reader) -> Any:
        return x(tuple(x.shape[k] - 1 - i[k] if k in self.axes else i[k] for k in range(len(x.shape))))

    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [self(y_bar)]

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return Reverse(tuple(k + 1 for k in self.axes))(x), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls((0,)), (rng.normal(size=3),)
        yield cls((0, 2)), (rng.normal(size=(2, 3, 2)),)
        yield cls((1,)), (rng.normal(size=(2, 0)),)


@op
class Roll(Structural):
    """Move elements along ``axis`` by ``shift`` places, 0 <= shift < n, round the end: out[i] = x[(i - shift) mod n]."""

    shift: int
    axis: int

    def type_rule(self, x: ArrayType) -> ArrayType:
        if not 0 <= self.axis < x.ndim or not 0 <= self.shift < max(x.shape[self.axis], 1):
            raise teach(
                ShapeError,
                f"roll: by {self.shift} places along axis {self.axis} of an array of shape {x.shape}.",
                do="give an axis from 0 to ndim - 1, and from 0 places to one less than its length (cotan.numpy.roll takes any number).",
            )
        return x.with_shape(x.shape)

    def impl(self, x: Any) -> Any:
        x = np.asarray(x)
        front = (slice(None),) * self.axis
        cut = x.shape[self.axis] - self.shift
        return np.concatenate((x[(*front, slice(cut, None))], x[(*front, slice(None, cut))]), self.axis)

    def element(self, e: Emitter, i: Sequence[Any], x: Reader) -> Any:
        k, s, n = self.axis, self.shift, x.shape[self.axis]

        def moved(by: int) -> Any:
            return x((*i[:k], i[k] + by, *i[k + 1 :]) if by else i)

        return e.choose(i[k] < s, lambda: moved(n - s), lambda: moved(-s)) if s else moved(0)

    # <y_bar, roll(x')> = sum_i y_bar[i] x'[i - s] = sum_j y_bar[j + s] x'[j], so the adjoint rolls back.
    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [roll(y_bar, -self.shift, self.axis)]

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return Roll(self.shift, self.axis + 1)(x), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls(1, 0), (rng.normal(size=3),)
        yield cls(3, 1), (rng.normal(size=(2, 5)),)
        yield cls(0, 0), (rng.normal(size=2),)
        yield cls(0, 1), (rng.normal(size=(2, 0)),)


@op
class Concatenate(Structural):
    """The operands one after the other along ``axis``."""

    axis: int

    def type_rule(self, *types: ArrayType) -> ArrayType:
        first = types[0] if types else None
        if first is None or not 0 <= self.axis < first.ndim:
            shapes = ", ".join(str(t.shape) for t in types) or "none"
            raise teach(
                ShapeError,
                f"concatenate: axis {self.axis} of arrays of shapes {shapes}.",
                do="give at least one array, and an axis that it has.",
            )
        k = self.axis
        if any(t.ndim != first.ndim or t.shape[:k] + t.shape[k + 1 :] != first.shape[:k] + first.shape[k + 1 :] for t in types):
            shapes = ", ".join(str(t.shape) for t in types)
            raise teach(
                ShapeError,
                f"concatenate: the shapes {shapes} differ in other axes than {k}.",
                do="make them equal in every axis but the one joined.",
            )
        if any(t.dtype != first.dtype for t in types):
            dtypes = ", ".join(str(t.dtype) for t in types)
            raise teach(
                DtypeError,
                f"concatenate: dtypes {dtypes} differ.",
                do="use cotan.numpy.concatenate, which promotes, or convert them first.",
            )
        return first.with_shape((*first.shape[:k], sum(t.shape[k] for t in types), *first.shape[k + 1 :]))

    def impl(self, *operands: Any) -> Any:
        return np.concatenate(operands, self.axis)

    def element(self, e: Emitter, i: Sequence[Any], *readers: Reader) -> Any:
        axis = self.axis
        present = [x for x in readers if x.shape[axis]] or readers[:1]

        starts = [0, *accumulate(x.shape[axis] for x in present)]

        def pick(first: int, last: int) -> Any:
            """The element of one of these operands: of the first half of them, or of the others."""
            if last - first == 1:
                start = starts[first]
                return present[first]((*i[:axis], i[axis] - start if start else i[axis], *i[axis + 1 :]))
            middle = (first + last) // 2
            return e.choose(i[axis] < starts[middle], lambda: pick(first, middle), lambda: pick(middle, last))

        return pick(0, len(present))

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Any | None]:
        shape = type_of(y_bar).shape
        x_bars: list[Any | None] = []
        start = 0
        for x in operands:
            stop = start + type_of(x).shape[self.axis]
            lower = tuple(start if k == self.axis else 0 for k in range(len(shape)))
            upper = tuple(stop if k == self.axis else n for k, n in enumerate(shape))
            x_bars.append(slice_(y_bar, lower, upper) if type(x) is Var else None)
            start = stop
        return x_bars

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, bool]:
        return Concatenate(self.axis + 1)(*[x if b else spread(x, size) for x, b in zip(operands, batched, strict=True)]), True

    def formula(self, *xs: Formula) -> Formula:
        return called("concatenate", Brackets(tuple(map(array_of, xs))), axis=self.axis)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls(0), (rng.normal(size=2), rng.normal(size=3))
        yield cls(1), (rng.normal(size=(2, 1)), rng.normal(size=(2, 0)), rng.normal(size=(2, 2)))
        yield cls(0), (rng.normal(size=(2, 2)),)
        yield cls(0), (rng.normal(size=(0, 2)), rng.normal(size=(0, 2)))


@op
class Pad(Structural):
    """Put ``value`` around and between the elements of x; ``config`` gives (low, high, interior) for each axis, as lax.pad.

    Element k along an axis moves to low + k (interior + 1). A negative low or high crops at that end, after the interior is inserted.
    """

    config: PadConfig

    def type_rule(self, x: ArrayType, value: ArrayType) -> ArrayType:
        shape = self.padded(x.shape) if len(self.config) == x.ndim else None
        if shape is None or min(shape, default=0) < 0 or any(interior < 0 for _, _, interior in self.config):
            raise teach(
                ShapeError,
                f"pad: an array of shape {x.shape} cannot be padded by {self.config}.",
                do="give (low, high, interior) for each axis, interior not negative, and cut no more than there is.",
            )
        if value.shape or value.dtype != x.dtype:
            raise teach(
                DtypeError,
                f"pad: the value {value.long_name()} for an array {x.long_name()}.",
                do="give a scalar of the dtype of the array.",
            )
        return x.with_shape(shape)

    def padded(self, shape: Shape) -> Shape:
        return tuple(low + high + n + max(n - 1, 0) * interior for n, (low, high, interior) in zip(shape, self.config, strict=True))

    def impl(self, x: Any, value: Any) -> Any:
        x = np.asarray(x)
        shape, source, target = self.placement(x.shape)
        y = np.full(shape, value, x.dtype) if value else np.zeros(shape, x.dtype)
        if source is not None:
            y[target] = x[source]
        return y

    @lru_cache(maxsize=1024)  # noqa: B019 - an op is a value; the cache keeps few
    def placement(self, shape: Shape) -> tuple[Shape, tuple[slice, ...] | None, tuple[slice, ...]]:
        """The shape of the result, the part of x that is not cropped (None for none), and its position in the result."""
        padded = self.padded(shape)
        source, target = [], []
        for n, (low, _, interior), length in zip(shape, self.config, padded, strict=True):
            step = interior + 1
            first = max(0, -(low // step))  # the first and one past the last element that are not cropped
            last = min(n, -((low - length) // step))
            if last <= first:
                return padded, None, ()
            source.append(slice(first, last))
            target.append(slice(low + first * step, low + (last - 1) * step + 1, step))
        return padded, tuple(source), tuple(target)

    def element(self, e: Emitter, i: Sequence[Any], x: Reader, value: Reader) -> Any:
        inside: Any = None
        read: list[Any] = []
        for k, n, (low, high, interior) in zip(i, x.shape, self.config, strict=True):
            j = k - low if low else k
            conditions = [j >= 0] if low > 0 else []
            if interior:
                conditions.append(j % (interior + 1) < 1)
                j = j // (interior + 1)
            conditions += [j < n] if high > 0 else []
            for condition in conditions:
                inside = condition if inside is None else inside & condition
            read.append(j)
        if 0 in x.shape:
            return value(())
        return x(tuple(read)) if inside is None else e.choose(inside, lambda: x(tuple(read)), lambda: value(()))

    def transpose(self, y_bar: Any, x: Any, value: Any) -> Sequence[Any | None]:
        zero = type_of(y_bar).dtype.type(0)
        x_bar = value_bar = None
        if type(x) is Var:
            whole = pad(y_bar, zero, [(max(-low, 0), max(-high, 0), 0) for low, high, _ in self.config])
            start = [max(low, 0) for low, _, _ in self.config]
            stop = [a + max(n - 1, 0) * k + n for a, n, (_, _, k) in zip(start, x.shape, self.config, strict=True)]
            x_bar = slice_(whole, tuple(start), tuple(stop), tuple(k + 1 for _, _, k in self.config))
        if type(value) is Var:
            outside = self.outside(type_of(x).shape)
            value_bar = ReduceSum(tuple(range(len(self.config))))(select(outside, y_bar, zero))
        return [x_bar, value_bar]

    def outside(self, shape: Shape) -> Any:
        """Where the result for an operand of this shape is the padding value."""
        return self(broadcast_in_dim(np.False_, shape, ()), np.True_)

    def batch(self, size: int, batched: Sequence[bool], x: Any, value: Any) -> tuple[Any, bool]:
        x = x if batched[0] else spread(x, size)
        stacked = Pad(((0, 0, 0), *self.config))
        if not batched[1]:
            return stacked(x, value), True
        y = stacked(x, type_of(x).dtype.type(0))
        shape = type_of(y).shape
        outside = BroadcastInDim(shape, tuple(range(1, len(shape))))(self.outside(type_of(x).shape[1:]))
        return select(outside, BroadcastInDim(shape, (0,))(value), y), True

    def formula(self, x: Formula, value: Formula) -> Formula:
        if any(low < 0 or high < 0 or inner for low, high, inner in self.config):
            return called("lax.pad", array_of(x), value, _config=self.config)
        filled = {} if value == Number(0) else {"constant_values": value}
        return called("pad", array_of(x), _width=tuple((low, high) for low, high, _ in self.config), **filled)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls(((1, 2, 0),)), (rng.normal(size=3), rng.normal())
        yield cls(((0, 0, 2), (-1, 1, 0))), (rng.normal(size=(2, 3)), rng.normal())
        yield cls(((-2, -1, 1),)), (rng.normal(size=4), rng.normal())
        yield cls(((-3, -2, 1),)), (rng.normal(size=5), rng.normal())
        yield cls(((-1, -4, 2),)), (rng.normal(size=4), rng.normal())
        yield cls(((-3, 4, 0),)), (rng.normal(size=2), rng.normal())
        yield cls(((1, 1, 1), (1, 0, 0))), (rng.normal(size=(0, 2)), rng.normal())
        yield cls(()), (rng.normal(size=()), rng.normal())


@op
class Slice(Structural):
    """Every ``step``-th element from ``start`` up to ``stop`` along each axis; all static."""

    start: tuple[int, ...]
    stop: tuple[int, ...]
    step: tuple[int, ...]

    def type_rule(self, x: ArrayType) -> ArrayType:
        fits = len(self.start) == len(self.stop) == len(self.step) == x.ndim
        if not fits or any(not (0 <= a <= b <= n and s >= 1) for a, b, s, n in zip(self.start, self.stop, self.step, x.shape, strict=True)):
            raise teach(
                ShapeError,
                f"slice: start {self.start}, stop {self.stop}, step {self.step} of an array of shape {x.shape}.",
                do="give 0 <= start <= stop <= length and step >= 1 for each axis (x[i:j] of cotan.numpy takes negative ones).",
            )
        return x.with_shape(tuple(-((a - b) // s) for a, b, s in zip(self.start, self.stop, self.step, strict=True)))

    def impl(self, x: Any) -> Any:
        return np.asarray(x)[self.index]

    @cached_property
    def index(self) -> tuple[slice, ...]:
        """The slices as an index of NumPy."""
        return tuple(map(slice, self.start, self.stop, self.step))

    def element(self, e: Emitter, i: Sequence[Any], x: Reader) -> Any:
        return x(tuple(self.start[k] + i[k] * self.step[k] for k in range(len(i))))

    def transpose(self, y_bar: Any, x: Var) -> Sequence[Any]:
        return [self.padding(x.shape)(y_bar, type_of(y_bar).dtype.type(0))]

    def transpose_update(self, y_bar: Any, x: Var) -> tuple[Op, Sequence[Any]]:
        return self.adding, (y_bar,)

    @cached_property
    def adding(self) -> AddSlice:
        """The op that adds to the part that this op reads."""
        return AddSlice(self.start, self.stop, self.step)

    @lru_cache(maxsize=1024)  # noqa: B019 - an op is a value; the cache keeps few
    def padding(self, shape: Shape) -> Pad:
        """The adjoint, for an operand of this shape: elements return to their positions, with zeros between."""
        config: list[tuple[int, int, int]] = []
        for n, a, b, s in zip(shape, self.start, self.stop, self.step, strict=True):
            m = -((a - b) // s)
            config.append((a, n - (a + (m - 1) * s + 1), s - 1) if m else (n, 0, 0))
        return Pad(tuple(config))

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return Slice((0, *self.start), (size, *self.stop), (1, *self.step))(x), True

    def formula(self, x: Formula) -> Formula:
        return array_of(x)[", ".join(slice_text(*ends) for ends in zip(self.start, self.stop, self.step, strict=True))]

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls((1,), (3,), (1,)), (rng.normal(size=4),)
        yield cls((0, 1), (2, 6), (1, 2)), (rng.normal(size=(2, 7)),)
        yield cls((1,), (1,), (2,)), (rng.normal(size=3),)
        yield cls((), (), ()), (rng.normal(size=()),)
        yield cls((0, 0), (0, 2), (3, 1)), (rng.normal(size=(0, 2)),)


@op
class AddSlice(Structural):
    """A copy of x with ``part`` added to the part that `Slice` of the same parameters reads.

    It accumulates cotangents of slices of one array.
    """

    start: tuple[int, ...]
    stop: tuple[int, ...]
    step: tuple[int, ...]

    @cached_property
    def slice(self) -> Slice:
        """The op that reads the part to which this op adds."""
        return Slice(self.start, self.stop, self.step)

    def type_rule(self, x: ArrayType, part: ArrayType) -> ArrayType:
        taken = self.slice.type_rule(x)
        if (taken.shape, taken.dtype) != (part.shape, part.dtype):
            raise teach(
                ShapeError,
                f"add_slice: {part.long_name()} for a part that is {taken.long_name()}.",
                do="give a part of the shape and dtype of the slice.",
            )
        return x.with_shape(x.shape)

    def impl(self, x: Any, part: Any) -> Any:
        return self.update(np.array(x), part)

    def update(self, y: Any, part: Any) -> Any:
        y[self.slice.index] += part
        return y

    kind = "add"

    def destination(self, e: Emitter, i: Sequence[Any], x: Reader, part: Reader) -> tuple[bool, tuple[Any, ...]]:
        """Whether element ``i`` of ``part`` has a target, and its index."""
        return True, tuple(a + k * s for k, a, s in zip(i, self.start, self.step, strict=True))

    def element(self, e: Emitter, i: Sequence[Any], x: Reader, part: Reader) -> Any:
        inside: Any = None
        for j, a, b, s in zip(i, self.start, self.stop, self.step, strict=True):
            here = (j >= a) & (j < b) & ((j - a) % s < 1)
            inside = here if inside is None else inside & here
        at = [(j - a) // s for j, a, s in zip(i, self.start, self.step, strict=True)]
        if inside is None:
            return e.math("add", x(i), part(i))
        return e.choose(inside, lambda: e.math("add", x(i), part(at)), lambda: x(i))

    def transpose(self, y_bar: Any, x: Any, part: Any) -> Sequence[Any]:
        return [y_bar if type(x) is Var else None, self.slice(y_bar) if type(part) is Var else None]

    def batch(self, size: int, batched: Sequence[bool], x: Any, part: Any) -> tuple[Any, bool]:
        x, part = (v if b else spread(v, size) for v, b in zip((x, part), batched, strict=True))
        return AddSlice((0, *self.start), (size, *self.stop), (1, *self.step))(x, part), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls((1,), (3,), (1,)), (rng.normal(size=4), rng.normal(size=2))
        yield cls((0, 1), (2, 6), (1, 2)), (rng.normal(size=(2, 7)), rng.normal(size=(2, 3)))
        yield cls((1,), (1,), (2,)), (rng.normal(size=3), np.zeros(0))
        yield cls((), (), ()), (rng.normal(size=()), rng.normal(size=()))


# ---- as functions, which skip ops that change nothing ---------------------------------------------------------------------------
def reshape(x: Any, shape: Sequence[int]) -> Any:
    """`Reshape`, or ``x`` itself if it has that shape."""
    return x if type_of(x).shape == tuple(shape) else Reshape(tuple(shape))(x)


def permute(x: Any, order: Sequence[int]) -> Any:
    """`Permute`, or ``x`` itself if the axes are in that order."""
    return x if tuple(order) == tuple(range(len(order))) else Permute(tuple(order))(x)


def reverse(x: Any, axes: Sequence[int]) -> Any:
    """`Reverse`, or ``x`` itself for no axes."""
    return Reverse(tuple(sorted(axes)))(x) if axes else x


def roll(x: Any, shift: int, axis: int) -> Any:
    """`Roll` by any number of places, or ``x`` itself if nothing moves."""
    n = type_of(x).shape[axis]
    shift = shift % n if n else 0
    return Roll(shift, axis)(x) if shift else x


def concatenate(xs: Sequence[Any], axis: int) -> Any:
    """`Concatenate`, or the one array itself."""
    return xs[0] if len(xs) == 1 else Concatenate(axis)(*xs)


def pad(x: Any, value: Any, config: Sequence[Sequence[int]]) -> Any:
    """`Pad`, or ``x`` itself if nothing is added or cropped. A Python scalar ``value`` gets the dtype of ``x``."""
    t = type_of(x)
    if all((low, high) == (0, 0) and (interior == 0 or n < 2) for n, (low, high, interior) in zip(t.shape, config, strict=True)):
        return x
    return Pad(tuple((low, high, interior) for low, high, interior in config))(
        x, t.dtype.type(value) if type(value) in PYTHON_SCALARS else value
    )


def slice_(x: Any, start: Sequence[int], stop: Sequence[int], step: Sequence[int] | None = None) -> Any:
    """`Slice`, or ``x`` itself if the slice is all of it."""
    shape = type_of(x).shape
    step = (1,) * len(shape) if step is None else tuple(step)
    whole = tuple(stop) == shape and not any(start) and all(s == 1 or n < 2 for s, n in zip(step, shape, strict=True))
    return x if whole else Slice(tuple(start), tuple(stop), step)(x)
