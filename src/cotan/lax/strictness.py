"""The calls of ops by functions of `cotan.lax`: no promotion; broadcasting of scalars only; Python scalars are weak.

The op itself refuses operands of different dtypes or shapes. A Python scalar (or a tracer of one) first takes the dtype of the other
operands, if its kind allows it: 2 takes any dtype of numbers, 2.0 floating and complex ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.errors import DtypeError, teach
from ..core.op import Op
from ..core.tracing import Tracer, type_of
from ..numpy.promotion import convert_to, operand, wrap

__all__ = ["agree", "apply", "elementwise", "finish"]

ORDER = "biufc"
TAKES = {"i": "iufc", "f": "fc", "c": "c"}


def agree(name: str, xs: Sequence[Any]) -> list[Any]:
    """Operands, with the weak ones converted to the dtype of the others.

    Raises
    ------
    DtypeError
        A Python float meets integers, or a Python complex number real ones.
    """
    operands = [operand(x) for x in xs]
    types = [type_of(x) for x in operands]
    strong = [t.dtype for t in types if not t.weak]
    dtype = strong[0] if strong else max((t.dtype for t in types), key=lambda d: ORDER.index(d.kind))
    for t in types:
        if t.weak and dtype.kind not in TAKES[t.dtype.kind]:
            raise teach(
                DtypeError,
                f"{name}: a Python {type(t.dtype.type(0).item()).__name__} with {dtype} operands.",
                do="the functions of cotan.lax do not promote: use cotan.numpy, or lax.convert_element_type first.",
            )
    return [convert_to(x, dtype, not strong) if t.weak else x for x, t in zip(operands, types, strict=True)]


def finish(y: Any) -> Any:
    """A result: a tracer unchanged, any other value as an `Array`."""
    return y if type(y) is Tracer else wrap(np.asarray(y))


def apply(op: Callable[..., Any], *operands: Any) -> Any:
    """``op`` of operands. An op checks types when it is traced; this checks them for untraced operands."""
    if isinstance(op, Op) and not any(type(x) is Tracer for x in operands):
        op.type_rule(*map(type_of, operands))
    return finish(op(*operands))


def elementwise(name: str, op: Callable[..., Any], arity: int, sentence: str = "") -> Callable[..., Any]:
    """The function ``name`` of an elementwise op."""

    def of_one(x: Any) -> Any:
        return apply(op, operand(x))

    def of_two(x: Any, y: Any) -> Any:
        return apply(op, *agree(name, (x, y)))

    call: Callable[..., Any] = of_one if arity == 1 else of_two

    call.__name__ = call.__qualname__ = name
    call.__module__ = "cotan.lax"
    kinds = "Operands of one dtype, and one shape or scalars." if arity > 1 else "Elementwise."
    call.__doc__ = f"{sentence or type(op).__doc__ or name}\n\n{kinds} The same op as in JAX's ``lax.{name}``.\n"
    return call
