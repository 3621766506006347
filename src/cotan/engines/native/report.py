"""The compilation report: the loop nests, the equations that are left to NumPy, memory and times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from cotan.core.printing import Printed
from cotan.core.program import Equation
from cotan.engines.native.codegen.copies import Copy
from cotan.engines.native.schedule.fusion import Schedule
from cotan.engines.native.schedule.loop_nest import Loop, Opaque, Statement

__all__ = ["Report", "describe", "nests_of"]


@dataclass(frozen=True, repr=False)
class Report(Printed):
    """How a Program became machine code.

    ``programs``: for each Program (the function, then the bodies of its loops and branches) its loops and the equations in them, as text;
    ``outside``: the equations that are callbacks into Python; ``workspace``: the bytes of memory that a call on as many
    threads as now uses beside its results; ``buffers``: the arrays that are in it, by type, with how many there are of each (they share its
    memory where they do not live at the same time); ``copies``: the large arrays that the code copies, and why; ``donated_argument_of``:
    for each result in the memory of a donated argument, both by number, the argument; ``donated``: the same by name; ``nests``: the
    equations of each loop nest of the function; ``llvm``: the LLVM IR before optimization; ``seconds``: the time of each stage.
    """

    name: str
    programs: tuple[str, ...]
    outside: tuple[str, ...]
    workspace: int
    llvm: str
    seconds: dict[str, float]
    buffers: dict[str, int] = field(default_factory=dict)
    copies: tuple[Copy, ...] = ()
    donated_argument_of: dict[int, int] = field(default_factory=dict)
    donated: dict[str, str] = field(default_factory=dict)
    nests: tuple[tuple[Equation, ...], ...] = ()

    def naming(self, results: Sequence[str], inputs: Sequence[str]) -> Report:
        """The report with names for results and inputs."""
        return replace(self, donated={results[k]: inputs[j] for k, j in self.donated_argument_of.items()})

    def __str__(self) -> str:
        times = ", ".join(f"{name} {1000 * t:.1f} ms" for name, t in self.seconds.items())
        outside = (
            ["outside of compiled code:", *[f"  {line}" for line in self.outside]]
            if self.outside
            else ["nothing is outside of compiled code"]
        )
        buffers = ", ".join(f"{name}{f' x {count}' if count > 1 else ''}" for name, count in self.buffers.items())
        workspace = f"workspace: {self.workspace} bytes{f' for {buffers}' if buffers else ''}"
        copies = ["copies:", *[f"  {copy}" for copy in self.copies]] if self.copies else []
        donated = [f"{result} lies in the memory of {given}" for result, given in self.donated.items()]
        return "\n".join([*self.programs, *outside, *copies, *donated, workspace, f"compiled in: {times}"])


def describe(schedule: Schedule) -> str:
    """The loop nests of a schedule and the equations in them, as text."""
    return "\n".join([f"{schedule.program.name}:", *lines(schedule.root, "  ")])


def lines(loop: Loop, indent: str) -> Iterator[str]:
    """The nodes of a loop, one in a line; adjacent statements are one line."""
    statements: list[str] = []
    for node in [*loop.body, None]:
        if type(node) is Statement:
            statements.append(node.equation.op.name + (f" -> {node.var.type}" if node.monoid else ""))
            continue
        if statements:
            yield f"{indent}{', '.join(statements)}"
            statements = []
        if type(node) is Loop:
            yield f"{indent}for {node.extent}{' (unrolled)' if node.unrolled else ''}:"
            yield from lines(node, indent + "  ")
        elif type(node) is Opaque:
            yield f"{indent}{node.equation.op}"


def nests_of(schedule: Schedule) -> tuple[tuple[Equation, ...], ...]:
    """The equations of each outermost loop of a schedule."""
    return tuple(tuple(equations_in(node)) for node in schedule.root.body if type(node) is Loop)


def equations_in(loop: Loop) -> Iterator[Equation]:
    for node in loop.body:
        if type(node) is Loop:
            yield from equations_in(node)
        else:
            yield node.equation
