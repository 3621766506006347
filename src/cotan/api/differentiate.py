"""Derivatives: jvp, linearize, vjp, grad.

All are one idea. `jvp` pushes tangents forward. `linearize` records that push as a linear program; `vjp` runs this program backwards.
`grad` is vjp at cotangent 1. (A Jacobian, in `jacobians`, is the linear program, or its transpose, on a basis, batched.)

Complex numbers follow JAX: for f: C -> R, grad f = df/dx - i df/dy; step along its conjugate to descend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core import tree
from ..core.array import handed, to_array
from ..core.errors import ArgumentTypeError, NonlinearTangentError, teach
from ..core.origin import describe_function
from ..core.program import Var
from ..core.tracing import Tracer, type_of
from ..core.types import ArrayType, array_type, is_inexact
from ..ops.casting import stop_gradient as stop_gradient_op
from ..ops.failing import quiet
from ..ops.families import zeros
from ..ops.gaps import GAPS_MET
from ..transforms.jvp import JVPTrace, jvp_flat
from ..transforms.linearize import LinearizeTrace, detach, linearize_flat, record_linear
from ..transforms.linearize import replay as replay_tape
from ..transforms.strict import StrictJVPTrace, StrictLinearizeTrace
from ..transforms.transpose import accumulate, backward_pass
from .arguments import (
    LEAF,
    Argnums,
    FlatCall,
    boundary,
    check_callable,
    check_inexact,
    check_same_structure,
    check_tangents,
    floating,
    leaf,
    surely_zero,
    weakly_floating,
)
from .limits import settled
from .transformed import transformation

__all__ = [
    "grad", "jvp", "linear_transpose", "linearize", "stop_gradient", "value_and_grad", "vjp",
]  # fmt: skip


# ---- forward -----------------------------------------------------------------------------------------------------------
@boundary
def jvp(fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False, *, strict: bool = False) -> Any:
    """The value of ``fun`` and its derivative along ``tangents`` (forward mode).

    Args:
        fun: a function of trees of arrays.
        primals: a tuple or list of its arguments.
        tangents: as ``primals``: same trees, shapes and dtypes; None, anywhere in them, is zero. An integer whose tangent is not zero
            counts as a float; the tangent of a bool is None or zeros.
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
    dx = tangent_leaves("jvp", call, tuple(tangents), integers_vary=True)
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
        (output, f_jvp), and aux if ``has_aux``; ``f_jvp(*tangents)`` takes tangents like ``primals`` and gives the tangent of the output.

    Raises: as `jvp`.
    """
    call, outs, push, has_gap = linearized(fun, primals, has_aux, strict)
    given = call.rebuild_inputs(call.leaves)

    @boundary
    def f_jvp(*tangents: Any) -> Any:
        found = push(*tangents)
        return settled(found, lambda: linearized(fun, given, has_aux, strict)[2](*tangents)) if has_gap else found

    out = call.rebuild_output([to_array(private_copy(y)) for y in outs])
    return (out, f_jvp, strip(call.aux)) if has_aux else (out, f_jvp)


def linearized(
    fun: Callable[..., Any], primals: Sequence[Any], has_aux: bool, strict: bool
) -> tuple[FlatCall, Sequence[Any], Callable[..., Any], bool]:
    """The call, its results, the derivative there as a function of tangents, and whether that divides by gaps of equal values."""
    check_callable("linearize", fun)
    call = FlatCall("linearize", fun, primals, {}, None, has_aux, strict)
    call.leaves = [private_copy(weakly_floating(x)) for x in call.leaves]
    active = [type_of(x).inexact for x in call.leaves]
    before = GAPS_MET[0]
    with quiet():
        outs, tape, inputs, outputs = linearize_flat(call, call.leaves, active, verb="linearize", of=fun, by=trace_of(call), origins=True)
    detach(tape)
    types = [tangent_type(y) for y in outs]

    def push(*tangents: Any) -> Any:
        dx = [t for t in tangent_leaves("linearize", call, tangents) if t is not None]
        with quiet():
            douts = replay_tape(tape.equations, inputs, dx, outputs)
        return call.rebuild_output([to_array(zeros(t) if dy is None else dy, dx) for dy, t in zip(douts, types, strict=True)])

    return call, outs, push, GAPS_MET[0] != before


# ---- reverse -----------------------------------------------------------------------------------------------------------
@boundary
def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False, strict: bool = False) -> Any:
    """The value of ``fun``, and the function that pulls a cotangent of its output back to cotangents of its arguments.

    Returns:
        (output, f_vjp), and aux if ``has_aux``; ``f_vjp(y_bar)`` takes a tree like the output and gives a tuple like ``primals``.
        None, anywhere in ``y_bar``, is zero. The cotangent of an integer or bool argument is None.

    >>> import cotan
    >>> y, pull = cotan.vjp(lambda x: x**3, 2.0)
    >>> pull(1.0)
    (Array(12.),)
    """
    call, outs, pull, has_gap = pulled_back(fun, primals, has_aux, strict)
    given = call.rebuild_inputs(call.leaves)

    @boundary
    def f_vjp(y_bar: Any) -> Any:
        found = pull(y_bar)
        return settled(found, lambda: pulled_back(fun, given, has_aux, strict)[2](y_bar)) if has_gap else found

    out = call.rebuild_output([to_array(private_copy(y)) for y in outs])
    return (out, f_vjp, strip(call.aux)) if has_aux else (out, f_vjp)


def pulled_back(
    fun: Callable[..., Any], primals: Sequence[Any], has_aux: bool, strict: bool
) -> tuple[FlatCall, Sequence[Any], Callable[..., Any], bool]:
    """The call, its results, the function of cotangents there, and whether that divides by gaps of equal values."""
    check_callable("vjp", fun)
    call = FlatCall("vjp", fun, primals, {}, None, has_aux, strict)
    call.leaves = list(map(private_copy, call.leaves))
    before = GAPS_MET[0]
    with quiet():
        pulled = Pullback(call, "vjp", origins=True)
    detach(pulled.tape)

    def pull(y_bar: Any) -> Any:
        bars = cotangent_leaves("vjp", call, y_bar, pulled.types)
        with quiet():
            return call.rebuild_inputs([x if x is None else to_array(x, bars) for x in pulled(bars)])

    return call, pulled.outs, pull, GAPS_MET[0] != before


def trace_of(call: FlatCall) -> type[LinearizeTrace]:
    """The trace that linearizes a call."""
    return StrictLinearizeTrace if call.strict else LinearizeTrace


class Pullback:
    """A linearized call, run backwards: cotangents of the outputs in, of the inputs out (None for inputs without derivative)."""

    __slots__ = ("active", "inputs", "leaves", "outputs", "outs", "tape")

    def __init__(self, call: FlatCall, verb: str, *, origins: bool = False):
        self.leaves = call.leaves = [weakly_floating(x) for x in call.leaves]
        self.active = [type_of(x).inexact for x in self.leaves]
        self.outs, self.tape, self.inputs, self.outputs = linearize_flat(
            call, self.leaves, self.active, verb=verb, of=call.fun, by=trace_of(call), origins=origins
        )

    @property
    def types(self) -> list[ArrayType]:
        return list(map(type_of, self.outs))

    def __call__(self, y_bars: Sequence[Any | None], *, last: bool = False) -> list[Any | None]:
        """The cotangents of the inputs. In the ``last`` call the residuals are given up one by one."""
        cotangents: dict[Var, Any] = {}
        for v, y_bar in zip(self.outputs, y_bars, strict=True):
            accumulate(cotangents, v, y_bar)
        x_bars = backward_pass(self.tape.equations, cotangents, self.inputs, last=last)
        for k, v in enumerate(self.inputs):
            if x_bars[k] is None:
                x_bars[k] = zeros(v.type)
        if all(self.active):
            return x_bars
        given = iter(x_bars)
        return [next(given) if a else None for a in self.active]


@transformation
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
        argnums: the position(s) of the arguments to differentiate by: real or complex floating point; integers count as float64.
        holomorphic: whether ``fun`` is complex-differentiable; inputs and output must then be complex. Without it, the gradient by a
            complex input x + iy is df/dx - i df/dy (JAX's convention; step along its conjugate to descend; see `wirtinger`).
        allow_int: whether integer arrays stay integers; their gradient is None then, as is the gradient of truth values.
        strict: whether to raise, where the derivative is one of the conventions of docs/conventions.md or infinite, instead of giving it.
            The function is then differentiated op by op, jitted functions and loops too, on values: not inside jit. A point that is masked
            afterwards (by ``where``) counts as well.

    Returns:
        a function of the same arguments; its result is like the argument at ``argnums`` (a tuple for several), with aux if ``has_aux``.

    Raises (when called):
        ArgumentTypeError: inputs that are not numbers, an output that is not a real scalar.
        SingularPointError: with ``strict``, at a point where there is no derivative.

    >>> import cotan
    >>> cotan.grad(lambda x: x**3)(2.0)
    Array(12.)
    """
    check_callable("grad", fun)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        call, _, g = value_and_pulled("grad", fun, args, kwargs, argnums, has_aux, holomorphic, allow_int, strict)
        return (g, strip(call.aux)) if has_aux else g

    return gradient


@transformation
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
    check_inexact(call, name, holomorphic=holomorphic, allow_int=allow_int, complex_ok=True)
    with quiet():
        pulled = Pullback(call, name)
        x_bars = pulled([one_of_output(call, pulled.outs, name, holomorphic)], last=True)
    return call, pulled.outs[0], call.rebuild_inputs([x if x is None else to_array(x) for x in x_bars])


def one_of_output(call: FlatCall, outs: Sequence[Any], name: str, holomorphic: bool) -> Any:
    """The number 1 in the dtype of the one scalar output that `grad` needs; any other output is refused."""
    t = type_of(outs[0]) if len(outs) == 1 and (call.out_spec is LEAF or call.out_spec == LEAF) else None
    if t is not None and not t.shape and t.dtype.kind == ("c" if holomorphic else "f"):
        return t.dtype.type(1)
    where = describe_function(call.fun)
    if not outs and call.out_spec == tree.structure(None):
        what, do = f"{name} needs a function with a scalar output; {where} returned None.", "return the scalar: is a `return` missing?"
    elif t is None:
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


# ---- small things --------------------------------------------------------------------------------------------------------
def stop_gradient(x: Any) -> Any:
    """``x`` (a tree), as a constant to every derivative."""
    return tree.map(lambda leaf: handed(stop_gradient_op(leaf)) if type(leaf) is Tracer else leaf, x)


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
    """The type of the tangent of ``x``, as shown to the user: float64 for integers, which have none."""
    t = type_of(x)
    return t if is_inexact(t.dtype) else t.with_dtype(np.dtype(np.float64))


def tangent_leaves(what: str, call: FlatCall, tangents: tuple[Any, ...], *, integers_vary: bool = False) -> list[Any]:
    """The leaves of ``tangents``, checked against the arguments of ``call``.

    With ``integers_vary``, an integer whose tangent is not zero becomes a float.
    """
    leaves = matching_leaves(what, tangents, call.spec, "the tangents", "the primals")
    if integers_vary:
        call.leaves = [x if type(dx) is not Tracer and surely_zero(dx) else floating(x) for x, dx in zip(call.leaves, leaves, strict=True)]
    return check_tangents(what, "tangent", leaves, list(map(type_of, call.leaves)), call.names())


def cotangent_leaves(what: str, call: FlatCall, y_bar: Any, types: Sequence[ArrayType]) -> list[Any]:
    """The leaves of a cotangent, checked against the output of ``call``."""
    leaves = matching_leaves(what, y_bar, call.out_spec, "the cotangent", "the output")
    return check_tangents(what, "cotangent", leaves, types, tree.leaf_names(call.out_spec, "output"))


def matching_leaves(what: str, given: Any, spec: Any, given_name: str, wanted_name: str) -> list[Any]:
    """The leaves of a tree of the structure ``spec``, in which None may stand for any subtree, whose leaves are then None."""
    leaves, found = tree.flatten(given)
    if found == spec:
        return leaves
    below = tree.leaves_under_none(given, spec)
    if below is None:
        check_same_structure(what, found, spec, given_name, wanted_name)
    return below or []


def is_abstract(x: Any) -> bool:
    """Whether ``x`` stands for an array by its shape and dtype."""
    return hasattr(x, "shape") and hasattr(x, "dtype")


def abstract_type(x: Any) -> ArrayType:
    """The type of an array, or of an object with ``shape`` and ``dtype``."""
    if is_abstract(x) and not isinstance(x, np.ndarray | np.generic | Tracer):
        return array_type(tuple(x.shape), np.dtype(x.dtype))
    return type_of(leaf(x, "an argument"))
