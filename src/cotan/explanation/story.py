"""What an explanation consists of: stages, each a Program written line by line, and the rules and the source to which lines refer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NoReturn

from ..core.collecting import no_collection
from ..core.errors import ArgumentError, teach
from ..core.formula import Formula
from ..core.origin import Origin
from ..core.printing import Printed
from ..core.program import Equation, Program, Var
from .formulas import Definition, Rule, Statement
from .templates import Filled, formula_of

__all__ = ["Line", "SourceLine", "Stage", "Story", "chain", "encodable", "provenance"]


@dataclass(frozen=True)
class SourceLine:
    """A line of the user's source."""

    file: str
    number: int
    text: str
    function: str


@dataclass(slots=True, repr=False)
class Line:
    """A definition in a stage, and from where it comes."""

    definition: Definition
    row: str
    """The number of the equation of the function from which it was derived: "3", or "3.0" in a program that equation 3 holds."""
    provenance: str = ""
    """``jvp of sin, transposed``; empty for a value of the function, also where a rule computes it again."""
    inner: tuple[Stage, ...] = ()
    """The programs that its op holds."""

    @property
    def origin(self) -> Origin | None:
        return self.definition.equation.origin

    def __str__(self) -> str:
        return str(self.definition)

    def __repr__(self) -> str:
        return f"<{self}>"


@dataclass(frozen=True, repr=False)
class Stage(Printed):
    """One step of a derivation: a Program, written line by line."""

    key: str
    title: str
    about: str
    program: Program
    given: tuple[Var, ...]
    """The variables that are not residuals of an earlier stage."""
    inputs: tuple[str, ...]
    """Their names."""
    lines: tuple[Line, ...]
    results: tuple[Filled, ...]
    same: Mapping[str, Statement] = field(default_factory=dict[str, Statement])
    """By the number of an equation: the value of this stage for it, where that is one that has another name, ``dr = dp``."""

    @property
    def outputs(self) -> tuple[Formula, ...]:
        """The formulas of the results."""
        return tuple(map(formula_of, self.results))

    def __str__(self) -> str:
        lines = [f"given {', '.join(self.inputs)}"] if self.inputs else []
        return "\n".join([self.title, *[f"  {line}" for line in (*lines, *self.lines, f"return {', '.join(map(str, self.outputs))}")]])

    def slice_of(self, name: str) -> tuple[Line, ...]:
        """The lines on which the value of this name depends, itself included; none for an input.

        Raises:
            ArgumentError: no line defines it.
        """
        by_symbol = {s.name: line for line in self.lines for s in line.definition.symbols}
        if name in self.inputs and name not in by_symbol:
            return ()
        if name not in by_symbol:
            refuse_name(f"no line of the stage {self.title!r} defines {name!r}.", by_symbol)
        wanted, todo = set[int](), [by_symbol[name]]
        while todo:
            line = todo.pop()
            if id(line) not in wanted:
                wanted.add(id(line))
                todo += [by_symbol[s.name] for s in line.definition.filled[1] if s.name in by_symbol]
        return tuple(line for line in self.lines if id(line) in wanted)


class Story(Printed):
    """How a derivative came about.

    ``stages`` has the steps in order, ``rules`` the rules of the ops that the function uses, ``source`` the lines of the user.
    """

    def __init__(
        self, function: str, transform: str, stages: Callable[[], Iterable[Stage]], rules: Iterable[Rule], source: Iterable[SourceLine]
    ):
        self.function, self.transform, self.rules, self.source = function, transform, tuple(rules), tuple(source)
        self._make, self._lock = partial(copy_context().run, stages), threading.Lock()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The steps. They are made when they are first asked for, in the context of the call of `explain`."""
        with self._lock:
            return self._stages

    @cached_property
    def _stages(self) -> tuple[Stage, ...]:
        with no_collection(lasting=True):
            stages = tuple(self._make())
            del self._make  # and all that only the making needed
            return stages

    def __getitem__(self, key: str) -> Stage:
        for stage in self.stages:
            if stage.key == key:
                return stage
        raise KeyError(f"{key}: the stages are {', '.join(stage.key for stage in self.stages)}")

    def depends(self, name: str) -> dict[str, tuple[Line, ...]]:
        """For each stage that defines a value of this name, the lines on which it depends."""
        defined = {s.key: {x.name: None for line in s.lines for x in line.definition.symbols} for s in self.stages}
        found = {s.key: s.slice_of(name) for s in self.stages if name in defined[s.key] or name in s.inputs}
        if not found:
            refuse_name(f"no line defines {name!r}.", {known: None for names in defined.values() for known in names})
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {"function": self.function, "transform": self.transform, "rules": self.rules, "source": self.source, "_stages": self.stages}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()


def refuse_name(problem: str, known: Iterable[str]) -> NoReturn:
    """Raise: no value has this name."""
    names = list(known)
    remedy = (
        f"give one of {', '.join(names[:20])}{', ...' * (len(names) > 20)}." if names else "nothing is computed: there is no name to give."
    )
    raise teach(ArgumentError, problem, do=remedy, locate=False)


def encodable(text: str) -> str:
    """Text that UTF-8 can encode: the name of a file may have bytes that are no text, which Python keeps as surrogates."""
    return text.encode(errors="backslashreplace").decode()


def chain(equation: Equation, known: Container[int] = ()) -> tuple[tuple[str, ...], Any]:
    """The rules by which an equation was derived, the last first, and the application from which it came: the first one whose id is
    ``known``, else that from which it all came.
    """
    rules: list[str] = []
    source: Any = equation
    while source.origin is not None and source.origin.rule and not (rules and id(source) in known):
        rules.append(source.origin.rule)
        source = source.origin.parent
    return tuple(rules), source


AGAIN = {"jvp": "differentiated", "transpose": "transposed", "batch": "batched"}
"""What a rule does to an equation that is itself derived."""


def provenance(rules: tuple[str, ...], verb: str) -> str:
    """``jvp of sin, transposed``: the rules by which an equation was derived, the last first, from an op of this name."""
    return ", ".join([f"{rules[-1]} of {verb}", *[AGAIN.get(rule, rule) for rule in reversed(rules[:-1])]])
