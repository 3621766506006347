"""Outside code in traced programs: `pure_callback`, `external`, and solvers by the implicit function theorem: `implicit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..control.closures import Hole, find_tracers, substitute
from ..control.external import METHODS, External
from ..core import tree
from ..core.array import to_array
from ..core.errors import ArgumentError, ArgumentTypeError, teach, warn
from ..core.operators import surface
from ..core.origin import describe_function
from ..core.outside import check_declared_linear
from ..core.tracing import EVAL, Tracer, current_trace, type_of
from ..core.types import ArrayType, array_type
from .arguments import boundary, check_callable, leaf
from .custom import CustomFunction
from .differentiate import jvp
from .jacobians import jacfwd
from .transformed import transformation

__all__ = ["ResidualWarning", "external", "implicit", "pure_callback"]


class ResidualWarning(UserWarning):
    """A solver's result does not solve the equation that it was declared to solve, so its derivative will be wrong."""


@boundary
def pure_callback(
    callback: Callable[..., Any], result_shape_dtypes: Any, *args: Any, vmap_method: str = "sequential", **kwargs: Any
) -> Any:
    """Call a function of NumPy arrays from traced code.

    Args:
        callback: any function; it must have no effects, as it may be called any number of times. It may call cotan.
        result_shape_dtypes: a tree like its result, of arrays or `ShapeDtypeStruct`.
        args, kwargs: trees of arrays, handed to it as NumPy arrays of its own, which it may change.
        vmap_method: what vmap does: "sequential" calls it once for each example; "expand_dims" once with leading batch axes (of length 1
            for arguments that are not batched); "broadcast_all" once with all arguments copied along the batch.

    Returns:
        its result. It has no derivative: see `external`.
    """
    check_callable("pure_callback", callback)
    check_method("pure_callback: vmap_method", vmap_method)
    types, spec = types_of_results(result_shape_dtypes)
    return call_outside(callback, args, kwargs, types, [spec], method=vmap_method)


def types_of_results(result_shape_dtypes: Any) -> tuple[tuple[ArrayType, ...], Any]:
    """The types and the structure that a tree of examples stands for."""
    shapes, spec = tree.flatten(result_shape_dtypes, is_leaf=lambda x: hasattr(x, "shape") and hasattr(x, "dtype"))
    return tuple(array_type(tuple(s.shape), np.dtype(s.dtype)) for s in shapes), spec


def check_method(what: str, method: Any) -> None:
    if method not in METHODS:
        raise teach(ArgumentError, f"{what} must be one of {', '.join(METHODS)}, not {method!r}.", do='leave it out for "sequential".')


def call_outside(
    function: Any,
    args: Any,
    kwargs: dict[str, Any],
    types: tuple[ArrayType, ...] | None,
    specs: list[Any],
    *,
    linear: Sequence[int] | None = None,
    transpose: Any = None,
    method: str = "sequential",
    tried: set[Any] = frozenset(),  # type: ignore[assignment]
    known: dict[Any, Any] | None = None,
) -> Any:
    """The `External` op of ``function`` on trees. ``specs`` holds the structure of its result, or receives it.

    ``tried`` receives the types of arguments for which it was tried whether the function is linear, ``known`` the types of results found.
    """
    leaves, spec = tree.flatten((args, kwargs))
    leaves = [leaf(x, "an argument") for x in leaves]
    flags = tuple(k in linear for k, arg in enumerate(args) for _ in tree.leaves(arg)) if linear is not None else ()

    flat = partial(flat_results, function, spec, specs)
    rule = None
    if transpose is not None and linear is not None:
        known_spec = tree.structure(tuple(a for k, a in enumerate(args) if k not in linear))
        rule = partial(flat_adjoint, transpose, known_spec, flags.count(False), specs)
    call = External(flat, describe_function(function), types, flags, rule, method, {} if known is None else known)
    if current_trace() is EVAL and not any(type(x) is Tracer for x in leaves):
        outs: Any = call.impl(*leaves)
    else:
        types_given = tuple(map(type_of, leaves))
        if any(flags) and types_given not in tried:
            tried.add(types_given)
            members = [k for k, flag in enumerate(flags) if flag]
            check_declared_linear(describe_function(function), call.impl, types_given, members, "by linear= or transpose=")
        outs = call(*leaves)
    return tree.unflatten(specs[0], [to_array(y) for y in outs])


def flat_results(function: Callable[..., Any], spec: Any, specs: list[Any], *values: Any) -> list[Any]:
    """The leaves of what ``function`` returns for the tree of ``values``; ``specs`` as for `call_outside`."""
    args, kwargs = tree.unflatten(spec, values)
    results, out_spec = tree.flatten(function(*args, **kwargs))
    if not specs:
        specs.append(out_spec)
    elif out_spec != specs[0]:
        raise teach(
            ArgumentError,
            f"{describe_function(function)} returned another structure than it has to.",
            detail=f"returned: {tree.describe(out_spec)}\nexpected: {tree.describe(specs[0])}",
            do="return the same nesting every time.",
        )
    return results


def flat_adjoint(transpose: Callable[..., Any], spec: Any, count: int, specs: list[Any], *values: Any) -> list[Any]:
    """The leaves of the cotangents that ``transpose`` returns for ``count`` leaves of known arguments, of this structure, and y_bar."""
    return tree.leaves(transpose(*tree.unflatten(spec, values[:count]), tree.unflatten(specs[0], values[count:])))


def external(
    function: Callable[..., Any],
    *,
    jvp: Callable[..., Any] | None = None,
    vjp: tuple[Callable[..., Any], Callable[..., Any]] | None = None,
    transpose: Callable[..., Any] | None = None,
    linear: bool | int | Sequence[int] | None = None,
    vmap: Callable[..., Any] | str = "sequential",
    result_shape_dtypes: Any = None,
) -> CustomFunction:
    """Outside code with derivatives: a function of NumPy arrays, and rules for it.

    Args:
        function: any function of trees of arrays. It is handed NumPy arrays of its own, which it may change, and may call cotan.
        jvp, vjp: rules, as for `custom_rules`. They are run on traced values; where they are outside code themselves, make them
            ``external`` too. A second derivative is the derivative of the rule.
        linear: the positions of arguments in which the function is linear, all together (True: all). Its tangent is then the function
            itself, with the tangents in place of these arguments. When it is first traced for arguments of some types, it is tried on
            random numbers whether it is (three calls).
        transpose: for a linear function, ``(*other arguments, y_bar) -> cotangents of the linear arguments`` (one, or a tuple); given
            alone, the function is linear in all its arguments. Traceable, as the other rules are.
        vmap: what vmap does: a rule as for `custom_rules`, or "sequential", "expand_dims" or "broadcast_all" as for `pure_callback`.
        result_shape_dtypes: a tree like the result; without it, under jit, the function is called once on example arrays to find out.

    Returns:
        a function that can be traced, differentiated as far as the rules go, batched and jitted.

    Raises:
        ArgumentError: an unknown way of batching, positions that are none.
        RuleError (when called): in a staged program, a result of another shape or dtype than the one that it was staged with.
        MissingRuleError, NonlinearTangentError (when differentiated): no rule for that; a function that is not linear as declared.

    >>> import cotan, numpy as np, cotan.numpy as cnp
    >>> sine = cotan.external(np.sin, jvp=lambda p, t: (sine(*p), cnp.cos(p[0]) * t[0]))
    >>> cotan.grad(sine)(0.0)
    Array(1.)
    >>> product = cotan.external(lambda a, x: a @ x, linear=1, transpose=lambda a, y_bar: a.T @ y_bar)
    >>> cotan.jacrev(lambda x: product(np.array([[1.0, 2.0]]), x))(np.ones(2))
    Array([[1., 2.]])
    """
    check_callable("external", function)
    if isinstance(vmap, str):
        check_method("external: vmap", vmap)
    method = vmap if isinstance(vmap, str) else "sequential"
    types: tuple[ArrayType, ...] | None = None
    specs: list[Any] = []
    tried: set[tuple[ArrayType, ...]] = set()
    known: dict[Any, Any] = {}
    if result_shape_dtypes is not None:
        types, spec = types_of_results(result_shape_dtypes)
        specs = [spec]
    whole = linear is True or (linear is None and transpose is not None)
    some = None if linear is None or isinstance(linear, bool) else (linear,) if isinstance(linear, int) else tuple(linear)

    def outside(*args: Any) -> Any:
        if some is not None and not all(0 <= k < len(args) for k in some):
            raise teach(
                ArgumentError,
                f"external: linear={linear!r}, but {describe_function(function)} was called with {len(args)} arguments.",
                do="count positions from 0.",
            )
        positions, rule = (tuple(range(len(args))), None) if whole else (some, transpose)
        return call_outside(function, args, {}, types, specs, linear=positions, transpose=rule, method=method, tried=tried, known=known)

    outside.__name__, outside.__doc__ = getattr(function, "__name__", "function"), getattr(function, "__doc__", None)
    outside.__qualname__ = getattr(function, "__qualname__", outside.__name__)
    outside.__module__ = getattr(function, "__module__", __name__)
    custom = CustomFunction(outside, kind="external")
    rules = {"jvp": jvp, "transpose": transpose if whole else None, "vmap": None if isinstance(vmap, str) else vmap}
    custom.rules.update({name: rule for name, rule in rules.items() if rule is not None})
    if vjp is not None:
        if not isinstance(vjp, tuple | list) or len(vjp) != 2:
            what = f"external: vjp must be a pair of functions (fwd, bwd), not {vjp!r:.80}."
            raise teach(ArgumentTypeError, what, do="write vjp=(lambda *args: (output, residuals), lambda residuals, y_bar: (x_bar, ...)).")
        custom.rules["fwd"], custom.rules["bwd"] = vjp
    return custom


def implicit(residual: Callable[..., Any], *, tolerance: float = 1e-6) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make any solver differentiable: ``@implicit(residual)`` on ``solver(*params) -> x`` with ``residual(x, *params) = 0``.

    The solver need not be traceable (SciPy's will do), nor is it differentiated: by the implicit function theorem

        A dx = - (d residual / d params) dparams,      A = d residual / dx at the solution,

    to any order, in both modes, under vmap and jit.

    Args:
        residual: a traceable function of x (a tree) and the params, with as many equations as x has numbers.
        tolerance: a `ResidualWarning` is given where the residual at the solution exceeds it, relative to one plus the largest number in x.

    Returns:
        a decorator for a solver: a function of trees of arrays that returns x.

    Raises (when differentiated):
        ArgumentError: the residual has not as many numbers as x.

    Source: Krantz & Parks 2003, "The Implicit Function Theorem"; Blondel et al. 2022, "Efficient and modular implicit differentiation".

    >>> import cotan
    >>> @cotan.implicit(lambda x, a: x**2 - a)
    ... def root(a): return a**0.5
    >>> cotan.grad(root)(4.0)
    Array(0.25)
    """
    check_callable("implicit", residual)
    return partial(implicit_solver, residual=residual, tolerance=tolerance)


@transformation
def implicit_solver(solver: Callable[..., Any], residual: Callable[..., Any], tolerance: float) -> Callable[..., Any]:
    """The solver, differentiated by the equation that it solves."""
    check_callable("implicit", solver)

    def solve(*params: Any) -> Any:
        # The traced values that the two functions close over have derivatives too: they become the first parameter.
        tracers = find_tracers(residual, solver)
        holes = [Hole() for _ in tracers]
        emptied = {id(t): hole for t, hole in zip(tracers, holes, strict=True)}
        return implicit_function(substitute(residual, emptied), substitute(solver, emptied), holes, tolerance)(tracers, *params)

    return solve


def implicit_function(residual: Any, solver: Any, holes: list[Hole], tolerance: float) -> CustomFunction:
    """The solver as a function of (values for the holes, *params), with its derivative."""

    def within(function: Any, values: Any) -> Any:
        return substitute(function, {id(hole): v for hole, v in zip(holes, values, strict=True)})

    def checked(values: Any, *params: Any) -> Any:
        x = tree.map(inexact_array, within(solver, values)(*params))
        size = max([float(np.abs(v).max(initial=0.0)) for v in tree.leaves(x)], default=0.0)
        error = max([float(np.abs(np.asarray(r)).max(initial=0.0)) for r in tree.leaves(within(residual, values)(x, *params))], default=0.0)
        if not error <= tolerance * (1 + size):
            warn(
                f"{describe_function(solver)} returned x with a residual of {error:.3g}: its derivative will be off by about as much. "
                "What to do: solve to a smaller residual, or give implicit(residual, tolerance=...) the one that you accept.",
                ResidualWarning,
            )
        return x

    checked.__name__ = getattr(solver, "__name__", "solver")
    differentiable = external(checked)

    def rule(primals: Any, tangents: Any) -> Any:
        x = differentiable(*primals)
        pushed = jvp(lambda values, *p: within(residual, values)(x, *p), primals, tangents)[1]
        return x, solve_linearized(lambda v: within(residual, primals[0])(v, *primals[1:]), x, pushed)

    differentiable.defjvp(rule)
    return differentiable


def inexact_array(x: Any) -> Any:
    """``x`` as a floating-point or complex array."""
    array = np.asarray(x)
    return array if array.dtype.kind in "fc" else array.astype(np.float64)


def solve_linearized(residual: Any, x: Any, pushed: Any) -> Any:
    """-A^-1 applied to ``pushed``, with A the derivative of the residual in x, as a dense matrix."""
    cnp = surface()
    x_leaves, x_spec = tree.flatten(x)
    sizes = [type_of(v).size for v in x_leaves]

    def vector(values: Any) -> Any:
        return cnp.concatenate([cnp.reshape(v, (-1,)) for v in values])

    def unravel(v: Any) -> Any:
        starts = np.cumsum([0, *sizes])
        pieces = [cnp.reshape(v[a:b], type_of(leaf).shape) for a, b, leaf in zip(starts[:-1], starts[1:], x_leaves, strict=True)]
        return tree.unflatten(x_spec, pieces)

    right = vector(tree.leaves(pushed))
    if type_of(right).size != sum(sizes):
        raise teach(
            ArgumentError,
            f"implicit: the residual has {type_of(right).size} numbers, x has {sum(sizes)}.",
            do="give one equation for each unknown.",
        )
    matrix = jacfwd(lambda v: vector(tree.leaves(residual(unravel(v)))))(vector(x_leaves))
    return unravel(-cnp.linalg.solve(matrix, right))
