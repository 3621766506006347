"""`LinearSolve`: x with A x = b, by a solver that is not differentiated.

    x' = A^-1 (b' - A' x)            b_bar = A^-T x_bar

A, its transpose and both solvers are programs. Each has its own constants, the values that it closes over. The constants of a solver get no
derivative: A determines the dependence of x on them.

Source: Giles 2008, "An extended collection of matrix derivative results"; the interface is JAX's custom_linear_solve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

from ..core.errors import MissingRuleError, teach
from ..core.op import Region, op
from ..core.program import Program, evaluate
from ..core.staging import stage_flat
from ..core.tracing import type_of
from ..core.types import Type
from ..engines import numpy as engine
from ..ops.arithmetic import neg
from ..ops.families import add, zeros
from ..transforms.batch import batch_program
from ..transforms.transpose import transpose_program_rule
from .base import ControlOp, filled
from .call import Call, derived_program
from .stacks import copied, zeros_of

__all__ = ["LinearSolve", "Solver"]


@dataclass(frozen=True, eq=False)
class Solver:
    """A, as a program of (its constants, x); the solver, as a program of (its constants, b); and the number of constants of each."""

    matvec: Program
    solve: Program | None
    matvec_constants: int
    solve_constants: int


@op
class LinearSolve(ControlOp):
    """The solution x of A x = b, by a given solver.

    Operands: the constants of A, of its solver, of the transpose of A and of its solver; then b. Results: x, and the further results of the
    solver.
    """

    forward: Solver
    backward: Solver

    def __str__(self) -> str:
        return f"linear_solve[{self.forward.matvec.name}]"

    def regions(self) -> tuple[Region[Program], ...]:
        """The regions of A and of its transpose; each solver calls its matvec any number of times."""
        found: list[Region[Program]] = []
        ends = [0, *accumulate(self.sizes)]
        for k, program in enumerate((self.forward.matvec, self.forward.solve, self.backward.matvec, self.backward.solve)):
            if program is not None:
                found.append(Region(program, ends[k], self.sizes[k], trip_count=None))
        return tuple(found)

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        f, b = self.forward, self.backward
        return f.matvec_constants, f.solve_constants, b.matvec_constants, b.solve_constants

    @property
    def unknowns(self) -> int:
        return len(self.forward.matvec.outputs)

    def cut(self, values: Sequence[Any]) -> list[list[Any]]:
        """A list with an entry for each operand, cut in five."""
        ends = [0, *accumulate(self.sizes), len(values)]
        return [list(values[a:b]) for a, b in pairwise(ends)]

    def linear_sets(self, count: int) -> tuple[int, ...]:
        start = sum(self.sizes)
        return (((1 << count) - 1) & ~((1 << start) - 1),)

    def solver(self) -> Program:
        if self.forward.solve is None:
            raise teach(
                MissingRuleError,
                "custom_linear_solve: reverse mode solves with the transpose, and no transpose_solve was given.",
                do="pass transpose_solve (a function of (vecmat, b) as solve is of (matvec, b)), or symmetric=True.",
            )
        return self.forward.solve

    def type_rule(self, *types: Type) -> tuple[Type, ...]:
        return self.solver().output_types

    def impl(self, *operands: Any) -> Sequence[Any]:
        _, constants, _, _, b = self.cut(operands)
        return engine.run(self.solver(), [*constants, *b])

    def written_out(self, *operands: Any) -> Sequence[Any]:  # type: ignore[override]
        _, constants, _, _, b = self.cut(operands)
        return evaluate(self.solver(), *constants, *b)

    def linearize(self, primals: Sequence[Any], active: Sequence[bool]) -> tuple[Any, Any]:  # type: ignore[override]
        constants, _, _, _, b = self.cut(primals)
        results = self(*primals)
        n = self.unknowns
        x, extra = results[:n], results[n:]
        moving, _, _, _, b_moving = self.cut(active)

        def push(*tangents: Any) -> list[Any | None]:
            given = self.cut(filled(tangents, active))
            rights = [zeros(type_of(v)) if t is None else t for v, t in zip(b, given[4], strict=True)]
            if any(moving):
                dax = self.matvec_tangent(tuple(moving), constants, x, [t for t in given[0] if t is not None])
                rights = [r if d is None else add(r, neg(d)) for r, d in zip(rights, dax, strict=True)]
            return [*self(*primals[: sum(self.sizes)], *rights)[:n], *[None] * len(extra)]

        if not any(moving) and not any(b_moving):
            return results, lambda *_: [None] * len(results)
        return results, push

    def matvec_tangent(self, moving: tuple[bool, ...], constants: Sequence[Any], x: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
        """A' x, with A' from the tangents of the constants of A."""
        program = self.forward.matvec
        active = (*moving, *[False] * len(x))
        _, push = Call(program).linearize([*constants, *x], active)
        return push(*tangents)

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Any | None]:
        a, s, at, st, _ = self.cut(operands)
        flipped = LinearSolve(self.backward, self.forward)
        n = self.unknowns
        bars = [zeros_of(t) if bar is None else bar for bar, t in zip(y_bar[:n], self.type_rule()[:n], strict=True)]
        b_bar = flipped(*at, *st, *a, *s, *bars)[:n]
        return [*[None] * sum(self.sizes), *b_bar]

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, Any]:
        flags = tuple(batched)
        forward, backward, captured = derived_program(self.forward.matvec, (self, size, flags), lambda: self.batched(size, flags))
        parts = self.cut(operands)
        b = [x if f else copied(x, size) for x, f in zip(parts[4], self.cut(batched)[4], strict=True)]
        constants = [v for new, old in zip(captured, parts[:4], strict=True) for v in (*new, *old)]
        outs = LinearSolve(forward, backward)(*constants, *b)
        return outs, [True] * len(outs)

    def batched(self, size: int, flags: tuple[bool, ...]) -> tuple[Solver, Solver, list[list[Any]]]:
        """Both solvers on a batch, and the values that their programs captured."""
        of = self.cut(flags)
        captured: list[list[Any]] = []

        def program(p: Program | None, constants: list[bool]) -> Program | None:
            if p is None:
                captured.append([])
                return None
            count = len(p.inputs) - len(constants)
            result, _ = batch_program(p, size, (*constants, *[True] * count), all_outputs=True)
            captured.append(list(result.constants))
            return replace(result, constants=())

        every = (self.forward.matvec, self.forward.solve, self.backward.matvec, self.backward.solve)
        programs = [program(p, f) for p, f in zip(every, of, strict=False)]
        sizes = [len(c) + n for c, n in zip(captured, self.sizes, strict=True)]
        assert programs[0] is not None
        assert programs[2] is not None
        return Solver(programs[0], programs[1], sizes[0], sizes[1]), Solver(programs[2], programs[3], sizes[2], sizes[3]), captured


def transposed(matvec: Program, constants: int) -> Program:
    """The program of (constants, y) that applies the transpose of ``matvec``."""
    types = matvec.input_types

    def run(*values: Any) -> list[Any]:
        linear = [k >= constants for k in range(len(types))]
        bars = transpose_program_rule(matvec, linear, values[:constants], values[constants:])
        return [zeros(t) if bar is None else bar for bar, t in zip(bars, types[constants:], strict=True)]

    program, captured = stage_flat(run, [*types[:constants], *matvec.output_types], name=f"{matvec.name}_transpose")
    assert not captured
    return program
