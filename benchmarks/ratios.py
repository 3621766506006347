"""What a gradient costs beside its value: the cheap-gradient principle bounds the ratio of their operations by four."""

from __future__ import annotations

import math
from functools import partial

import cotan
from benchmarks import adbench, learning, loops
from benchmarks.harness import Row, Table, compare
from benchmarks.loops import Program, cotan_names

VALUE, GRADIENT = "cotan.jit, value", "cotan.jit, gradient"


def row(program: Program) -> tuple[Row, float]:
    """One program's value and its gradient by the same arguments, and their ratio."""
    value = partial(program.f, cotan_names())
    functions = {VALUE: cotan.jit(value), GRADIENT: cotan.jit(cotan.grad(value, argnums=tuple(range(program.active))))}
    arguments = program.arguments
    cells = compare({name: partial(function, *arguments) for name, function in functions.items()}, seconds=1.0)
    of_value, of_gradient = cells[VALUE], cells[GRADIENT]
    assert isinstance(of_value, float)
    assert isinstance(of_gradient, float)
    return Row(program.label, cells, f"at most 5x; here {of_gradient / of_value:.2f}x"), of_gradient / of_value


def table() -> Table:
    """All programs with a gradient, and the geometric mean and the worst of the ratios."""
    rows = [row(program) for module in (loops, adbench, learning) for program in module.programs()]
    ratios = [ratio for _, ratio in rows]
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    summary = Row("all", {}, f"at most 4x in the mean, 5x at worst; here {mean:.2f}x and {max(ratios):.2f}x")
    return Table("ratios", "value and gradient", "us", [*(one for one, _ in rows), summary])
