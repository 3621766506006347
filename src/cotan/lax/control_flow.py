"""Loops and branches: JAX's names and signatures.

On concrete values a loop is a Python loop. Traced, its body is staged once and the loop is one op.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..api.arguments import boundary, check_callable, leaf, quiet
from ..control.cond import Cond
from ..control.scan import Scan
from ..control.while_loop import While
from ..core import tree
from ..core.array import Array, to_array
from ..core.errors import ArgumentError, ArgumentTypeError, teach
from ..core.origin import describe_function
from ..core.program import Program, Var
from ..core.staging import stage_flat
from ..core.tracing import BOOL, EVAL, INT64, Tracer, current_trace, type_of
from ..core.types import ArrayType, array_type
from ..ops.casting import convert
from ..ops.families import add
from ..ops.logic import less, not_equal
from ..ops.ordering import maximum, minimum
from ..transforms.jvp import JVPTrace

__all__ = ["cond", "fori_loop", "map", "scan", "switch", "while_loop"]


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
        return python_scan(f, carry, carry_spec, x_leaves, x_spec, count, reverse)
    carry, program, constants, y_spec = stage_body(f, carry, carry_spec, x_leaves, x_spec)
    outs = Scan(program, len(constants), len(carry), count, bool(reverse))(*constants, *carry, *x_leaves)
    outs = [to_array(y) for y in outs]
    return tree.unflatten(carry_spec, outs[: len(carry)]), tree.unflatten(y_spec, outs[len(carry) :])


def scan_length(xs: Sequence[Any], spec: Any, length: int | None) -> int:
    """The number of steps, on which all agree."""
    names = tree.leaf_names(spec, "xs")
    for x, name in zip(xs, names, strict=True):
        if not type_of(x).shape:
            raise teach(ArgumentError, f"scan: {name} is a scalar: it has no leading axis to scan over.", do="close over it in f.")
    lengths = {name: type_of(x).shape[0] for x, name in zip(xs, names, strict=True)}
    distinct = {*lengths.values(), *([int(length)] if length is not None else [])}
    if len(distinct) > 1:
        rows = [f"{name} has length {n}" for name, n in lengths.items()] + ([f"length is {length}"] if length is not None else [])
        raise teach(ArgumentError, "scan: the lengths disagree.", detail="\n".join(rows), do="give all leaves of xs one leading length.")
    if not distinct:
        raise teach(ArgumentError, "scan: without xs, the number of steps is not known.", do="pass length=.")
    return distinct.pop()


def python_scan(f: Any, carry: list[Any], spec: Any, xs: list[Any], x_spec: Any, length: int, reverse: bool) -> tuple[Any, Any]:
    """The loop on concrete values. The first step shows whether the carry keeps its type."""
    types = [type_of(c) for c in carry]
    carry = [own(convert(c, t.dtype)) for c, t in zip(carry, types, strict=True)]
    rows: list[list[Any]] = []
    y_spec: Any = None
    for i in range(length - 1, -1, -1) if reverse else range(length):
        new, y = pair(f, f(tree.unflatten(spec, carry), tree.unflatten(x_spec, [own(x[i]) for x in xs])))
        carry, new_spec = tree.flatten(new)
        if not rows:
            check_carry("scan", f, spec, types, new_spec, [type_of(leaf(c, "the carry")) for c in carry])
        y, y_spec = tree.flatten(y)
        rows.append([np.array(leaf(v, "y")) for v in y])
        carry = [to_array(c) if type(c) is np.ndarray else c for c in carry]
    if reverse:
        rows.reverse()
    ys = [to_array(np.stack(column)) for column in zip(*rows, strict=True)]
    return tree.unflatten(spec, [to_array(c) for c in carry]), tree.unflatten(y_spec, ys)


def own(x: Any) -> Any:
    """A value for a loop's body to have: an Array that it may change, as ``c += x`` does, without a trace in the caller's memory."""
    return np.array(x).view(Array) if isinstance(x, np.ndarray) else x


def pair(f: Any, out: Any) -> tuple[Any, Any]:
    """What ``f`` must return."""
    if not isinstance(out, tuple) or len(out) != 2:  # type: ignore[arg-type]
        raise teach(
            ArgumentTypeError,
            f"scan: {describe_function(f)} must return a pair (carry, y), not a {type(out).__name__}.",
            do="return carry, None if there is nothing to collect.",
        )
    return out  # type: ignore[return-value]


def check_carry(name: str, f: Any, spec: Any, types: Sequence[ArrayType], new_spec: Any, new_types: Sequence[ArrayType]) -> None:
    """Refuse a carry whose structure, shape or dtype changes from step to step; a Python scalar may become an array of its dtype."""
    if spec != new_spec:
        raise teach(
            ArgumentTypeError,
            f"{name}: the carry that {describe_function(f)} returns has another structure than the first one.",
            detail=f"first: {tree.describe(spec)}\nthen:  {tree.describe(new_spec)}",
            do="return a carry with the nesting of the first.",
        )
    for path, old, new in zip(tree.leaf_names(spec, "carry"), types, new_types, strict=True):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            raise teach(
                ArgumentTypeError,
                f"{name}: {path} changes its type from {old.long_name()} to {new.long_name()} in {describe_function(f)}.",
                do=f"start with the type that the loop has, as in cotan.numpy.zeros({new.shape}, '{new.dtype}'), or convert the new carry.",
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
        check_carry("scan", f, carry_spec, types, spec, [type_of(c) for c in leaves])
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
def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any) -> Any:
    """``val = body_fun(i, val)`` for i from ``lower`` up to ``upper``: a scan where both are known, else a while loop.

    Raises: as `scan` and `while_loop`.
    """
    check_callable("fori_loop", body_fun)
    first, last = known_value(lower), known_value(upper)
    if first is not None and last is not None:
        indices = np.arange(int(first), max(int(first), int(last)))
        return scan(lambda carry, i: (body_fun(i, carry), None), init_val, indices)[0]
    start = (convert(lower, INT64), init_val)
    return while_loop(lambda s: less(s[0], convert(upper, INT64)), lambda s: (add(s[0], np.int64(1)), body_fun(*s)), start)[1]


@boundary
def cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """``true_fun(*operands)`` if ``pred``, else ``false_fun(*operands)``.

    Args:
        pred: a scalar: a bool, or a number (true if nonzero). Where its value is known, only the branch that is meant is run.
        true_fun, false_fun: functions of the operands whose results have the same structure, shapes and dtypes.

    Raises:
        ArgumentTypeError: a predicate that is no scalar, or branches whose results differ.

    >>> import cotan
    >>> cotan.lax.cond(True, lambda x: x * 2, lambda x: x, 3.0)
    6.0
    """
    check_callable("cond", true_fun)
    check_callable("cond", false_fun)
    t = type_of(leaf(pred, "pred"))
    if t.shape:
        raise teach(
            ArgumentTypeError,
            f"cond: the predicate must be a scalar, not {t.long_name()}.",
            do="reduce it with cotan.numpy.any or all, choose elementwise with cotan.numpy.where, or use vmap.",
        )
    known = known_value(pred)
    if known is not None:
        return (true_fun if known else false_fun)(*operands)
    index = convert(pred if t.dtype == BOOL else not_equal(pred, t.dtype.type(0)), INT64)
    return branch("cond", index, (false_fun, true_fun), operands)


@boundary
def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """``branches[index](*operands)``, the index clamped to the branches there are. Raises: as `cond`.

    >>> import cotan
    >>> cotan.lax.switch(1, [lambda x: x, lambda x: -x], 3.0)
    -3.0
    """
    if not branches:
        raise teach(ArgumentError, "switch: there are no branches.", do="give at least one.")
    for f in branches:
        check_callable("switch", f)
    t = type_of(leaf(index, "index"))
    if t.shape or t.dtype.kind not in "iu":
        what = f"switch: the index must be an integer scalar, not {t.long_name()}."
        raise teach(ArgumentTypeError, what, do="convert it with .astype(int).")
    known = known_value(index)
    if known is not None:
        return branches[min(max(int(known), 0), len(branches) - 1)](*operands)
    clamped = minimum(maximum(convert(index, INT64), np.int64(0)), np.int64(len(branches) - 1))
    return branch("switch", clamped, branches, operands)


def known_value(x: Any) -> Any | None:
    """The number behind a scalar, where it has one: a plain value, or one that is only being differentiated."""
    while type(x) is Tracer and isinstance(x.owner, JVPTrace):
        x = x.payload[0]
    return None if type(x) is Tracer else x


def branch(name: str, index: Any, functions: Sequence[Callable[..., Any]], operands: Sequence[Any]) -> Any:
    """The branches staged, and their `Cond`."""
    leaves, spec = tree.flatten(tuple(operands))
    leaves = [leaf(x, n) for x, n in zip(leaves, tree.leaf_names(spec, "operands"), strict=True)]
    types = [array_type(t.shape, t.dtype) for t in (type_of(x) for x in leaves)]
    leaves = [convert(x, t.dtype) for x, t in zip(leaves, types, strict=True)]
    specs: list[Any] = []
    staged: list[tuple[Program, list[Any]]] = []
    for f in functions:

        def flat(*values: Any, f: Any = f) -> list[Any]:
            outs, out_spec = tree.flatten(f(*tree.unflatten(spec, values)))
            specs.append(out_spec)
            return [strong(leaf(y, "a result")) for y in outs]

        label = getattr(f, "__name__", "branch").replace("<lambda>", "branch")
        with quiet():
            staged.append(stage_flat(flat, types, verb=name, of=f, name=label))
    check_branches(name, functions, specs, [program for program, _ in staged])
    programs: list[Program] = []
    captured = [c for _, constants in staged for c in constants]
    start = 0
    for program, constants in staged:
        inputs: list[Any] = [Var(type_of(c)) for c in captured]
        inputs[start : start + len(constants)] = program.inputs[: len(constants)]
        programs.append(Program([*inputs, *program.inputs[len(constants) :]], program.equations, program.outputs, (), program.name))
        start += len(constants)
    outs = Cond(tuple(programs))(index, *captured, *leaves)
    return tree.unflatten(specs[0], [to_array(y) for y in outs])


def check_branches(name: str, functions: Sequence[Any], specs: Sequence[Any], programs: Sequence[Program]) -> None:
    """Refuse branches whose results differ in structure, shape or dtype."""
    labels = ["false_fun", "true_fun"] if name == "cond" else [f"branches[{k}]" for k in range(len(functions))]
    for label, f, spec, program in zip(labels, functions, specs, programs, strict=True):
        kinds, wanted = ([(t.shape, t.dtype) for t in p.output_types] for p in (program, programs[0]))
        if spec != specs[0] or kinds != wanted:
            rows = [
                f"{which}, {describe_function(g)}: {tree.describe(s)} of {', '.join(t.long_name() for t in p.output_types)}"
                for which, g, s, p in ((labels[0], functions[0], specs[0], programs[0]), (label, f, spec, program))
            ]
            raise teach(
                ArgumentTypeError,
                f"{name}: the branches return different types.",
                detail="\n".join(rows),
                do="make them alike, by .astype or cotan.numpy.zeros_like.",
            )


@boundary
def while_loop(cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any) -> Any:
    """``val = body_fun(val)`` while ``cond_fun(val)``.

    Args:
        cond_fun: gives a bool scalar.
        body_fun: keeps the structure, shapes and dtypes of its argument, a tree of arrays.
        init_val: the first value.

    Reverse mode works where the number of steps is known when the derivative is taken: not inside jit.

    Raises:
        ArgumentTypeError: a value that changes its type, a condition that is no bool scalar.

    >>> import cotan
    >>> cotan.lax.while_loop(lambda x: x < 10, lambda x: x * 2, 1.0)
    Array(16.)
    """
    check_callable("while_loop", cond_fun)
    check_callable("while_loop", body_fun)
    leaves, spec = tree.flatten(init_val)
    leaves = [leaf(x, name) for x, name in zip(leaves, tree.leaf_names(spec, "init_val"), strict=True)]
    types = [array_type(t.shape, t.dtype) for t in (type_of(x) for x in leaves)]
    leaves = [convert(x, t.dtype) for x, t in zip(leaves, types, strict=True)]

    def going(*values: Any) -> list[Any]:
        answer = cond_fun(tree.unflatten(spec, values))
        t = type_of(leaf(answer, "the condition"))
        if t.shape or t.dtype != BOOL:
            raise teach(
                ArgumentTypeError,
                f"while_loop: the condition {describe_function(cond_fun)} must give a bool scalar, not {t.long_name()}.",
                do="compare, or reduce with cotan.numpy.any or all.",
            )
        return [answer]

    def step(*values: Any) -> list[Any]:
        new, new_spec = tree.flatten(body_fun(tree.unflatten(spec, values)))
        new = [leaf(c, "the value") for c in new]
        check_carry("while_loop", body_fun, spec, types, new_spec, [type_of(c) for c in new])
        return [convert(c, t.dtype) for c, t in zip(new, types, strict=True)]

    if current_trace() is EVAL and not any(type(x) is Tracer for x in leaves):
        leaves = [own(x) for x in leaves]
        while going(*leaves)[0]:
            leaves = [to_array(x) if type(x) is np.ndarray else x for x in step(*leaves)]
        return tree.unflatten(spec, [to_array(x) for x in leaves])
    with quiet():
        condition = stage_flat(going, types, verb="while_loop", of=cond_fun, name="condition")
        body = stage_flat(step, types, verb="while_loop", of=body_fun, name="body")
    first, second = While.with_captured(condition, body)
    outs = While(first, second, len(second.constants))(*second.constants, *leaves)
    return tree.unflatten(spec, [to_array(x) for x in outs])
