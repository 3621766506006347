"""`Strips`: a Program along a long axis, run on some rows at a time.

    body(constants, totals, rows of the xs) -> (totals, rows of the ys)          strip after strip; the totals begin with zeros

`strip_mining` and `batched_loops` make these ops, and `codegen.control.strip_mined` writes them; nobody else sees one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cotan.core.op import Op, Region
from cotan.core.program import Program
from cotan.core.types import ArrayType
from cotan.engines import numpy as engine

__all__ = ["Strips"]


@dataclass(repr=False, eq=False)
class Strips(Op):
    """Operands: the constants, then the xs; results: the totals, then the ys. ``rest`` is the body on the rows that are left over."""

    body: Program
    rest: Program | None
    size: int
    strip: int
    constants: int
    totals: int
    x_axes: tuple[int, ...]
    y_axes: tuple[int, ...]
    name = verb = "strips"
    multiple = True
    holds_programs = True
    compare_by_value = False
    parameter_names = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        """Identity, as of all ops that hold programs."""
        return self is other

    def __str__(self) -> str:
        return f"strips[{self.strip} of {self.size} rows]"

    def regions(self) -> tuple[Region[Program], ...]:
        """The totals begin with zeros, which are no operands."""
        totals = range(self.constants, self.constants + self.totals)
        body = Region(self.body, 0, self.constants, totals, self.size // self.strip)
        return (body,) if self.rest is None else (body, Region(self.rest, 0, self.constants, totals))

    def type_rule(self, *types: ArrayType) -> tuple[ArrayType, ...]:
        outs = self.body.output_types
        return (*outs[: self.totals], *[longer(t, k, self.size) for t, k in zip(outs[self.totals :], self.y_axes, strict=True)])

    def impl(self, *operands: Any) -> Sequence[Any]:
        constants, xs = operands[: self.constants], operands[self.constants :]
        types = self.type_rule()
        totals: list[np.ndarray] = [np.zeros(t.shape, t.dtype) for t in types[: self.totals]]
        parts: list[list[np.ndarray]] = [[] for _ in self.y_axes]
        for first in range(0, self.size, self.strip):
            end = min(first + self.strip, self.size)
            body = self.body if end - first == self.strip else self.rest
            assert body is not None
            rows = [np.moveaxis(np.moveaxis(x, k, 0)[first:end], 0, k) for x, k in zip(xs, self.x_axes, strict=True)]
            outs = engine.compiled(body)([*constants, *totals, *rows])
            totals = outs[: self.totals]
            for part, y in zip(parts, outs[self.totals :], strict=True):
                part.append(y)
        return (*totals, *[np.concatenate(part, k) for part, k in zip(parts, self.y_axes, strict=True)])


def longer(t: ArrayType, axis: int, size: int) -> ArrayType:
    """A type with so many rows."""
    return t.with_shape((*t.shape[:axis], size, *t.shape[axis + 1 :]))
