"""Loops: `scan`, `map`, `fori_loop` and `while_loop`, with JAX's names and signatures.

On concrete values a loop is a Python loop. Traced, its body is staged once and the loop is one op.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..api.arguments import boundary, check_callable, leaf
from ..api.disabling import is_staging, runs_as_python
from ..api.recall import Recall
from ..api.rules import refuse_parameters, shown
from ..api.vectorize import vmap
from ..control.scan import Scan
from ..control.sweep import BoundedScan
from ..control.while_loop import While
from ..core import tree
from ..core.array import Array, to_array
from ..core.errors import ArgumentError, ArgumentTypeError, TracerConversionError, teach
from ..core.operators import surface
from ..core.origin import describe_function, is_capturing
from ..core.program import Program
from ..core.sizes import integer
from ..core.staging import stage_flat
from ..core.tracing import BOOL, EVAL, INT64, Tracer, current_trace, type_of
from ..core.types import ArrayType, array_type
from ..ops.casting import convert
from ..ops.creation import iota
from ..ops.failing import quiet
from ..ops.families import add
from ..ops.logic import less
from ..transforms.jvp import JVPTrace

__all__ = ["fori_loop", "known_value", "map", "scan", "strong", "while_loop"]

KINDS = "biufc"
LEAF = tree.structure(0)
bodies = Recall()


class Indices:
    """The numbers of a range as an array gives them, of int64."""

    def __init__(self, numbers: range):
        self.numbers = numbers

    def __getitem__(self, k: int) -> np.int64:
        return np.int64(self.numbers[k])


SCAN_BODY = "def f(carry, x): ...; return carry, y"
MAP_BODY = "def f(x): ...; return y, and for a tuple of arrays def f(x): a, b = x; ..."
FORI_BODY = "def body(i, carry): ...; return carry"
WHILE_BODY = "def body(carry): ...; return carry, and for several values def body(carry): a, b = carry; ...; return a, b"
WHILE_CONDITION = "def condition(carry): ...; return a bool, and for several values def condition(carry): a, b = carry; ..."


class Body:
    """The function that a scan applies in each step: ``step(carry, x)``, made of the user's ``f`` for the loop ``name``."""

    __slots__ = ("f", "name", "step")

    def __init__(self, name: str, f: Callable[..., Any], step: Callable[..., Any] | None = None):
        self.name, self.f, self.step = name, f, f if step is None else step

    def pair(self, out: Any) -> tuple[Any, Any]:
        """The pair that a step must return."""
        if not isinstance(out, tuple) or len(out) != 2:  # type: ignore[arg-type]
            raise self.no_pair(out)
        return out  # type: ignore[return-value]

    def no_pair(self, out: Any) -> ArgumentTypeError:
        """The error that ``f`` of a scan returns something else than a pair."""
        do = "end it with `return carry, y`, or `return carry, None` if there is nothing to collect"
        if isinstance(out, tuple | list) and len(out) > 2:
            do += ": what the next step needs is the carry, what is collected is y; each may be a tuple, as in `return (a, b), y`"
        what = f"scan: {describe_function(self.f)} must return a pair (carry, y), a tuple, not {shown(out)}."
        return teach(ArgumentTypeError, what, do=f"{do}.")


class WidenedCarry(Exception):  # noqa: N818 - no error
    """Some carries that were Python scalars at first need other dtypes: the body is traced again."""

    def __init__(self, types: list[ArrayType]):
        self.types = types


@boundary
def scan(
    f: Callable[..., Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    *,
    checkpoint: bool | int = False,
) -> tuple[Any, Any]:
    """``carry, y = f(carry, x)`` for each x along the leading axis of ``xs``.

    Args:
        f: a function of (carry, x) that returns (carry, y), trees of arrays; the carry keeps its structure, shapes and dtypes.
        init: the first carry. A Python scalar in it takes the dtype that the body gives it (0.0 becomes float32 in a float32 loop).
        xs: a tree of arrays with one leading length, or None.
        length: the number of steps, needed if ``xs`` is None.
        reverse: whether to go from the last element to the first (ys keep their positions).
        unroll: accepted as in JAX; the result is the same.
        checkpoint: the number of carries that reverse mode stores at most; the others are recomputed, each step as few times as
            possible. True stores as many as needed to compute no step more than three times. False stores the residuals of each step.

    Returns:
        (the last carry, ys stacked along a new leading axis).

    Raises:
        ArgumentError: lengths that disagree. ArgumentTypeError: a carry that changes its structure, shape or dtype.

    Source of the schedule: Griewank & Walther 2000, "Algorithm 799: revolve".

    >>> import cotan, cotan.numpy as cnp
    >>> cotan.lax.scan(lambda c, x: (c + x, c * x), 0.0, cnp.array([1.0, 2.0, 3.0]))
    (Array(6.), Array([0., 2., 9.]))
    """
    check_callable("scan", f)
    try:
        return run_scan(Body("scan", f), init, xs, length, reverse, checkpoint)
    except TypeError as error:
        refuse_parameters(error, "scan", ("f", f, 2, SCAN_BODY))
        raise


def run_scan(body: Body, init: Any, xs: Any, length: int | None, reverse: bool, checkpoint: bool | int) -> tuple[Any, Any]:
    """The last carry and the ys, in the way that suits the values."""
    x_leaves, x_spec = tree.flatten(xs)
    x_leaves = [leaf(x, name) for x, name in zip(x_leaves, tree.leaf_names(x_spec, "xs"), strict=True)]
    count = scan_length(body.name, x_leaves, x_spec, length)
    carry, carry_spec = tree.flatten(init)
    carry = [leaf(c, name) for c, name in zip(carry, tree.leaf_names(carry_spec, "init"), strict=True)]
    snapshots = snapshots_of(body.name, checkpoint)
    if current_trace() is EVAL and count and not any(type(v) is Tracer for v in (*carry, *x_leaves)):
        return python_scan(body, carry, carry_spec, x_leaves, x_spec, count, reverse)
    if count and runs_as_python():
        return unrolled_scan(body, init, x_leaves, x_spec, count, reverse)
    return op_or_python(
        lambda: scan_leaves(body, carry, carry_spec, x_leaves, x_spec, count, bool(reverse), snapshots),
        lambda: python_scan(body, carry, carry_spec, x_leaves, x_spec, count, reverse),
        [*carry, *x_leaves] if count else None,
    )


def op_or_python(as_op: Callable[[], Any], in_python: Callable[[], Any], values: Sequence[Any] | None) -> Any:
    """A loop as an op. If it is captured, which alone keeps it from running in Python, its steps may ask for values: it then does."""
    try:
        return as_op()
    except TracerConversionError:
        if values is None or not is_capturing() or is_staging(current_trace()) or any(type(v) is Tracer for v in values):
            raise
        return in_python()


def scan_leaves(
    body: Body, carry: list[Any], carry_spec: Any, x_leaves: list[Any], x_spec: Any, count: int, reverse: bool, snapshots: int | None
) -> tuple[Any, Any]:
    """The scan as an op."""
    carry, program, constants, y_spec = stage_scan(body, carry, carry_spec, x_leaves, x_spec)
    sizes = (program, len(constants), len(carry), count, reverse)
    loop = Scan(*sizes) if snapshots is None else BoundedScan(*sizes, snapshots=snapshots)
    outs = [to_array(y) for y in loop(*constants, *carry, *x_leaves)]
    return tree.unflatten(carry_spec, outs[: len(carry)]), tree.unflatten(y_spec, outs[len(carry) :])


def scan_length(loop: str, xs: Sequence[Any], spec: Any, length: int | None) -> int:
    """The number of steps, which all inputs must share."""
    names = tree.leaf_names(spec, "xs")
    for x, name in zip(xs, names, strict=True):
        if not type_of(x).shape:
            do = (
                "close over it in f."
                if spec == LEAF or len(xs) == 1
                else "pass one array of such numbers, cotan.numpy.array(xs); or close over it."
            )
            raise teach(ArgumentError, f"{loop}: {name} is a scalar: it has no leading axis to go along.", do=do)
    lengths = {name: type_of(x).shape[0] for x, name in zip(xs, names, strict=True)}
    distinct = {*lengths.values(), *([int(length)] if length is not None else [])}
    if len(distinct) > 1:
        rows = [f"{name} has length {n}" for name, n in lengths.items()] + ([f"length is {length}"] if length is not None else [])
        raise teach(ArgumentError, f"{loop}: the lengths disagree.", detail="\n".join(rows), do="give all leaves of xs one leading length.")
    if not distinct:
        raise teach(ArgumentError, f"{loop}: without xs, the number of steps is not known.", do="pass length=.")
    return distinct.pop()


def snapshots_of(name: str, checkpoint: bool | int) -> int | None:
    """The most states that are stored: None for all, 0 for an automatic number."""
    if isinstance(checkpoint, bool):
        return 0 if checkpoint else None
    if not isinstance(checkpoint, int | np.integer) or checkpoint < 1:  # type: ignore[redundant-expr]
        raise teach(
            ArgumentError,
            f"{name}: checkpoint must be True, False or a number of carries to keep from 1, not {checkpoint!r}.",
            do="pass checkpoint=True.",
        )
    return int(checkpoint)


# ---- on concrete values ------------------------------------------------------------------------------------------------
def python_scan(body: Body, carry: list[Any], spec: Any, xs: list[Any], x_spec: Any, length: int, reverse: bool) -> tuple[Any, Any]:
    """The loop in Python. The first step determines the types."""
    firsts, given = types_of(carry), carry
    steps = range(length - 1, -1, -1) if reverse else range(length)
    first = steps[0]
    while True:
        columns = [rows_of(x) for x in xs]
        carry = [own(c, t) for c, t in zip(given, firsts, strict=True)]
        try:
            state, y = first_step(body, carry, spec, firsts, tree.unflatten(x_spec, [column[first] for column in columns]))
            break
        except WidenedCarry as widened:
            firsts = widened.types
    results, y_spec = tree.flatten(y)
    types = [type_of(leaf(v, "y")) for v in results]
    ys = [np.empty((length, *t.shape), t.dtype) for t in types]
    for rows, v in zip(ys, results, strict=True):
        rows[first] = v
    simple_x, simple_y, step = x_spec == LEAF, y_spec == LEAF, body.step
    for i in steps[1:]:
        state, y = body.pair(step(state, columns[0][i] if simple_x else tree.unflatten(x_spec, [column[i] for column in columns])))
        if type(state) is np.ndarray:
            state = to_array(state)
        if simple_y:
            if type_of(y) is not types[0]:
                check_again(body, y, types[0])
            ys[0][i] = y
        else:
            for rows, v, t in zip(ys, tree.leaves(y), types, strict=True):
                if type_of(v) is not t:
                    check_again(body, v, t)
                rows[i] = v
    carry, new_spec = tree.flatten(state)
    check_carry(body.name, body.f, spec, firsts, new_spec, [type_of(leaf(c, "the carry")) for c in carry])
    return tree.unflatten(spec, [to_array(convert(c, t.dtype)) for c, t in zip(carry, firsts, strict=True)]), tree.unflatten(
        y_spec, [rows.view(Array) for rows in ys]
    )


def unrolled_scan(body: Body, state: Any, xs: list[Any], x_spec: Any, length: int, reverse: bool) -> tuple[Any, Any]:
    """The loop in Python on traced values: each step is an ordinary call."""
    ys: list[Any] = [None] * length
    for i in range(length - 1, -1, -1) if reverse else range(length):
        state, ys[i] = body.pair(body.step(state, tree.unflatten(x_spec, [x[i] for x in xs])))
    return state, tree.map(lambda *rows: surface().stack(rows), *ys)


def first_step(body: Body, carry: list[Any], spec: Any, types: list[ArrayType], x: Any) -> tuple[Any, Any]:
    """One step, after which the carry has its initial types."""
    new, y = body.pair(body.step(tree.unflatten(spec, carry), x))
    leaves, new_spec = tree.flatten(new)
    check_carry(body.name, body.f, spec, types, new_spec, [type_of(leaf(c, "the carry")) for c in leaves])
    return tree.unflatten(spec, [to_array(c) if type(c) is np.ndarray else c for c in leaves]), y


def check_again(body: Body, y: Any, expected: ArrayType) -> None:
    """Refuse a y whose shape or dtype differs from the first step."""
    t = type_of(leaf(y, "y"))
    if (t.shape, t.dtype) != (expected.shape, expected.dtype):
        raise teach(
            ArgumentTypeError,
            f"{body.name}: y changes its type from {expected.long_name()} to {t.long_name()} in {describe_function(body.f)}.",
            do="return a y of one shape and dtype in every step.",
        )


def rows_of(x: Any) -> Any:
    """The elements of ``x``, an array or a range, for the body, as Arrays in memory that it may change without effect on the caller's."""
    if isinstance(x, range):
        return Indices(x)
    x = np.array(x)
    return [row.view(Array) for row in x] if x.ndim > 1 else x


def own(x: Any, t: ArrayType) -> Any:
    """An initial carry for the body, in memory of its own. A Python scalar stays one, as long as its type is weak."""
    if t.weak:
        return t.dtype.type(x).item() if type(x) is not Tracer else x
    x = convert(x, t.dtype)
    return np.array(x).view(Array) if isinstance(x, np.ndarray) else x


def types_of(values: Sequence[Any]) -> list[ArrayType]:
    return [type_of(v) for v in values]


def check_carry(name: str, f: Any, spec: Any, types: Sequence[ArrayType], new_spec: Any, new_types: Sequence[ArrayType]) -> None:
    """Refuse a carry whose structure, shape or dtype changes from step to step.

    If the initial carry is a Python scalar, the loop determines its type: `WidenedCarry` holds the types to begin again with.
    """
    widened = refuse_change(name, f, spec, types, new_spec, new_types)
    if any(old.dtype != new.dtype for old, new in zip(types, widened, strict=True)):
        raise WidenedCarry(widened)


def refuse_change(
    name: str, f: Any, spec: Any, types: Sequence[ArrayType], new_spec: Any, new_types: Sequence[ArrayType]
) -> list[ArrayType]:
    """The types of the first carry, as the loop needs them; refused where the new carry is not like it."""
    if spec != new_spec:
        first, then = (tree.describe(s, [t.long_name() for t in ts]) for s, ts in ((spec, types), (new_spec, new_types)))
        nothing = " (it has no `return`, perhaps)" if then == "None" else ""
        raise teach(
            ArgumentTypeError,
            f"{name}: the carry that {describe_function(f)} returns has another structure than the first one.",
            detail=f"first: {first}\nthen:  {then}{nothing}",
            do=f"return a carry like the first, {first}.",
        )
    widened = [new if may_become(old, new) else old for old, new in zip(types, new_types, strict=True)]
    for path, old, new in zip(tree.leaf_names(spec, "carry"), widened, new_types, strict=True):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            raise teach(
                ArgumentTypeError,
                f"{name}: {path} changes its type from {old.long_name()} to {new.long_name()} in {describe_function(f)}.",
                do=steadying(old, new),
            )
    return widened


def steadying(old: ArrayType, new: ArrayType) -> str:
    """The advice for a carry that changes its type."""
    if old.shape == new.shape:
        dtypes = f"start with cotan.numpy.zeros({new.shape}, '{new.dtype}')"
        return f"{dtypes}, or another start of that dtype; or convert the new carry, with .astype('{old.dtype}')."
    start = f"start with the type that the loop has, as in cotan.numpy.zeros({new.shape}, '{new.dtype}')"
    return f"{start}, or reduce the new carry; an array that grows is collected as the y of scan, or has its last size from the start."


def may_become(old: ArrayType, new: ArrayType) -> bool:
    """Whether the initial carry of a weak type may have the type ``new`` instead: of its own kind, or of a more general one."""
    return old.weak and old is not new and old.shape == new.shape and KINDS.index(new.dtype.kind) >= max(1, KINDS.index(old.dtype.kind))


# ---- traced ------------------------------------------------------------------------------------------------------------
def stage_scan(body: Body, carry: list[Any], carry_spec: Any, xs: list[Any], x_spec: Any) -> tuple[list[Any], Program, list[Any], Any]:
    """The carry (Python scalars made arrays), the staged body, the values that it captured, and the structure of y."""
    steps = [array_type(t.shape[1:], t.dtype) for t in types_of(xs)]

    def stage(types: list[ArrayType]) -> tuple[Program, list[Any], Any]:
        found: dict[str, Any] = {}

        def flat(*values: Any) -> list[Any]:
            state, x = tree.unflatten(carry_spec, values[: len(types)]), tree.unflatten(x_spec, values[len(types) :])
            new, y = body.pair(body.step(state, x))
            leaves, spec = tree.flatten(new)
            ys, found["y"] = tree.flatten(y)
            leaves = [leaf(c, "the carry") for c in leaves]
            check_carry(body.name, body.f, carry_spec, types, spec, types_of(leaves))
            return [*leaves, *[strong(leaf(v, "y")) for v in ys]]

        name = getattr(body.step, "__name__", "body").replace("<lambda>", "body")
        program, constants = stage_flat(flat, [*types, *steps], verb=body.name, of=body.f, name=name)
        return program, constants, found["y"]

    types, (program, constants, y_spec) = staged("scan", (body.step,), types_of(carry), (carry_spec, x_spec, *steps), stage)
    return [convert(c, t.dtype) for c, t in zip(carry, types, strict=True)], program, constants, y_spec


def staged(name: str, functions: Sequence[Any], types: list[ArrayType], key: Any, stage: Callable[[list[ArrayType]], Any]) -> Any:
    """The initial types of the carries, and the result of ``stage`` for them, cached by ``key``."""
    with quiet():
        while True:
            try:
                return bodies.recall((name, tuple(types), *key), functions, lambda types=types: (types, stage(types)))
            except WidenedCarry as widened:
                types = widened.types


def strong(x: Any) -> Any:
    """The value with a strong type."""
    return convert(x, type_of(x).dtype)


@boundary
def map(f: Callable[[Any], Any], xs: Any, *, batch_size: int | None = None, checkpoint: bool | int = False) -> Any:
    """``f`` on each element along the leading axis of ``xs``, one after the other: `scan` without a carry.

    Args:
        batch_size: if given, ``f`` is applied by `vmap` to this number of elements at a time.
        checkpoint: as in `scan`.

    Raises: as `scan`; ArgumentError for a ``batch_size`` that is no positive integer.

    >>> import cotan, numpy as np
    >>> cotan.lax.map(lambda x: x * x, np.arange(5.0), batch_size=2)
    Array([ 0.,  1.,  4.,  9., 16.])
    """
    check_callable("map", f)
    try:
        return mapped(f, xs, batch_size, checkpoint)
    except TypeError as error:
        refuse_parameters(error, "map", ("f", f, 1, MAP_BODY))
        raise


def mapped(f: Callable[[Any], Any], xs: Any, batch_size: int | None, checkpoint: bool | int) -> Any:
    """``f`` on each element, or on ``batch_size`` at a time."""
    if batch_size is None:
        return run_scan(Body("map", f, lambda carry, x: (carry, f(x))), None, xs, None, False, checkpoint)[1]
    if not isinstance(batch_size, int | np.integer) or batch_size < 1:  # type: ignore[redundant-expr]
        raise teach(ArgumentError, f"map: batch_size must be a positive integer, not {batch_size!r}.", do="leave it out for one at a time.")
    leaves, spec = tree.flatten(xs)
    leaves = [leaf(x, name) for x, name in zip(leaves, tree.leaf_names(spec, "xs"), strict=True)]
    count = scan_length("map", leaves, spec, None)
    cnp, whole = surface(), count // batch_size
    body = Body("map", f, lambda carry, x: (carry, vmap(f)(x)))
    pieces = []
    if whole:
        grouped = [cnp.reshape(x[: whole * batch_size], (whole, batch_size, *type_of(x).shape[1:])) for x in leaves]
        done = run_scan(body, None, tree.unflatten(spec, grouped), None, False, checkpoint)[1]
        pieces.append(tree.map(lambda y: cnp.reshape(y, (whole * batch_size, *type_of(y).shape[2:])), done))
    if count % batch_size or not whole:
        pieces.append(vmap(f)(tree.unflatten(spec, [x[whole * batch_size :] for x in leaves])))
    return pieces[0] if len(pieces) == 1 else tree.map(lambda *parts: cnp.concatenate(parts), *pieces)


@boundary
def fori_loop(
    lower: Any,
    upper: Any,
    body_fun: Callable[[Any, Any], Any],
    init_val: Any,
    *,
    unroll: int | bool | None = None,
    checkpoint: bool | int = False,
) -> Any:
    """``val = body_fun(i, val)`` for i from ``lower`` up to ``upper``: a scan where both are known, else a while loop.

    ``unroll`` is accepted as in JAX; ``checkpoint`` is as in `scan`.

    Raises: as `scan` and `while_loop`; ArgumentTypeError for bounds that are no integers.

    >>> import cotan
    >>> cotan.grad(lambda x: cotan.lax.fori_loop(0, 3, lambda i, v: v * x, 1.0))(2.0)
    Array(12.)
    """
    check_callable("fori_loop", body_fun)
    for name, bound in (("lower", lower), ("upper", upper)):
        t = type_of(leaf(bound, name))
        if t.shape or t.dtype.kind not in "iu":
            what = f"fori_loop: {name} must be an integer, not {t.long_name()}."
            raise teach(ArgumentTypeError, what, do="convert it, with int(...) or .astype(int).")
    first, last = known_value(lower), known_value(upper)
    try:
        if first is not None and last is not None:
            return counted_loop(
                integer(first), max(integer(first), integer(last)), body_fun, init_val, snapshots_of("fori_loop", checkpoint)
            )
        start, end = convert(lower, INT64), convert(upper, INT64)
        step = lambda s: (add(s[0], np.int64(1)), same_carry(body_fun, s[0], s[1]))  # noqa: E731
        return while_loop(lambda s: less(s[0], end), step, (start, init_val), checkpoint=checkpoint)[1]
    except TypeError as error:
        refuse_parameters(error, "fori_loop", ("body_fun", body_fun, 2, FORI_BODY))
        raise


def same_carry(body_fun: Any, i: Any, carry: Any) -> Any:
    """The carry after step ``i`` of a `fori_loop`, of which `while_loop` sees a part of its own carry only."""
    new = body_fun(i, carry)
    (leaves, spec), (new_leaves, new_spec) = tree.flatten(carry), tree.flatten(new)
    refuse_change("fori_loop", body_fun, spec, types_of(leaves), new_spec, types_of([leaf(c, "the carry") for c in new_leaves]))
    return new


def counted_loop(first: int, end: int, body_fun: Any, init: Any, snapshots: int | None) -> Any:
    """The loop from ``first`` to ``end``, as a scan of the numbers from 0 on. Traced, these are an `Iota`, which compiled code does not
    store.
    """
    carry, spec = tree.flatten(init)
    carry = [leaf(c, name) for c, name in zip(carry, tree.leaf_names(spec, "init_val"), strict=True)]
    count = end - first
    from_first = Body("fori_loop", body_fun, lambda c, i: (body_fun(i, c), None))
    if current_trace() is EVAL and count and not any(type(c) is Tracer for c in carry):
        return python_scan(from_first, carry, spec, [range(first, end)], LEAF, count, False)[0]
    if count and runs_as_python():
        return unrolled_scan(from_first, init, [range(first, end)], LEAF, count, False)[0]
    from_zero = Body("fori_loop", body_fun, lambda c, k: (body_fun(add(k, np.int64(first)), c), None))
    return op_or_python(
        lambda: scan_leaves(from_zero if first else from_first, carry, spec, [iota((count,))], LEAF, count, False, snapshots),
        lambda: python_scan(from_first, carry, spec, [range(first, end)], LEAF, count, False),
        carry if count else None,
    )[0]


def known_value(x: Any) -> Any | None:
    """The number behind a scalar, if there is one: a plain value, or one that is only being differentiated."""
    while type(x) is Tracer and isinstance(x.owner, JVPTrace):
        x = x.payload[0]
    return None if type(x) is Tracer else x


@boundary
def while_loop(cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any, *, checkpoint: bool | int = False) -> Any:
    """``val = body_fun(val)`` while ``cond_fun(val)``.

    Args:
        cond_fun: returns a bool scalar.
        body_fun: keeps the structure, shapes and dtypes of its argument, a tree of arrays.
        init_val: the first value. A Python scalar in it gets the dtype that the body returns for it.
        checkpoint: as in `scan`.

    Reverse mode works for any number of steps, also inside jit: the loop then stores its residuals on a stack that grows.

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
    snapshots = snapshots_of("while_loop", checkpoint)
    try:
        return run_while(cond_fun, body_fun, init_val, leaves, spec, snapshots)
    except TypeError as error:
        refuse_parameters(error, "while_loop", ("cond_fun", cond_fun, 1, WHILE_CONDITION), ("body_fun", body_fun, 1, WHILE_BODY))
        raise


def run_while(cond_fun: Any, body_fun: Any, init_val: Any, leaves: list[Any], spec: Any, snapshots: int | None) -> Any:
    """The last value, in the way that suits the first one."""
    if current_trace() is EVAL and not any(type(x) is Tracer for x in leaves):
        return python_while(cond_fun, body_fun, leaves, spec)
    if runs_as_python() and all(known_value(x) is not None for x in leaves):
        value = init_val
        while checked_answer(cond_fun, value):
            value = body_fun(value)
        return value

    def stage(types: list[ArrayType]) -> Any:
        def going(*values: Any) -> list[Any]:
            return [checked_answer(cond_fun, tree.unflatten(spec, values))]

        def step(*values: Any) -> list[Any]:
            new, new_spec = tree.flatten(body_fun(tree.unflatten(spec, values)))
            new = [leaf(c, "the value") for c in new]
            check_carry("while_loop", body_fun, spec, types, new_spec, types_of(new))
            return new

        of_body = stage_flat(step, types, verb="while_loop", of=body_fun, name="body")
        of_condition = stage_flat(going, types, verb="while_loop", of=cond_fun, name="condition")
        condition, body = While.with_captured(of_condition, of_body)
        return (condition, body), list(body.constants), None

    def as_op() -> Any:
        types, ((condition, body), constants, _) = staged("while_loop", (cond_fun, body_fun), types_of(leaves), (spec,), stage)
        first = [convert(x, t.dtype) for x, t in zip(leaves, types, strict=True)]
        outs = While(condition, body, len(constants), snapshots)(*constants, *first)
        return tree.unflatten(spec, [to_array(x) for x in outs])

    return op_or_python(as_op, lambda: python_while(cond_fun, body_fun, leaves, spec), leaves)


def python_while(cond_fun: Any, body_fun: Any, leaves: list[Any], spec: Any) -> Any:
    """The loop in Python. The first step determines the types."""
    types = types_of(leaves)
    value = tree.unflatten(spec, [own(x, t) for x, t in zip(leaves, types, strict=True)])
    first = True
    while checked_answer(cond_fun, value):
        new = body_fun(value)
        if first:
            first = False
            results, new_spec = tree.flatten(new)
            try:
                check_carry("while_loop", body_fun, spec, types, new_spec, [type_of(leaf(c, "the value")) for c in results])
            except WidenedCarry as widened:
                types = widened.types
                value, first = tree.unflatten(spec, [own(x, t) for x, t in zip(leaves, types, strict=True)]), True
                continue
            new = tree.unflatten(spec, [to_array(c) if type(c) is np.ndarray else c for c in results])
        value = to_array(new) if type(new) is np.ndarray else new
    results, new_spec = tree.flatten(value)
    check_carry("while_loop", body_fun, spec, types, new_spec, [type_of(leaf(c, "the value")) for c in results])
    return tree.unflatten(spec, [to_array(convert(x, t.dtype)) for x, t in zip(results, types, strict=True)])


def checked_answer(cond_fun: Any, value: Any) -> Any:
    """The result of the condition, a bool scalar."""
    answer = cond_fun(value)
    t = type_of(leaf(answer, "the condition"))
    if t.shape or t.dtype != BOOL:
        raise teach(
            ArgumentTypeError,
            f"while_loop: the condition {describe_function(cond_fun)} must give a bool scalar, not {t.long_name()}.",
            do="compare, or reduce with cotan.numpy.any or all.",
        )
    return answer
