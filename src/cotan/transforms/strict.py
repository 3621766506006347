"""Strict differentiation raises an error where a derivative is a convention and not a limit.

The method ``singular(*primals)`` of an op returns a mask of such points. The traces here call it on the values behind the primals, before
each op is differentiated. Ops that hold programs are inlined, so that the ops inside are checked too. A custom rule is the user's
definition of the derivative, and is accepted unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import compress
from typing import Any, NoReturn

import numpy as np

from ..core.errors import ArgumentError, SingularPointError, teach
from ..core.op import Op
from ..core.tracing import Tracer, running, type_of
from .batch import BatchTrace
from .jvp import JVPTrace
from .linearize import LinearizeTrace

__all__ = ["StrictJVPTrace", "StrictLinearizeTrace"]


def value_of(x: Any, op: Op) -> Any:
    """The number or array behind ``x``, which may be under differentiation or vmap (then of the whole batch)."""
    while type(x) is Tracer:
        if isinstance(x.owner, BatchTrace):
            x = x.payload
        elif isinstance(x.owner, JVPTrace):
            x = x.payload[0]
        else:
            raise teach(
                ArgumentError,
                f"strict=True looks at values, and {op.verb} has none here: the function is being traced by {x.owner.label}.",
                do="take the strict derivative outside jit.",
            )
    return x


def check(op: Op, primals: Sequence[Any], active: Sequence[bool]) -> None:
    """Refuse an op at a point where its derivative in an active operand is a convention."""
    if op.singular is None:
        return
    with np.errstate(all="ignore"):
        mask = mask_of(op, [value_of(x, op) for x in primals], [type_of(x).ndim for x in primals], active)
    if mask.any():
        refuse(op, primals, mask)


def mask_of(op: Op, values: Sequence[Any], ndims: Sequence[int], active: Sequence[bool]) -> np.ndarray[Any, Any]:
    """Where ``op`` is singular. Values with more axes than ``ndims`` have batch axes in front, and are checked one example at a time."""
    assert op.singular is not None
    size = max((len(v) for v, ndim in zip(values, ndims, strict=True) if np.ndim(v) > ndim), default=None)
    if size is None:
        found = op.singular(*values)
        return np.asarray(reduce(np.logical_or, compress(found, active)) if isinstance(found, tuple) else found)
    rows = [[v[k] if np.ndim(v) > ndim else v for v, ndim in zip(values, ndims, strict=True)] for k in range(size)]
    return np.asarray([mask_of(op, row, ndims, active) for row in rows])


def refuse(op: Op, primals: Sequence[Any], mask: np.ndarray[Any, Any]) -> NoReturn:
    where = tuple(map(int, np.argwhere(mask)[0]))
    count = int(mask.sum())
    place = f"at {count} of {mask.size} elements, first at index {where if len(where) != 1 else where[0]}" if mask.ndim else "at this point"
    raise teach(
        SingularPointError,
        f"{op.verb} has no derivative {place}.",
        detail=f"{op.verb} of {', '.join(type_of(x).long_name() for x in primals)}",
        do="move the point, or the formula, away from the singularity; without strict=True the derivative is the one that "
        "docs/conventions.md gives.",
    )


class Strict(JVPTrace):
    """The base of both traces: check first, and inline ops that hold programs."""

    __slots__ = ()

    def differentiate(self, op: Op, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
        if op.holds_programs and op.expand is not None:
            chosen = op.chosen([value_of(x, op) for x in primals]) if op.chosen is not None else op.expand
            if chosen is not None:
                with running(self):
                    outs = chosen(*[self.join(x, t) for x, t in zip(primals, tangents, strict=True)])
                pairs = [self.split(y) for y in outs]
                return [y for y, _ in pairs], [t for _, t in pairs]
        check(op, primals, [t is not None for t in tangents])
        return super().differentiate(op, primals, tangents)


class StrictJVPTrace(Strict):
    """Forward mode that raises at singular points."""

    __slots__ = ()


class StrictLinearizeTrace(Strict, LinearizeTrace):
    """Linearize that raises at singular points."""

    __slots__ = ()
