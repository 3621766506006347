"""The report of `why_nan`, and its text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from ...core.origin import Origin
from ...core.printing import Printed
from .elements import Index

__all__ = ["NonFinite", "Operation"]

SHOWN = 6
"""The most operations of a list that the text shows."""
WIDTH = 80


@dataclass(frozen=True)
class Operation:
    """An operation whose result is nan or infinite.

    Attributes:
        name: the operation that ran: ``div``.
        of: the user's operation to which it belongs: it is ``div`` itself, or one of whose derivative ``div`` is a part: ``sqrt``.
        phase: "value", "derivative" (a local derivative), "tangent" (forward mode) or "backward" (reverse mode).
        origin: the user's line, an `Origin` with ``filename``, ``line``, ``source``; None if it is not known.
        index: of the element in the result.
        result: the element: nan or an infinity.
        operands: the elements of the operands at the index, of an elementwise operation; of others, the operands.
        elementwise: whether it is one.
        given: the operands of the user's operation at the index, where they are known and the operation that ran is another one.
        steps: the step of each loop, and the branch, in which it ran, from the outermost to the innermost.
        example: its indices in the batches of vmap.
        op: the op that ran, as a printed Program shows it: ``integer_pow[exponent=2]``.
        moves: whether it only moves elements.
    """

    name: str
    of: str
    phase: str
    origin: Origin | None = field(repr=False)
    index: Index
    result: Any
    operands: tuple[Any, ...]
    elementwise: bool
    given: tuple[Any, ...] = ()
    steps: tuple[str, ...] = ()
    example: Index = ()
    op: str = field(default="", repr=False)
    moves: bool = field(default=False, repr=False)

    @property
    def line(self) -> str:
        """``model.py:12``; empty if it is not known."""
        return str(self.origin) if self.origin is not None and self.origin.code is not None else ""

    @property
    def identity(self) -> tuple[Any, ...]:
        """What two operations have in common that users take for one."""
        return self.line, self.origin and self.origin.position, self.of, self.name, self.phase

    @property
    def title(self) -> str:
        """``the local derivative of sqrt``."""
        return TITLES[self.phase] + self.of

    @property
    def formula(self) -> str:
        """``div(0.5, 0.0) = inf``, or ``matmul, element [0]: nan``."""
        if self.elementwise:
            _, bracket, parameters = self.op.partition("[")
            return f"{self.name}{bracket}{parameters}({numbers(self.operands)}) = {number(self.result)}"
        return f"{self.name}, {place(self.index)}{number(self.result)}"

    @property
    def where(self) -> str:
        """The steps and examples; empty if there are none."""
        examples = [f"example {', '.join(map(str, self.example))} of vmap"] if self.example else []
        return ", ".join([*self.steps, *examples])


TITLES = {"value": "", "derivative": "the local derivative of ", "tangent": "the tangent of ", "backward": "the backward pass of "}


@dataclass(frozen=True, repr=False)
class NonFinite(Printed):
    """The answer of `why_nan`; ``str`` shows it as text.

    Attributes:
        function: the name of the function.
        found: whether a result is nan or infinite.
        result: the name and index of a nonfinite element of the results: ``result['w'][3]``.
        value: that element.
        source: the first operation on the way to it whose result is nonfinite. If the way begins at an infinite argument or constant, the
            first operation that made a nan of it; None if none did.
        argument: the name and index of the element of an argument at which the way begins, if it does: ``args[0]['w'][3]``;
            "a constant, element [3]" if it begins at one that the function holds.
        given: the value of that element.
        chain: the operations from the source to the result. After the source, those whose results are finite are left out.
        others: operations with other nonfinite values that reach a result.
        masked: operations with nonfinite values that reach no result: they do no harm.
        unexamined: operations with nonfinite values of which there are too many to find out.
        advice: what to do; empty if nothing is known.
    """

    function: str
    found: bool
    result: str = ""
    value: Any = None
    source: Operation | None = None
    argument: str = ""
    given: Any = None
    chain: tuple[Operation, ...] = field(default=(), repr=False)
    others: tuple[Operation, ...] = field(default=(), repr=False)
    masked: tuple[Operation, ...] = field(default=(), repr=False)
    unexamined: tuple[Operation, ...] = field(default=(), repr=False)
    advice: str = ""

    def __bool__(self) -> bool:
        return self.found

    def __str__(self) -> str:
        return "\n".join(lines_of(self))


# ---- text ------------------------------------------------------------------------------------------------------------------
def number(x: Any) -> str:
    """A number, or the type of an array."""
    x = np.asarray(x)
    return f"{x.item():.6g}" if x.ndim == 0 else f"{x.dtype}{list(x.shape)}"


def numbers(values: Sequence[Any]) -> str:
    return ", ".join(map(number, values))


def place(index: Index) -> str:
    return f"element {list(index)}: " if index else ""


def wrapped(text: str, indent: str = "  ") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_long_words=False)


def lines_of(report: NonFinite) -> Iterator[str]:
    """The lines of the text of a report."""
    if report.found:
        yield f"{report.function}: {report.result} is {number(report.value)}"
        yield from lines_of_source(report)
        if passed := chain_rows(report.chain[1:]):
            yield "  it reached the result through"
            yield from rows(passed)
        if report.advice:
            yield from wrapped(f"Do: {report.advice}")
    else:
        yield f"{report.function}: all results are finite"
    if report.others:
        yield "  also nonfinite:"
        yield from rows([row_of(o) for o in report.others])
    if report.masked:
        yield "  masked, harmless (no result depends on it):"
        yield from rows([row_of(o) for o in report.masked])
    if report.unexamined:
        yield "  nonfinite, and not examined, since there are many:"
        yield from rows([row_of(o) for o in report.unexamined])


def lines_of_source(report: NonFinite) -> Iterator[str]:
    """The lines that say where the way begins."""
    source, used = report.source, report.source or next(iter(report.chain), None)
    if report.argument:
        yield f"  it comes from {report.argument}, which is {number(report.given)}"
    if used is None:
        return
    how = "first nonfinite:" if not report.argument else "first used by" if source is None else "a nan was first made of it by"
    yield f"  {how} {used.title}"
    if used.line:
        assert used.origin is not None
        yield used.origin.excerpt()
    if source is None:
        return
    yield f"    {f'at {source.of}({numbers(source.given)}): ' if source.given else ''}{source.formula}"
    inner = source.index[len(source.example) :]
    where = [f"at index {list(inner)}"] if inner and source.elementwise else []
    where += [f"in {source.where}"] if source.where else []
    if where:
        yield from wrapped(", ".join(where), "    ")


def row_of(o: Operation) -> str:
    return f"{o.line or '?':<16} {o.title}: {o.formula}" + (f" ({o.where})" if o.where else "")


def chain_rows(chain: Sequence[Operation]) -> list[str]:
    """A row for each operation of the user on the way that computes; what moves elements is left out."""
    runs = [list(group) for _, group in groupby((o for o in chain if not o.moves), lambda o: (o.line, o.phase, o.of))]
    return [f"{run[-1].line or '?':<16} {run[-1].title}: {number(run[-1].result)}" for run in runs]


def rows(texts: list[str]) -> Iterator[str]:
    """Rows without repetitions; of many, the first and the last."""
    texts = list(dict.fromkeys(texts))
    if len(texts) > SHOWN:
        texts = [*texts[: SHOWN - 1], f"... {len(texts) - SHOWN} more", texts[-1]]
    for text in texts:
        yield from wrapped(text, "    ")
