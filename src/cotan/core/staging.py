"""Staging: running a function once on types records it as a Program.

The trace keeps its equations *open* while it records: an input is a Var of this trace or any other value, concrete or a tracer of an
outer trace. `finish` closes them: scalars become literals, other foreign values become leading inputs, and their values are returned too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import Any, NoReturn

import numpy as np

from .borrowing import borrow, give_back
from .collecting import no_collection
from .errors import IntegerRangeError, teach
from .op import Op
from .origin import here, inner_function
from .program import Equation, Literal, Program, Var, is_kept
from .refusals import LOCALLY_CONSTANT, arguments_of, refuse_escaped
from .sizes import Size
from .stack import Stack
from .tracing import EVAL, Trace, Tracer, concrete_zero, running, type_of
from .types import ArrayType

__all__ = ["StagingTrace", "close", "stage_flat"]


STATIC = (
    "make {names} static: jit({function}, static_argnames={written})",
    "make what it depends on an argument of its own, and static: jit({function}, static_argnames=...)",
)
BOUND = (
    "bind {names} before: functools.partial({function}, {bound})",
    "bind what it depends on before: functools.partial({function}, ...)",
)
WAYS = {"jit": STATIC, "stage": BOUND, "checkpoint": BOUND}
"""How an argument becomes a plain value where a function is staged by a call of this name: if its name is known, and if not."""


class StagingTrace(Trace):
    """Records each op as an equation. The payload of its tracers is a Var.

    Where the values of the inputs are ``given``, a decision of Python on a value (``if x > 0``) is taken at these: the Program is the
    course of the function there.
    """

    __slots__ = ("borrowed", "equations", "evaluated", "examined", "given", "zeros")

    def __init__(self, verb: str, function: Any = None):
        super().__init__(verb, function, recording=True)
        self.equations: list[Equation] = []
        self.borrowed: dict[int, np.ndarray[Any, Any]] = {}
        self.zeros: set[Var] = set()  # the Vars known to be zero, of the first `examined` equations
        self.examined = 0
        self.given: dict[Any, Any] | None = None
        self.evaluated: int | None = None
        """The number of equations whose values are known; None until one is asked for."""

    def new_input(self, type: ArrayType) -> Tracer:
        return Tracer(self, Var(type))

    def type_of(self, payload: Var) -> ArrayType:
        return payload.type

    def operand(self, value: Any) -> Any:
        """The input of an equation for ``value``: the Var of our own tracer, any other value as it is; an array is borrowed."""
        if type(value) is Tracer:
            if value.owner is self:
                return value.payload
            if value.owner.closed:
                refuse_escaped(value, value.owner.label)
        elif isinstance(value, np.ndarray):
            borrow(value, self.borrowed)
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            refuse_large_integer(value)
        return value

    def made_static(self, tracer: Tracer, frames: Iterable[FrameType]) -> str:
        """Only numbers can be static; an argument is named where the function still has it under its name."""
        if self.verb not in WAYS:
            return ""
        sources = self.sources(tracer.payload)
        if any(v.type.shape for v in sources):
            return ""
        arguments = arguments_of(self.function, frames)
        names = [n for n, x in arguments.items() if type(x) is Tracer and x.owner is self and x.payload in sources]
        name = getattr(inner_function(self.function), "__name__", "f").replace("<lambda>", "f")
        known, unknown = WAYS[self.verb]
        if not names or len(names) < len(sources):
            return unknown.format(function=name)
        written = repr(names[0]) if len(names) == 1 else tuple(names)
        bound = ", ".join(f"{n}=..." for n in names)
        return known.format(function=name, names=" and ".join(names), written=written, bound=bound)

    def sources(self, value: Var) -> set[Var]:
        """The inputs on which ``value`` depends."""
        defining = {v: equation for equation in self.equations for v in equation.outputs}
        seen, waiting = {value}, [value]
        while waiting:
            equation = defining.get(waiting.pop())
            for v in equation.inputs if equation is not None else ():
                if type(v) is Var and v not in seen:
                    seen.add(v)
                    waiting.append(v)
        return {v for v in seen if v not in defining}

    def close(self) -> None:
        super().close()
        if self.borrowed:
            give_back(self.borrowed)

    def process(self, op: Op, operands: Sequence[Any]) -> Sequence[Any]:
        inputs: list[Any] = []
        types: list[ArrayType] = []
        for x in operands:
            if type(x) is Tracer and x.owner is self:  # most often
                x = x.payload
                types.append(x.type)
            else:
                x = self.operand(x)
                types.append(type_of(x))
            inputs.append(x)
        result = op.type_rule(*types)
        if op.multiple:
            outputs = [Var(t) for t in result]
            self.equations.append(Equation(op, inputs, outputs, here()))
            return [Tracer(self, v) for v in outputs]
        v = Var(result)
        self.equations.append(Equation(op, inputs, [v], here()))
        return [Tracer(self, v)]

    def concrete(self, tracer: Tracer, conversion: str) -> Any:
        if self.given is None or not (conversion in LOCALLY_CONSTANT or tracer.dtype.kind in "biu"):
            return super().concrete(tracer, conversion)
        values, first = self.given, self.evaluated or 0
        self.evaluated = len(self.equations)

        def known(x: Any) -> Any:
            value = values.get(x, x) if type(x) is Var else x
            return value.owner.concrete(value, conversion) if type(value) is Tracer else value

        with running(EVAL):
            for e in self.equations[first:]:
                if not is_kept(e.op):
                    values.update(zip(e.outputs, EVAL.process(e.op, [known(x) for x in e.inputs]), strict=True))
            return known(tracer.payload)

    def is_zero(self, payload: Var) -> bool:
        """A Var is known to be zero if it comes by an op from operands that are zero, and in which that op is linear (together)."""
        while self.examined < len(self.equations):
            equation = self.equations[self.examined]
            self.examined += 1
            sets = equation.op.linear_sets(len(equation.inputs))
            if sets:
                zero = [v in self.zeros if type(v) is Var else concrete_zero(v) for v in equation.inputs]
                mask = sum(1 << k for k, flag in enumerate(zero) if flag)
                if any(members and members & ~mask == 0 for members in sets):
                    self.zeros.update(equation.outputs)
        return payload in self.zeros

    def finish(self, inputs: Sequence[Var], outputs: Sequence[Any], name: str = "program") -> tuple[Program, list[Any]]:
        """Close the recorded equations: the Program over (captured constants, inputs), and the values of these constants."""
        program, constants = close(self.equations, inputs, [self.operand(x) for x in outputs], name)
        self.close()
        return program, constants


def close(equations: Sequence[Equation], inputs: Sequence[Var], outputs: Sequence[Any], name: str = "program") -> tuple[Program, list[Any]]:
    """Close open equations: foreign scalars become literals, other foreign values leading inputs. Equations that nothing reads, and that
    need not be kept, are dropped.
    """
    needed: set[Var] = {v for v in outputs if type(v) is Var}
    kept: list[Equation] = []
    for equation in reversed(equations):
        if not needed.isdisjoint(equation.outputs) or is_kept(equation.op):
            kept.append(equation)
            needed.update([v for v in equation.inputs if type(v) is Var])
    kept.reverse()

    captured: dict[int, tuple[Any, Var]] = {}

    def closed(value: Any) -> Var | Literal:
        if type(value) is Var or type(value) is Literal:
            return value
        if type(value) is Size:
            return Literal(value)
        if type(value) is not Tracer and type(value) is not Stack and np.ndim(value) == 0:
            return Literal(value[()] if isinstance(value, np.ndarray) else value)  # not the user's array, which may change
        if id(value) not in captured:
            captured[id(value)] = (value, Var(type_of(value)))
        return captured[id(value)][1]

    final: list[Equation] = []
    for e in kept:
        for v in e.inputs:
            if type(v) is not Var:
                final.append(Equation(e.op, [closed(v) for v in e.inputs], e.outputs, e.origin))
                break
        else:  # most often: it is closed
            final.append(e)
    results = [closed(v) for v in outputs]
    program = Program([v for _, v in captured.values()] + list(inputs), final, results, (), name)
    return program, [value for value, _ in captured.values()]


def refuse_large_integer(n: int) -> NoReturn:
    """Raise: a Python int would be cut to 64 bits."""
    raise teach(IntegerRangeError, f"the integer {n} does not fit into 64 bits.", do="write it as a float, float(n).")


def stage_flat(
    function: Callable[..., Sequence[Any]],
    types: Sequence[ArrayType],
    *,
    verb: str = "jit",
    of: Any = None,
    name: str = "program",
    given: Sequence[Any] | None = None,
    decided: Callable[[], None] = lambda: None,
) -> tuple[Program, list[Any]]:
    """The Program of a flat function (values in, a sequence of values out) on these types, and the values it captured. ``given`` are values
    of the arguments, for decisions of Python; ``decided`` is called if there were any.
    """
    trace = StagingTrace(verb, of)
    arguments = [trace.new_input(t) for t in types]
    if given is not None:
        trace.given = {a.payload: x for a, x in zip(arguments, given, strict=True)}
    try:
        with no_collection():
            with running(trace):
                results = function(*arguments)
            if trace.evaluated is not None:
                decided()
            return trace.finish([a.payload for a in arguments], results, name)
    finally:
        trace.close()
        trace.equations = []  # their origins may refer to tracers, and so to this trace
