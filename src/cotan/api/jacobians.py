"""Jacobians and Hessians: the linear program of a derivative, or its transpose, on a basis, batched.

Forward mode pushes the basis of the inputs and gets columns; reverse mode pulls that of the outputs back and gets rows. Both go in chunks
where the whole basis would take too much memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from ..core import tree
from ..core.array import to_array
from ..core.errors import ArgumentError, ArgumentTypeError, teach
from ..core.origin import describe_function
from ..core.program import Var
from ..core.tracing import Tracer, type_of
from ..core.types import ArrayType
from ..ops.casting import convert
from ..ops.failing import quiet
from ..ops.families import fill_shape, spread, zeros
from ..ops.logic import equal
from ..ops.movement import permute, reshape, slice_
from ..transforms.batch import batch_flat
from ..transforms.linearize import LinearTape
from ..transforms.linearize import replay as replay_tape
from .arguments import LEAF, Argnums, FlatCall, boundary, check_callable, check_inexact, one_argument
from .chunks import Chunk, bytes_of, check_chunk, chunk_size, in_pieces
from .differentiate import Pullback, grad, jvp, private_copy, strip, tangent_type
from .transformed import transformation

__all__ = ["hessian", "hvp", "jacfwd", "jacobian", "jacrev", "value_and_jacobian"]


@transformation
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


@transformation
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


@transformation
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


@transformation
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


@transformation
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

    Raises:
        ArgumentTypeError: as `grad`; or ``fun`` does not take the tuple ``primals`` as its one argument.
    """
    with one_argument("hvp", fun, primals):
        return jvp(grad(fun, strict=strict), (primals,), (tangents,), strict=strict)[1]


def jacobian_modes(mode: str) -> Callable[[Pullback, Chunk], list[list[Any]]]:
    """The way to a Jacobian that ``mode`` names."""
    if mode not in ("auto", "fwd", "rev"):
        raise teach(ArgumentError, f"jacobian: mode={mode!r}.", do='give "auto", "fwd" or "rev".')

    def auto(pulled: Pullback, chunk: Chunk) -> list[list[Any]]:
        inputs = sum(type_of(x).size for x, a in zip(pulled.leaves, pulled.active, strict=True) if a)
        if any(type_of(x).dtype.kind == "c" for x in pulled.leaves) and not any(t.dtype.kind == "c" for t in pulled.types):
            return reverse_rows(pulled, chunk)  # of a real function of complex numbers a column is no number
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

    def jacobian_function(*args: Any, **kwargs: Any) -> Any:
        call = FlatCall(name, fun, args, kwargs, argnums, has_aux, strict)
        check_inexact(call, name, holomorphic=holomorphic, allow_int=allow_int, complex_ok=blocks_of is not forward_columns)
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
                do="pass holomorphic=True for a complex-differentiable function, else take real and imaginary parts, or use wirtinger; "
                "make integers floats.",
            )


def forward_columns(pulled: Pullback, chunk: Chunk) -> list[list[Any]]:
    """Blocks of the Jacobian by pushing the standard basis of the inputs forward, in batches of ``chunk``."""
    active = [x for x, a in zip(pulled.leaves, pulled.active, strict=True) if a]
    sizes = [type_of(x).size for x in active]
    total = sum(sizes)
    types = list(map(tangent_type, pulled.outs))
    pushed: list[Any | None] = pushed_basis(pulled.tape, pulled.inputs, pulled.outputs, types, chunk) if total else [None] * len(types)
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
    tape: LinearTape,
    inputs: Sequence[Var],
    outputs: Sequence[Var | None],
    types: Sequence[ArrayType],
    chunk: Chunk,
    keep: Callable[[list[Any], list[Any]], list[Any]] = lambda _, outs: outs,
) -> list[Any]:
    """The image of the standard basis of the inputs (at least one) under a tape: for each output, of these ``types``, a batch.

    ``keep(basis, outs)`` selects the results of a piece: they have a row for each of its basis vectors.
    """
    in_types = [v.type for v in inputs]
    total = sum(t.size for t in in_types)

    def push(*dx: Any) -> list[Any]:
        found = replay_tape(tape.equations, inputs, dx, outputs)
        return [zeros(t) if y is None else y for y, t in zip(found, types, strict=True)]

    def run(low: Any, rows: int) -> list[Any]:
        basis = standard_basis(in_types, low, rows)
        outs, flags = batch_flat(push, rows, [True] * len(inputs), basis)
        return keep(basis, [y if flag else spread(y, rows) for y, flag in zip(outs, flags, strict=True)])

    return in_pieces(run, total, chunk_size(chunk, total, bytes_on(tape, [*in_types, *types])), "jacfwd")


def bytes_on(tape: LinearTape, ends: Sequence[ArrayType]) -> int:
    """The bytes of one array for each result on the tape, and for each of its ``ends``: the memory for one basis vector."""
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

        def run(low: Any, rows: int) -> list[Any]:
            outs, flags = batch_flat(pull, rows, [True] * len(types), standard_basis(types, low, rows))
            return [y if flag else spread(y, rows) for y, flag in zip(outs, flags, strict=True)]

        step = chunk_size(chunk, total, bytes_on(pulled.tape, [*types, *[v.type for v in pulled.inputs]]))
        found = iter(in_pieces(run, total, step, "jacrev"))
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


def standard_basis(types: Sequence[ArrayType], low: Any, rows: int) -> list[Any]:
    """For each leaf, ``rows`` basis vectors from number ``low`` on (there is one for each number in all leaves), as that leaf sees them."""
    start = 0
    basis: list[Any] = []
    for t in types:
        if type(low) is Tracer:
            offsets = np.arange(start, start + t.size) - np.arange(rows)[:, None]
            basis.append(reshape(convert(equal(fill_shape(low, offsets), offsets), t.dtype), (rows, *t.shape)))
        else:
            basis.append(np.eye(rows, t.size, low - start, dtype=t.dtype).reshape(rows, *t.shape))
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
