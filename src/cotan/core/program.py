"""The IR: a Program is a list of typed equations, first-order and pure.

Invariants (see `checking`): every Var is defined once, before its use; each equation's output types are what its op's type rule says;
a Program has no hidden inputs: arrays that were captured when it was staged are its leading inputs, and their values travel beside it
(``constants`` of a Program that a user holds; operands of the op that holds it, for a body).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .op import Op
from .origin import Origin, evaluating_each, observer
from .pickling import refuse_unpicklable
from .printing import Printed
from .tracing import TYPE_READERS, current_trace, type_of
from .types import ArrayType

__all__ = [
    "Equation", "Literal", "Program", "Var", "evaluate", "format_program", "has_effect", "holds", "is_kept", "is_observed", "variable_name",
]  # fmt: skip


class Var:
    """A value of a program, known by its identity. In a transpose rule, an operand that is a Var is the linear one."""

    __slots__ = ("type",)

    def __init__(self, type: ArrayType):
        self.type = type

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def dtype(self) -> Any:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    def __repr__(self) -> str:
        return f"Var({self.type})"


class Literal:
    """A scalar written into a program."""

    __slots__ = ("type", "value")

    def __init__(self, value: Any):
        self.value, self.type = value, type_of(value)

    def __repr__(self) -> str:
        return f"Literal({self.value!r})"


class Equation:
    """``outputs = op inputs``, and the origin of that."""

    __slots__ = ("inputs", "op", "origin", "outputs")

    def __init__(self, op: Op, inputs: Sequence[Any], outputs: Sequence[Var], origin: Origin | None):
        self.op, self.inputs = op, inputs
        self.outputs, self.origin = outputs, origin

    @property
    def described(self) -> str:
        """The op, and the user's line from which it comes if that is known: ``scatter (model.py:12)``."""
        return f"{self.op.name} ({self.origin})" if self.origin is not None and self.origin.code is not None else self.op.name

    def __repr__(self) -> str:
        sides = [", ".join(str(v.type) if isinstance(v, Var) else repr(v) for v in side) for side in (self.outputs, self.inputs)]
        place = f"   # {self.origin}" if self.origin is not None and self.origin.code is not None else ""
        return f"{sides[0]} = {self.op} {sides[1]}{place}"


TYPE_READERS[Var] = TYPE_READERS[Literal] = lambda x: x.type


@dataclass(frozen=True, eq=False, repr=False)
class Program(Printed):
    """A closed program. Compared by identity; printing gives readable typed text."""

    inputs: Sequence[Var]
    equations: Sequence[Equation]
    outputs: Sequence[Var | Literal]
    constants: Sequence[Any] = ()
    name: str = field(default="program", compare=False)
    derived: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)
    """Values derived from this Program, which live as long as it: Programs for its derivatives, say, whose equations may refer to it."""

    @property
    def input_types(self) -> tuple[ArrayType, ...]:
        return tuple(v.type for v in self.inputs)

    @property
    def output_types(self) -> tuple[ArrayType, ...]:
        return tuple(v.type for v in self.outputs)

    @cached_property
    def last_uses(self) -> list[list[Var]]:
        """For each equation, the variables that neither a later one nor the result reads."""
        later = {v for v in self.outputs if isinstance(v, Var)}
        found: list[list[Var]] = []
        for equation in reversed(self.equations):
            dying = [v for v in dict.fromkeys(equation.inputs) if isinstance(v, Var) and v not in later]
            later.update(dying)
            found.append(dying)
        return found[::-1]

    def __reduce__(self) -> Any:
        for equation in self.equations:
            if equation.op.user_code:
                refuse_unpicklable(equation.op, f"a Program that calls {equation.op.user_code.rstrip(',')}")
        return Program, (self.inputs, self.equations, self.outputs, self.constants, self.name)

    def __call__(self, *arguments: Any) -> list[Any]:
        """Evaluate on flat arguments (without the constants): a list of results."""
        return evaluate(self, *self.constants, *arguments)

    def __str__(self) -> str:
        return format_program(self)


def has_effect(op: Op) -> bool:
    """Whether running ``op``, or a Program that it holds, does something beside giving its results."""
    return op.effect or (op.holds_programs and any(holds(r.program, "effects", has_effect) for r in op.regions()))


def is_kept(op: Op) -> bool:
    """Whether a Program keeps ``op`` though nothing reads its results: it has an effect or is observed, or an op in a Program that it
    holds.
    """
    return op.effect or op.observed or (op.holds_programs and any(holds(r.program, "kept", is_kept) for r in op.regions()))


def is_observed(op: Op) -> bool:
    """Whether ``op`` is the identity for those who look, or an op in a Program that it holds is."""
    return op.observed or (op.holds_programs and any(holds(r.program, "observed", is_observed) for r in op.regions()))


def holds(program: Program, key: str, test: Callable[[Op], bool]) -> bool:
    """Whether ``test`` is true of an op of a Program; found once."""
    found: bool | None = program.derived.get(key)
    if found is None:
        found = program.derived[key] = any(test(e.op) for e in program.equations)
    return found


def evaluate(program: Program, *arguments: Any) -> list[Any]:
    """Run the equations of ``program`` under the current trace."""
    environment: dict[Any, Any] = dict(zip(program.inputs, arguments, strict=True))
    del arguments  # a value is given up after its last use
    trace, watching = current_trace(), observer()
    if watching is not None:
        watching.values(environment)
    with evaluating_each() as at:
        for equation, dying in zip(program.equations, program.last_uses, strict=True):
            operands = [environment[v] if type(v) is Var else v.value for v in equation.inputs]
            for v in dying:
                environment.pop(v, None)
            at(equation)
            results = trace.process(equation.op, operands)
            if watching is not None:
                watching.values(dict(zip(equation.outputs, results, strict=True)))
            environment.update(zip(equation.outputs, results, strict=True))
    return [environment[v] if isinstance(v, Var) else v.value for v in program.outputs]


# ---- text: ``c:f64[3] = sin a   # model.py:12``. A trailing star marks a weak type. ----------------------------------


def variable_name(k: int) -> str:
    """The k-th name: a..z, then aa, ab, ..."""
    name = ""
    k += 1
    while k:
        k, letter = divmod(k - 1, 26)
        name = chr(97 + letter) + name
    return name


def format_program(program: Program, *, lines: bool = True, indent: str = "") -> str:
    """The text of ``program``; ``lines=False`` leaves out the source lines."""
    names: dict[Var, str] = {}

    def define(v: Var) -> str:
        names[v] = variable_name(len(names))
        return f"{names[v]}:{v.type}"

    def use(v: Any) -> str:
        return names[v] if isinstance(v, Var) else _literal(v)

    constants = len(program.constants)
    inputs = [define(v) for v in program.inputs]
    head = ", ".join(inputs[constants:])
    captured = f"; captured {', '.join(inputs[:constants])}" if constants else ""
    text = [f"{indent}{program.name}({head}{captured}) {{"]
    rows: list[tuple[str, str]] = []
    for equation in program.equations:
        left = ", ".join(map(define, equation.outputs))
        rows.append((f"{indent}  {left} = {' '.join([str(equation.op), *map(use, equation.inputs)])}", _comment(equation) if lines else ""))
    width = min(max((len(row) for row, _ in rows), default=0), 72)
    text += [f"{row:<{width}}  # {comment}" if comment else row for row, comment in rows]
    text.append(f"{indent}  return {', '.join(map(use, program.outputs))}")
    return "\n".join([*text, indent + "}"])


def _comment(equation: Equation) -> str:
    origin = equation.origin
    if origin is None or origin.code is None:
        return ""
    return f"{origin}{f' by {origin.rule} of {origin.parent.op.name}' if origin.rule and origin.parent is not None else ''}"


def _literal(v: Literal) -> str:
    value = v.value
    return str(value.item() if isinstance(value, np.generic | np.ndarray) else value)
