"""Solvers with derivatives by the implicit function theorem: `custom_linear_solve` and `custom_root`, with JAX's names and signatures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..api.arguments import boundary, check_callable, leaf
from ..api.custom import CustomFunction
from ..api.differentiate import jvp
from ..control.closures import Hole, find_tracers, substitute
from ..control.linear_solve import LinearSolve, Solver, transposed
from ..core import tree
from ..core.array import to_array
from ..core.errors import ArgumentTypeError, teach
from ..core.operators import surface
from ..core.origin import describe_function
from ..core.program import Program, evaluate
from ..core.staging import stage_flat
from ..core.tracing import type_of
from ..core.types import array_type
from ..ops.casting import convert
from ..ops.failing import quiet
from ..transforms.linearize import record_linear

__all__ = ["custom_linear_solve", "custom_root"]


@boundary
def custom_linear_solve(
    matvec: Callable[[Any], Any],
    b: Any,
    solve: Callable[..., Any],
    transpose_solve: Callable[..., Any] | None = None,
    symmetric: bool = False,
    has_aux: bool = False,
) -> Any:
    """x with ``matvec(x) = b``, computed by ``solve(matvec, b)``. Its derivative is the derivative of the solution, not of the solver's
    steps.

    Args:
        matvec: a linear function from trees like x to trees like ``b``, which are alike. It may close over values; the derivative of x
            with respect to them comes from ``matvec``, and not from ``solve``.
        b: a tree of arrays.
        solve: a traceable function of (matvec, b) that returns x. Loops in it need not be differentiable.
        transpose_solve: a solver of the transposed system: a function of (vecmat, b). Reverse mode needs it.
        symmetric: whether matvec is its own transpose, so that ``solve`` serves for both.
        has_aux: whether ``solve`` returns (x, aux); aux has no derivative.

    Returns:
        x, or (x, aux).

    Raises:
        NonlinearTangentError: matvec is not linear. ArgumentTypeError: x or matvec(x) is not like b.
        MissingRuleError: in reverse mode, without ``transpose_solve``.

    >>> import cotan, cotan.numpy as cnp, numpy as np
    >>> def solve(matvec, b): return b / matvec(cnp.ones(2))     # of a diagonal matrix
    >>> def f(d): return cotan.lax.custom_linear_solve(lambda x: d * x, np.array([1.0, 6.0]), solve, symmetric=True)
    >>> cotan.jacrev(f)(np.array([2.0, 3.0]))
    Array([[-0.25      , -0.        ],
           [-0.        , -0.66666667]])
    """
    for f in (matvec, solve, *([transpose_solve] if transpose_solve is not None else [])):
        check_callable("custom_linear_solve", f)
    if symmetric and transpose_solve is None:
        transpose_solve = solve
    leaves, spec = tree.flatten(b)
    leaves = [leaf(x, name) for x, name in zip(leaves, tree.leaf_names(spec, "b"), strict=True)]
    types = [array_type(t.shape, t.dtype) for t in map(type_of, leaves)]
    leaves = [convert(x, t.dtype) for x, t in zip(leaves, types, strict=True)]

    def flat(what: str, function: Any, *before: Any, aux: list[Any] | None = None) -> Callable[..., list[Any]]:
        def run(*values: Any) -> list[Any]:
            out = function(*before, tree.unflatten(spec, values))
            extra: list[Any] = []
            if aux is not None:
                if not isinstance(out, tuple) or len(out) != 2:  # type: ignore[arg-type]
                    raise teach(
                        ArgumentTypeError,
                        f"custom_linear_solve: with has_aux=True, {what} must give a pair (x, aux), not a {type(out).__name__}.",
                        do="return (x, auxiliary), or leave out has_aux.",
                    )
                extra, aux_spec = tree.flatten(out[1])
                aux.append(aux_spec)
                out = out[0]
            results, out_spec = tree.flatten(out)
            results = [leaf(y, what) for y in results]
            kinds = [(t.shape, t.dtype) for t in map(type_of, results)]
            if out_spec != spec or kinds != [(t.shape, t.dtype) for t in types]:
                raise teach(
                    ArgumentTypeError,
                    f"custom_linear_solve: {what} is not like b.",
                    detail=f"{what}: {tree.describe(out_spec, [type_of(y).long_name() for y in results])}\n"
                    f"b: {tree.describe(spec, [t.long_name() for t in types])}",
                    do="give trees of the structure, shapes and dtypes of b.",
                )
            return [*results, *[leaf(y, "aux") for y in extra]]

        return run

    def staged(function: Any, name: str) -> tuple[Program, list[Any]]:
        return stage_flat(function, types, verb="custom_linear_solve", of=matvec, name=name)

    aux_specs: list[Any] = []
    with quiet():
        names = tree.leaf_names(spec, "x")
        record_linear(flat("matvec(x)", matvec), types, names, f"{describe_function(matvec)}, given to custom_linear_solve,", "arguments")
        program, constants = staged(flat("matvec(x)", matvec), "matvec")
        vecmat_program = transposed(program, len(constants))

        def vecmat(y: Any) -> Any:
            return tree.unflatten(spec, evaluate(vecmat_program, *constants, *tree.leaves(y)))

        aux = aux_specs if has_aux else None
        solver, solve_constants = staged(flat("the result of solve", solve, matvec, aux=aux), "solve")
        back, back_constants = None, []
        if transpose_solve is not None:
            other: list[Any] | None = [] if has_aux else None
            back, back_constants = staged(flat("the result of transpose_solve", transpose_solve, vecmat, aux=other), "transpose_solve")
    forward = Solver(program, solver, len(constants), len(solve_constants))
    backward = Solver(vecmat_program, back, len(constants), len(back_constants))
    results = LinearSolve(forward, backward)(*constants, *solve_constants, *constants, *back_constants, *leaves)
    x = tree.unflatten(spec, [to_array(y) for y in results[: len(leaves)]])
    return (x, tree.unflatten(aux_specs[0], [to_array(y) for y in results[len(leaves) :]])) if has_aux else x


@boundary
def custom_root(
    f: Callable[[Any], Any],
    initial_guess: Any,
    solve: Callable[..., Any],
    tangent_solve: Callable[..., Any],
    has_aux: bool = False,
) -> Any:
    """x with ``f(x) = 0``, computed by ``solve(f, initial_guess)``. Its derivative is given by the implicit function theorem.

    Args:
        f: a function from trees like the guess to trees of the same kind. x has a derivative in the values that it closes over.
        initial_guess: a tree of arrays; x has no derivative in it.
        solve: a function of (f, guess) that returns x, by any method.
        tangent_solve: a function of (g, y) that returns v with g(v) = y for a linear g: ``lambda g, y: y / g(1.0)`` for scalars, else
            ``numpy.linalg.solve(cotan.jacobian(g)(y), y)``, or an iterative method.
        has_aux: whether ``solve`` returns (x, aux); aux has no derivative.

    Returns:
        x, or (x, aux).

    >>> import cotan
    >>> def newton(f, x):
    ...     for _ in range(20): x = x - f(x) / cotan.grad(f)(x)
    ...     return x
    >>> cotan.grad(lambda a: cotan.lax.custom_root(lambda x: x**2 - a, 1.0, newton, lambda g, y: y / g(1.0)))(4.0)
    Array(0.25)
    """
    for function in (f, solve, tangent_solve):
        check_callable("custom_root", function)
    tracers = find_tracers(f)
    holes = [Hole() for _ in tracers]
    emptied = substitute(f, {id(t): hole for t, hole in zip(tracers, holes, strict=True)})

    def within(values: Any) -> Any:
        return substitute(emptied, {id(hole): v for hole, v in zip(holes, values, strict=True)})

    def root(values: Any, guess: Any) -> Any:
        return solve(within(values), guess)

    root.__name__ = getattr(f, "__name__", "root")
    differentiable = CustomFunction(root, kind="custom_root")

    def rule(primals: Any, tangents: Any) -> Any:
        values, guess = primals
        out = differentiable(values, guess)
        x = out[0] if has_aux else out
        pushed = jvp(lambda *v: within(v)(x), tuple(values), tuple(tangents[0]))[1] if values else tree.map(lambda v: v * 0.0, x)
        dx = custom_linear_solve(lambda v: jvp(within(values), (x,), (v,))[1], pushed, tangent_solve, tangent_solve)
        dx = tree.map(lambda v: -v, dx)
        cnp = surface()
        return (out, (dx, tree.map(cnp.zeros_like, out[1]))) if has_aux else (out, dx)

    differentiable.defjvp(rule)
    return differentiable(tracers, initial_guess)
