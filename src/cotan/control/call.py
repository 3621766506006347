"""`Call`: a staged Program as one op. ``jit`` makes one when a jitted function runs under another transformation.

Its rules transform the Program and call the transformed one. Each transformed Program is made once, so the derivative of a jitted function
is again a jitted function.

    linearize   Call(primal)(x) -> y, r      then   Call(tangent)(r, x') -> y'
    transpose   Call(tangent)^T (r, y_bar) = Call(backward)(r, y_bar) -> x_bar
    batch       Call(program on a batch)

A rule may capture further arrays. They are the ``constants`` of the derived Program, and its first operands.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from itertools import compress
from typing import Any

import numpy as np

from ..core.errors import EqualValuesError
from ..core.formula import Formula, called
from ..core.op import Region, op
from ..core.origin import staged_anew
from ..core.program import Program, Var, evaluate
from ..core.staging import stage_flat
from ..core.types import ArrayType
from ..engines import NUMPY, Engine, runner
from ..engines import numpy as numpy_engine
from ..transforms.batch import batch_program
from ..transforms.jvp import jvp_flat
from ..transforms.linearize import linearize_program
from ..transforms.transpose import transpose_program_rule
from .base import ControlOp, filled, inputs_that_fail

__all__ = ["Call", "derived_program"]


def derived_program(program: Program, key: Hashable, make: Callable[[], Any]) -> Any:
    """The program that ``make()`` derives from ``program``: made once for each key, and cached as long as the program exists."""
    if staged_anew():
        return make()
    if key not in program.derived:
        program.derived[key] = make()
    return program.derived[key]


def plain(y: Any) -> Any:
    """A result in the form that rules compute with: a plain array or a number."""
    return y if not isinstance(y, np.ndarray) else np.asarray(y) if y.ndim else y[()]


@op
class Call(ControlOp):
    """Evaluate a Program. It is linear in the operands from number ``residuals`` on, if that is given."""

    program: Program
    residuals: int | None = None
    engine: Engine = NUMPY
    """The engine that runs the program on values, and the Programs derived from it."""

    def __str__(self) -> str:
        return f"call[{self.program.name}]"

    def formula(self, *operands: Formula) -> Formula:
        return called(self.program.name, *operands)

    def regions(self) -> tuple[Region[Program], ...]:
        return (Region(self.program, 0, len(self.program.inputs)),)

    def with_regions(self, programs: Sequence[Program], captured: int = 0) -> Call:
        (program,) = programs
        return replace(self, program=program, residuals=None if self.residuals is None else self.residuals + captured)

    def linear_sets(self, count: int) -> tuple[int, ...]:
        return () if self.residuals is None else (((1 << count) - 1) & ~((1 << self.residuals) - 1),)

    def type_rule(self, *types: ArrayType) -> tuple[ArrayType, ...]:
        return self.program.output_types

    def fails_on(self, *types: ArrayType) -> Sequence[int]:
        return [k for k, fails in enumerate(inputs_that_fail(self.program)) if fails]

    def impl(self, *operands: Any) -> Sequence[Any]:
        if self.engine.name == "numpy":
            return numpy_engine.run(self.program, operands)
        try:
            return [plain(y) for y in runner(self.engine)(self.program)(list(operands))]
        except EqualValuesError:  # the derivative may be a limit, which the whole call finds
            return numpy_engine.run(self.program, operands)

    def expand(self, *operands: Any) -> Sequence[Any]:
        return evaluate(self.program, *operands)

    written_out = expand

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        active = tuple(t is not None for t in tangents)

        def make() -> tuple[Program, list[bool]]:
            out_active: list[bool] = []
            count = len(active)

            def run(*values: Any) -> list[Any]:
                tangents = filled(values[count:], active)
                outs, douts = jvp_flat(lambda *x: evaluate(self.program, *x), values[:count], tangents)
                out_active.extend(dy is not None for dy in douts)
                return [*outs, *[dy for dy in douts if dy is not None]]

            types = [*self.program.input_types, *compress(self.program.input_types, active)]
            program, constants = stage_flat(run, types, name=f"{self.program.name}_jvp")
            return replace(program, constants=tuple(constants)), out_active

        program, out_active = derived_program(self.program, ("jvp", active), make)
        results = Call(program, None, self.engine)(*program.constants, *primals, *[t for t in tangents if t is not None])
        return results[: len(out_active)], filled(results[len(out_active) :], out_active)

    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> tuple[Any, Any]:  # type: ignore[override]
        flags = tuple(active)
        primal, tangent, out_active, count = derived_program(
            self.program, ("linearize", flags), lambda: linearize_program(self.program, flags)
        )
        results = Call(primal, None, self.engine)(*primal.constants, *primals)
        outs, residuals = results[: len(out_active)], results[len(out_active) :]

        def push(*tangents: Any) -> list[Any | None]:
            if not any(out_active):
                return [None] * len(out_active)
            return filled(Call(tangent, count, self.engine)(*residuals, *tangents), out_active)

        return outs, push

    def accumulates(self) -> Sequence[int]:  # type: ignore[override]
        """All operands: the Program may add to their cotangents."""
        return range(len(self.program.inputs))

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Any | None]:
        return self.transpose_onto(y_bar, {}, *operands)

    def transpose_onto(self, y_bar: Any, totals: dict[int, Any], *operands: Any) -> Sequence[Any | None]:  # type: ignore[override]
        linear = tuple(type(x) is Var for x in operands)
        given = tuple(c is not None for c in y_bar)
        onto = tuple(k in totals for k, is_linear in enumerate(linear) if is_linear)

        def make() -> tuple[Program, list[bool]]:
            nonzero: list[bool] = []

            def run(*values: Any) -> list[Any]:
                a, b = linear.count(False), linear.count(False) + sum(given)
                x_bars = transpose_program_rule(self.program, linear, values[:a], filled(values[a:b], given), filled(values[b:], onto))
                nonzero.extend(x is not None for x in x_bars)
                return [x for x in x_bars if x is not None]

            known_types = [t for t, is_linear in zip(self.program.input_types, linear, strict=True) if not is_linear]
            bar_types = [t for t, g in zip(self.program.output_types, given, strict=True) if g]
            total_types = [self.program.input_types[k] for k in sorted(totals)]
            program, constants = stage_flat(run, [*known_types, *bar_types, *total_types], name=f"{self.program.name}_transpose")
            return replace(program, constants=tuple(constants)), nonzero

        program, nonzero = derived_program(self.program, ("transpose", linear, given, onto), make)
        known = [*program.constants, *[x for x in operands if type(x) is not Var]]
        bars = [*[c for c in y_bar if c is not None], *[totals[k] for k in sorted(totals)]]
        results = filled(Call(program, len(known), self.engine)(*known, *bars), nonzero)
        return filled(results, linear)

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, Any]:
        flags = tuple(batched)
        program, out_flags = derived_program(self.program, ("batch", size, flags), lambda: batch_program(self.program, size, flags))
        residuals = None if self.residuals is None else self.residuals + len(program.constants)
        return Call(program, residuals, self.engine)(*program.constants, *operands), out_flags
