"""vmap: a function of one example becomes a function of a batch.

Axes are moved to the front on the way in and to where ``out_axes`` says on the way out; in between every op has its batch axis in front.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any

import numpy as np

from ..core import tree
from ..core.array import handed, to_array
from ..core.errors import ArgumentError, ArgumentTypeError, teach
from ..core.origin import describe_function
from ..core.tracing import current_trace, type_of
from ..ops.failing import quiet
from ..ops.families import spread
from ..ops.movement import permute, reshape
from ..transforms.batch import MeasuringTrace, batch_flat
from .arguments import check_callable, leaf
from .chunks import Chunk, Rows, bytes_of, check_chunk, chunk_size, cut, looped, pieces, whole_pieces
from .transformed import transformation

__all__ = ["vmap"]

Axes = Any
"""An int, None, or a tree of them that is a prefix of the arguments' tree."""


@transformation
def vmap(
    fun: Callable[..., Any], in_axes: Axes = 0, out_axes: Axes = 0, *, axis_size: int | None = None, chunk: Chunk = None
) -> Callable[..., Any]:
    """Apply ``fun`` to each example of a batch at once.

    Args:
        fun: a function of trees of arrays.
        in_axes: which axis of each argument counts the examples; None for arguments that all examples share. An int or None for all
            positional arguments, or a tuple with an entry for each, an entry being a prefix of the argument's tree. Keyword arguments
            are batched along axis 0.
        out_axes: where the batch axis goes in the results, likewise; None for results that do not depend on the example.
        axis_size: the number of examples, needed only if no argument is batched.
        chunk: the largest number of examples to process at once; ``fun`` is then called once for each piece; where that is traced, as
            under `jit`, the pieces are the steps of a loop. "auto" runs the first example alone, adds up the bytes that its ops make, and
            takes as many of the others at once as keep such bytes within `cotan.api.chunks.CHUNK_BUDGET`.

    Returns:
        a function of batched arguments.

    Raises:
        ArgumentError, ArgumentTypeError: a ``chunk`` that is none; when called, axes that do not fit the arguments or each other.

    >>> import cotan, cotan.numpy as cnp
    >>> cotan.vmap(lambda x, y: x @ y, in_axes=(0, None))(cnp.ones((3, 2)), cnp.ones(2))
    Array([2., 2., 2.])
    """
    check_callable("vmap", fun)
    check_chunk("vmap", chunk)
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)

    def batched_function(*args: Any, **kwargs: Any) -> Any:
        leaves, spec = tree.flatten((args, kwargs))
        names = argument_names(spec)
        leaves = [leaf(x, name) for x, name in zip(leaves, names, strict=True)]
        axes = argument_axes(in_axes, spec, len(args), bool(kwargs))
        axes = [checked_axis(a, x, name) for a, x, name in zip(axes, leaves, names, strict=True)]
        size = batch_size(axes, leaves, names, axis_size, fun)
        found: dict[str, Any] = {}

        def flat(*values: Any) -> list[Any]:
            inner_args, inner_kwargs = tree.unflatten(spec, map(handed, values))
            results, found["spec"] = tree.flatten(fun(*inner_args, **inner_kwargs))
            return [leaf(y, f"the output of {describe_function(fun)}") for y in results]

        front = [x if a is None else move_axis(x, a, 0) for x, a in zip(leaves, axes, strict=True)]
        with quiet():
            outs, flags = batch_in_pieces(flat, size, [a is not None for a in axes], front, chunk, fun)
            out_spec = found["spec"]
            wanted = spread_axes("out_axes", out_axes, out_spec, "output")
            placed = [
                place(y, flag, a, size, name)
                for y, flag, a, name in zip(outs, flags, wanted, tree.leaf_names(out_spec, "output"), strict=True)
            ]
        return tree.unflatten(out_spec, [to_array(y, leaves) for y in placed])

    return batched_function


def batch_in_pieces(
    flat: Callable[..., Sequence[Any]], size: int, batched: Sequence[bool], operands: Sequence[Any], chunk: Chunk, of: Any
) -> tuple[list[Any], list[bool]]:
    """`batch_flat`, on at most ``chunk`` examples at once."""
    if chunk is None or size <= 1 or (not isinstance(chunk, str) and chunk >= size):
        return batch_flat(flat, size, batched, operands, of=of)
    collected: list[Rows] = []

    def take(outs: Sequence[Any], flags: Sequence[bool], count: int) -> None:
        if not collected:
            collected.extend(Rows(size) for _ in outs)
        for rows, y, flag in zip(collected, outs, flags, strict=True):
            rows.append(y, count, flag)

    def run(low: int, high: int, trace: MeasuringTrace | None = None) -> None:
        part = [cut(x, low, high) if b else x for x, b in zip(operands, batched, strict=True)]
        take(*batch_flat(flat, high - low, batched, part, of=of, trace=trace), high - low)

    start, each = 0, 0
    if isinstance(chunk, str):
        first = MeasuringTrace(current_trace(), 1, of)
        run(0, 1, first)
        start = 1
        each = first.bytes + bytes_of(type_of(x) for x, b in zip(operands, batched, strict=True) if b) // size
    step = chunk_size(chunk, size, each)
    count = whole_pieces(size - start, step)
    if count:
        take(*loop_of_batches(flat, step, count, start, batched, operands, of), count * step)
    for low, high in pieces(start + count * step, size, step):
        run(low, high)
    results = [rows.result() for rows in collected]
    return [y for y, _ in results], [flag for _, flag in results]


def loop_of_batches(
    flat: Callable[..., Sequence[Any]], step: int, count: int, start: int, batched: Sequence[bool], operands: Sequence[Any], of: Any
) -> tuple[list[Any], list[bool]]:
    """`batch_flat` on ``count`` pieces of ``step`` examples each, from example ``start``, in a loop."""
    xs = [reshape(cut(x, start, start + count * step), (count, step, *type_of(x).shape[1:])) for x in compress(operands, batched)]
    flags: list[bool] = []

    def run(*rows: Any) -> Sequence[Any]:
        it = iter(rows)
        outs, flags[:] = batch_flat(flat, step, batched, [next(it) if b else x for x, b in zip(operands, batched, strict=True)], of=of)
        return outs

    stacked = looped(run, xs, count, "vmap")
    joined = [
        reshape(y, (count * step, *type_of(y).shape[2:])) if flag else reshape(cut(y, 0, 1), type_of(y).shape[1:])
        for y, flag in zip(stacked, flags, strict=True)
    ]
    return joined, flags


def argument_names(spec: Any) -> list[str]:
    """``args[0]['w']`` or ``kwargs['k']`` for each leaf."""
    positional, keyword = tree.children(spec)
    return tree.leaf_names(positional, "args") + tree.leaf_names(keyword, "kwargs")


def argument_axes(in_axes: Axes, spec: Any, count: int, keywords: bool) -> list[int | None]:
    """One axis for each leaf of the arguments."""
    positional, keyword = tree.children(spec)
    if isinstance(in_axes, tuple) and len(in_axes) != count:  # type: ignore[arg-type]
        raise teach(
            ArgumentError,
            f"vmap: in_axes has {len(in_axes)} entries, but the function was called with {count} positional argument{'s' * (count != 1)}.",  # type: ignore[arg-type]
            do="give one entry for each positional argument (0 for batched, None for shared), or one int for all.",
        )
    axes = spread_axes("in_axes", in_axes, positional, "args")
    return axes + [0] * keyword.num_leaves if keywords else axes


def spread_axes(what: str, axes: Axes, spec: Any, root: str) -> list[int | None]:
    """``axes``, a prefix of the tree ``spec``, as one axis for each of its leaves."""
    if axes is None or isinstance(axes, int | np.integer):
        return [axes if axes is None else int(axes)] * spec.num_leaves
    parts = tree.children(spec)
    below, outer = tree.flatten(axes, is_leaf=lambda x: x is not axes)
    if spec.is_leaf() or outer.type is not spec.type or len(below) != len(parts):
        raise teach(
            ArgumentTypeError if spec.is_leaf() else ArgumentError,
            f"vmap: {what} does not match the tree of the {'arguments' if root == 'args' else 'output'}.",
            detail=f"{what} here: {axes!r}\n{root}: {tree.describe(spec)}",
            do=f"give {what} as an int, None, or a prefix of that tree with ints and None at its leaves.",
        )
    return [a for axis, part in zip(below, parts, strict=True) for a in spread_axes(what, axis, part, root)]


def checked_axis(axis: int | None, x: Any, name: str) -> int | None:
    """``axis`` from 0, or the error that ``x`` has no such axis."""
    if axis is None:
        return None
    shape = type_of(x).shape
    if not -len(shape) <= axis < len(shape):
        raise teach(
            ArgumentError,
            f"vmap: {name} has shape {shape}, so it has no axis {axis} to map over.",
            do="use in_axes=None for arguments that all examples share, as in in_axes=(0, None).",
        )
    return axis % len(shape)


def batch_size(axes: list[int | None], leaves: list[Any], names: list[str], given: int | None, fun: Any) -> int:
    """The number of examples, on which all batched arguments must agree."""
    sizes = {name: type_of(x).shape[a] for a, x, name in zip(axes, leaves, names, strict=True) if a is not None}
    distinct = set(sizes.values()) | ({given} if given is not None else set())
    if len(distinct) > 1:
        raise teach(
            ArgumentError,
            f"vmap of {describe_function(fun)}: the mapped axes have different sizes.",
            detail="\n".join(
                [f"{name} has {n} along its mapped axis" for name, n in sizes.items()]
                + ([f"axis_size is {given}"] if given is not None else [])
            ),
            do="batch all arguments alike; use in_axes=None for those that all examples share.",
        )
    if not distinct:
        raise teach(
            ArgumentError,
            f"vmap of {describe_function(fun)}: no argument has a mapped axis.",
            do="give in_axes an axis for at least one argument, or pass axis_size.",
        )
    size = distinct.pop()
    assert size is not None
    return size


def move_axis(x: Any, source: int, target: int) -> Any:
    """``x`` with one axis moved, as np.moveaxis."""
    ndim = type_of(x).ndim
    order = [k for k in range(ndim) if k != source]
    order.insert(target, source)
    return permute(x, tuple(order))


def place(y: Any, batched: bool, axis: int | None, size: int, name: str) -> Any:
    """A result with its batch axis where it is wanted."""
    if axis is None:
        if batched:
            raise teach(
                ArgumentError,
                f"vmap: out_axes is None for {name}, but that depends on the mapped arguments.",
                do="give it an axis in out_axes; None is for results that are the same for all examples.",
            )
        return y
    y = y if batched else spread(y, size)
    ndim = type_of(y).ndim
    if not -ndim <= axis < ndim:
        raise teach(
            ArgumentError,
            f"vmap: out_axes={axis} for {name}, which has {ndim} axes with the batch.",
            do=f"give an axis from 0 to {ndim - 1}.",
        )
    return move_axis(y, 0, axis % ndim)
