"""stage, eval_shape, closure_convert: functions as Programs, at the types of their arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core import tree
from ..core.origin import describe_function
from ..core.program import Program, evaluate
from ..core.staging import stage_flat
from ..core.tracing import Tracer
from ..ops.failing import quiet
from .arguments import boundary, check_callable, leaf, note_lists
from .differentiate import private_copy
from .signature import ShapeDtypeStruct, Signature, Staged, abstract
from .transformed import transformation

__all__ = ["closure_convert", "eval_shape", "stage", "stage_call"]


def stage_call(
    fun: Callable[..., Any], args: Any, kwargs: dict[str, Any], verb: str, name: str, signature: Signature, **values: Any
) -> Staged:
    """``fun(*args, **kwargs)`` staged at the types of ``signature``. Messages call the transformation ``verb``, the Program is ``name``;
    ``values`` are those of `stage_flat`.
    """
    found: dict[str, Any] = {}

    def flat(*leaves: Any) -> list[Any]:
        traced_args, traced_kwargs = signature.arguments(leaves)
        try:
            out = fun(*traced_args, **traced_kwargs)
        except (TypeError, AttributeError) as error:
            note_lists(error, {f"args[{k}]": x for k, x in enumerate(args)} | kwargs)
            raise
        results, found["spec"] = tree.flatten(out)
        return [leaf(y, f"the output of {describe_function(fun)}") for y in results]

    with quiet():
        program, constants = stage_flat(flat, signature.types, verb=verb, of=fun, name=name, **values)
    return Staged(program, constants, found["spec"])


def stage_arguments(
    fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], verb: str, decided: Callable[[], None] | None = None
) -> Staged:
    """``fun`` staged at the types of these arguments, none of which is static. With ``decided``, decisions of Python on values are taken at
    these arguments, if they have values, and ``decided`` is called where there are any.
    """
    check_callable(verb, fun)
    leaves, spec = tree.flatten((args, kwargs))
    signature = Signature(spec, tuple(abstract(x, "an argument") for x in leaves), ())
    named = getattr(fun, "func", fun)  # of a partial
    name = getattr(named, "__name__", type(named).__name__).replace("<lambda>", "lambda")
    if decided is None or any(isinstance(x, ShapeDtypeStruct) for x in leaves):
        return stage_call(fun, args, kwargs, verb, name, signature)
    return stage_call(fun, args, kwargs, verb, name, signature, given=leaves, decided=decided)


@transformation
def stage(fun: Callable[..., Any]) -> Callable[..., Program]:
    """``stage(f)(*args)`` is the Program of ``f`` at these arguments (arrays or `ShapeDtypeStruct`): JAX's make_jaxpr.

    The Program prints as typed text with source lines, and can be called on the flat leaves of the arguments.

    >>> import cotan, cotan.numpy as cnp
    >>> print(cotan.stage(lambda x: cnp.sin(x) * 2.0)(1.0).equations[0].op)
    sin
    """

    def staged(*args: Any, **kwargs: Any) -> Program:
        program, constants, *_ = stage_arguments(fun, args, kwargs, "stage")
        return Program(program.inputs, program.equations, program.outputs, tuple(map(private_copy, constants)), program.name)

    return staged


@boundary
def eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The shapes and dtypes of ``fun(*args)``, as a tree of `ShapeDtypeStruct`, without computing it. ``args`` as for `stage`."""
    staged = stage_arguments(fun, args, kwargs, "eval_shape")
    return tree.unflatten(staged.out_spec, [ShapeDtypeStruct(t.shape, t.dtype) for t in staged.program.output_types])


@boundary
def closure_convert(fun: Callable[..., Any], *example_args: Any) -> tuple[Callable[..., Any], list[Any]]:
    """``fun`` with the traced values that it closes over made explicit arguments.

    Returns:
        (converted, values) such that ``converted(*args, *values)`` is ``fun(*args)`` for args of the types of ``example_args``; the
        values are those closed-over values that are traced, and so may have a derivative.
    """
    program, constants, spec, _ = stage_arguments(fun, example_args, {}, "closure_convert")
    hoisted = [type(c) is Tracer for c in constants]
    values = [c for c, h in zip(constants, hoisted, strict=True) if h]

    def converted(*args: Any) -> Any:
        leaves = tree.leaves((args[: len(args) - len(values)], {}))
        given = iter(args[len(args) - len(values) :])
        operands = [next(given) if h else c for c, h in zip(constants, hoisted, strict=True)]
        return tree.unflatten(spec, evaluate(program, *operands, *leaves))

    return converted, values
