"""Indexing by integer arrays: `Gather` reads, `Scatter` returns a changed copy.

Both take k index arrays of one shape S, which index k axes of x together: the first k, or those that the parameter ``axes`` names. With
the first k,

    gather:   out[s, r] = x[i_1[s], ..., i_k[s], r]
    scatter:  out = x, then for each s in turn: out[i_1[s], ..., i_k[s], r] (+)= updates[s, r]

where r are the other axes of x, in order.

``mode`` determines the meaning of an index outside of the array:

    raise               an IndexError; negative ones count from the end (NumPy)
    promise_in_bounds   there is none; negative ones count from the end
    clip                the nearest end
    wrap                modulo the length
    fill, zero          (gather) negative ones count from the end; beyond that it reads nan (the least or greatest integer), or 0
    drop                (scatter) negative ones count from the end; beyond that the update is dropped

Gather and scatter-add are adjoint to each other. A gather that fills with nan is affine; its tangent is the gather that fills with 0. If
several updates have the same target, ``set`` stores the last one, and only its cotangent is not zero. The derivative of ``mul`` computes
the product of the other updates by a recurrence along the sorted indices, without division. ``min`` and ``max`` share the derivative among
all ties.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import prod
from typing import Any, ClassVar, NoReturn

import numpy as np

from ..core.emitting import Emitter, Reader
from ..core.errors import DtypeError, IndexingError, ShapeError, teach
from ..core.formula import Formula, Item, Update, array_of, at_axes, called, shown
from ..core.op import Op, op
from ..core.program import Var
from ..core.tracing import type_of
from ..core.types import ArrayType
from .arithmetic import constant_of, div, mul, one_like
from .casting import convert
from .creation import full, iota
from .families import BroadcastInDim, add, default_rng, scale, spread, sum_tangents
from .logic import bitwise_and, bitwise_not, equal, greater_equal, less, select
from .movement import permute, reshape
from .ordering import maximum, minimum, rem
from .reduction import ReduceOr
from .running import product_of_others_in_runs, shift
from .searching import Argsort

__all__ = ["GATHER_MODES", "SCATTER_KINDS", "SCATTER_MODES", "Gather", "Scatter", "gather", "leading", "scatter"]

INT64 = np.dtype(np.int64)
MAY_RAISE = ("raise", "promise_in_bounds")
GATHER_MODES = ("raise", "promise_in_bounds", "clip", "wrap", "fill", "zero")
BOUNDED = ("raise", "promise_in_bounds", "clip", "wrap")
"""The modes in which every index reads or writes an element."""
SCATTER_MODES = ("raise", "promise_in_bounds", "clip", "wrap", "drop")
SCATTER_KINDS = {"add": "iufc", "set": "biufc", "mul": "iufc", "min": "biuf", "max": "biuf"}
"""The kinds of update of `Scatter`, and the dtypes for which each is defined."""


class Indexed(Op):
    """The base of gather and scatter: the check of indices, and their meaning by mode."""

    family = "indexing"
    mode: str
    axes: tuple[int, ...]
    """The axis of each index array; () for the leading ones."""

    def indexed(self, shape: Sequence[int], count: int) -> list[int]:
        """The lengths of the axes that ``count`` index arrays index."""
        return [shape[k] for k in self.axes] if self.axes else list(shape[:count])

    def others(self, ndim: int, count: int) -> Sequence[int]:
        """The axes that are not indexed."""
        return [k for k in range(ndim) if k not in self.axes] if self.axes else range(count, ndim)

    def shape_at(self, x: ArrayType, indices: Sequence[ArrayType]) -> tuple[int, ...]:
        """The shape of the elements at the indices."""
        return (*indices[0].shape, *[x.shape[k] for k in self.others(x.ndim, len(indices))])

    def in_front(self, x: Any, count: int) -> Any:
        """A view of a NumPy array with the indexed axes in front."""
        return x.transpose((*self.axes, *self.others(x.ndim, count))) if self.axes else x

    def element_at(self, at: Sequence[Any], rest: Sequence[Any]) -> tuple[Any, ...]:
        """The index of an element of x: ``at`` in the indexed axes, ``rest`` in the others."""
        if not self.axes:
            return (*at, *rest)
        where = dict(zip(self.axes, at, strict=True))
        remaining = iter(rest)
        return tuple([where[k] if k in where else next(remaining) for k in range(len(at) + len(rest))])

    def with_batch_axis(self, count: int, indexed: bool) -> tuple[int, ...]:
        """``axes`` for an operand with a batch axis in front, which one more index array indexes, or none."""
        return (*([0] if indexed else []), *[k + 1 for k in (self.axes or range(count))])

    def in_place(self, indices: Sequence[Formula]) -> tuple[int, int]:
        """Where NumPy puts the axes of the index arrays among the others (in front, unless they index adjacent axes), and their number."""
        axes, count = sorted(self.axes), 0 if indices[0].type is None else indices[0].type.ndim
        adjacent = axes == list(range(axes[0], axes[0] + len(axes))) if axes else False
        return (axes[0] if adjacent and count else 0), count

    def check_indices(self, x: ArrayType, indices: Sequence[ArrayType], modes: Sequence[str]) -> None:
        if self.mode not in modes:
            raise teach(IndexingError, f"{self.name}: there is no mode {self.mode!r}.", do=f"give one of {', '.join(modes)}.")
        if not indices or len(indices) > x.ndim or (self.axes and len(indices) != len(self.axes)):
            raise teach(
                IndexingError,
                f"{self.name}: {len(indices)} index arrays for an array of shape {x.shape}.",
                do="give one index array for each indexed axis.",
            )
        if any(t.shape != indices[0].shape for t in indices):
            shapes = ", ".join(str(t.shape) for t in indices)
            raise teach(
                ShapeError,
                f"{self.name}: index arrays of shapes {shapes}.",
                do="broadcast them to one shape (x[i, j] of cotan.numpy does).",
            )
        if any(t.dtype.kind not in "iu" for t in indices):
            dtypes = ", ".join(str(t.dtype) for t in indices)
            raise teach(
                DtypeError,
                f"{self.name}: index arrays of dtypes {dtypes}.",
                do="give integers (a bool mask: cotan.numpy.where, or nonzero).",
            )
        if self.axes and (len({*self.axes}) < len(self.axes) or not all(0 <= k < x.ndim for k in self.axes)):
            raise teach(
                IndexingError,
                f"{self.name}: the indexed axes {self.axes} of an array of shape {x.shape}.",
                do=f"give different axes from 0 to {x.ndim - 1}.",
            )
        if self.mode in BOUNDED and indices[0].size and 0 in self.indexed(x.shape, len(indices)):
            self.refuse_empty(x.shape)

    def refuse_empty(self, shape: Sequence[int]) -> NoReturn:
        """Raise: the array has no element for any index."""
        raise teach(
            IndexingError,
            f"{self.name}: an index into an axis of length 0 (shape {tuple(shape)}).",
            do='test the size first, or read with mode="fill" (x.at[i].get).',
        )

    def resolve(self, indices: Sequence[Any], shape: Sequence[int]) -> tuple[tuple[Any, ...], Any | None]:
        """Index arrays of NumPy, into leading axes of these lengths, and (fill, zero, drop) which indices are in bounds. Every index is in
        bounds, or left to NumPy's check.
        """
        if self.mode in ("raise", "promise_in_bounds"):
            return tuple(indices), None
        # A small integer type may not hold the length of the axis. The largest unsigned integers have no signed value; they are compared
        # unsigned.
        arrays = [np.asarray(j) if np.asarray(j).dtype == np.uint64 else np.asarray(j, np.int64) for j in indices]
        if self.mode in ("clip", "wrap"):
            if any(n == 0 and j.size for j, n in zip(arrays, shape, strict=False)):
                self.refuse_empty(shape)
            if self.mode == "clip":
                return tuple(np.clip(j, 0, max(n - 1, 0)) for j, n in zip(arrays, shape, strict=False)), None
            return tuple(np.remainder(j, max(n, 1)) for j, n in zip(arrays, shape, strict=False)), None
        arrays = [np.where(j < 0, j + n, j) if j.dtype.kind == "i" else j for j, n in zip(arrays, shape, strict=False)]
        inside = np.True_
        for j, n in zip(arrays, shape, strict=False):
            inside = inside & (j >= 0) & (j < n)
        return tuple(arrays), inside

    def read_index(self, e: Emitter, i: Sequence[Any], reader: Reader, n: int) -> Any:
        """Index ``i`` of an index array as a scalar int64, by mode; it may be out of bounds only for fill, zero and drop."""
        j = reader(i)
        if reader.dtype == np.uint64:  # larger values than the largest signed integer become that integer, which is outside too
            wrapped, largest = self.mode == "wrap", np.iinfo(np.int64).max
            j = e.math("rem", j, e.constant(n, reader.dtype)) if wrapped else e.math("minimum", j, e.constant(largest, reader.dtype))
        j = e.cast(j, INT64)
        zero, last, length = (e.constant(v, INT64) for v in (0, n - 1, n))
        if self.mode == "clip":
            return e.math("maximum", zero, e.math("minimum", j, last))
        if self.mode == "wrap":
            return e.math("rem", j, length)
        if reader.dtype.kind == "i":
            j = e.math("select", e.math("lt", j, zero), j, e.math("add", j, length))
        # A program cannot raise while it runs: it reads the nearest element instead, and never memory outside of the array.
        return j if self.mode in ("fill", "zero", "drop") else e.math("maximum", zero, e.math("minimum", j, last))


@op
class Gather(Indexed):
    """Elements of x at the indices; see the module for ``mode``."""

    mode: str = "raise"
    axes: tuple[int, ...] = ()
    tangent = "itself"
    takes: ClassVar[str] = "biufc"

    def fails_on(self, *types: ArrayType) -> Sequence[int]:
        return range(1, len(types)) if self.mode in MAY_RAISE else ()

    def linear_sets(self, count: int) -> tuple[int, ...]:
        return () if self.mode == "fill" else (1,)

    def type_rule(self, x: ArrayType, *indices: ArrayType) -> ArrayType:
        self.check_indices(x, indices, GATHER_MODES)
        return x.with_shape(self.shape_at(x, indices))

    def impl(self, x: Any, *indices: Any) -> Any:
        if self.axes:
            x = self.in_front(x, len(indices))
        if self.mode == "raise" or self.mode == "promise_in_bounds":
            return x[indices]
        x = np.asarray(x)
        index, inside = self.resolve(indices, x.shape)
        if inside is None:
            return x[index]
        shape = inside.shape + x.shape[len(indices) :]
        y = np.full(shape, self.filling(x.dtype), x.dtype)
        y[inside] = x[tuple(j[inside] for j in index)]
        return y if shape else y[()]

    def filling(self, dtype: np.dtype[Any]) -> Any:
        """The value read outside: nan, the least signed or greatest unsigned integer, True (as in JAX), or 0."""
        if self.mode == "zero":
            return dtype.type(0)
        if dtype.kind in "fc":
            return dtype.type(np.nan)
        return np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max if dtype.kind == "u" else True

    def element(self, e: Emitter, i: Sequence[Any], x: Reader, *indices: Reader) -> Any:
        ndim = len(indices[0].shape)
        lengths = self.indexed(x.shape, len(indices))
        at = [e.as_index(self.read_index(e, tuple(i[:ndim]), reader, n)) for reader, n in zip(indices, lengths, strict=True)]
        index = self.element_at(at, i[ndim:])
        if self.mode not in ("fill", "zero"):
            return x(index)
        inside: Any = None
        for j, n in zip(at, lengths, strict=True):
            here = (j >= 0) & (j < n)
            inside = here if inside is None else inside & here
        return e.choose(inside, lambda: x(index), lambda: e.constant(self.filling(x.dtype), x.dtype))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        moved = Gather("zero", self.axes) if self.mode == "fill" else self
        return self(*primals), moved(tangents[0], *primals[1:])

    def transpose(self, y_bar: Any, x: Var, *indices: Any) -> Sequence[Any | None]:
        zeros = full(x.shape, x.dtype.type(0))
        adding, rest = self.transpose_update(y_bar, x, *indices)
        return [adding(zeros, *rest), *[None] * len(indices)]

    def transpose_update(self, y_bar: Any, x: Var, *indices: Any) -> tuple[Op, Sequence[Any]]:
        return adding_scatter("drop" if self.mode == "zero" else self.mode, self.axes), (y_bar, *indices)

    def batch(self, size: int, batched: Sequence[bool], x: Any, *indices: Any) -> tuple[Any, bool]:
        if True not in batched[1:]:
            y = Gather(self.mode, self.with_batch_axis(len(indices), False))(x, *indices)
            return to_front(y, type_of(indices[0]).ndim), True
        every = [j if b else spread(j, size) for j, b in zip(indices, batched[1:], strict=True)]
        if not batched[0]:
            return self(x, *every), True
        axes = self.with_batch_axis(len(indices), True) if self.axes else ()
        return Gather(self.mode, axes)(x, iota(type_of(every[0]).shape), *every), True

    def formula(self, x: Formula, *indices: Formula) -> Formula:
        item = Item(array_of(x), at_axes(self.axes, indices))
        first, axes = self.in_place(indices)
        return item if first == 0 else called("moveaxis", item, _source=shown(range(first, first + axes)), _target=shown(range(axes)))

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        line, table = rng.normal(size=4), rng.normal(size=(3, 4, 2))
        yield cls(), (line, np.array([2, 0, -1, 2]))
        yield cls(), (table, np.array([[0, 2], [1, 1]]), np.array([[3, 0], [-2, 1]]))
        yield cls("promise_in_bounds"), (table, np.array(1))
        yield cls(), (line, np.zeros((0, 2), np.int64))
        for mode in ("clip", "wrap", "fill", "zero"):
            yield cls(mode), (line, np.array([5, -1, 0, -9, 3]))
            yield cls(mode), (table, np.array([0, 3, 1], np.int32), np.array([-5, 0, 2], np.int32))
            yield cls(mode), (line, np.array(7))
        yield cls("zero"), (np.zeros((0, 2)), np.array([0, 1]))
        yield cls("clip"), (line, np.array([1, 200], np.uint8))
        yield cls("raise", (1,)), (table, np.array([2, 0, -1]))
        yield cls("fill", (2, 0)), (table, np.array([[0, 2], [1, 1]]), np.array([[2, 0], [-2, 1]]))
        yield cls("promise_in_bounds", (1, 2)), (table, np.array(1), np.array(0))


@op
class Scatter(Indexed):
    """A copy of x in which ``updates`` are added, set, multiplied, or the lesser or greater taken (``kind``) at the indices.

    ``unique`` says that no two of the indices are equal.
    """

    kind: str
    mode: str = "raise"
    axes: tuple[int, ...] = ()
    unique: bool = False
    library: ClassVar[str] = "scatter"

    @property
    def takes(self) -> str:
        """The kinds of dtype for which this update is defined."""
        return SCATTER_KINDS[self.kind]

    def fails_on(self, *types: ArrayType) -> Sequence[int]:
        return range(2, len(types)) if self.mode in MAY_RAISE else ()

    def linear_sets(self, count: int) -> tuple[int, ...]:
        return {"add": (3,), "set": (3,), "mul": (1,)}.get(self.kind, ())

    def type_rule(self, x: ArrayType, updates: ArrayType, *indices: ArrayType) -> ArrayType:
        self.check_indices(x, indices, SCATTER_MODES)
        expected = self.shape_at(x, indices)
        if updates.shape != expected:
            raise teach(
                ShapeError,
                f"scatter: updates of shape {updates.shape}, where the indexed part has shape {expected}.",
                do="broadcast the updates to that shape (x.at[i].set(v) of cotan.numpy does).",
            )
        if self.kind not in SCATTER_KINDS or updates.dtype != x.dtype or x.dtype.kind not in self.takes:
            raise teach(
                DtypeError,
                f"scatter: {self.kind} of {updates.dtype} updates in a {x.dtype} array.",
                do=f"convert the updates to the dtype of the array; the kinds are {', '.join(SCATTER_KINDS)}.",
            )
        return x.with_shape(x.shape)

    def impl(self, x: Any, updates: Any, *indices: Any) -> Any:
        return self.update(np.array(x), updates, *indices)

    def destination(self, e: Emitter, i: Sequence[Any], x: Reader, updates: Reader, *indices: Reader) -> tuple[Any, tuple[Any, ...]]:
        """Whether update ``i`` has a target, and its index."""
        ndim = len(indices[0].shape)
        lengths = self.indexed(x.shape, len(indices))
        at = [e.as_index(self.read_index(e, tuple(i[:ndim]), reader, n)) for reader, n in zip(indices, lengths, strict=True)]
        inside: Any = True
        if self.mode == "drop":
            for j, n in zip(at, lengths, strict=True):
                inside = inside & ((j >= 0) & (j < n))
        return inside, self.element_at(at, i[ndim:])

    def update(self, y: Any, updates: Any, *indices: Any) -> Any:
        target = self.in_front(y, len(indices))
        index, inside = self.resolve(indices, target.shape)
        if inside is not None:
            index, updates = tuple(np.asarray(j)[inside] for j in index), np.asarray(updates)[inside]
        elif self.apart(indices):
            target[index] = updates if self.kind == "set" else UFUNCS[self.kind](target[index], updates)
            return y
        if self.kind == "set":
            target[index] = updates
        else:
            UFUNCS[self.kind].at(target, index, updates)
        return y

    def singular(self, x: Any, updates: Any, *indices: Any) -> Any:
        if self.kind not in ("min", "max"):
            return np.False_
        y = self.impl(x, updates, *indices)
        from_x, from_u = np.equal(x, y).astype(int), np.equal(updates, Gather(self.reading, self.axes).impl(y, *indices)).astype(int)
        return Scatter("add", self.mode, self.axes).impl(from_x, from_u, *indices) > 1

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        x, updates, *indices = primals
        dx, du = tangents[:2]
        y = self(*primals)
        if self.kind == "set":
            return y, self(zeros_of(x) if dx is None else dx, zeros_of(updates) if du is None else du, *indices)
        if self.kind == "add":
            return y, dx if du is None else self(zeros_of(x) if dx is None else dx, du, *indices)
        if self.kind == "mul":
            return y, self.product_tangent(x, updates, indices, dx, du)
        return y, self.extremum_tangent(y, x, updates, indices, dx, du)

    def product_tangent(self, x: Any, updates: Any, indices: Sequence[Any], dx: Any | None, du: Any | None) -> Any:
        """The tangent x' prod u + sum_k x u_k' prod_{j != k} u_j, over the updates with the same target."""
        terms = [] if dx is None else [self(dx, updates, *indices)]
        if du is not None and self.apart(indices):
            there = Gather(self.reading, self.axes)(x, *indices)
            terms.append(Scatter("add", self.mode, self.axes, self.unique)(zeros_of(x), scale(there, du), *indices))
        elif du is not None:
            t = type_of(updates)
            order, same = self.runs(indices, self.indexed(type_of(x).shape, len(indices)))
            count, rest = type_of(order).size, t.shape[type_of(indices[0]).ndim :]
            flat = Gather("promise_in_bounds")(reshape(updates, (count, *rest)), order)
            others = product_of_others_in_runs(flat, same)
            others = reshape(Scatter("set", "promise_in_bounds")(zeros_of(others), others, order), t.shape)
            there = Gather(self.reading, self.axes)(x, *indices)
            terms.append(Scatter("add", self.mode, self.axes)(zeros_of(x), scale(mul(there, others), du), *indices))
        return sum_tangents(terms)

    def extremum_tangent(self, y: Any, x: Any, updates: Any, indices: Sequence[Any], dx: Any | None, du: Any | None) -> Any:
        """The mean of the tangents of all values, in x and the updates, that are equal to the result."""
        dtype = type_of(x).dtype
        gather_, adding = Gather(self.reading, self.axes), Scatter("add", self.mode, self.axes)
        if self.apart(indices):  # then the elements without an update need no work
            there = gather_(y, *indices)
            from_x, from_u = (convert(equal(v, there), dtype) for v in (gather_(x, *indices), updates))
            count = maximum(add(from_x, from_u), constant_of(1, dtype))
            terms = [] if dx is None else [scale(from_x, gather_(dx, *indices))]
            terms += [] if du is None else [scale(from_u, du)]
            mean = scale(div(one_like(count), count), sum_tangents(terms))
            return Scatter("set", self.mode, self.axes, self.unique)(zeros_of(x) if dx is None else dx, mean, *indices)
        from_x = convert(equal(x, y), dtype)
        from_u = convert(equal(updates, gather_(y, *indices)), dtype)
        count = maximum(adding(from_x, from_u, *indices), constant_of(1, dtype))
        terms = [] if dx is None else [scale(from_x, dx)]
        terms += [] if du is None else [adding(zeros_of(x), scale(from_u, du), *indices)]
        return scale(div(one_like(count), count), sum_tangents(terms))

    @property
    def reading(self) -> str:
        """The gather mode that reads the targets of this op's mode, and 0 where it drops."""
        return "zero" if self.mode == "drop" else self.mode

    def transpose(self, y_bar: Any, x: Any, updates: Any, *indices: Any) -> Sequence[Any | None]:
        x_bar = u_bar = None
        if type(updates) is Var:  # first, so that y_bar is free to be changed in place below
            u_bar = Gather(self.reading, self.axes)(y_bar, *indices)
            if self.kind == "set" and not self.apart(indices):
                won = self.last_writer(self.indexed(type_of(y_bar).shape, len(indices)), indices)
                shape = type_of(u_bar).shape
                won = BroadcastInDim(shape, tuple(range(type_of(won).ndim)))(won)
                u_bar = select(won, u_bar, constant_of(0, type_of(u_bar).dtype))
        if self.kind == "add":
            x_bar = y_bar
        elif type(x) is Var:
            x_bar = self(y_bar, full(type_of(updates).shape, x.dtype.type(0)) if self.kind == "set" else updates, *indices)
        return [x_bar if type(x) is Var else None, u_bar, *[None] * len(indices)]

    def apart(self, indices: Sequence[Any]) -> bool:
        """Whether no two updates can have the same target."""
        return self.unique or np.ndim(indices[0]) == 0

    def last_writer(self, lengths: Sequence[int], indices: Sequence[Any]) -> Any:
        """For each update, whether it is the last one with its target. ``lengths`` are those of the indexed axes.

        Few updates of many elements are compared in pairs. Else the numbers of the updates are scattered, and it is tested which are read
        back.
        """
        places = type_of(indices[0]).shape
        count = prod(places)
        if count**2 <= prod(lengths):
            target = self.targets(indices, lengths)
            same = equal(BroadcastInDim((count, count), (0,))(target), BroadcastInDim((count, count), (1,))(target))
            later = np.triu(np.ones((count, count), bool), 1)
            return reshape(bitwise_not(ReduceOr((1,))(bitwise_and(same, later))), places)
        number = reshape(iota((count,)), places)
        board = Scatter("set", self.mode)(full(tuple(lengths), np.int64(-1)), number, *indices)
        return equal(Gather(self.reading)(board, *indices), number)

    def runs(self, indices: Sequence[Any], lengths: Sequence[int]) -> tuple[Any, Any]:
        """The order that sorts the updates by target, and whether each, in that order, has the same target as the previous one."""
        flat = self.targets(indices, lengths)
        order = Argsort(0)(flat)
        ranked = Gather("promise_in_bounds")(flat, order)
        return order, equal(ranked, shift(ranked, 0, np.int64(-1)))

    def targets(self, indices: Sequence[Any], lengths: Sequence[int]) -> Any:
        """A number for the target of each update, in one axis. Updates that are dropped share numbers with dropped ones only."""
        flat: Any = None
        for j, n in zip(indices, lengths, strict=True):
            j = reshape(j, (type_of(j).size,))
            if type_of(j).dtype == np.uint64:  # the largest ones have no signed value
                j = rem(j, np.uint64(max(n, 1))) if self.mode == "wrap" else minimum(j, np.uint64(np.iinfo(np.int64).max))
            j = convert(j, INT64)
            length = np.int64(n)
            if self.mode == "clip":
                j = minimum(maximum(j, np.int64(0)), np.int64(n - 1))
            elif self.mode == "wrap":
                j = rem(j, length)
            else:
                j = select(less(j, np.int64(0)), add(j, length), j)
                inside = bitwise_and(greater_equal(j, np.int64(0)), less(j, length))
                j = select(inside, j, length)
            flat = j if flat is None else add(mul(flat, np.int64(n + 1)), j)
        return flat

    def batch(self, size: int, batched: Sequence[bool], x: Any, updates: Any, *indices: Any) -> tuple[Any, bool]:
        x, updates = (v if b else spread(v, size) for v, b in zip((x, updates), batched, strict=False))
        if True in batched[2:]:
            every = [j if b else spread(j, size) for j, b in zip(indices, batched[2:], strict=True)]
            axes = self.with_batch_axis(len(indices), True) if self.axes else ()
            return Scatter(self.kind, self.mode, axes, self.apart(indices))(x, updates, iota(type_of(every[0]).shape), *every), True
        axes = self.with_batch_axis(len(indices), False)
        return Scatter(self.kind, self.mode, axes, self.unique)(x, behind(updates, type_of(indices[0]).ndim), *indices), True

    def formula(self, x: Formula, updates: Formula, *indices: Formula) -> Formula:
        first, axes = self.in_place(indices)
        if first:
            updates = called("moveaxis", updates, _source=shown(range(axes)), _target=shown(range(first, first + axes)))
        return Update(x, at_axes(self.axes, indices), self.kind, updates)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        line, table = rng.uniform(0.5, 2.0, 4), rng.uniform(0.5, 2.0, (3, 4, 2))
        for kind in SCATTER_KINDS:
            yield cls(kind), (line, rng.uniform(0.5, 2.0, 5), np.array([2, 0, -1, 2, 2]))
            yield cls(kind), (rng.uniform(0.5, 2.0, 30), rng.uniform(0.5, 2.0, 5), np.array([2, 0, -1, 2, 29]))
            yield cls(kind), (table, rng.uniform(0.5, 2.0, (2, 2, 2)), np.array([[0, 2], [0, 1]]), np.array([[3, 0], [-1, 1]]))
            yield cls(kind), (table, rng.uniform(0.5, 2.0, (4, 2)), np.array(1))
            yield cls(kind), (line, np.zeros(0), np.zeros(0, np.int64))
            for mode in ("clip", "wrap", "drop"):
                yield cls(kind, mode), (line, rng.uniform(0.5, 2.0, 5), np.array([5, -1, 0, -9, 3]))
        yield cls("add", "drop"), (np.zeros((0, 2)), rng.normal(size=(2, 2)), np.array([0, 1]))
        yield cls("set", "drop"), (line, np.float64(0.7), np.array(9))
        yield cls("set", "drop"), (rng.uniform(0.5, 2.0, 30), rng.uniform(0.5, 2.0, 3), np.array([29, 2**64 - 1, 3], np.uint64))
        yield cls("mul"), (line, np.array([0.0, 2.0, 0.0, 0.5]), np.array([1, 1, 3, 0]))
        for kind in SCATTER_KINDS:
            yield cls(kind, "raise", (1,)), (table, rng.uniform(0.5, 2.0, (3, 3, 2)), np.array([2, 0, 2]))
            yield cls(kind, "drop", (2, 0)), (table, rng.uniform(0.5, 2.0, (3, 4)), np.array([0, 2, 1]), np.array([2, 0, -2]))
            yield cls(kind, "promise_in_bounds", (), True), (line, rng.uniform(0.5, 2.0, 3), np.array([2, 0, -1]))
            yield cls(kind, "drop", (2, 0), True), (table, rng.uniform(0.5, 2.0, (4, 4)), np.array([0, 2, 1, 1]), np.array([2, 0, 0, 2]))
        yield cls("set", "promise_in_bounds", (1,)), (table, rng.uniform(0.5, 2.0, (3, 2)), np.array(1))


UFUNCS = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}


def zeros_of(x: Any) -> Any:
    """Zeros of the type of ``x``."""
    t = type_of(x)
    return full(t.shape, t.dtype.type(0))


def behind(x: Any, k: int) -> Any:
    """``x`` with its first axis moved behind the next k."""
    return permute(x, (*range(1, k + 1), 0, *range(k + 1, type_of(x).ndim)))


def to_front(x: Any, k: int) -> Any:
    """``x`` with axis k moved to the front."""
    return permute(x, (k, *[j for j in range(type_of(x).ndim) if j != k]))


def leading(axes: Sequence[int]) -> tuple[int, ...]:
    """``axes`` as a parameter of gather and scatter."""
    return () if tuple(axes) == tuple(range(len(axes))) else tuple(axes)


@lru_cache(maxsize=256)
def adding_scatter(mode: str, axes: tuple[int, ...]) -> Scatter:
    """The op that adds at indices."""
    return Scatter("add", mode, axes)


def gather(x: Any, indices: Sequence[Any], mode: str = "raise", axes: Sequence[int] = ()) -> Any:
    """`Gather`."""
    return Gather(mode, leading(axes))(x, *indices)


def scatter(
    kind: str, x: Any, updates: Any, indices: Sequence[Any], mode: str = "raise", axes: Sequence[int] = (), *, unique: bool = False
) -> Any:
    """`Scatter`."""
    return Scatter(kind, mode, leading(axes), unique and type_of(indices[0]).ndim > 0)(x, updates, *indices)
