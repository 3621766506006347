"""Branches: `cond` and `switch`, with JAX's names and signatures.

If the index is a number, only the selected branch runs, as in Python. Traced, all branches are staged, and the choice is one op.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..api.arguments import boundary, check_callable, leaf
from ..api.rules import refuse_parameters
from ..control.cond import Cond
from ..core import tree
from ..core.array import Array, to_array
from ..core.errors import ArgumentError, ArgumentTypeError, teach
from ..core.origin import describe_function
from ..core.program import Program, Var
from ..core.staging import stage_flat
from ..core.tracing import BOOL, INT64, Tracer, type_of
from ..core.types import ArrayType, array_type
from ..ops.casting import convert
from ..ops.failing import quiet
from ..ops.logic import not_equal
from ..ops.ordering import maximum, minimum
from .loops import bodies, known_value, strong

__all__ = ["cond", "switch"]

COND_BRANCH = "cond(pred, true_fun, false_fun, *operands) with branches that take the operands: lambda x: ... for cond(pred, f, g, x)"
SWITCH_BRANCH = "switch(index, branches, *operands) with branches that take the operands: lambda x: ... for switch(i, [f, g], x)"


@boundary
def cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """``true_fun(*operands)`` if ``pred``, else ``false_fun(*operands)``.

    Args:
        pred: a scalar: a bool, or a number (true if nonzero). If its value is known, only the selected branch runs, and nothing is asked
            of the other.
        true_fun, false_fun: functions of the operands whose results have the same structure, shapes and dtypes.

    Under `vmap` with a predicate for each example, a branch that no example takes does not run. A cheap branch runs on the whole batch, and
    the results are chosen. A costly one (factorizations, loops, many functions of few numbers) runs for the examples that take it: where
    the predicates are known, for no others; under `jit`, one by one or in strips of at least 8 examples, of which one may have others.

    Raises:
        ArgumentTypeError: a predicate that is no scalar, or branches whose results differ.

    >>> import cotan
    >>> cotan.lax.cond(True, lambda x: x * 2, lambda x: x, 3.0)
    Array(6.)
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
    try:
        if known is not None:
            return taken(true_fun if known else false_fun, operands)
        index = convert(pred if t.dtype == BOOL else not_equal(pred, t.dtype.type(0)), INT64)
        return branch("cond", index, (false_fun, true_fun), operands)
    except TypeError as error:
        functions = (("true_fun", true_fun), ("false_fun", false_fun))
        refuse_parameters(error, "cond", *((role, f, len(operands), COND_BRANCH) for role, f in functions))
        raise


@boundary
def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """``branches[index](*operands)``, with the index clamped to the range of the branches. Errors, and what runs under `vmap`: as `cond`.

    >>> import cotan
    >>> cotan.lax.switch(1, [lambda x: x, lambda x: -x], 3.0)
    Array(-3.)
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
    try:
        if known is not None:
            return taken(branches[min(max(int(known), 0), len(branches) - 1)], operands)
        clamped = minimum(maximum(convert(index, INT64), np.int64(0)), np.int64(len(branches) - 1))
        return branch("switch", clamped, branches, operands)
    except TypeError as error:
        refuse_parameters(error, "switch", *((f"branches[{k}]", f, len(operands), SWITCH_BRANCH) for k, f in enumerate(branches)))
        raise


def taken(f: Callable[..., Any], operands: Sequence[Any]) -> Any:
    """The results of the selected branch: Python numbers become arrays, as in a staged branch."""
    out = f(*operands)
    if type(out) is Array or type(out) is Tracer:
        return out
    leaves, spec = tree.flatten(out)
    values = [leaf(y, "the output of a branch") for y in leaves]
    return tree.unflatten(spec, [to_array(y, values) for y in values])  # an ndarray may be the user's own: it is copied


def branch(name: str, index: Any, functions: Sequence[Callable[..., Any]], operands: Sequence[Any]) -> Any:
    """The staged branches, as a `Cond`."""
    leaves, spec = tree.flatten(tuple(operands))
    leaves = [leaf(x, n) for x, n in zip(leaves, tree.leaf_names(spec, "operands"), strict=True)]
    types = [array_type(t.shape, t.dtype) for t in (type_of(x) for x in leaves)]
    leaves = [convert(x, t.dtype) for x, t in zip(leaves, types, strict=True)]
    specs: list[Any] = []
    staged: list[tuple[Program, list[Any]]] = []
    for f in functions:

        def stage(f: Any = f) -> Any:
            found: dict[str, Any] = {}

            def flat(*values: Any) -> list[Any]:
                outs, found["spec"] = tree.flatten(f(*tree.unflatten(spec, values)))
                return [strong(leaf(y, "the output of a branch")) for y in outs]

            label = getattr(f, "__name__", "branch").replace("<lambda>", "branch")
            program, captured = stage_flat(flat, types, verb=name, of=f, name=label)
            return None, (program, captured, found["spec"])

        with quiet():
            _, (program, captured, out_spec) = bodies.recall((name, spec, *types), (f,), stage)
        specs.append(out_spec)
        staged.append((program, captured))
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
    results = [(spec, program.output_types) for spec, program in zip(specs, programs, strict=True)]
    for label, f, (spec, types) in zip(labels, functions, results, strict=True):
        first_spec, first_types = results[0]
        if spec != first_spec or [(t.shape, t.dtype) for t in types] != [(t.shape, t.dtype) for t in first_types]:
            described = [tree.describe(s, [t.long_name() for t in ts]) for s, ts in (results[0], (spec, types))]
            rows = [
                f"{which}, {describe_function(g)}, returns {text}{' (it has no `return`, perhaps)' if text == 'None' else ''}"
                for which, g, text in zip((labels[0], label), (functions[0], f), described, strict=True)
            ]
            raise teach(
                ArgumentTypeError,
                f"{name}: the branches return different types.",
                detail="\n".join(rows),
                do=likening(first_types, types) if spec == first_spec else "return the same tuples, lists, dicts and None in each branch.",
            )


def likening(first: Sequence[ArrayType], other: Sequence[ArrayType]) -> str:
    """The advice for branches whose results differ in their types."""
    a, b = next((a, b) for a, b in zip(first, other, strict=True) if (a.shape, a.dtype) != (b.shape, b.dtype))
    if a.shape != b.shape:
        return "return one shape in each branch: reduce the larger result, or fill one by cotan.numpy.full_like(y, value)."
    dtype = np.promote_types(a.dtype, b.dtype)
    return f"return one dtype in each branch: .astype('{dtype}'), and a Python number as {dtype.type(0).item()!r} is written."
