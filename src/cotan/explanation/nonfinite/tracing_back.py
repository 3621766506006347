"""From a nan or an infinity in a result back to the equation, the argument or the constant where it began.

Which operand made an element of a result nonfinite is found by experiment, without knowledge of the op: the equation is run again with the
nonfinite elements of the operands replaced by finite ones, all but those on trial. An elementwise op is run at the one index.

In a loop, the trail jumps from a carry to the step since which this element has been what it is (nan, inf, -inf). So a trail through many
steps takes one pass through the loop, and for each further jump the steps from the nearest stored state.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ...core.program import Equation, Var
from .elements import Index, is_bad, is_elementwise, mask_of, pick
from .loop_states import States
from .watching import Interpreter, Loop, Once, Place, Run, place_of

__all__ = ["Arrival", "Constant", "Link", "Trail"]

FILLS = (1.0, 0.5)
"""Finite values that stand for nonfinite elements on trial: an op may have a singularity at one of them."""


class Link(NamedTuple):
    """An equation on the trail: a nonfinite element of one of its results, and its operands."""

    equation: Equation
    number: int
    output: int
    index: Index
    result: Any
    operands: list[Any]
    run: Run
    places: tuple[Place, ...]


class Arrival(NamedTuple):
    """The trail ends at an input of a program."""

    input: int
    index: Index


class Constant(NamedTuple):
    """The trail ends at a value that is written into the program, or captured by it."""

    value: Any
    index: Index


class Trail:
    """The links from a result back to its source, in this order."""

    def __init__(self, interpreter: Interpreter):
        self.interpreter = interpreter
        self.links: list[Link] = []
        self.places: list[Place] = []

    def back(self, run: Run, v: Any, index: Index) -> Arrival | Constant | None:
        """Follow element ``index`` of a value to where it comes from. None: to the last link."""
        while True:
            if type(v) is not Var:
                return Constant(run.value(v), index)
            if v in run.number:
                return Arrival(run.number[v], index)
            n, output = run.maker[v]
            equation = run.equations[n]
            operands = run.operands(equation)
            part = self.interpreter.unfold(equation, operands) if equation.op.holds_programs else None
            if part is None:
                self.links.append(Link(equation, n, output, index, pick(run.values[v], index), operands, run, tuple(self.places)))
                found = responsible(run, equation, operands, output, index)
                if found is None:
                    return None
                k, index = found
            else:
                through = self.through_once if isinstance(part, Once) else self.through_loop
                inner = through(part, equation, output, index)  # type: ignore[arg-type]
                if not isinstance(inner, Arrival):
                    return inner
                k, index = inner
            v = equation.inputs[k]

    def through_once(self, part: Once, equation: Equation, output: int, index: Index) -> Arrival | Constant | None:
        """Through a program that is run once, to an operand of the op."""
        self.places.append(place_of(part, equation))
        try:
            found = self.back(self.interpreter.run(part.program, part.arguments), part.program.outputs[output], index)
        finally:
            self.places.pop()
        if not isinstance(found, Arrival):
            return found
        source = part.sources[found.input]
        return Constant(part.arguments[found.input], found.index) if source is None else Arrival(source, found.index)

    def through_loop(self, part: Loop, equation: Equation, output: int, index: Index) -> Arrival | Constant | None:
        """Through the steps of a loop, to an operand of the op."""
        states = States(part.carry, partial(self.interpreter.steps, part, equation))
        if output < len(part.carry):
            return self.along(part, states, equation, states.count, output, index)
        assert part.steps is not None  # an entry of the ys: an output of that step
        return self.along(part, states, equation, part.steps.index(index[0]) + 1, output, index[1:])

    def along(self, part: Loop, states: States, equation: Equation, state: int, output: int, index: Index) -> Arrival | Constant | None:
        """Along a loop from an output of the step before a state to its beginning."""
        first, n = len(part.constants), len(part.carry)
        while True:
            if output < n:
                state = states.since(state, output, index)
                if state == 0:
                    return Arrival(part.sources[first + output], index)
            found = self.in_step(part, states, equation, state - 1, output, index)
            if not isinstance(found, Arrival):
                return found
            k, index = found
            if k < first:
                return Arrival(part.sources[k], index)
            if k >= first + n:
                break
            state, output = state - 1, k - first
        assert part.steps is not None
        i = part.steps[state - 1]
        if part.forward is not None and part.states is not None and k - first - n < len(part.forward.carry):
            assert part.forward.steps is not None
            return self.along(part.forward, part.states, equation, part.forward.steps.index(i), k - first - n, index)
        return Arrival(part.sources[k], (i, *index))

    def in_step(self, part: Loop, states: States, equation: Equation, number: int, output: int, index: Index) -> Arrival | Constant | None:
        """Through one step of a loop, from an output of its body to an input of it."""
        self.places.append(place_of(part, equation, number))
        try:
            run = self.interpreter.run(part.body, part.arguments(states.carry(number), number))
            return self.back(run, part.body.outputs[output], index)
        finally:
            self.places.pop()


# ---- which operand -------------------------------------------------------------------------------------------------------------
def responsible(run: Run, equation: Equation, operands: list[Any], output: int, index: Index) -> tuple[int, Index] | None:
    """The operand, and the element of it, that made an element of a result nonfinite; None if the operands did not.

    A nonfinite element that meets an elementwise op which would give a nonfinite result anyway (inf / 0) comes first, and is named.
    """
    result = run.values[equation.outputs[output]]
    suspects = [k for k, x in enumerate(operands) if is_bad(x)]
    if not suspects:
        return None
    single = is_elementwise(equation.op, operands, np.shape(result))
    at = [index if np.ndim(x) else () for x in operands]
    if single:
        trial = Trial(equation, [pick(x, i) for x, i in zip(operands, at, strict=True)], output, ())
        suspects = [k for k in suspects if is_bad(trial.operands[k])]
    else:
        trial = Trial(equation, operands, output, index)
    if not suspects or (not single and trial.fails({})):
        return None
    is_nan = bool(np.isnan(pick(result, index)))
    by_time = sorted(suspects, key=lambda k: (is_nan and not np.isnan(np.asarray(operands[k])).any(), run.first(equation.inputs[k])))
    k = by_time[0]
    if len(suspects) > 1:
        k = next((k for k in by_time if trial.fails({k: mask_of(trial.operands[k])})), k)
    return k, at[k] if single else trial.element(k)


class Trial:
    """Runs of an equation with some of the nonfinite elements of its operands replaced."""

    def __init__(self, equation: Equation, operands: list[Any], output: int, index: Index):
        self.equation, self.operands, self.output, self.index = equation, operands, output, index

    def fails(self, kept: dict[int, np.ndarray[Any, Any]]) -> bool:
        """Whether the element of the result is nonfinite if only the masked elements of the operands in ``kept`` are."""
        return all(self.fails_with(kept, fill) for fill in FILLS)

    def fails_with(self, kept: dict[int, np.ndarray[Any, Any]], fill: float) -> bool:
        op = self.equation.op
        operands = [replaced(x, kept.get(k), fill) if is_bad(x) else x for k, x in enumerate(self.operands)]
        try:
            results = op.impl(*operands)
        except Exception:  # an op, or code of the user, refuses the values
            return True
        return is_bad(pick(results[self.output] if op.multiple else results, self.index))

    def element(self, k: int) -> Index:
        """One element of operand ``k`` that alone makes the result nonfinite, by bisection; any if only several together do."""
        x = np.asarray(self.operands[k])
        places = np.flatnonzero(mask_of(x))
        if np.isnan(x).any() and (nans := np.flatnonzero(np.isnan(x))).size < places.size and self.fails({k: self.mask(x, nans)}):
            places = nans
        while places.size > 1:
            half = places[: (places.size + 1) // 2]
            other = places[half.size :]
            if self.fails({k: self.mask(x, half)}):
                places = half
            elif self.fails({k: self.mask(x, other)}):
                places = other
            else:
                break
        return tuple(map(int, np.unravel_index(places[0], x.shape)))

    @staticmethod
    def mask(x: np.ndarray[Any, Any], places: Any) -> np.ndarray[Any, Any]:
        mask = np.zeros(x.shape, bool)
        mask.reshape(-1)[places] = True
        return mask


def replaced(x: Any, kept: np.ndarray[Any, Any] | None, fill: float) -> Any:
    """A value whose nonfinite elements are ``fill``, but for those that are kept."""
    array = np.asarray(x)
    mask = mask_of(array) if kept is None else mask_of(array) & ~kept
    new = np.where(mask, np.asarray(fill, array.dtype), array)
    return new if array.ndim else new[()]
