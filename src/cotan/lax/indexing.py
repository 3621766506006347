"""Reads and writes at indices that are known when the program runs: gather, scatter, dynamic slices, segment sums.

All are composed of two ops, `Gather` and `Scatter` of `ops.indexing`, which index some axes of an array by arrays. A window is the position
of its corner plus an offset along each axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import ArgumentError, DtypeError, IndexingError, ShapeError, teach
from ..core.tracing import INT64, Tracer, type_of
from ..core.types import Shape
from ..numpy.promotion import convert_to, operand, strong
from ..ops import creation, indexing, movement
from ..ops.families import add, broadcast_in_dim
from ..ops.indexing import Gather, Scatter, leading
from ..ops.logic import bitwise_and, greater_equal, less_equal, select
from ..ops.ordering import maximum, minimum
from .shape import Dimensions, axis_of, squeeze, value
from .strictness import agree, finish

__all__ = [
    "GatherDimensionNumbers",
    "GatherScatterMode",
    "ScatterDimensionNumbers",
    "dynamic_index_in_dim",
    "dynamic_slice",
    "dynamic_slice_in_dim",
    "dynamic_update_index_in_dim",
    "dynamic_update_slice",
    "dynamic_update_slice_in_dim",
    "gather",
    "scatter",
    "scatter_add",
    "scatter_max",
    "scatter_min",
    "scatter_mul",
    "segment_max",
    "segment_min",
    "segment_prod",
    "segment_sum",
]


class GatherScatterMode(Enum):
    """The treatment of a window that is not inside the array: it is moved inside, skipped (or filled), or assumed not to occur."""

    CLIP = "clip"
    FILL_OR_DROP = "fill"
    PROMISE_IN_BOUNDS = "promise_in_bounds"

    @staticmethod
    def from_any(mode: Any) -> GatherScatterMode:
        """The mode for a name (clip, fill, drop, promise_in_bounds), for None (fill or drop), or for a mode."""
        if isinstance(mode, GatherScatterMode):
            return mode
        known = {None: "fill", "fill": "fill", "drop": "fill", "clip": "clip", "promise_in_bounds": "promise_in_bounds"}
        if mode not in known:
            raise teach(IndexingError, f"there is no mode {mode!r} of indexing.", do="give clip, fill, drop or promise_in_bounds.")
        return GatherScatterMode(known[mode])


class GatherDimensionNumbers(NamedTuple):
    """The roles of the axes in `gather`, as in JAX and XLA.

    Attributes:
        offset_dims: the axes of the result that run along the window.
        collapsed_slice_dims: the axes of the operand along which the window has length 1 and is dropped.
        start_index_map: the axis of the operand for each component of an index vector.
        operand_batching_dims, start_indices_batching_dims: paired axes of both, one index vector for one slice.
    """

    offset_dims: tuple[int, ...]
    collapsed_slice_dims: tuple[int, ...]
    start_index_map: tuple[int, ...]
    operand_batching_dims: tuple[int, ...] = ()
    start_indices_batching_dims: tuple[int, ...] = ()


class ScatterDimensionNumbers(NamedTuple):
    """The roles of the axes in `scatter`, as in JAX and XLA.

    Attributes:
        update_window_dims: the axes of the updates that run along the window.
        inserted_window_dims: the axes of the operand along which the window has length 1 and is omitted from the updates.
        scatter_dims_to_operand_dims: the axis of the operand for each component of an index vector.
        operand_batching_dims, scatter_indices_batching_dims: paired axes of both.
    """

    update_window_dims: tuple[int, ...]
    inserted_window_dims: tuple[int, ...]
    scatter_dims_to_operand_dims: tuple[int, ...]
    operand_batching_dims: tuple[int, ...] = ()
    scatter_indices_batching_dims: tuple[int, ...] = ()


# ---- windows -----------------------------------------------------------------------------------------------------------
class Windows(NamedTuple):
    """Windows of one size in an array, as indices for `Gather` and `Scatter`.

    order: the axes of the array, the ``indexed`` ones, then the others. places: an index array of shape (batch, window of the indexed
    axes) for each of these. inside: for each window whether it is inside the array, or None if all are.
    """

    order: tuple[int, ...]
    indexed: tuple[int, ...]
    places: list[Any]
    inside: Any | None
    batch: Shape

    def window(self, sizes: Shape) -> Shape:
        return tuple(sizes[d] for d in self.indexed)


def windows(shape: Shape, sizes: Shape, starts: dict[int, Any], batch: Shape, mode: GatherScatterMode) -> Windows:
    """The windows of ``sizes`` at ``starts`` (axis -> an index of shape ``batch`` or a scalar; 0 for missing axes)."""
    indexed = tuple(d for d in range(len(shape)) if d in starts or sizes[d] != shape[d])
    order = (*indexed, *[d for d in range(len(shape)) if d not in indexed])
    lengths = tuple(sizes[d] for d in indexed)
    places: list[Any] = []
    inside: Any = None
    for position, d in enumerate(indexed):
        last = np.int64(shape[d] - sizes[d])
        corner = starts.get(d)
        if corner is not None and mode is not GatherScatterMode.PROMISE_IN_BOUNDS:
            within = bitwise_and(greater_equal(corner, np.int64(0)), less_equal(corner, last))
            if mode is GatherScatterMode.FILL_OR_DROP:
                inside = within if inside is None else bitwise_and(inside, within)
            corner = minimum(maximum(corner, np.int64(0)), last)
        common = (*batch, *lengths)
        place = np.arange(lengths[position]).reshape((-1,) + (1,) * (len(lengths) - 1 - position))
        place = np.broadcast_to(place, common) if corner is None or lengths[position] > 1 else None
        if corner is not None:
            wide = broadcast_in_dim(corner, common, range(len(batch))) if type_of(corner).shape else corner
            if not type_of(wide).shape and place is None:
                wide = broadcast_in_dim(wide, common, ()) if common else wide
            place = wide if place is None else add(np.ascontiguousarray(place), wide)
        places.append(place)
    return Windows(order, indexed, places, inside, batch)


def read(x: Any, w: Windows, sizes: Shape) -> Any:
    """The elements of the windows: axes (batch, indexed axes, other axes)."""
    if w.places:
        return Gather("promise_in_bounds", leading(w.indexed))(x, *w.places)
    shape = type_of(x).shape
    return broadcast_in_dim(x, (*w.batch, *shape), range(len(w.batch), len(w.batch) + len(shape)))


def write(kind: str, x: Any, updates: Any, w: Windows) -> Any:
    """``x`` with updates of axes (batch, indexed axes, other axes) stored in the windows; windows that are not inside are skipped."""
    shape = type_of(x).shape
    places = w.places
    if not places:  # every window is the whole array: index a new axis of length 1
        zeros = np.zeros(w.batch, np.int64)
        return movement.reshape(Scatter(kind, "promise_in_bounds")(movement.reshape(x, (1, *shape)), updates, zeros), shape)
    mode = "promise_in_bounds"
    if w.inside is not None:
        mode = "drop"
        common = type_of(places[0]).shape
        inside = broadcast_in_dim(w.inside, common, range(len(w.batch))) if common and type_of(w.inside).ndim == len(w.batch) else w.inside
        beyond = np.int64(shape[w.indexed[0]])
        places = [select(inside, places[0], broadcast_in_dim(beyond, common, ()) if common else beyond), *places[1:]]
    return indexing.scatter(kind, x, updates, places, mode, w.indexed, unique=prod(w.batch) <= 1)


def index_vectors(name: str, indices: Any, axes: Sequence[int], pairs: Sequence[tuple[int, int]]) -> tuple[dict[int, Any], Shape]:
    """The index of each indexed axis of the operand, of the batch shape; and that shape. ``pairs`` are (operand, index) batching axes."""
    indices = convert_to(strong(operand(indices)), INT64) if type_of(operand(indices)).dtype.kind in "iu" else indices
    t = type_of(operand(indices))
    if t.dtype.kind not in "iu":
        raise teach(DtypeError, f"{name}: indices of dtype {t.dtype}.", do="give integers.")
    if not t.shape or t.shape[-1] != len(axes):
        raise teach(
            ShapeError,
            f"{name}: indices of shape {t.shape} for vectors of {len(axes)} components.",
            do="the last axis holds the components of an index vector, one for each axis in the dimension numbers.",
        )
    batch = t.shape[:-1]
    starts: dict[int, Any] = {}
    for k, d in enumerate(axes):
        one = movement.slice_(indices, (*[0] * len(batch), k), (*batch, k + 1))
        starts[d] = movement.reshape(one, batch)
    for d, k in pairs:
        starts[d] = creation.iota(batch, k) if batch else np.int64(0)
    return starts, batch


def gather(
    operand: Any,
    start_indices: Any,
    dimension_numbers: GatherDimensionNumbers,
    slice_sizes: Dimensions,
    *,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    mode: Any = None,
    fill_value: Any = None,
) -> Any:
    """Windows of ``slice_sizes`` of the operand, one for each index vector (along the last axis of ``start_indices``).

    Args:
        operand, start_indices: arrays; the indices are integers, and negative ones are out of bounds.
        dimension_numbers: the roles of the axes, see `GatherDimensionNumbers`.
        slice_sizes: the length of the window along each axis of the operand.
        mode: for a window that is not inside the operand: None or "fill" gives ``fill_value`` (nan, for integers the least or
            greatest number), "clip" moves it inside, "promise_in_bounds" asserts that there is none.
        unique_indices, indices_are_sorted: hints, of no effect here.

    Returns:
        an array of the operand's dtype, with the axes of the window at ``offset_dims`` and the axes of the indices elsewhere.

    Raises:
        ShapeError, DtypeError, IndexingError: sizes, indices or a mode that do not fit.
    """
    x, n = value(operand), dimension_numbers
    shape, sizes, way = type_of(x).shape, tuple(slice_sizes), GatherScatterMode.from_any(mode)
    gone = {*n.collapsed_slice_dims, *n.operand_batching_dims}
    check_window("gather", shape, sizes, gone)
    pairs = list(zip(n.operand_batching_dims, n.start_indices_batching_dims, strict=True))
    starts, batch = index_vectors("gather", start_indices, n.start_index_map, pairs)
    w = windows(shape, sizes, starts, batch, way)
    y = read(x, w, sizes)
    if w.inside is not None:
        filling = Gather("fill").filling(type_of(x).dtype) if fill_value is None else type_of(x).dtype.type(fill_value)
        full = type_of(y).shape
        inside = broadcast_in_dim(w.inside, full, range(len(batch))) if full else w.inside
        y = select(inside, y, broadcast_in_dim(filling, full, ()) if full else filling)
    # axes of y: the batch, then the window in w.order; of the result: offset_dims take the remaining window axes, in order
    kept = [d for d in range(len(shape)) if d not in gone]
    drop = [len(batch) + k for k, d in enumerate(w.order) if d in gone]
    y = squeeze(y, tuple(drop)) if drop else y
    left = [d for d in w.order if d not in gone]
    out_axes: list[int] = []
    batch_axes = iter(range(len(batch)))
    for axis in range(len(batch) + len(kept)):
        position = n.offset_dims.index(axis) if axis in n.offset_dims else None
        out_axes.append(next(batch_axes) if position is None else len(batch) + left.index(kept[position]))
    return finish(movement.permute(y, out_axes))


def check_window(name: str, shape: Shape, sizes: Shape, gone: set[int]) -> None:
    """Refuse sizes that do not fit the operand."""
    if len(sizes) != len(shape) or any(not 0 <= s <= m for s, m in zip(sizes, shape, strict=True)) or any(sizes[d] != 1 for d in gone):
        raise teach(
            ShapeError,
            f"{name}: windows of sizes {sizes} in an array of shape {shape}.",
            do="give a size up to the length for each axis, and 1 along axes that are collapsed or batched.",
        )


def scattered(
    kind: str, name: str, operand: Any, scatter_indices: Any, updates: Any, dimension_numbers: ScatterDimensionNumbers, mode: Any
) -> Any:
    """The scatter of this kind."""
    n = dimension_numbers
    x, updates = agree(name, (value(operand), value(updates)))
    shape, have, way = type_of(x).shape, type_of(updates).shape, GatherScatterMode.from_any(mode)
    gone = {*n.inserted_window_dims, *n.operand_batching_dims}
    kept = [d for d in range(len(shape)) if d not in gone]
    if len(n.update_window_dims) != len(kept):
        raise teach(
            ShapeError,
            f"{name}: {len(n.update_window_dims)} window axes of the updates for {len(kept)} of the operand.",
            do="name an axis of the updates for each axis of the operand that is neither inserted nor batched.",
        )
    sizes = [1] * len(shape)
    for d, axis in zip(kept, sorted(n.update_window_dims), strict=True):
        sizes[d] = have[axis]
    check_window(name, shape, tuple(sizes), gone)
    pairs = list(zip(n.operand_batching_dims, n.scatter_indices_batching_dims, strict=True))
    starts, batch = index_vectors(name, scatter_indices, n.scatter_dims_to_operand_dims, pairs)
    w = windows(shape, tuple(sizes), starts, batch, way)
    batch_axes = [k for k in range(len(have)) if k not in n.update_window_dims]
    if tuple(have[k] for k in batch_axes) != batch:
        raise teach(
            ShapeError,
            f"{name}: updates of shape {have} for indices of shape {(*batch, len(n.scatter_dims_to_operand_dims))}.",
            do="the axes of the updates that are not of the window are those of the indices but the last.",
        )
    window_axes = dict(zip(kept, sorted(n.update_window_dims), strict=True))
    ordered = movement.permute(updates, [*batch_axes, *[window_axes[d] for d in w.order if d in window_axes]])
    return finish(write(kind, x, movement.reshape(ordered, (*batch, *[sizes[d] for d in w.order])), w))


def scatter(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: Any = None,
) -> Any:
    """The operand with each of its windows, one for each index vector, replaced by its update; of several updates of an element the last
    counts.

    Args:
        operand, updates: arrays of one dtype. scatter_indices: integers, with the index vectors along the last axis.
        dimension_numbers: the roles of the axes, see `ScatterDimensionNumbers`.
        mode: for a window that is not inside the operand: None, "drop" or "fill" skips it, "clip" moves it inside,
            "promise_in_bounds" asserts that there is none.
        indices_are_sorted, unique_indices: hints, of no effect here.

    Raises:
        ShapeError, DtypeError, IndexingError: shapes, indices or a mode that do not fit.
    """
    return scattered("set", "scatter", operand, scatter_indices, updates, dimension_numbers, mode)


def scatter_add(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: Any = None,
) -> Any:
    """The operand with the updates added to its windows; otherwise as `scatter`."""
    return scattered("add", "scatter_add", operand, scatter_indices, updates, dimension_numbers, mode)


def scatter_mul(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: Any = None,
) -> Any:
    """The operand with its windows multiplied by the updates; otherwise as `scatter`."""
    return scattered("mul", "scatter_mul", operand, scatter_indices, updates, dimension_numbers, mode)


def scatter_min(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: Any = None,
) -> Any:
    """The operand with the lesser of its windows and the updates; otherwise as `scatter`."""
    return scattered("min", "scatter_min", operand, scatter_indices, updates, dimension_numbers, mode)


def scatter_max(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: Any = None,
) -> Any:
    """The operand with the greater of its windows and the updates; otherwise as `scatter`."""
    return scattered("max", "scatter_max", operand, scatter_indices, updates, dimension_numbers, mode)


# ---- dynamic slices ----------------------------------------------------------------------------------------------------
def corner(name: str, x: Any, starts: Any, sizes: Dimensions) -> dict[int, Any]:
    """Start indices, one for each axis; negative ones count from the end, and indices of whole axes are omitted."""
    shape = type_of(x).shape
    starts = list(starts) if isinstance(starts, tuple | list) else [starts[k] for k in range(type_of(operand(starts)).shape[0])]
    if len(starts) != len(shape) or len(sizes) != len(shape) or any(not 0 <= n <= m for n, m in zip(sizes, shape, strict=True)):
        raise teach(
            ShapeError,
            f"{name}: {len(starts)} starts and sizes {tuple(sizes)} for an array of shape {shape}.",
            do="give one for each axis; sizes up to the lengths.",
        )
    found: dict[int, Any] = {}
    for d, start in enumerate(starts):
        t = type_of(operand(start))
        if t.dtype.kind not in "iu" or t.shape:
            raise teach(DtypeError, f"{name}: a start index that is {t.long_name()}.", do="give integer scalars.")
        place = convert_to(strong(operand(start)), INT64)
        if sizes[d] != shape[d]:
            found[d] = select(less_equal(np.int64(0), place), place, add(place, np.int64(shape[d])))
    return found


def dynamic_slice(operand: Any, start_indices: Any, slice_sizes: Dimensions) -> Any:
    """A window of static ``slice_sizes`` from ``start_indices``, which may be traced.

    A negative start counts from the end, once; then the window is moved inside the array.
    """
    x, sizes = value(operand), tuple(slice_sizes)
    w = windows(type_of(x).shape, sizes, corner("dynamic_slice", x, start_indices, sizes), (), GatherScatterMode.CLIP)
    return finish(movement.permute(read(x, w, sizes), movement.inverse_order(w.order)))


def dynamic_update_slice(operand: Any, update: Any, start_indices: Any) -> Any:
    """``operand`` with the window at ``start_indices`` replaced by ``update``; the window is placed as by `dynamic_slice`."""
    x, update = agree("dynamic_update_slice", (value(operand), value(update)))
    sizes = type_of(update).shape
    w = windows(type_of(x).shape, sizes, corner("dynamic_update_slice", x, start_indices, sizes), (), GatherScatterMode.CLIP)
    return finish(write("set", x, movement.permute(update, w.order), w))


def along(name: str, operand: Any, axis: int) -> tuple[int, Shape]:
    shape = type_of(value(operand)).shape
    return axis_of(name, axis, len(shape)), shape


def dynamic_slice_in_dim(operand: Any, start_index: Any, slice_size: int, axis: int = 0) -> Any:
    """`dynamic_slice` along one axis."""
    k, shape = along("dynamic_slice_in_dim", operand, axis)
    starts = [start_index if j == k else 0 for j in range(len(shape))]
    return dynamic_slice(operand, starts, tuple(slice_size if j == k else n for j, n in enumerate(shape)))


def dynamic_index_in_dim(operand: Any, index: Any, axis: int = 0, keepdims: bool = True) -> Any:
    """The element at ``index``, which may be traced, along ``axis``; an index out of bounds becomes the nearest one in bounds."""
    y = dynamic_slice_in_dim(operand, index, 1, axis)
    return y if keepdims else squeeze(y, (along("dynamic_index_in_dim", operand, axis)[0],))


def dynamic_update_slice_in_dim(operand: Any, update: Any, start_index: Any, axis: int) -> Any:
    """`dynamic_update_slice` along one axis."""
    k, shape = along("dynamic_update_slice_in_dim", operand, axis)
    return dynamic_update_slice(operand, update, [start_index if j == k else 0 for j in range(len(shape))])


def dynamic_update_index_in_dim(operand: Any, update: Any, index: Any, axis: int) -> Any:
    """``operand`` with the element at ``index`` along ``axis`` replaced by ``update``, which may lack that axis."""
    k, shape = along("dynamic_update_index_in_dim", operand, axis)
    update = value(update)
    have = type_of(update).shape
    if len(have) != len(shape):
        update = movement.reshape(update, (*have[:k], 1, *have[k:]))
    return dynamic_update_slice_in_dim(operand, update, index, k)


# ---- segments ----------------------------------------------------------------------------------------------------------
def segments(name: str, kind: str, start: Any, data: Any, segment_ids: Any, num_segments: int | None, mode: Any) -> Any:
    """The segment reduction of this kind, with the initial value ``start`` (a function of the dtype)."""
    x, ids = strong(operand(data)), operand(segment_ids)
    t, index = type_of(x), type_of(ids)
    if index.dtype.kind not in "iu":
        raise teach(DtypeError, f"{name}: segment_ids of dtype {index.dtype}.", do="give integers.")
    if index.shape != t.shape[: index.ndim]:
        raise teach(ShapeError, f"{name}: segment_ids of shape {index.shape} for data of shape {t.shape}.", do="give an id for each row.")
    if num_segments is None:
        if type(ids) is Tracer:
            raise teach(
                ArgumentError, f"{name}: the number of segments is not known while segment_ids are traced.", do="pass num_segments=."
            )
        num_segments = int(np.max(np.asarray(ids), initial=-1)) + 1
    if num_segments < 0:
        raise teach(ArgumentError, f"{name}: num_segments is {num_segments}.", do="give the number of segments.")
    ids = convert_to(strong(ids), INT64)
    rest = t.shape[index.ndim :]
    way = GatherScatterMode.from_any(mode)
    w = windows((num_segments, *rest), (1 if num_segments else 0, *rest), {0: ids}, index.shape, way)
    init = broadcast_in_dim(start(t.dtype), (num_segments, *rest), ())
    if not num_segments:
        return finish(init)
    return finish(write(kind, init, movement.reshape(x, (*index.shape, 1, *rest)), w))


def lowest(dtype: np.dtype[Any]) -> Any:
    return dtype.type(-np.inf) if dtype.kind == "f" else np.iinfo(dtype).min if dtype.kind != "b" else False


def highest(dtype: np.dtype[Any]) -> Any:
    return dtype.type(np.inf) if dtype.kind == "f" else np.iinfo(dtype).max if dtype.kind != "b" else True


def segment_sum(
    data: Any,
    segment_ids: Any,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    bucket_size: int | None = None,
    mode: Any = None,
) -> Any:
    """The sum of the rows of ``data`` with each id: ``out[k] = sum of data[i] where segment_ids[i] == k``.

    Args:
        data: an array; its first axes are those of ``segment_ids``.
        segment_ids: integers. Rows whose id is not in [0, num_segments) are skipped (``mode`` "clip": moved to the nearest segment).
        num_segments: the length of the result; the greatest id plus one if None, which is unknown for traced ``segment_ids``.
        indices_are_sorted, unique_indices, bucket_size: hints, of no effect here.

    Raises:
        DtypeError, ShapeError: ids that are no integers, or do not fit. ArgumentError: traced ids without ``num_segments``.

    >>> import cotan, numpy as np
    >>> cotan.lax.segment_sum(np.array([1.0, 2.0, 4.0]), np.array([0, 1, 0]))
    Array([5., 2.])
    """
    return segments("segment_sum", "add", lambda d: d.type(0), data, segment_ids, num_segments, mode)


def segment_prod(
    data: Any,
    segment_ids: Any,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    bucket_size: int | None = None,
    mode: Any = None,
) -> Any:
    """The product of the rows of ``data`` with each id (1 if there are none); otherwise as `segment_sum`."""
    return segments("segment_prod", "mul", lambda d: d.type(1), data, segment_ids, num_segments, mode)


def segment_max(
    data: Any,
    segment_ids: Any,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    bucket_size: int | None = None,
    mode: Any = None,
) -> Any:
    """The greatest of the rows of ``data`` with each id (-inf, or the least integer, if there are none); otherwise as `segment_sum`."""
    return segments("segment_max", "max", lowest, data, segment_ids, num_segments, mode)


def segment_min(
    data: Any,
    segment_ids: Any,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    bucket_size: int | None = None,
    mode: Any = None,
) -> Any:
    """The least of the rows of ``data`` with each id (inf, or the greatest integer, if there are none); otherwise as `segment_sum`."""
    return segments("segment_min", "min", highest, data, segment_ids, num_segments, mode)
