"""Loops: JAX's names and signatures.

On concrete values a loop is a Python loop. Traced, its body is staged once and the loop is one op.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..api.arguments import boundary, check_callable, leaf, quiet
from ..control.scan import Scan
from ..core import tree
from ..core.array import to_array
from ..core.errors import ArgumentError, ArgumentTypeError, teach
from ..core.origin import describe_function
from ..core.program import Program
from ..core.staging import stage_flat
from ..core.tracing import EVAL, Tracer, current_trace, type_of
from ..core.types import ArrayType, array_type
from ..ops.casting import convert

__all__ = ["fori_loop", "map", "scan"]


@boundary
def scan(
    f: Callable[..., Any], init: Any, xs: Any = None, length: int | None = None, reverse: bool = False, unroll: int | bool = 1
) -> tuple[Any, Any]:
    """``carry, y = f(carry, x)`` for each x along the leading axis of ``xs``.

    Args:
        f: a function of (carry, x) that returns (carry, y), trees of arrays; the carry keeps its structure, shapes and dtypes.
        init: the first carry.
        xs: a tree of arrays with one leading length, or None.
        length: the number of steps, needed if ``xs`` is None.
        reverse: whether to go from the last element to the first (ys keep their places).
        unroll: accepted as in JAX; the result is the same.

    Returns:
        (the last carry, ys stacked along a new leading axis).

    Raises:
        ArgumentError: lengths that disagree. ArgumentTypeError: a carry that changes its structure, shape or dtype.

    >>> import cotan, cotan.numpy as cnp
    >>> cotan.lax.scan(lambda c, x: (c + x, c * x), 0.0, cnp.array([1.0, 2.0, 3.0]))
    (Array(6.), Array([0., 2., 9.]))
    """
    check_callable("scan", f)
    x_leaves, x_spec = tree.flatten(xs)
    x_leaves = [leaf(x, name) for x, name in zip(x_leaves, tree.leaf_names(x_spec, "xs"), strict=True)]
    count = scan_length(x_leaves, x_spec, length)
    carry, carry_spec = tree.flatten(init)
    carry = [leaf(c, name) for c, name in zip(carry, tree.leaf_names(carry_spec, "init"), strict=True)]
    if current_trace() is EVAL and count and not any(type(v) is Tracer for v in (*carry, *x_leaves)):
        return python_scan(f, tree.unflatten(carry_spec, carry), x_leaves, x_spec, count, reverse)
    carry, program, constants, y_spec = stage_body(f, carry, carry_spec, x_leaves, x_spec)
    outs = Scan(program, len(constants), len(carry), count, bool(reverse))(*constants, *carry, *x_leaves)
    outs = [to_array(y) for y in outs]
    return tree.unflatten(carry_spec, outs[: len(carry)]), tree.unflatten(y_spec, outs[len(carry) :])


def scan_length(xs: Sequence[Any], spec: Any, length: int | None) -> int:
    """The number of steps, on which all agree."""
    names = tree.leaf_names(spec, "xs")
    for x, name in zip(xs, names, strict=True):
        if not type_of(x).shape:
            raise teach(ArgumentError, f"scan: {name} is a scalar: it has no leading axis to scan over.", do="close over it in f, or carry it.")
    lengths = {name: type_of(x).shape[0] for x, name in zip(xs, names, strict=True)}
    distinct = {*lengths.values(), *([int(length)] if length is not None else [])}
    if len(distinct) > 1:
        rows = [f"{name} has length {n}" for name, n in lengths.items()] + ([f"length is {length}"] if length is not None else [])
        raise teach(ArgumentError, "scan: the lengths disagree.", detail="\n".join(rows), do="give all leaves of xs one leading length.")
    if not distinct:
        raise teach(ArgumentError, "scan: without xs, the number of steps is not known.", do="pass length=.")
    return distinct.pop()


def python_scan(f: Any, carry: Any, xs: list[Any], x_spec: Any, length: int, reverse: bool) -> tuple[Any, Any]:
    """The loop on concrete values. The first step shows whether the carry keeps its type."""
    before = tree.flatten(carry)
    rows: list[list[Any]] = [[]] * length
    y_spec: Any = None
    for i in range(length - 1, -1, -1) if reverse else range(length):
        carry, y = pair(f, f(carry, tree.unflatten(x_spec, [x[i] for x in xs])))
        rows[i], y_spec = tree.flatten(y)
        if before is not None:
            after, spec = tree.flatten(carry)
            check_carry(f, before[1], [type_of(leaf(c, "init")) for c in before[0]], spec, [type_of(leaf(c, "the carry")) for c in after])
            before = None
    leaves, spec = tree.flatten(carry)
    ys = [to_array(np.stack([np.asarray(y) for y in column])) for column in zip(*rows, strict=True)]
    return tree.unflatten(spec, [to_array(c) for c in leaves]), tree.unflatten(y_spec, ys)


def pair(f: Any, out: Any) -> tuple[Any, Any]:
    """What ``f`` must return."""
    if not isinstance(out, tuple) or len(out) != 2:  # type: ignore[arg-type]
        raise teach(
            ArgumentTypeError,
            f"scan: {describe_function(f)} must return a pair (carry, y), not a {type(out).__name__}.",
            do="return carry, None if there is nothing to collect.",
        )
    return out  # type: ignore[return-value]


def check_carry(f: Any, spec: Any, types: Sequence[ArrayType], new_spec: Any, new_types: Sequence[ArrayType]) -> None:
    """Refuse a carry whose structure, shape or dtype changes from step to step; a Python scalar may become an array of its dtype."""
    if spec != new_spec:
        raise teach(
            ArgumentTypeError,
            f"scan: the carry that {describe_function(f)} returns has another structure than init.",
            detail=f"init:  {tree.describe(spec)}\ncarry: {tree.describe(new_spec)}",
            do="return a carry with the nesting of init.",
        )
    for name, old, new in zip(tree.leaf_names(spec, "carry"), types, new_types, strict=True):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            raise teach(
                ArgumentTypeError,
                f"scan: {name} changes its type from {old.long_name()} to {new.long_name()} in {describe_function(f)}.",
                do=f"give init the type that the loop has, as in cotan.numpy.zeros({new.shape}, '{new.dtype}'), or convert the new carry.",
            )


def stage_body(f: Any, carry: list[Any], carry_spec: Any, xs: list[Any], x_spec: Any) -> tuple[list[Any], Program, list[Any], Any]:
    """The carry (Python scalars made arrays), the staged body, the values it captured, and the structure of y."""
    found: dict[str, Any] = {}
    types = [array_type(t.shape, t.dtype) for t in (type_of(c) for c in carry)]
    carry = [convert(c, t.dtype) for c, t in zip(carry, types, strict=True)]
    steps = [array_type(t.shape[1:], t.dtype) for t in (type_of(x) for x in xs)]

    def body(*values: Any) -> list[Any]:
        state, x = tree.unflatten(carry_spec, values[: len(carry)]), tree.unflatten(x_spec, values[len(carry) :])
        new, y = pair(f, f(state, x))
        leaves, spec = tree.flatten(new)
        ys, found["y"] = tree.flatten(y)
        leaves = [leaf(c, "the carry") for c in leaves]
        check_carry(f, carry_spec, types, spec, [type_of(c) for c in leaves])
        return [convert(c, t.dtype) for c, t in zip(leaves, types, strict=True)] + [strong(leaf(v, "y")) for v in ys]

    with quiet():
        name = getattr(f, "__name__", "body").replace("<lambda>", "body")
        program, constants = stage_flat(body, [*types, *steps], verb="scan", of=f, name=name)
    return carry, program, constants, found["y"]


def strong(x: Any) -> Any:
    return convert(x, type_of(x).dtype)


@boundary
def map(f: Callable[[Any], Any], xs: Any, *, batch_size: int | None = None) -> Any:
    """``f`` on each element along the leading axis of ``xs``, one after the other: `scan` without a carry.

    Raises: as `scan`; ArgumentError for ``batch_size``, which is not there yet.
    """
    if batch_size is not None:
        raise teach(ArgumentError, "map: batch_size is not there yet.", do="leave it out, or use cotan.vmap on pieces.")
    return scan(lambda carry, x: (carry, f(x)), None, xs)[1]


@boundary
def fori_loop(lower: int, upper: int, body_fun: Callable[[Any, Any], Any], init_val: Any) -> Any:
    """``val = body_fun(i, val)`` for i from ``lower`` up to ``upper``, both known when the loop is traced.

    Raises: as `scan`; TracerConversionError for traced bounds.
    """
    check_callable("fori_loop", body_fun)
    first, last = int(lower), int(upper)
    indices = np.arange(first, max(first, last))
    return scan(lambda carry, i: (body_fun(i, carry), None), init_val, indices)[0]
