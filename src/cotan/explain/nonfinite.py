"""`why_nan`: the operation from which a nan or an infinity in a result comes.

The function runs once while it is watched (`watching`). From a nonfinite result the trail is followed back (`tracing_back`). Other
nonfinite values are told apart by experiment: the recorded equations are run again, once with the nonfinite elements of all others
repaired where they are born, once with those of this equation. If neither changes which results are nonfinite, it is masked.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from ..api.arguments import boundary, check_callable, leaf, note_lists, quiet
from ..api.jit import Jitted
from ..api.signature import argument_names
from ..api.transformed import Transformed
from ..control.cond import Cond
from ..control.scan import Scan
from ..control.while_loop import While
from ..core import tree
from ..core.errors import ArgumentTypeError, teach
from ..core.origin import Origin, Source, describe_function
from ..core.program import Equation, Var
from ..core.staging import close
from ..core.tracing import EVAL, Tracer, running
from ..ops.families import Add, Scale, Structural
from .advice import advice_for
from .elements import Index, is_bad, is_elementwise, mask_of, pick
from .tracing_back import Arrival, Constant, Link, Trail
from .watching import Birth, Interpreter, Place, Run, WatchTrace

__all__ = ["NonFinite", "Operation", "why_nan"]

EXPERIMENTS = 8
"""The most equations beside the source of which it is tried whether they reach a result."""
NEAR = 100
"""How many equations back the user's operation is looked for of which an equation is a derivative: a rule makes few."""
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
        op: the op that ran.
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
    op: Any = field(default=None, repr=False)

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
            parameters = str(self.op).removeprefix(self.op.name)
            return f"{self.name}{parameters}({numbers(self.operands)}) = {number(self.result)}"
        return f"{self.name}, {place(self.index)}{number(self.result)}"

    @property
    def where(self) -> str:
        """The steps and examples; empty if there are none."""
        examples = [f"example {', '.join(map(str, self.example))} of vmap"] if self.example else []
        return ", ".join([*self.steps, *examples])


TITLES = {"value": "", "derivative": "the local derivative of ", "tangent": "the tangent of ", "backward": "the backward pass of "}


@dataclass(frozen=True)
class NonFinite:
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
        chain: the operations from the source to the result.
        others: operations with other nonfinite values that reach a result, or were not examined.
        masked: operations with nonfinite values that reach no result: they do no harm.
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
    runs = [list(group) for _, group in groupby((o for o in chain if o.op.family != "movement"), lambda o: (o.line, o.phase, o.of))]
    return [f"{run[-1].line or '?':<16} {run[-1].title}: {number(run[-1].result)}" for run in runs]


def rows(texts: list[str]) -> Iterator[str]:
    """Rows without repetitions; of many, the first and the last."""
    texts = list(dict.fromkeys(texts))
    if len(texts) > SHOWN:
        texts = [*texts[: SHOWN - 1], f"... {len(texts) - SHOWN} more", texts[-1]]
    for text in texts:
        yield from wrapped(text, "    ")


# ---- operations ------------------------------------------------------------------------------------------------------------
class Lineage(NamedTuple):
    """From which operation of the user an equation is derived, and how."""

    phase: str
    op: Any
    origin: Origin | None
    batches: int
    again: Source | None
    """Of an equation that may be this operation itself, run by its JVP rule, or a part of this rule: the application of the rule."""

    @property
    def name(self) -> str:
        """The name of the operation for users."""
        return name_of(self.op)


def lineage(equation: Equation) -> Lineage:
    """The rules that derived an equation, from the last to the first."""
    op, origin, phase, batches, again = equation.op, equation.origin, "value", 0, None
    while origin is not None and origin.rule is not None and origin.parent is not None:
        parent = origin.parent
        if origin.rule == "batch":
            batches += 1
        elif phase == "value":
            if origin.rule == "transpose" or type(parent.op) is not type(op):
                phase = "backward" if origin.rule == "transpose" else "derivative"
            elif again is None:
                again = parent
        op, origin = parent.op, parent.origin
    return Lineage(phase, op, origin, batches, again)


def name_of(op: Any) -> str:
    if getattr(op, "user_code", ""):
        return str(op.user_code)
    rules = getattr(op, "rules", None)
    if rules is not None:
        return str(rules.names.function)
    return "scan" if isinstance(op, Scan) else "while_loop" if isinstance(op, While) else str(getattr(op, "verb", op.name))


def step_text(p: Place) -> str | None:
    """``step 17 of 0..99 of scan (model.py:30)``; None for a place that the user has not made."""
    made = lineage(p.equation)
    line = f" ({made.origin})" if made.origin is not None and made.origin.code is not None else ""
    if p.kind == "call" or (isinstance(p.equation.op, Cond) and p.equation.op.branches[0].name == "idle"):
        return None
    return f"{p.kind} {p.number}{'' if p.of is None else f' of 0..{p.of - 1}'} of {made.name}{line}"


def operation(
    equation: Equation, index: Index, result: Any, operands: Sequence[Any], places: Sequence[Place], run: Run | None = None, n: int = 0
) -> Operation:
    """An equation with a nonfinite element, number ``n`` of a run, as users read it."""
    made = lineage(equation)
    phase = made.phase
    before = run.equations[max(0, n - NEAR) : n] if run is not None else ()
    if made.again is not None and any(lineage(e).again is made.again for e in before):
        phase = "derivative"
    if phase == "derivative":
        control = getattr(made.op, "holds_programs", False) and not hasattr(made.op, "rules")
        phase = "value" if control else "tangent" if isinstance(equation.op, Structural | Add | Scale) else "derivative"
    single = is_elementwise(equation.op, operands, getattr(equation.outputs[0].type, "shape", ()))
    values = tuple(pick(x, index if np.ndim(x) else ()) for x in operands) if single else tuple(operands)
    given = operands_of(run, before, made, index) if run is not None and phase == "derivative" else ()
    steps = tuple(text for text in map(step_text, places) if text is not None)
    name = name_of(equation.op) if phase == "value" else equation.op.name
    return Operation(
        name, made.name, phase, equation.origin, index, result, values, single, given, steps, index[: made.batches], equation.op
    )


def operands_of(run: Run, before: Sequence[Equation], made: Lineage, index: Index) -> tuple[Any, ...]:
    """The operands at an index of the user's operation of an equation, if it is elementwise and among the equations before."""
    for equation in reversed(before):
        if type(equation.op) is type(made.op) and equation.origin is not None:
            other = lineage(equation)
            if other.phase == "value" and same_place(other.origin, made.origin):
                operands = run.operands(equation)
                shape = np.shape(run.values[equation.outputs[0]])
                if is_elementwise(equation.op, operands, shape) and len(index) == len(shape) and all(map(int.__lt__, index, shape)):
                    return tuple(pick(x, index if np.ndim(x) else ()) for x in operands)
                return ()
    return ()


def same_place(a: Origin | None, b: Origin | None) -> bool:
    return a is not None and b is not None and a.code is b.code and a.offset == b.offset


def of_link(link: Link) -> Operation:
    return operation(link.equation, link.index, link.result, link.operands, link.places, link.run, link.number)


def of_birth(birth: Birth) -> Operation:
    return operation(birth.equation, birth.index, birth.result, birth.operands, birth.places)


# ---- the question --------------------------------------------------------------------------------------------------------------
@boundary
def why_nan(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> NonFinite:
    """Which operation made a nan or an infinity in the result of ``fun(*args, **kwargs)``.

    The function runs once, by NumPy, and each operation is watched: also those of its derivatives, in jitted functions, loops and branches.
    To ask about a gradient, give the function that computes it, ``cotan.grad(loss)``.

    Args:
        fun: a function of arrays (trees), jitted or not; its result is a tree of arrays.
        args, kwargs: its arguments.

    Returns:
        a `NonFinite`: the first operation, forward or backward, on the way to a nonfinite result; the user's line, the index, the operands,
        the step of a loop and the example of vmap; the way to the result; and the operations whose nonfinite values reach no result.

    >>> import cotan, cotan.numpy as cnp, numpy as np
    >>> report = cotan.why_nan(cotan.grad(lambda x: cnp.sum(cnp.sqrt(x))), np.array([4.0, 0.0]))
    >>> report.source.title, report.source.index, report.source.given
    ('the local derivative of sqrt', (1,), (np.float64(0.0),))
    >>> [o.formula for o in cotan.why_nan(lambda x: cnp.where(x > 0, cnp.log(x), 0.0), 0.0).masked]
    ['log(0) = -inf']
    """
    check_callable("why_nan", fun)
    interpreter = Interpreter(watching=True)
    trace = WatchTrace(fun, interpreter)
    leaves, spec = tree.flatten((args, kwargs))
    names = argument_names(spec)
    for x, name in zip(leaves, names, strict=True):
        if type(x) is Tracer:
            message = f"why_nan: {name} is traced by {x.owner.label}: it runs the function on numbers."
            raise teach(ArgumentTypeError, message, do="call why_nan outside of transformations, and give it the transformed function.")
    traced = [trace.new_value(leaf(x, name)) if is_number(x) else x for x, name in zip(leaves, names, strict=True)]
    given = {t.payload: name for t, name in zip(traced, names, strict=True) if type(t) is Tracer}
    positional, keyword = tree.unflatten(spec, traced)
    try:
        with quiet():
            try:
                with running(trace):
                    out = fun(*positional, **keyword)
            except (TypeError, AttributeError) as error:
                note_lists(error, {f"args[{k}]": x for k, x in enumerate(args)} | kwargs)
                raise
            results, out_spec = tree.flatten(out)
            found = zip(tree.leaf_names(out_spec, "result"), results, strict=True)
            outputs = {name: trace.operand(leaf(y, name)) for name, y in found if type(y) is Tracer or is_number(y)}
            with running(EVAL):
                return explained(title_of(fun), trace, given, list(outputs.values()), list(outputs))
    finally:
        trace.close()


def title_of(fun: Any) -> str:
    """``grad of loss (model.py:3)``."""
    words = ""
    while isinstance(fun, Transformed | Jitted):
        words += f"{fun.make.__name__ if isinstance(fun, Transformed) else 'jit'} of "
        fun = fun.args[0] if isinstance(fun, Transformed) and fun.args else fun.__wrapped__  # type: ignore[attr-defined]
    return words + describe_function(fun)


def is_number(x: Any) -> bool:
    """Whether an argument is traced: an array, or a number that may be nan. Integers keep the value that Python code may want."""
    return isinstance(x, np.ndarray | float | complex | np.inexact)


def explained(function: str, trace: WatchTrace, given: dict[Var, str], outputs: list[Any], names: list[str]) -> NonFinite:
    """The report on a watched run."""
    run = Run(trace.equations, trace.values, list(given))
    births = list(trace.interpreter.births.values())
    bad = [k for k, v in enumerate(outputs) if is_bad(run.value(v))]
    if not bad:
        return NonFinite(function, False, masked=tuple(map(of_birth, births)))
    k = min(bad, key=lambda k: (not np.isnan(np.asarray(run.value(outputs[k]))).any(), run.first(outputs[k])))
    y = np.asarray(run.value(outputs[k]))
    index = tuple(map(int, np.argwhere(np.isnan(y) if np.isnan(y).any() else mask_of(y))[0]))
    trail = Trail(Interpreter())
    argument, start = beginning(run, trail.back(run, outputs[k], index), given)
    links = trail.links[::-1]
    first = 0
    if argument:  # the argument or constant is the cause; or the operation that made a nan of an infinity
        turns = [] if np.isnan(start) else [n for n, link in enumerate(links) if np.isnan(link.result)]
        first = turns[0] if turns else len(links)
    source = of_link(links[first]) if first < len(links) else None
    chain = tuple(map(of_link, links[first:] if source is not None else links))
    others, masked = told_apart(run, births, source and links[first].equation, outputs, {o.identity for o in chain})
    return NonFinite(
        function,
        found=True,
        result=f"{names[k]}{list(index) if index else ''}",
        value=pick(y, index),
        source=source,
        argument=argument,
        given=start,
        chain=chain,
        others=others,
        masked=masked,
        advice="" if source is None else advice_for(source.of, source.phase, *advised(source)),
    )


def beginning(run: Run, end: Arrival | Constant | None, given: dict[Var, str]) -> tuple[str, Any]:
    """The name and the value of the argument or constant at which a trail ends; an empty name if it ends at an operation."""
    if end is None:
        return "", None
    if isinstance(end, Constant):
        return f"a constant{f', element {list(end.index)}' if end.index else ''}", pick(end.value, end.index)
    v, name = list(given.items())[end.input]
    return f"{name}{list(end.index) if end.index else ''}", pick(run.values[v], end.index)


def advised(o: Operation) -> tuple[Sequence[Any], bool]:
    """The operands of the user's operation at the index, or the whole ones."""
    if o.phase == "value":
        return o.operands, not o.elementwise
    return o.given, False


def told_apart(
    run: Run, births: Sequence[Birth], source: Equation | None, outputs: Sequence[Any], known: set[Any]
) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
    """The births that reach a result, or were not examined, and those that do not; without the source and what is ``known``."""
    rest = [(b, o) for b, o in ((b, of_birth(b)) for b in births) if b.equation is not source and o.identity not in known]
    others: list[Operation] = []
    masked: list[Operation] = []
    if not rest:
        return (), ()
    experiment = Experiment(run, outputs)
    for number, (birth, o) in enumerate(rest):
        (masked if number < EXPERIMENTS and experiment.is_harmless(birth.equation) else others).append(o)
    return tuple(others), tuple(masked)


class Experiment:
    """Runs of equations again, in which the nonfinite elements of some are repaired where they are born."""

    def __init__(self, run: Run, outputs: Sequence[Any]):
        inputs = list(run.number)
        self.program, captured = close(run.equations, inputs, outputs)
        self.arguments = [*captured, *[run.values[v] for v in inputs]]
        self.healthy, self.actual = self.bad(lambda e: True, inputs=True), self.bad(lambda e: False)

    def bad(self, repair: Callable[[Equation], bool], *, inputs: bool = False) -> list[bytes]:
        """Which elements of the outputs are nonfinite if these equations are repaired, and the inputs too."""
        arguments = list(map(repaired, self.arguments)) if inputs else self.arguments
        return [mask_of(y).tobytes() for y in Interpreter(repair=repair).evaluate(self.program, arguments)]

    def is_harmless(self, equation: Equation) -> bool:
        """Whether the results do not depend on the nonfinite elements of an equation: neither if it alone has some, nor if it has none."""
        made = equation.outputs  # closed, an equation is another object with the same outputs
        alone, without = self.bad(lambda e: e.outputs is not made, inputs=True), self.bad(lambda e: e.outputs is made)
        return alone == self.healthy and without == self.actual


def repaired(x: Any) -> Any:
    return np.where(mask_of(x), np.asarray(1.0, np.asarray(x).dtype), x)[()] if is_bad(x) else x
