"""`why_nan`: the operation from which a nan or an infinity in a result comes.

The function runs once while it is watched (`watching`). From a nonfinite result the trail is followed back (`tracing_back`). Other
nonfinite values are told apart by experiment: the recorded equations are run again, once with the nonfinite elements of all others
repaired where they are born, once with those of these equations. If neither changes which results are nonfinite, they are masked. Of many,
halves are tried, and halves of those that are not masked.

A trail that ends at a constant, such as the nan of ``where(isnan(y), nan, y)``, goes on to the value that chose it: the first one without
which the result would be finite.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ...api.arguments import boundary, check_callable, leaf, note_lists
from ...api.jit import Jitted
from ...api.signature import argument_names
from ...api.transformed import Transformed
from ...control.cond import Cond
from ...control.scan import Scan
from ...control.while_loop import While
from ...core import tree
from ...core.errors import ArgumentTypeError, teach
from ...core.origin import Origin, Source, describe_function, source_line
from ...core.program import Equation, Var
from ...core.staging import close
from ...core.tracing import EVAL, Tracer, running
from ...ops.failing import quiet
from ...ops.families import Add, Scale, Structural
from ...ops.gaps import GAPS_MET
from .advice import advice_for
from .elements import Index, is_bad, is_elementwise, mask_of, pick
from .report import NonFinite, Operation
from .tracing_back import Arrival, Constant, Link, Trail
from .watching import Birth, Interpreter, Place, Run, WatchTrace

__all__ = ["why_nan"]

EXPERIMENTS = 64
"""The most trials of whether nonfinite values reach a result, or are the cause."""
NEAR = 100
"""How many equations back the user's operation is looked for of which an equation is a derivative: a rule makes few."""


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
    idle = isinstance(p.equation.op, Cond) and p.equation.op.branches[0].name == "idle"
    if p.kind == "call" or idle or is_of_lanes(p):
        return None
    line = f" ({made.origin})" if made.origin is not None and made.origin.code is not None else ""
    return f"{p.kind} {p.number}{'' if p.of is None else f' of 0..{p.of - 1}'} of {made.name}{line}"


def is_of_lanes(p: Place) -> bool:
    """Whether it is a step of a loop over the examples of a batch, in another order or one by one, that take a branch (`control.lanes`)."""
    return p.kind == "step" and isinstance(lineage(p.equation).op, Cond)


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
    name, of = name_of(equation.op) if phase == "value" else equation.op.name, made.name
    if is_power(made):
        of, given = "power", (*given, 0.5) if given else ()
        if phase == "value":
            name, values = "power", (*values, 0.5) if single else values
    return Operation(
        name,
        of,
        phase,
        equation.origin,
        index,
        result,
        values,
        elementwise=single,
        given=given,
        steps=steps,
        example=() if any(map(is_of_lanes, places)) else index[: made.batches],
        op=str(equation.op),
        moves=equation.op.family == "movement",
    )


def is_power(made: Lineage) -> bool:
    """Whether a square root is a power in the user's line: ``x**0.5``."""
    if made.op.name != "sqrt" or made.origin is None or made.origin.code is None:
        return False
    line, _, column, end = made.origin.position
    try:
        written = ast.parse(source_line(made.origin.filename, line).encode()[column:end].decode(), mode="eval").body
    except (SyntaxError, ValueError):  # it takes several lines, or is no expression
        return False
    if isinstance(written, ast.Call):
        return "pow" in ast.unparse(written.func)
    return isinstance(written, ast.BinOp) and isinstance(written.op, ast.Pow)


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
    (It runs again if its derivative divides by the gap of equal eigenvalues: that may have a limit.)
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
    before = GAPS_MET[0]
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
                if GAPS_MET[0] != before and not any(map(is_bad, filter(is_number, tree.leaves(fun(*args, **kwargs))))):
                    return NonFinite(title_of(fun), False)  # it divides by a gap of equal values, and has a limit
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
    trail = Trail(Interpreter(trace.interpreter.forms))
    end = trail.back(run, outputs[k], index)
    argument, start = beginning(run, end, given)
    links = trail.links[::-1]
    first = 0
    if argument:  # the argument or constant is the cause; or the operation that made a nan of an infinity
        turns = [] if np.isnan(start) else [n for n, link in enumerate(links) if np.isnan(link.result)]
        first = turns[0] if turns else len(links)
    chain = with_examples(links[first:] or links)
    experiment = Experiment(run, outputs, trace.interpreter)
    advice = ""
    if isinstance(end, Constant):
        before = list(cause(births, None, experiment, k, index))
        if before:
            argument, start, chain, first = "", None, [*before, *chain], 0
        elif chosen := experiment.input(k, index):
            v, at = chosen
            argument, start = f"{given[v]}{list(at) if at else ''}", pick(run.values[v], at)
        elif trace.converted:
            advice = conversion_advice(*trace.converted[-1])
    elif first < len(links) and not argument:
        chain = [*cause(births, links[0], experiment, k, index), *chain]
    source = chain[0] if first < len(links) else None
    others, masked, unexamined = told_apart(births, {o.identity for o in chain}, experiment)
    return NonFinite(
        function,
        found=True,
        result=f"{names[k]}{list(index) if index else ''}",
        value=pick(y, index),
        source=source,
        argument=argument,
        given=start,
        chain=tuple(chain),
        others=others,
        masked=masked,
        unexamined=unexamined,
        advice=advice if source is None or advice else advice_for(source.of, source.phase, *advised(source)),
    )


def conversion_advice(conversion: str, origin: Origin) -> str:
    """What to do about a conversion after which Python or NumPy computed with plain numbers."""
    call = {"array": "a conversion to a NumPy array", "item": ".item()", "tolist": ".tolist()"}.get(conversion, f"{conversion}()")
    place = f" ({origin})" if origin.code is not None else ""
    return f"{call} of a traced value{place} gave plain numbers, and what is computed of these is not watched: leave it out."


def with_examples(links: Sequence[Link]) -> list[Operation]:
    """The operations of links. In a loop over the examples that take a branch, the example is that of the operation after the loop."""
    found: list[Operation] = []
    example: Index = ()
    for link in reversed(links):
        o = of_link(link)
        if any(map(is_of_lanes, link.places)):
            o = replace(o, example=example, index=(*example, *o.index[lineage(link.equation).batches :]))
        else:
            example = o.example
        found.append(o)
    return found[::-1]


def cause(births: Sequence[Birth], source: Link | None, experiment: Experiment, output: int, index: Index) -> Iterator[Operation]:
    """The first birth without which an element of an output would be finite, and nothing be born in ``source`` though that runs: the way
    from it goes through finite numbers, such as 1 / inf. If the source is a constant, the birth is why that was chosen.
    """
    known = None if source is None else of_link(source).identity
    for birth in births[: EXPERIMENTS // 4]:
        found = of_birth(birth)
        if source is not None and (birth.equation is source.equation or found.identity == known):
            return
        without, born, ran = experiment.without(birth.equation)
        made = None if source is None else id(source.equation.outputs)
        if without and not without[output][index] and (made is None or (made in ran and made not in born)):
            yield found
            return


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


def told_apart(births: Sequence[Birth], known: set[Any], experiment: Experiment) -> tuple[tuple[Operation, ...], ...]:
    """The births that reach a result, those that do not, and those that were not examined; without what is ``known``."""
    rest = [(b, o) for b, o in ((b, of_birth(b)) for b in births) if o.identity not in known]
    reach, harmless, left = set[int](), set[int](), EXPERIMENTS
    groups = [list(range(len(rest)))] if rest else []
    while groups and left:
        group, left = groups.pop(0), left - 1
        if experiment.is_harmless([rest[n][0].equation for n in group]):
            harmless.update(group)
        elif len(group) == 1:
            reach.update(group)
        else:
            groups += [group[: len(group) // 2], group[len(group) // 2 :]]
    unexamined = {n for group in groups for n in group}
    return tuple(tuple(o for n, (_, o) in enumerate(rest) if n in chosen) for chosen in (reach, harmless, unexamined))


class Repaired(NamedTuple):
    """A run in which equations are repaired."""

    bad: list[np.ndarray[Any, Any]]
    """Which elements of the outputs are nonfinite; empty if the run failed."""
    born: set[int]
    """The ids of the outputs of the equations in which something nonfinite is born."""
    ran: set[int]
    """The ids of the outputs of all equations that ran."""


class Experiment:
    """Runs of equations again, in which the nonfinite elements of some are repaired where they are born.

    ``actual`` is the interpreter of the actual run. On other values than those, a loop might not end.
    """

    def __init__(self, run: Run, outputs: Sequence[Any], actual: Interpreter):
        inputs = list(run.number)
        self.program, captured = close(run.equations, inputs, outputs)
        self.arguments = [*captured, *[run.values[v] for v in inputs]]
        self.limit, self.forms = 2 * actual.steps_taken + 1000, actual.forms
        self.actual = [mask_of(run.value(v)) for v in outputs]
        self.known: dict[int, Repaired] = {}
        self.inputs = inputs

    def bad(self, repair: Callable[[Equation], bool], arguments: Sequence[Any]) -> Repaired:
        """Which elements of the outputs are nonfinite if these equations are repaired; nothing if the run fails."""
        interpreter = Interpreter(self.forms, repair=repair, limit=self.limit)
        try:
            results = interpreter.evaluate(self.program, arguments)
        except Exception:  # an op, or code of the user, refuses the values
            return Repaired([], set(), set())
        return Repaired(list(map(mask_of, results)), interpreter.born, interpreter.ran)

    @cached_property
    def finite(self) -> list[Any]:
        """The arguments, repaired."""
        return list(map(repaired, self.arguments))

    @cached_property
    def healthy(self) -> list[np.ndarray[Any, Any]]:
        """Which are if all is repaired: infinite constants are not."""
        return self.bad(lambda e: True, self.finite).bad

    def without(self, equation: Equation) -> Repaired:
        """The result of `bad` if an equation is repaired."""
        made = equation.outputs  # closed, an equation is another object with the same outputs
        if id(made) not in self.known:
            self.known[id(made)] = self.bad(lambda e: e.outputs is made, self.arguments)
        return self.known[id(made)]

    def is_harmless(self, equations: Sequence[Equation]) -> bool:
        """Whether the results do not depend on the nonfinite elements of equations: neither if these alone have some, nor if they have
        none. If these runs fail, that is not known, and they count as harmful.
        """
        made = {id(e.outputs) for e in equations}
        without = self.without(equations[0]) if len(equations) == 1 else self.bad(lambda e: id(e.outputs) in made, self.arguments)
        return equal(without.bad, self.actual) and equal(self.bad(lambda e: id(e.outputs) not in made, self.finite).bad, self.healthy)

    def input(self, output: int, index: Index) -> tuple[Var, Index] | None:
        """The input, and the element of it, that makes an element of an output nonfinite, though all else is repaired: by bisection."""
        first = len(self.arguments) - len(self.inputs)
        for k, v in enumerate(self.inputs, first):
            x = np.asarray(self.arguments[k])
            places = np.flatnonzero(mask_of(x))
            if not places.size or not self.fails(k, x, places, output, index):
                continue
            while places.size > 1:
                half = places[: places.size // 2]
                places = half if self.fails(k, x, half, output, index) else places[half.size :]
            return v, tuple(map(int, np.unravel_index(places[0], x.shape)))
        return None

    def fails(self, k: int, x: np.ndarray[Any, Any], places: Any, output: int, index: Index) -> bool:
        """Whether an element of an output is nonfinite if these elements of argument ``k`` alone are."""
        kept = np.asarray(self.finite[k]).copy()
        kept.reshape(-1)[places] = x.reshape(-1)[places]
        arguments = [*self.finite]
        arguments[k] = kept[()]
        found = self.bad(lambda e: True, arguments).bad
        return bool(found) and bool(found[output][index])


def equal(some: list[np.ndarray[Any, Any]], others: list[np.ndarray[Any, Any]]) -> bool:
    return bool(some) and bool(others) and all(map(np.array_equal, some, others))


def repaired(x: Any) -> Any:
    return np.where(mask_of(x), np.asarray(1.0, np.asarray(x).dtype), x)[()] if is_bad(x) else x
