"""Searching: ops whose result is an index, in int64. They have no tangents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any, ClassVar, Literal

import numpy as np

from ..core.emitting import Reader, Routines, StridedView
from ..core.errors import DtypeError, ShapeError, teach
from ..core.op import Op, op
from ..core.tracing import type_of
from ..core.types import ArrayType
from . import radix, selecting
from .families import default_rng, spread
from .running import check_axis

__all__ = [
    "Argmax", "Argmin", "Argpartition", "Argselect", "Argsort", "Ordering", "Searchsorted", "argmax", "argmin", "argsort", "each_line",
    "searchsorted",
]  # fmt: skip

INT64 = np.dtype(np.int64)
PIECES, FEWEST_IN_PIECE = 16, 4096
"""The number of pieces of a long line, for threads, and the least length of a piece."""
LINES_AT_ONCE = 16
"""The most threads that take lines, each with its own memory."""


class Position(Op):
    """The index of an extremum along ``axis``, as int64: the first one of ties; the first nan, if there is one."""

    total = True
    family = "flat"
    axis: int
    library: ClassVar[str] = ""
    takes: ClassVar[str] = "biuf"

    def type_rule(self, x: ArrayType) -> ArrayType:
        check_axis(self, x, self.takes)
        if x.shape[self.axis] == 0:
            raise teach(
                ShapeError, f"{self.name} of no elements: axis {self.axis} of an array of shape {x.shape}.", do="test the size first."
            )
        return x.with_shape(tuple(n for k, n in enumerate(x.shape) if k != self.axis)).with_dtype(INT64)

    def loop_axes(self, x: ArrayType) -> Sequence[int]:
        return range(self.axis)

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> Any:
        (x,), (y,) = operands, results
        lead, n, inner = x.shape[: self.axis], x.shape[self.axis], x.shape[self.axis + 1 :]
        name = f"numpy {self.library} {x.dtype.name}"
        if not inner and w.has(name):
            lines = w.dense(x)
            if prod(lead) < PIECES <= n // FEWEST_IN_PIECE:
                w.every(lead, lambda k: self.in_pieces(w, name, lines.part(*k), y.part(*k)))
            else:
                w.parallel_for(lead, lambda k: w.call(name, lines.part(*k), n, y.part(*k), None), n * x.dtype.itemsize // 2)
            return
        e, better = w.emitter, "gt" if self.library == "argmax" else "lt"

        def step(k: tuple[Any, ...], i: Any, best: StridedView, j: tuple[Any, ...]) -> None:
            new, old = x((*k, i, *j)), best[j]
            taken = self.is_better(e, better, new, old)
            best[j] = e.math("select", taken, old, new)
            y[(*k, *j)] = e.math("select", taken, y[(*k, *j)], e.as_scalar(i, INT64))

        def one(k: tuple[Any, ...]) -> None:
            best = w.scratch(inner, x.dtype)

            def begin(j: tuple[Any, ...]) -> None:
                best[j], y[(*k, *j)] = x((*k, 0, *j)), e.constant(0, INT64)

            def write() -> None:
                w.every(inner, begin)
                w.every((n - 1,), lambda i: w.every(inner, lambda j: step(k, i[0] + 1, best, j)))

            w.outlined(write)

        w.every(lead, one)

    def in_pieces(self, w: Routines, name: str, line: StridedView, y: StridedView) -> None:
        """The position in a long line: the first best one of the positions in its pieces."""
        e, n, better = w.emitter, line.shape[0], "gt" if self.library == "argmax" else "lt"
        found = w.scratch((PIECES,), INT64)

        def one(k: tuple[Any, ...]) -> None:
            # All pieces have the same length: the last ones may share elements, and the first best element is still the first.
            w.call(name, line.shifted(k[0] * (n // PIECES)), n // PIECES + n % PIECES, found.part(*k), None)

        def place(k: Any) -> Any:
            return e.math("add", found[k], e.as_scalar(k * (n // PIECES), INT64))

        def compare(k: tuple[Any, ...]) -> None:
            at = place(k[0] + 1)
            new, old = line[e.as_index(at)], line[e.as_index(y[()])]
            y[()] = e.math("select", self.is_better(e, better, new, old), y[()], at)

        w.parallel_for((PIECES,), one, n // PIECES * line.dtype.itemsize // 2)
        y[()] = found[0]
        w.every((PIECES - 1,), compare)

    @staticmethod
    def is_better(e: Any, better: str, new: Any, old: Any) -> Any:
        """Whether a later element replaces an earlier one: a nan replaces anything but a nan."""
        taken = e.math(better, new, old)
        if new.dtype.kind != "f":
            return taken
        return e.math("or", taken, e.math("and", e.math("isnan", new), e.math("not", e.math("isnan", old))))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, None]:
        return self(*primals), None

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        if size == 0:  # an empty batch has nothing to search
            return np.zeros(tuple(n for k, n in enumerate(type_of(x).shape) if k != self.axis + 1), INT64), True
        return type(self)(self.axis + 1)(x), True  # type: ignore[call-arg]

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        yield cls(0), (np.array([1.0, 3.0, 2.0, 3.0, 1.0]),)  # type: ignore[call-arg]
        yield cls(1), (default_rng().normal(size=(2, 3, 2)),)  # type: ignore[call-arg]
        yield cls(0), (np.array([1.0, np.nan, 5.0, np.nan]),)  # type: ignore[call-arg]
        yield cls(1), (np.zeros((0, 3)),)  # type: ignore[call-arg]


@op
class Argmax(Position):
    """The index of the largest element along ``axis``."""

    axis: int
    library: ClassVar[str] = "argmax"

    def impl(self, x: Any) -> Any:
        return np.argmax(x, self.axis)


@op
class Argmin(Position):
    """The index of the smallest element along ``axis``."""

    axis: int
    library: ClassVar[str] = "argmin"

    def impl(self, x: Any) -> Any:
        return np.argmin(x, self.axis)


class Ordering(Op):
    """Sort or argsort along ``axis``."""

    total = True
    family = "sorting"
    axis: int
    takes: ClassVar[str] = "biufc"

    def type_rule(self, x: ArrayType) -> ArrayType:
        check_axis(self, x, self.takes)
        return x.with_shape(x.shape)

    def loop_axes(self, x: ArrayType) -> Sequence[int]:
        return [k for k in range(x.ndim) if k != self.axis]

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return type(self)(self.axis + 1)(x), True  # type: ignore[call-arg]

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls(0), (rng.normal(size=5),)  # type: ignore[call-arg]
        yield cls(1), (rng.normal(size=(2, 4, 2)),)  # type: ignore[call-arg]
        yield cls(1), (rng.normal(size=(3, 0)),)  # type: ignore[call-arg]


@op
class Argsort(Ordering):
    """The indices (int64) that sort x along ``axis``; equal elements stay in order."""

    axis: int
    library: ClassVar[str] = "argsort"

    def type_rule(self, x: ArrayType) -> ArrayType:
        return super().type_rule(x).with_dtype(INT64)

    def impl(self, x: Any) -> Any:
        return np.argsort(x, self.axis, kind="stable")

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> Any:
        (x,), (y,) = operands, results
        name = f"numpy stable_argsort {x.dtype.name}"
        e, n = w.emitter, x.shape[self.axis]
        digits = radix.has_digits(x.dtype, n, radix.FEWEST_NUMBERED)
        if not digits and not w.has(name):
            return NotImplemented

        def one(line: StridedView, into: StridedView) -> None:
            if digits:
                radix.argsorted(w, line, into)
            else:
                w.fill(into, lambda i: e.as_scalar(i[0], INT64))
                w.call(name, line, into, n, None)

        each_line(w, x, y, self.axis, one, radix.work(n), alone=digits and n >= radix.FEWEST_IN_PARTS)
        return None

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, None]:
        return self(*primals), None

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        yield from super().examples()
        yield cls(0), (np.array([2.0, 1.0, 2.0, -1.0, 1.0]),)


@op
class Argselect(Op):
    """The indices (int64) of the elements along ``axis`` with these ``ranks``: the entries of `Argsort` at these positions."""

    total = True
    ranks: tuple[int, ...]
    axis: int
    family = "sorting"
    library: ClassVar[str] = "argselect"
    takes: ClassVar[str] = "biufc"

    def type_rule(self, x: ArrayType) -> ArrayType:
        check_axis(self, x, self.takes)
        n = x.shape[self.axis]
        if not all(0 <= rank < n for rank in self.ranks):
            raise teach(ShapeError, f"{self.name}: ranks {self.ranks} of {n} elements.", do="count ranks from 0.")
        return x.with_shape((*x.shape[: self.axis], len(self.ranks), *x.shape[self.axis + 1 :])).with_dtype(INT64)

    def impl(self, x: Any) -> Any:
        return np.take(np.argsort(x, self.axis, kind="stable"), self.ranks, self.axis)

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> Any:
        (x,), (y,) = operands, results
        name = f"numpy stable_argsort {x.dtype.name}"
        e, n = w.emitter, x.shape[self.axis]
        few = selecting.is_way(x.dtype, n, self.ranks)
        if not few and not w.has(name):
            return NotImplemented

        def one(line: StridedView, into: StridedView) -> None:
            if few:
                selecting.selected(w, line, into, self.ranks)
                return
            order = w.scratch((n,), INT64)
            w.fill(order, lambda i: e.as_scalar(i[0], INT64))
            w.call(name, line, order, n, None)
            for k, rank in enumerate(self.ranks):
                into[k] = order[rank]

        each_line(w, x, y, self.axis, one, selecting.work(n, self.ranks) if few else radix.work(n), alone=False)
        return None

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, None]:
        return self(*primals), None

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return Argselect(self.ranks, self.axis + 1)(x), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls((2, 0, 4), 0), (np.array([2.0, 1.0, 2.0, np.nan, 1.0]),)
        yield cls((1,), 1), (rng.normal(size=(2, 4, 2)),)
        yield cls((69, 70, 3), 0), (np.round(rng.normal(size=140), 1),)
        yield cls((0,), 1), (np.zeros((0, 3)),)


@op
class Argpartition(Ordering):
    """The indices (int64) along ``axis`` of the elements less than, equal to and greater than the element of a rank, each in order."""

    rank: int
    axis: int
    library: ClassVar[str] = "argpartition"
    takes: ClassVar[str] = "biuf"

    def type_rule(self, x: ArrayType) -> ArrayType:
        t = super().type_rule(x).with_dtype(INT64)
        if not 0 <= self.rank < x.shape[self.axis]:
            raise teach(ShapeError, f"{self.name}: rank {self.rank} of {x.shape[self.axis]} elements.", do="count ranks from 0.")
        return t

    def impl(self, x: Any) -> Any:
        x = np.asarray(x)
        value = np.take(np.sort(x, self.axis), [self.rank], self.axis)
        nan = np.isnan(x) if x.dtype.kind == "f" else np.zeros(x.shape, bool)
        last = np.isnan(value) if x.dtype.kind == "f" else np.False_
        sides = np.where((x < value) | (last & ~nan), 0, np.where((x == value) | (last & nan), 1, 2))
        return np.argsort(sides, self.axis, kind="stable")

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> Any:
        (x,), (y,) = operands, results
        n, small = x.shape[self.axis], x.dtype.itemsize < 4

        def one(line: StridedView, into: StridedView) -> None:
            if small:
                numbers = w.scratch((n,), np.dtype(np.int32))
                w.fill(numbers, lambda i: w.emitter.cast(line[i], numbers.dtype))
                line = numbers
            selecting.parted(w, line, into, self.rank)

        each_line(w, x, y, self.axis, one, 2 * selecting.work(n, (self.rank,)), alone=False)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, None]:
        return self(*primals), None

    def batch(self, size: int, batched: Sequence[bool], x: Any) -> tuple[Any, bool]:
        return Argpartition(self.rank, self.axis + 1)(x), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls(2, 0), (np.array([2.0, 1.0, 2.0, np.nan, 1.0]),)
        yield cls(0, 1), (rng.normal(size=(2, 4, 2)),)
        yield cls(70, 0), (np.round(rng.normal(size=140), 1),)
        yield cls(1, 1), (np.zeros((0, 3)),)


@op
class Searchsorted(Op):
    """The int64 positions at which to insert ``values`` in the ascending x, before (``left``) or after (``right``) equal ones.

    x is one sequence, or a stack of them along its last axis: then ``values`` has the same leading axes.
    """

    total = True
    side: Literal["left", "right"]
    family = "sorting"
    library: ClassVar[str] = "searchsorted"
    takes: ClassVar[str] = "biuf"

    def type_rule(self, x: ArrayType, values: ArrayType) -> ArrayType:
        if x.ndim == 0 or values.shape[: x.ndim - 1] != x.shape[:-1]:
            raise teach(
                ShapeError,
                f"searchsorted: values of shape {values.shape} in sorted arrays of shape {x.shape}.",
                do="give a sorted array of one axis, or stacks of those and of values with the same leading axes.",
            )
        if x.dtype != values.dtype or x.dtype.kind not in self.takes or self.side not in ("left", "right"):
            raise teach(
                DtypeError,
                f"searchsorted: {values.dtype} values in {x.dtype} arrays, side {self.side!r}.",
                do="convert to one dtype; side is 'left' or 'right'.",
            )
        return values.with_dtype(INT64)

    def impl(self, x: Any, values: Any) -> Any:
        x, values = np.asarray(x), np.asarray(values)
        if x.ndim == 1:
            return np.searchsorted(x, values, self.side)
        y = np.empty(values.shape, INT64)
        for k in np.ndindex(x.shape[:-1]):
            y[k] = np.searchsorted(x[k], values[k], self.side)
        return y

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        (x, values), (y,) = operands, results
        numbers, depth, n, e = w.dense(x), len(x.shape) - 1, x.shape[-1], w.emitter

        def before(a: Any, b: Any) -> Any:
            """Whether a precedes b: nan is last."""
            less = e.math("lt", a, b)
            return less if a.dtype.kind != "f" else e.math("or", less, e.math("and", e.math("isnan", b), e.math("not", e.math("isnan", a))))

        def passed(row: StridedView, at: Any, v: Any) -> Any:
            """Whether the position for v is after an element."""
            a = row[e.as_index(at)]
            return before(a, v) if self.side == "left" else e.math("not", before(v, a))

        def one(k: tuple[Any, ...]) -> None:
            # The position is at or after `first`, and at most `rest` further; both halves take the same number of steps.
            row, v, first, rest = numbers.part(*k[:depth]), values(k), e.constant(0, INT64), n
            while rest > 1:
                half = rest // 2
                middle = e.math("add", first, e.constant(half - 1, INT64))
                first = e.math("select", passed(row, middle, v), first, e.math("add", first, e.constant(half, INT64)))
                rest -= half
            y[k] = e.math("add", first, e.cast(passed(row, first, v), INT64)) if n else first

        w.outlined(lambda: w.every(values.shape, one))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, None]:
        return self(*primals), None

    def batch(self, size: int, batched: Sequence[bool], x: Any, values: Any) -> tuple[Any, bool]:
        if batched[0] or type_of(x).ndim > 1:
            x, values = (v if b else spread(v, size) for v, b in zip((x, values), batched, strict=True))
        return self(x, values), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        x = np.array([-1.0, 0.0, 0.0, 0.5, 2.0])
        for side in ("left", "right"):
            yield cls(side), (x, np.array([[0.0, -3.0, 5.0], [2.0, 0.5, 0.1]]))
            yield cls(side), (x, np.array(0.0))
        yield cls("left"), (np.sort(rng.normal(size=(2, 4)), 1), rng.normal(size=(2, 3)))
        yield cls("left"), (np.zeros(0), np.zeros(2))


def each_line(
    w: Routines, x: Reader, y: StridedView, axis: int, body: Callable[[StridedView, StridedView], None], work: int, *, alone: bool
) -> None:
    """``body(line, into)`` for every line along ``axis``: the line and the memory for its result, both contiguous. Lines are divided among
    threads, unless the body uses threads itself: ``alone``.
    """
    order = (*[k for k in range(len(x.shape)) if k != axis], axis)
    lines, target = without_gaps(w, w.strided(x).transposed(order)), y.transposed(order)
    made = target if target.strides[-1] == 1 else w.scratch(target.shape, y.dtype)
    lead = lines.shape[:-1]
    if 0 in lines.shape:
        return
    if alone:
        w.every(lead, lambda k: body(lines.part(*k), made.part(*k)))
    else:
        w.parallel_for(lead, lambda k: body(lines.part(*k), made.part(*k)), work, most=LINES_AT_ONCE)
    if made is not target:
        copy_matrices(w, made, target)


def without_gaps(w: Routines, block: StridedView) -> StridedView:
    """A block with a contiguous last axis: the block itself, or a copy."""
    if block.strides[-1] == 1 or block.shape[-1] < 2:
        return block
    copy = w.scratch(block.shape, block.dtype)
    copy_matrices(w, block, copy)
    return copy


def copy_matrices(w: Routines, source: StridedView, target: StridedView) -> None:
    """Copy all numbers of a block, by its last two axes."""
    if len(source.shape) == 1:
        w.fill(target, lambda i: source[i])
    else:
        w.every(source.shape[:-2], lambda k: w.copy(source.part(*k), target.part(*k)))


def argmax(x: Any, axis: int) -> Any:
    """`Argmax`."""
    return Argmax(axis)(x)


def argmin(x: Any, axis: int) -> Any:
    """`Argmin`."""
    return Argmin(axis)(x)


def argsort(x: Any, axis: int) -> Any:
    """`Argsort`."""
    return Argsort(axis)(x)


def searchsorted(x: Any, values: Any, side: Literal["left", "right"] = "left") -> Any:
    """`Searchsorted`."""
    return Searchsorted(side)(x, values)
