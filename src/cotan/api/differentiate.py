"""Derivatives: jvp, linearize, vjp, grad, Jacobians, Hessians.

All are one idea. `jvp` pushes tangents forward. `linearize` records that push as a linear program; `vjp` runs this program backwards.
`grad` is vjp at cotangent 1; a Jacobian is the linear program (or its transpose) on a basis, batched.

Complex numbers follow JAX: for f: C -> R, grad f = df/dx - i df/dy; step along its conjugate to descend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, Literal

import numpy as np

from ..core import tree
from ..core.array import to_array
from ..core.errors import ArgumentError, ArgumentTypeError, NonlinearTangentError, teach
from ..core.origin import describe_function
from ..core.program import Var
from ..core.tracing import Tracer, type_of
from ..core.types import ArrayType, array_type, is_inexact
from ..ops.casting import stop_gradient as stop_gradient_op
from ..ops.families import spread, zeros
from ..ops.movement import permute, reshape, slice_
from ..transforms.batch import batch_flat
from ..transforms.jvp import JVPTrace, jvp_flat
from ..transforms.linearize import LinearizeTrace, LinearTape, detach, linearize_flat, record_linear
from ..transforms.linearize import replay as replay_tape
from ..transforms.strict import StrictJVPTrace, StrictLinearizeTrace
from ..transforms.transpose import accumulate, backward_pass
from .arguments import LEAF, Argnums, FlatCall, boundary, check_callable, check_inexact, check_same_structure, check_tangents, leaf, quiet
from .chunks import Chunk, Rows, bytes_of, check_chunk, chunk_size, pieces

__all__ = [
    "grad", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jvp", "linear_transpose", "linearize", "stop_gradient", "value_and_grad",
    "value_and_jacobian", "vjp",
]  # fmt: skip


# ---- forward -----------------------------------------------------------------------------------------------------------
@boundary
def jvp(fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False, *, strict: bool = False) -> Any:
    """The value of ``fun`` and its derivative along ``tangents`` (forward mode).

    Args:
        fun: a function of trees of arrays.
        primals: a tuple or list of its arguments.
        tangents: as ``primals``: same trees, shapes and dtypes. That of an integer or bool is None or zeros.
        has_aux: whether ``fun`` returns (output, aux).

    Returns:
        (output, tangent of the output), and aux as a third if ``has_aux``.

    Raises:
        ArgumentError, ArgumentTypeError: tangents that do not match the primals.
        NonlinearTangentError: a custom rule that is not linear in its tangents.

    >>> import cotan
    >>> cotan.jvp(lambda x: x**3, (2.0,), (1.0,))
    (Array(8.), Array(12.))
    """
    check_callable("jvp", fun)
    if not isinstance(primals, tuple | list) or not isinstance(tangents, tuple | list):  # type: ignore[redundant-expr]
        raise teach(ArgumentTypeError, "jvp takes its primals and tangents as tuples.", do="write jvp(f, (x,), (dx,)).")
    call = FlatCall("jvp", fun, primals, {}, None, has_aux, strict)
    dx = tangent_leaves("jvp", call, tuple(tangents))
    with quiet():
        outs, douts = jvp_flat(call, call.leaves, dx, verb="jvp", of=fun, by=StrictJVPTrace if strict else JVPTrace)
    douts = [zeros(tangent_type(y)) if dy is None else dy for y, dy in zip(outs, douts, strict=True)]
    given = [*call.leaves, *dx]
    out, dout = (call.rebuild_output([to_array(y, given) for y in ys]) for ys in (outs, douts))
    return (out, dout, strip(call.aux)) if has_aux else (out, dout)


@boundary
def linearize(fun: Callable[..., Any], *primals: Any, has_aux: bool = False, strict: bool = False) -> Any:
    """The value of ``fun``, and its derivative there as a linear function of tangents, to be called many times.

    Returns:
        (output, f_jvp), and aux if ``has_aux``; ``f_jvp(*tangents)`` takes tangents like ``primals`` and gives that of the output.

    Raises: as `jvp`.
    """
    check_callable("linearize", fun)
    call = FlatCall("linearize", fun, primals, {}, None, has_aux, strict)
    call.leaves = [float(x) if type(x) is int else private_copy(x) for x in call.leaves]
    active = [type_of(x).inexact for x in call.leaves]
    with quiet():
        outs, tape, inputs, outputs = linearize_flat(call, call.leaves, active, verb="linearize", of=fun, by=trace_of(call))
    detach(tape)
    types = [tangent_type(y) for y in outs]

    @boundary
    def f_jvp(*tangents: Any) -> Any:
        dx = [t for t in tangent_leaves("linearize", call, tangents) if t is not None]
        with quiet():
            douts = replay_tape(tape.equations, inputs, dx, outputs)
        return call.rebuild_output([to_array(zeros(t) if dy is None else dy, dx) for dy, t in zip(douts, types, strict=True)])

    out = call.rebuild_output([to_array(private_copy(y)) for y in outs])
    return (out, f_jvp, strip(call.aux)) if has_aux else (out, f_jvp)


# ---- reverse -----------------------------------------------------------------------------------------------------------
@boundary
def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False, strict: bool = False) -> Any:
    """The value of ``fun``, and the function that pulls a cotangent of its output back to cotangents of its arguments.

    Returns:
        (output, f_vjp), and aux if ``has_aux``; ``f_vjp(y_bar)`` takes a tree like the output and gives a tuple like ``primals``.
        The cotangent of an integer or bool argument is None.

    >>> import cotan
    >>> y, pull = cotan.vjp(lambda x: x**3, 2.0)
    >>> pull(1.0)
    (Array(12.),)
    """
    check_callable("vjp", fun)
    call = FlatCall("vjp", fun, primals, {}, None, has_aux, strict)
    call.leaves = list(map(private_copy, call.leaves))
    with quiet():
        pulled = Pullback(call, "vjp")
    detach(pulled.tape)

    @boundary
    def f_vjp(y_bar: Any) -> Any:
        bars = cotangent_leaves("vjp", call, y_bar, pulled.types)
        with quiet():
            return call.rebuild_inputs([x if x is None else to_array(x, bars) for x in pulled(bars)])

    out = call.rebuild_output([to_array(private_copy(y)) for y in pulled.outs])
    return (out, f_vjp, strip(call.aux)) if has_aux else (out, f_vjp)


def trace_of(call: FlatCall) -> type[LinearizeTrace]:
    """The trace that linearizes a call."""
    return StrictLinearizeTrace if call.strict else LinearizeTrace


class Pullback:
    """A linearized call, run backwards: cotangents of the outputs in, of the inputs out (None for inputs without derivative)."""

    __slots__ = ("active", "inputs", "leaves", "outputs", "outs", "tape")

    def __init__(self, call: FlatCall, verb: str):
        self.leaves = call.leaves = [float(x) if type(x) is int else x for x in call.leaves]
        self.active = [type_of(x).inexact for x in self.leaves]
        self.outs, self.tape, self.inputs, self.outputs = linearize_flat(
            call, self.leaves, self.active, verb=verb, of=call.fun, by=trace_of(call)
        )

    @property
    def types(self) -> list[ArrayType]:
        return list(map(type_of, self.outs))

    def __call__(self, y_bars: Sequence[Any | None]) -> list[Any | None]:
        cotangents: dict[Var, Any] = {}
        for v, y_bar in zip(self.outputs, y_bars, strict=True):
            accumulate(cotangents, v, y_bar)
        found = iter(backward_pass(self.tape.equations, cotangents, self.inputs))
        x_bars = [next(found) if a else None for a in self.active]
        return [
            zeros(tangent_type(x)) if a and x_bar is None else x_bar for x, a, x_bar in zip(self.leaves, self.active, x_bars, strict=True)
        ]


def grad(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    strict: bool = False,
) -> Callable[..., Any]:
    """The gradient of a scalar function, by reverse mode.

    Args:
        fun: returns a real scalar (shape ``()``), or with ``holomorphic`` a complex one; with ``has_aux``, (scalar, aux).
        argnums: the position(s) of the arguments to differentiate by.
        holomorphic: whether ``fun`` is complex-differentiable; inputs and output must then be complex.
        allow_int: whether inputs may be integers; their gradient is None.
        strict: whether to raise, where the derivative is one of the conventions of docs/conventions.md or infinite, instead of giving it.
            The function is then differentiated op by op, jitted functions and loops too, on values: not inside jit. A point that is masked
            afterwards (by ``where``) counts as well.

    Returns:
        a function of the same arguments; its result is like the argument at ``argnums`` (a tuple for several), with aux if ``has_aux``.

    Raises (when called):
        ArgumentTypeError: integer or complex inputs, an output that is not a real scalar.
        SingularPointError: with ``strict``, at a point where there is no derivative.

    >>> import cotan
    >>> cotan.grad(lambda x: x**3)(2.0)
    Array(12.)
    """
    check_callable("grad", fun)

    @wraps_function(fun, "grad")
    @boundary
    def gradient(*args: Any, **kwargs: Any) -> Any:
        call, _, g = value_and_pulled("grad", fun, args, kwargs, argnums, has_aux, holomorphic, allow_int, strict)
        return (g, strip(call.aux)) if has_aux else g

    return gradient


def value_and_grad(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    strict: bool = False,
) -> Callable[..., Any]:
    """As `grad`; the result is (value, gradient), or ((value, aux), gradient) with ``has_aux``.

    >>> import cotan
    >>> cotan.value_and_grad(lambda x: x**3)(2.0)
    (Array(8.), Array(12.))
    """
    check_callable("value_and_grad", fun)

    @wraps_function(fun, "value_and_grad")
    @boundary
    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        call, y, g = value_and_pulled("value_and_grad", fun, args, kwargs, argnums, has_aux, holomorphic, allow_int, strict)
        value = to_array(private_copy(y))
        return ((value, strip(call.aux)), g) if has_aux else (value, g)

    return value_and_gradient


def value_and_pulled(
    name: str, fun: Any, args: Any, kwargs: Any, argnums: Argnums, has_aux: bool, holomorphic: bool, allow_int: bool, strict: bool
) -> tuple[FlatCall, Any, Any]:
    """The call, its scalar value, and the gradient as the user's tree."""
    call = FlatCall(name, fun, args, kwargs, argnums, has_aux, strict)
    check_inexact(call, name, holomorphic=holomorphic, allow_int=allow_int)
    with quiet():
        pulled = Pullback(call, name)
        y = scalar_output(call, pulled.outs, name, holomorphic)
        x_bars = pulled([type_of(y).dtype.type(1)])
    return call, y, call.rebuild_inputs([x if x is None else to_array(x) for x in x_bars])


def scalar_output(call: FlatCall, outs: Sequence[Any], name: str, holomorphic: bool) -> Any:
    """The one scalar output that `grad` needs; anything else is refused."""
    t = type_of(outs[0]) if len(outs) == 1 and (call.out_spec is LEAF or call.out_spec == LEAF) else None
    if t is not None and not t.shape and t.dtype.kind == ("c" if holomorphic else "f"):
        return outs[0]
    where = describe_function(call.fun)
    if t is None:
        what = f"{name} needs a function with one scalar output; {where} returned a tree: {tree.describe(call.out_spec)}."
        do = "return the scalar alone; further results go out with has_aux=True; for many outputs use jacrev or vjp."
    elif t.shape:
        what = f"{name} needs a function with a scalar output; {where} returned {t.long_name()}."
        do = "sum or average the output; for the derivative of every output use jacrev or jacfwd, for one combination of them vjp."
    elif holomorphic:
        what = f"{name} with holomorphic=True needs a complex output; {where} returned {t.long_name()}."
        do = "a real function of complex inputs is not holomorphic: leave out holomorphic, and use vjp."
    elif t.dtype.kind == "c":
        what = f"{name} needs a real output; {where} returned {t.long_name()}."
        do = "take its real part, imaginary part or magnitude; or pass holomorphic=True if the function is complex-differentiable."
    else:
        what = f"{name} needs a floating-point output; {where} returned {t.long_name()}."
        do = "make it floating point: an integer output is piecewise constant, so its derivative is zero."
    raise teach(ArgumentTypeError, what, do=do)


@boundary
def linear_transpose(fun: Callable[..., Any], *primals: Any) -> Callable[[Any], Any]:
    """The transpose of a linear function: a function from cotangents of its output to a tuple of cotangents of its arguments.

    Args:
        fun: must be linear in all its arguments together.
        primals: arrays, or anything with ``shape`` and ``dtype``; only their types are used.

    Raises:
        NonlinearTangentError: ``fun`` is not linear; names the line and the op.

    >>> import cotan
    >>> cotan.linear_transpose(lambda x: x / 4.0, 1.0)(1.0)
    (Array(0.25),)
    """
    check_callable("linear_transpose", fun)
    leaves, spec = tree.flatten(tuple(primals), is_leaf=is_abstract)
    types = [abstract_type(x) for x in leaves]
    names = [name for k, child in enumerate(tree.children(spec)) for name in tree.leaf_names(child, f"args[{k}]")]
    found: dict[str, Any] = {}

    def flat(*xs: Any) -> list[Any]:
        outs, found["spec"] = tree.flatten(fun(*tree.unflatten(spec, xs)))
        return outs

    with quiet():
        tape, inputs, outs = record_linear(flat, types, names, f"{describe_function(fun)}, given to linear_transpose,", "arguments")
    for y in outs:
        if type(y) is not Var and np.any(y):
            raise teach(
                NonlinearTangentError,
                f"{describe_function(fun)}, given to linear_transpose, is not linear: it has an output that is a nonzero constant.",
                do="return only what is linear in the arguments.",
            )
    out_types = [type_of(y) for y in outs]

    @boundary
    def transposed(y_bar: Any) -> Any:
        leaves, given = tree.flatten(y_bar)
        check_same_structure("linear_transpose", given, found["spec"], "the cotangent", "the output")
        bars = check_tangents("linear_transpose", "cotangent", leaves, out_types, ["the output"] * len(leaves))
        cotangents: dict[Var, Any] = {}
        for v, bar in zip(outs, bars, strict=True):
            accumulate(cotangents, v, bar)
        with quiet():
            x_bars = backward_pass(tape.equations, cotangents, inputs)
        return tree.unflatten(spec, [to_array(zeros(t) if x is None else x) for x, t in zip(x_bars, types, strict=True)])

    return transposed


# ---- Jacobians -----------------------------------------------------------------------------------------------------------
def jacfwd(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    chunk: Chunk = None,
    strict: bool = False,
) -> Callable[..., Any]:
    """The Jacobian by forward mode: one push per input number, all in one batch. For functions of few inputs.

    Args:
        fun: a function of trees of arrays; with ``has_aux``, one that returns (output, aux).
        argnums: the position(s) of the arguments to differentiate by.
        holomorphic: whether ``fun`` is complex-differentiable; inputs and outputs must then be complex.
        chunk: the largest number of basis vectors to push at once (None: all), so that the intermediates of no more are in memory. "auto"
            takes as many as keep the results of the equations of the linearized function within `cotan.api.chunks.CHUNK_BUDGET`, counting
            one array for each; what loops and calls hold inside is not counted. ``fun`` runs once, whatever the chunk.

    Returns:
        a function of the same arguments. For an output of shape S and an input of shape T its result has shape S + T; trees give the
        output's tree of the inputs' trees.

    Raises:
        ArgumentError, ArgumentTypeError: a ``chunk`` that is none; when called, integer inputs, or complex ones without ``holomorphic``.
    """
    return jacobian_by("jacfwd", forward_columns, fun, argnums, has_aux, holomorphic, False, value=False, chunk=chunk, strict=strict)


def jacrev(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    chunk: Chunk = None,
    strict: bool = False,
) -> Callable[..., Any]:
    """The Jacobian by reverse mode: one pull per output number, all in one batch (or ``chunk`` at once). For functions of few outputs.

    See `jacfwd`.
    """
    return jacobian_by("jacrev", reverse_rows, fun, argnums, has_aux, holomorphic, allow_int, value=False, chunk=chunk, strict=strict)


def jacobian(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    mode: Literal["auto", "fwd", "rev"] = "auto",
    chunk: Chunk = None,
    strict: bool = False,
) -> Callable[..., Any]:
    """The Jacobian by the cheaper mode: forward for no more inputs than outputs, else reverse; ``mode`` forces one. See `jacfwd`."""
    return jacobian_by(
        "jacobian", jacobian_modes(mode), fun, argnums, has_aux, holomorphic, allow_int, value=False, chunk=chunk, strict=strict
    )


def value_and_jacobian(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    mode: Literal["auto", "fwd", "rev"] = "auto",
    chunk: Chunk = None,
    strict: bool = False,
) -> Callable[..., Any]:
    """(value, Jacobian), or ((value, aux), Jacobian) with ``has_aux``, from one evaluation. See `jacobian`."""
    return jacobian_by(
        "value_and_jacobian", jacobian_modes(mode), fun, argnums, has_aux, holomorphic, allow_int, value=True, chunk=chunk, strict=strict
    )


def hessian(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    chunk: Chunk = None,
    strict: bool = False,
) -> Callable[..., Any]:
    """The second derivatives: forward mode over reverse mode. For an input of shape T, shape S + T + T for an output of shape S.

    ``chunk`` bounds how many basis vectors are pushed through the linearized gradient at once; see `jacfwd`.

    >>> import cotan
    >>> cotan.hessian(lambda x: (x**3).sum())(cotan.numpy.array([1.0, 2.0]))
    Array([[ 6.,  0.],
           [ 0., 12.]])
    """
    check_callable("hessian", fun)
    check_chunk("hessian", chunk)
    inner = jacrev(fun, argnums, has_aux, holomorphic, strict=strict)
    return jacfwd(inner, argnums, has_aux, holomorphic, chunk=chunk, strict=strict)


@boundary
def hvp(fun: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False) -> Any:
    """The Hessian of a scalar function times a vector: forward over reverse, about four evaluations of ``fun``.

    Args:
        fun: a function of one argument (a tree) that returns a real scalar.
        primals: the argument.
        tangents: the vector, a tree like it.

    Returns:
        the product, a tree like ``primals``.
    """
    return jvp(grad(fun, strict=strict), (primals,), (tangents,), strict=strict)[1]


def jacobian_modes(mode: str) -> Callable[[Pullback, Chunk], list[list[Any]]]:
    """The way to a Jacobian that ``mode`` names."""
    if mode not in ("auto", "fwd", "rev"):
        raise teach(ArgumentError, f"jacobian: mode={mode!r}.", do='give "auto", "fwd" or "rev".')

    def auto(pulled: Pullback, chunk: Chunk) -> list[list[Any]]:
        inputs = sum(type_of(x).size for x, a in zip(pulled.leaves, pulled.active, strict=True) if a)
        return (forward_columns if inputs <= sum(t.size for t in pulled.types) else reverse_rows)(pulled, chunk)

    return {"auto": auto, "fwd": forward_columns, "rev": reverse_rows}[mode]


def jacobian_by(
    name: str,
    blocks_of: Callable[[Pullback, Chunk], list[list[Any]]],
    fun: Callable[..., Any],
    argnums: Argnums,
    has_aux: bool,
    holomorphic: bool,
    allow_int: bool,
    *,
    value: bool,
    chunk: Chunk,
    strict: bool,
) -> Callable[..., Any]:
    """A Jacobian function: linearize once, get the blocks (one for each output and input leaf) by ``blocks_of``, make the trees."""
    check_callable(name, fun)
    check_chunk(name, chunk)

    @wraps_function(fun, name)
    @boundary
    def jacobian_function(*args: Any, **kwargs: Any) -> Any:
        call = FlatCall(name, fun, args, kwargs, argnums, has_aux, strict)
        check_inexact(call, name, holomorphic=holomorphic, allow_int=allow_int)
        with quiet():
            pulled = Pullback(call, name)
            check_jacobian_output(call, pulled, name, holomorphic)
            blocks = blocks_of(pulled, chunk)
        rows = [call.rebuild_inputs([b if b is None else to_array(b) for b in row]) for row in blocks]
        jac = rows[0] if call.out_spec == LEAF else tree.unflatten(call.out_spec, rows)
        if not value:
            return (jac, strip(call.aux)) if has_aux else jac
        out = call.rebuild_output([to_array(private_copy(y)) for y in pulled.outs])
        return ((out, strip(call.aux)) if has_aux else out), jac

    return jacobian_function


def check_jacobian_output(call: FlatCall, pulled: Pullback, name: str, holomorphic: bool) -> None:
    """Refuse outputs that have no derivative of the kind asked for."""
    for t in pulled.types:
        if t.dtype.kind == "c" and name == "jacfwd":  # the derivative of a complex output along a real input is well defined
            continue
        if holomorphic != (t.dtype.kind == "c") or t.dtype.kind not in "fc":
            raise teach(
                ArgumentTypeError,
                f"{name} needs {'complex' if holomorphic else 'real floating-point'} outputs; "
                f"{describe_function(call.fun)} returned {t.long_name()}.",
                do="pass holomorphic=True for a complex-differentiable function, else take real and imaginary parts; make integers floats.",
            )


def forward_columns(pulled: Pullback, chunk: Chunk) -> list[list[Any]]:
    """Blocks of the Jacobian by pushing the standard basis of the inputs forward, in batches of ``chunk``."""
    active = [x for x, a in zip(pulled.leaves, pulled.active, strict=True) if a]
    sizes = [type_of(x).size for x in active]
    total = sum(sizes)
    types = list(map(tangent_type, pulled.outs))
    columns: list[Any] = [Rows(total) for _ in types]
    for low, high, outs in pushed_basis(pulled.tape, pulled.inputs, pulled.outputs, types, chunk):
        if high - low == total:
            columns = outs
            break
        for column, y in zip(columns, outs, strict=True):
            column.append(y, high - low)
    pushed: list[Any | None] = [(c.result()[0] if type(c) is Rows else c) if total else None for c in columns]
    rows: list[list[Any]] = []
    for y, t in zip(pushed, types, strict=True):
        blocks = iter(split_leading(y, sizes))
        row: list[Any] = []
        for x, a in zip(pulled.leaves, pulled.active, strict=True):
            if not a:
                row.append(None)
                continue
            shape = type_of(x).shape
            block = next(blocks)
            row.append(np.zeros((*t.shape, *shape), t.dtype) if block is None else last_to_shape(block, t.shape, shape))
        rows.append(row)
    return rows


def pushed_basis(
    tape: LinearTape, inputs: Sequence[Var], outputs: Sequence[Var | None], types: Sequence[ArrayType], chunk: Chunk
) -> Iterator[tuple[int, int, list[Any]]]:
    """What a tape makes of the standard basis of its inputs, in pieces: (first, last + 1, a batch for each output).

    ``types`` are those of the outputs. Nothing is yielded where the inputs hold no numbers.
    """
    in_types = [v.type for v in inputs]
    total = sum(t.size for t in in_types)

    def push(*dx: Any) -> list[Any]:
        found = replay_tape(tape.equations, inputs, dx, outputs)
        return [zeros(t) if y is None else y for y, t in zip(found, types, strict=True)]

    for low, high in pieces(0, total, chunk_size(chunk, total, bytes_on(tape, [*in_types, *types]))):
        outs, flags = batch_flat(push, high - low, [True] * len(inputs), standard_basis(in_types, low, high))
        yield low, high, [y if flag else spread(y, high - low) for y, flag in zip(outs, flags, strict=True)]


def bytes_on(tape: LinearTape, ends: Sequence[ArrayType]) -> int:
    """The bytes of one array for each result on the tape, and for each of its ``ends``: what one basis vector takes on its way."""
    return bytes_of(v.type for equation in tape.equations for v in equation.outputs) + bytes_of(ends)


def reverse_rows(pulled: Pullback, chunk: Chunk) -> list[list[Any]]:
    """Blocks of the Jacobian by pulling the standard basis of the outputs back, in batches of ``chunk``."""
    types = pulled.types
    sizes = [t.size for t in types]
    total = sum(sizes)
    if total == 1:
        ones = [np.ones(t.shape, t.dtype) if t.shape else t.dtype.type(1) for t in types]
        columns: list[Any | None] = [x if x is None else spread(x, 1) for x in pulled(ones)]
    elif total == 0:
        columns = [
            None if not a else np.zeros((0, *type_of(x).shape), type_of(x).dtype) for x, a in zip(pulled.leaves, pulled.active, strict=True)
        ]
    else:
        wanted = [k for k, a in enumerate(pulled.active) if a]

        def pull(*bars: Any) -> list[Any]:
            found = pulled(bars)
            return [found[k] for k in wanted]

        step = chunk_size(chunk, total, bytes_on(pulled.tape, [*types, *[v.type for v in pulled.inputs]]))
        collected = [Rows(total) for _ in wanted]
        for low, high in pieces(0, total, step):
            outs, flags = batch_flat(pull, high - low, [True] * len(types), standard_basis(types, low, high))
            spread_out = [y if flag else spread(y, high - low) for y, flag in zip(outs, flags, strict=True)]
            if step >= total:
                found = iter(spread_out)
                break
            for rows_of, y in zip(collected, spread_out, strict=True):
                rows_of.append(y, high - low)
        else:
            found = iter([rows_of.result()[0] for rows_of in collected])
        columns = [next(found) if a else None for a in pulled.active]
    per_input = [[None] * len(types) if c is None else split_leading(c, sizes) for c in columns]
    rows: list[list[Any]] = []
    for j, t in enumerate(types):
        row: list[Any] = []
        for x, blocks in zip(pulled.leaves, per_input, strict=True):
            block = blocks[j]
            row.append(None if block is None else reshape(block, (*t.shape, *type_of(x).shape)))
        rows.append(row)
    return rows


def standard_basis(types: Sequence[ArrayType], low: int, high: int) -> list[Any]:
    """For each leaf, the batch of basis vectors ``low`` to ``high`` (of one for each number in all leaves), as that leaf sees them."""
    start = 0
    basis: list[Any] = []
    for t in types:
        block = np.zeros((high - low, t.size), t.dtype)
        own = np.arange(max(low, start), min(high, start + t.size))
        block[own - low, own - start] = 1
        basis.append(block.reshape(high - low, *t.shape))
        start += t.size
    return basis


def split_leading(y: Any | None, sizes: Sequence[int]) -> list[Any]:
    """``y`` cut along its leading axis in pieces of these sizes."""
    if y is None:
        return [None] * len(sizes)
    if len(sizes) == 1:
        return [y]
    shape, pieces, start = type_of(y).shape, [], 0
    for n in sizes:
        pieces.append(slice_(y, (start, *[0] * (len(shape) - 1)), (start + n, *shape[1:])))
        start += n
    return pieces


def last_to_shape(block: Any, out_shape: tuple[int, ...], in_shape: tuple[int, ...]) -> Any:
    """(inputs, *out_shape) -> (*out_shape, *in_shape)."""
    n = len(out_shape)
    return reshape(permute(block, (*range(1, n + 1), 0)), (*out_shape, *in_shape))


# ---- small things --------------------------------------------------------------------------------------------------------
def stop_gradient(x: Any) -> Any:
    """``x`` (a tree), as a constant to every derivative."""
    return tree.map(lambda leaf: stop_gradient_op(leaf) if type(leaf) is Tracer else leaf, x)


def strip(x: Any) -> Any:
    """Auxiliary results on their way out: what carries a tangent of the finished derivative is left with its value."""
    return tree.map(finished_value, x)


def finished_value(y: Any) -> Any:
    if type(y) is not Tracer:
        return y
    while type(y) is Tracer and y.owner.closed and isinstance(y.payload, tuple):
        y = y.payload[0]
    return to_array(private_copy(y))


def private_copy(x: Any) -> Any:
    """A copy of an array that later calls of a returned function depend on, so that the user may change his own."""
    return x.copy() if isinstance(x, np.ndarray) else x


def tangent_type(x: Any) -> ArrayType:
    """The type of the tangent of ``x``, as shown to the user: float for what has none."""
    t = type_of(x)
    return t if is_inexact(t.dtype) else t.with_dtype(np.dtype(np.float64))


def tangent_leaves(what: str, call: FlatCall, tangents: tuple[Any, ...]) -> list[Any]:
    """The leaves of ``tangents``, checked against the arguments of ``call``."""
    leaves, spec = tree.flatten(tangents)
    names = call.names()
    if spec != call.spec:
        leaves, spec = tree.flatten(tangents, is_leaf=lambda x: x is None)
        # None may stand for the tangent of an integer, where the primal has a leaf.
        check_same_structure(what, spec, call.spec, "the tangents", "the primals")
    call.leaves = [float(x) if type(x) is int and varies(dx) else x for x, dx in zip(call.leaves, leaves, strict=True)]
    return check_tangents(what, "tangent", leaves, list(map(type_of, call.leaves)), names)


def varies(dx: Any) -> bool:
    """Whether a tangent given for a Python int is a number other than zero: the int then counts as a float."""
    if type(dx) is Tracer:
        return True
    return isinstance(dx, int | float | np.number | np.ndarray) and np.asarray(dx).dtype.kind != "V" and bool(np.any(dx))


def cotangent_leaves(what: str, call: FlatCall, y_bar: Any, types: Sequence[ArrayType]) -> list[Any]:
    """The leaves of a cotangent, checked against the output of ``call``."""
    leaves, spec = tree.flatten(y_bar)
    check_same_structure(what, spec, call.out_spec, "the cotangent", "the output")
    return check_tangents(what, "cotangent", leaves, types, tree.leaf_names(call.out_spec, "output"))


def is_abstract(x: Any) -> bool:
    """Whether ``x`` stands for an array by its shape and dtype."""
    return hasattr(x, "shape") and hasattr(x, "dtype")


def abstract_type(x: Any) -> ArrayType:
    """The type of an array, or of what only has ``shape`` and ``dtype``."""
    if is_abstract(x) and not isinstance(x, np.ndarray | np.generic | Tracer):
        return array_type(tuple(x.shape), np.dtype(x.dtype))
    return type_of(leaf(x, "an argument"))


def wraps_function(fun: Any, transformation: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Carry over the name and docstring of ``fun``; partials and callable objects have none to carry."""

    def decorate(wrapper: Callable[..., Any]) -> Callable[..., Any]:
        if hasattr(fun, "__name__"):
            wrapper = wraps(fun)(wrapper)
        wrapper.__doc__ = f"{transformation} of {describe_function(fun)}.\n\n{getattr(fun, '__doc__', None) or ''}"
        return wrapper

    return decorate
