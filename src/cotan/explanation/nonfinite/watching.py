"""A run that is watched: the function is staged while it runs, so that its equations have values, and nans and infinities are seen where
they are born.

A `WatchTrace` is a `StagingTrace` whose variables have values: Python code takes the course that it takes on these values. An op that holds
programs is unfolded: into the one program that it runs once (`Once`), or into a loop (`Loop`), whose steps are run by the same interpreter.

An element is *born* nonfinite where an equation makes it of finite operands: for an elementwise op, of the elements at its index.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ...control.call import Call, derived_program
from ...control.checkpoint import Checkpoint
from ...control.cond import Cond
from ...control.scan import Scan
from ...control.sweep import Sweep
from ...control.while_loop import While
from ...core.op import Op
from ...core.origin import Origin, evaluating, here
from ...core.outside import checked_impl
from ...core.program import Equation, Literal, Program, Var
from ...core.refusals import LOCALLY_CONSTANT
from ...core.stack import Stack
from ...core.staging import StagingTrace, stage_flat
from ...core.tracing import EVAL, Tracer, running, type_of
from ...core.types import ArrayType, StackType
from ...engines.flat import Step, flat_runner
from .elements import Index, is_bad, is_elementwise, mask_of, pick
from .loop_states import StateRows, States

__all__ = ["Birth", "Interpreter", "Loop", "Once", "Place", "Run", "WatchTrace", "place_of"]

FILL = 1.0


# ---- ops that hold programs ---------------------------------------------------------------------------------------------------
class Place(NamedTuple):
    """A part of the run of an op that holds programs: ``kind`` is step, iteration, branch or call, ``number`` its number."""

    kind: str
    number: int
    of: int | None
    equation: Equation


class Once(NamedTuple):
    """An op as a program that is run once. ``sources`` has the operand that each input is; None for a captured value."""

    program: Program
    arguments: list[Any]
    sources: list[int | None]
    branch: int | None = None


class Loop(NamedTuple):
    """An op as a loop: the inputs of the body are constants, carry and xs; ``steps`` are the indices of the xs, in order."""

    body: Program
    constants: list[Any]
    carry: list[Any]
    xs: list[Any]
    steps: range | None
    """None if a condition ends the loop, which then has no xs and no ys."""
    condition: Program | None
    sources: list[int]
    """The operand that each input of the body is, or is an entry of."""
    stacked: list[ArrayType | StackType]
    """The types of the ys."""
    forward: Loop | None = None
    """Of a loop back through the states of another one, whose carries are its first xs: that loop, and its states."""
    states: States | None = None

    def arguments(self, carry: Sequence[Any], number: int) -> list[Any]:
        """The arguments of the body in step ``number``."""
        if self.steps is None:
            return [*self.constants, *carry]
        i = self.steps[number]
        return [*self.constants, *carry, *[x[i] for x in self.xs]]


# ---- running -------------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Birth:
    """An equation that made a nan or an infinity of finite operands, where it first did."""

    equation: Equation
    output: int
    index: Index
    result: Any
    operands: list[Any]
    places: tuple[Place, ...]


class Run:
    """Equations with all their values. An input of an equation is a Var, a Literal, or (in an open run) a value."""

    def __init__(self, equations: Sequence[Equation], values: dict[Var, Any], inputs: Sequence[Var]):
        self.equations, self.values = equations, values
        self.number = {v: k for k, v in enumerate(inputs)}
        self.maker = {v: (n, k) for n, e in enumerate(equations) for k, v in enumerate(e.outputs)}
        self._first: dict[Var, float] | None = None

    def value(self, v: Any) -> Any:
        """The value of an input of an equation."""
        return self.values[v] if type(v) is Var else v.value if type(v) is Literal else v

    def operands(self, equation: Equation) -> list[Any]:
        return [self.value(v) for v in equation.inputs]

    def first(self, v: Any) -> float:
        """The number of the equation by which a nan or an infinity came first into the ancestry of a bad value: -1 for the inputs. Infinite
        constants are meant: they come last.
        """
        if type(v) is not Var:
            return -1.0 if np.isnan(np.asarray(self.value(v))).any() else np.inf
        if self._first is None:
            self._first = {}
            for n, e in enumerate(self.equations):
                bad = [y for y in e.outputs if is_bad(self.values[y])]
                if bad:
                    known = [self._first.get(x, -1.0) if type(x) is Var else self.first(x) for x in e.inputs if is_bad(self.value(x))]
                    self._first.update(dict.fromkeys(bad, min([n, *known])))
        return self._first.get(v, -1.0)


class Interpreter:
    """Runs equations by NumPy, and looks into ops that hold programs.

    It notes births, each equation once, in ``births``. If there is a ``repair``, it makes 1 of elements that are born nonfinite in those
    equations for which that is true; ``born`` has the ids of the outputs of the others, ``ran`` those of all that ran. It takes at most
    ``limit`` steps of loops.
    ``forms`` are those that another interpreter has made of ops: so the equations are the same ones.
    """

    def __init__(
        self,
        forms: dict[Any, Any] | None = None,
        *,
        watching: bool = False,
        repair: Callable[[Equation], bool] | None = None,
        limit: float = math.inf,
    ):
        self.steps_taken, self.limit = 0, limit
        self.examines, self.repair, self.watching = watching or repair is not None, repair, watching
        self.births: dict[int, Birth] = {}
        self.born: set[int] = set()
        self.ran: set[int] = set()
        self.places: list[Place] = []
        self.forms: dict[Any, Any] = {} if forms is None else forms
        self.compiled: dict[Program, Callable[[list[Any]], list[Any]]] = {}

    def unfold(self, equation: Equation, operands: Sequence[Any]) -> Once | Loop | None:
        """What an op runs on these operands; None if that cannot be looked into."""
        op = equation.op
        if isinstance(op, Scan):
            steps = op.steps(operands)
            constants, carry, xs = op.cut(operands)
            first = len(op.count(operands))
            types = [*map(op.stacked, op.body.output_types[op.carry :])]
            return Loop(op.body, constants, carry, rows(xs, steps), steps, None, [*range(first, len(operands))], types)
        if isinstance(op, While):
            n = op.constants
            return Loop(op.body, list(operands[:n]), list(operands[n:]), [], None, op.condition, [*range(len(operands))], [])
        if isinstance(op, Sweep):
            return self.way_back(op, equation, operands)
        if isinstance(op, Cond):
            k = int(operands[0])
            return Once(op.branches[k], list(operands[1:]), [*range(1, len(operands))], k)
        if isinstance(op, Call | Checkpoint):
            return Once(op.program, list(operands), [*range(len(operands))])
        form = op.written_out or op.expand
        if form is None:
            return None
        program, captured = self.form(equation, form, tuple(map(type_of, operands)))
        return Once(program, [*captured, *operands], [*[None] * len(captured), *range(len(operands))])

    def way_back(self, op: Sweep, equation: Equation, operands: Sequence[Any]) -> Loop:
        """The loop back through the states of a loop, which are not all stored."""
        of, numbers = op.cut(operands), op.cut(range(len(operands)))
        length = int(operands[0]) if op.length is None else op.length
        steps = range(length)[:: -1 if op.backwards else 1]
        xs, ws = rows(of.xs, steps), rows(of.ws, steps)
        sources = [*numbers.constants, *numbers.carry, *numbers.xs]
        forward = Loop(op.forward, of.constants, of.carry, xs, steps, None, sources, [])
        states = States(of.carry, partial(self.steps, forward, equation))
        _, body = derived_program(op.forward, ("states", op.backward, op.sizes), op.with_states)
        types = [*map(op.stacked, op.backward.output_types[len(of.sums) :])]
        before = [StateRows(states, steps, c) for c in range(len(of.carry))]
        sources = [*numbers.constants, *numbers.sums, *numbers.carry, *numbers.xs, *numbers.ws]
        return Loop(body, of.constants, of.sums, [*before, *xs, *ws], steps[::-1], None, sources, types, forward, states)

    def form(self, equation: Equation, form: Callable[..., Any], types: tuple[Any, ...]) -> tuple[Program, list[Any]]:
        """An op as a program of other ops, and the values that it captured; made once."""
        op = equation.op
        key = (id(op), types)
        if key not in self.forms:
            with evaluating(equation):
                self.forms[key] = (stage_flat(form, types, name=op.name), op)
        return self.forms[key][0]

    def results(self, equation: Equation, operands: Sequence[Any]) -> Sequence[Any]:
        """The results of an equation."""
        found = self.runner(equation)(*operands)
        return found if equation.op.multiple else (found,)

    def runner(self, equation: Equation) -> Callable[..., Any]:
        """``impl`` of the op of an equation, watched: the function of its operands."""
        op, multiple = equation.op, equation.op.multiple
        if op.effect and not equation.outputs and not self.watching:  # nobody sees a run that is only tried
            return lambda *_: ()
        impl = checked_impl(equation)
        if op.holds_programs:
            return lambda *operands: self.inside(equation, operands, impl)
        if not self.examines:
            return impl

        def run(*operands: Any) -> Any:
            found = impl(*operands)
            if any(map(is_bad, found)) if multiple else is_bad(found):
                results = self.examined(equation, operands, found if multiple else (found,))
                return results if multiple else results[0]
            return found

        return run

    def inside(self, equation: Equation, operands: Sequence[Any], impl: Callable[..., Any]) -> Sequence[Any]:
        """The results of an op that holds programs."""
        part = self.unfold(equation, operands)
        if part is not None:
            return self.once(part, equation) if isinstance(part, Once) else self.loop(part, equation)
        results = impl(*operands)
        if not equation.op.multiple:
            return results
        return self.examined(equation, operands, results) if self.examines and any(map(is_bad, results)) else results

    def examined(self, equation: Equation, operands: Sequence[Any], results: Sequence[Any]) -> Sequence[Any]:
        """Results of which some are bad: births are noted, or repaired."""
        if self.repair is None and id(equation) in self.births:
            return results
        born = [born_in(equation.op, operands, y) for y in results]
        if self.repair is None:
            for k, mask in enumerate(born):
                if mask is not None:
                    index = tuple(map(int, np.argwhere(mask)[0]))
                    self.births[id(equation)] = Birth(equation, k, index, pick(results[k], index), list(operands), tuple(self.places))
                    break
            return results
        if not self.repair(equation):
            if any(mask is not None for mask in born):
                self.born.add(id(equation.outputs))
            return results
        return [
            y if mask is None else np.where(mask, np.asarray(FILL, np.asarray(y).dtype), y)[()]
            for y, mask in zip(results, born, strict=True)
        ]

    def evaluate(self, program: Program, arguments: Sequence[Any]) -> list[Any]:
        """The outputs of a program; a value is given up after its last use."""
        run = self.compiled.get(program)
        if run is None:
            steps = [Step(self.runner(e), None, e.op.multiple, e.inputs, e.outputs, e.origin) for e in program.equations]
            run = self.compiled[program] = flat_runner(program, steps)
            self.ran.update(id(e.outputs) for e in program.equations)
        return run(list(arguments))

    def run(self, program: Program, arguments: Sequence[Any]) -> Run:
        """A program with all its values."""
        run = Run(program.equations, dict(zip(program.inputs, arguments, strict=True)), program.inputs)
        for equation in program.equations:
            run.values.update(zip(equation.outputs, self.results(equation, run.operands(equation)), strict=True))
        return run

    def once(self, part: Once, equation: Equation) -> list[Any]:
        """The results of an op that runs a program once."""
        self.places.append(place_of(part, equation))
        try:
            return self.evaluate(part.program, part.arguments)
        finally:
            self.places.pop()

    def loop(self, part: Loop, equation: Equation) -> list[Any]:
        """The results of a loop."""
        n, length = len(part.carry), 0 if part.steps is None else len(part.steps)
        ys: list[Any] = [np.empty(t.shape, t.dtype) if isinstance(t, ArrayType) else [None] * length for t in part.stacked]
        carry = part.carry
        for number, outs in self.steps(part, equation, part.carry, 0):
            carry = outs[:n]
            for y, value in zip(ys, outs[n:], strict=True):
                assert part.steps is not None
                y[part.steps[number]] = value
        return [*carry, *[Stack(t, y) if isinstance(t, StackType) else y for y, t in zip(ys, part.stacked, strict=True)]]

    def steps(self, part: Loop, equation: Equation, carry: list[Any], number: int) -> Iterator[tuple[int, list[Any]]]:
        """The steps of a loop from a number on, with the carry before that: their numbers, and the outputs of the body."""
        while number < len(part.steps) if part.steps is not None else self.goes_on(part, carry):
            self.places.append(place_of(part, equation, number))
            try:
                outs = self.evaluate(part.body, part.arguments(carry, number))
            finally:
                self.places.pop()
            self.steps_taken += 1
            if self.steps_taken > self.limit:
                raise TimeoutError("on these values a loop takes many more steps than in the actual run")
            yield number, outs
            carry, number = outs[: len(part.carry)], number + 1

    def goes_on(self, part: Loop, carry: Sequence[Any]) -> bool:
        assert part.condition is not None
        return bool(self.evaluate(part.condition, [*part.constants, *carry])[0])


def rows(xs: Sequence[Any], steps: range) -> list[Any]:
    """What loops scan over, so that index i gives the entry of a step."""
    return [x.rows(len(steps)) if type(x) is Stack else x for x in xs]


def place_of(part: Once | Loop, equation: Equation, number: int = 0) -> Place:
    """The place that an equation runs, with the number of the step of a loop."""
    if isinstance(part, Once):
        return Place("call", 0, None, equation) if part.branch is None else Place("branch", part.branch, None, equation)
    if part.steps is None:
        return Place("iteration", number, None, equation)
    return Place("step", part.steps[number], len(part.steps), equation)


def born_in(op: Op, operands: Sequence[Any], y: Any) -> np.ndarray[Any, Any] | None:
    """Which elements of a result are born nonfinite; None if there are none."""
    if type(y) is Stack or not is_bad(y):
        return None
    bad = [x for x in operands if is_bad(x)]
    if bad and not np.ndim(y):
        return None
    mask = mask_of(y)
    if bad and not is_elementwise(op, operands, mask.shape):
        return None
    for x in bad:
        mask = mask & ~mask_of(x)
    return mask if mask.any() else None


# ---- the trace -------------------------------------------------------------------------------------------------------------------
class WatchTrace(StagingTrace):
    """Records each op as an equation, and runs it."""

    __slots__ = ("converted", "interpreter", "values")

    def __init__(self, function: Any, interpreter: Interpreter):
        super().__init__("why_nan", function)
        self.interpreter = interpreter
        self.converted: list[tuple[str, Origin]] = []
        """The conversions of traced values to numbers and arrays, with which Python and NumPy compute unseen, and where they are."""
        self.values: dict[Var, Any] = {}

    def new_value(self, x: Any) -> Tracer:
        """A tracer of a value that is given."""
        tracer = self.new_input(type_of(x))
        self.values[tracer.payload] = x
        return tracer

    def value(self, v: Any) -> Any:
        return self.values[v] if type(v) is Var else v

    def process(self, op: Op, operands: Sequence[Any]) -> Sequence[Any]:  # type: ignore[override]
        tracers = super().process(op, operands)
        equation = self.equations[-1]
        with running(EVAL):
            results = self.interpreter.results(equation, [self.value(v) for v in equation.inputs])
        self.values.update(zip(equation.outputs, results, strict=True))
        return tracers

    def concrete(self, tracer: Tracer, conversion: str) -> Any:
        if conversion not in LOCALLY_CONSTANT:
            self.converted.append((conversion, here()))
        return np.asarray(self.values[tracer.payload])[()]
