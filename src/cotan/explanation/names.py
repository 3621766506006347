"""Names of the values of a Program: those that the user gave them, and the names of tangents and cotangents that follow from them.

A value that the user's code holds in a variable has the name of that variable. Its tangent is called ``da`` and its cotangent ``a_bar``;
which value is whose tangent is seen while the rules run (`Names` observes), not guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import CodeType, FrameType
from typing import Any

import numpy as np

from ..control.checkpoint import Checkpoint
from ..core.formula import Symbol
from ..core.origin import Origin, is_users_file
from ..core.program import Equation, Literal, Program, Var
from ..core.staging import StagingTrace
from ..core.tracing import Tracer
from ..transforms.batch import BatchTrace
from ..transforms.jvp import JVPTrace
from ..transforms.linearize import LinearTape

__all__ = ["Follower", "Names"]


class Follower:
    """Makes the origins of applications of ops while a function is staged: with the calls that led there. It reads on the way which
    variables of the user hold which values.
    """

    def __init__(self, outermost: CodeType, function: CodeType | None = None):
        self.outermost, self.function = outermost, function
        """The code at which the frames of the function end, and that of the function."""
        self.found: dict[Var, str] = {}
        self.frames: dict[int, FrameType] = {}
        self.calls: dict[tuple[int, int, int], Origin] = {}
        """The origins of calls, by instruction and caller."""
        self.arrays: dict[int, tuple[str, Any]] = {}
        """The user's variables that hold arrays, by the ids of these, which live as long."""

    def __call__(self, frame: FrameType) -> Origin:
        frames: list[FrameType] = []
        caller: FrameType | None = frame
        while caller is not None and caller.f_code is not self.outermost:
            frames.append(caller)
            caller = caller.f_back
        if caller is None:  # the function has no code in Python, and this is a frame of who asks
            return Origin(self.function, 0)
        users = [f for f in reversed(frames) if is_users_file(f.f_code.co_filename)] or [frame]
        caller_origin: Origin | None = None
        for f in users:
            self.frames.setdefault(id(f), f)
            self.read(f.f_locals)
        for f in users[:-1]:
            key = id(f.f_code), f.f_lasti, id(caller_origin)
            known = self.calls.get(key)
            caller_origin = known or self.calls.setdefault(key, Origin(f.f_code, f.f_lasti, caller=caller_origin))
        return Origin(users[-1].f_code, users[-1].f_lasti, caller=caller_origin)

    def finish(self) -> None:
        """Read the variables that were assigned after the last operation."""
        for frame in self.frames.values():
            self.read(frame.f_locals)
            self.read({name: frame.f_globals[name] for name in frame.f_code.co_names if name in frame.f_globals})
        self.frames.clear()

    def name_constants(self, inputs: Sequence[Var], constants: Sequence[Any]) -> None:
        """Name the inputs of a Program that are arrays which the function holds."""
        for v, x in zip(inputs, constants, strict=False):
            if id(x) in self.arrays:
                self.found.setdefault(v, self.arrays[id(x)][0])

    def read(self, variables: Mapping[str, Any]) -> None:
        for name, value in list(variables.items()):
            if type(value) is Tracer and type(value.payload) is Var and not name.startswith("."):
                self.found.setdefault(value.payload, name)
            elif isinstance(value, np.ndarray):
                self.arrays.setdefault(id(value), (name, value))


def is_identity(e: Equation) -> bool:
    """Whether people do not write the op at all, as a conversion of a float."""
    x = Symbol("x", type=e.inputs[0].type)
    return e.op.formula(x) is x


RESULTS = "yzw"
"""The names of the result of a function that has none."""


class Names:
    """Symbols for variables. It observes the derivations that run, and names what these make of a value that has a name."""

    def __init__(self) -> None:
        self.symbols: dict[Var, Symbol] = {}
        self.taken: set[str] = set()
        self.reserved: set[str] = set()
        """The user's names, which no other value gets."""
        self.values_of: dict[str, str] = {}
        """By the name of a tangent, that of its value."""
        self.inlined: set[Var] = set()
        """The variables of programs that derivations write into those around them, and what is derived from them: another name of a value
        is better.
        """
        self.numbers: dict[str, int] = {}
        """The last number that was given to a name."""
        self.tangents: dict[Var, Symbol] = {}
        """The tangents of values that are called after another one: the tangent of ``r = p - 1`` is that of p."""
        self.count = 0

    def give(self, v: Var, name: str, role: str = "value", *, own: bool = True) -> Symbol:
        """Name a variable that has no name yet. The name is its ``own``, or it shares that of another one that is the same value."""
        known = self.symbols.get(v)
        if known is None:
            known = self.symbols[v] = Symbol(self.unique(name) if own else name, role, type=v.type)
        return known

    def share(self, v: Var, w: Var) -> None:
        """Give ``v`` the name of ``w``, of which it is the value."""
        if w in self.symbols:
            self.give(v, self.symbols[w].name, self.symbols[w].role, own=False)

    def unique(self, name: str) -> str:
        """``name``, with a number if it is taken."""
        found, k = name, self.numbers.get(name, 1)
        while found in self.taken or (k > 1 and found in self.reserved):
            k += 1
            found = f"{name}{'_' if name[-1:].isdigit() else ''}{k}"
        self.numbers[name] = k
        self.taken.add(found)
        return found

    def further(self) -> str:
        """A name for a value that the user has not named."""
        while True:
            self.count += 1
            name = f"t{self.count}"
            if name not in self.taken and name not in self.reserved:
                return name

    def tangent(self, name: str) -> str:
        """The name of the tangent of a value: ``dx``, or ``d_x`` where the user has a variable ``dx``."""
        found = self.unlike_the_users("d{}", name, "{}{}")
        self.values_of[found] = name
        return found

    def cotangent_of(self, name: str) -> str:
        """The name of the cotangent of a value: ``x_bar``, or ``x__bar`` where the user has a variable ``x_bar``."""
        return self.unlike_the_users("{}_bar", name, "{1}{0}")

    def cotangent_of_tangent(self, name: str) -> str:
        """The name of the cotangent that belongs to a tangent."""
        return self.cotangent_of(self.values_of[name])

    def unlike_the_users(self, form: str, name: str, order: str) -> str:
        """``form`` of a name, with a mark on it if the user has a variable of this name."""
        found = form.format(name)
        if found not in self.reserved and found not in self.taken:  # most often
            return found
        mark = ""
        while (found := form.format(order.format(mark, name))) in self.reserved or found in self.taken:
            mark += "_"
        return found

    # ---- the user's names ------------------------------------------------------------------------------------------------
    def name_inputs(self, program: Program, names: Sequence[str]) -> None:
        for v, name in zip(program.inputs, names, strict=True):
            self.give(v, name)

    def name_program(self, program: Program, found: Mapping[Var, str]) -> None:
        """Name all variables of a Program, and of those that its ops hold, as the user does, else by numbers. Each has names of its own,
        but for those that derivations write into the program around them.
        """
        self.reserved.update(found.values())
        for v in program.inputs:
            self.give(v, found.get(v) or self.further())
        assigned = self.results_named(program)
        uses = Counter(id(region.program) for e in program.equations for region in e.op.regions())
        for e in program.equations:
            for region in e.op.regions():
                inner = self if isinstance(e.op, Checkpoint) else self.within()
                if inner is self and uses[id(region.program)] == 1:  # what it is given is what it is called with
                    for v, x in zip(region.program.inputs, e.inputs[region.first :], strict=False):
                        if isinstance(x, Var) and found.get(v) in (None, self.symbols[x].name):
                            self.share(v, x)
                for v, x in zip(region.program.inputs[: region.constants], e.inputs[region.first :], strict=False):
                    if isinstance(x, Var) and x in found and v not in found:
                        inner.give(v, found[x])
                inner.name_program(region.program, found)
                if inner is self:
                    self.inlined.update(region.program.inputs, *[inside.outputs for inside in region.program.equations])
            for v in e.outputs:
                name = found.get(v) or assigned.get(v)
                if name is None and len(e.inputs) == 1 and isinstance(e.inputs[0], Var) and is_identity(e):
                    self.share(v, e.inputs[0])
                self.give(v, name or self.further())

    def within(self) -> Names:
        """Names of a program of its own, which are given to the same variables."""
        inner = Names()
        inner.symbols, inner.reserved, inner.values_of, inner.inlined = self.symbols, self.reserved, self.values_of, self.inlined
        return inner

    def results_named(self, program: Program) -> dict[Var, str]:
        """The result of a Program, named like it; of a lambda, y, or another letter if that is taken."""
        results, name = variables(program.outputs), program.name
        if not name.isidentifier() or name == "lambda":
            name = next((letter for letter in RESULTS if letter not in self.taken and letter not in self.reserved), None)
        return {results[0]: name} if len(results) == 1 and name is not None else {}

    # ---- what derivations make of named values -----------------------------------------------------------------------------
    def values(self, values: Mapping[Any, Any]) -> None:
        for v, value in values.items():
            symbol = self.symbols.get(v)
            if symbol is not None:
                self.follow(value, symbol.name, symbol.role, v)

    def cotangent(self, v: Any, y_bar: Any) -> None:
        symbol = self.symbols.get(v)
        if symbol is not None and symbol.role == "tangent" and symbol.name in self.values_of:
            self.follow(y_bar, self.cotangent_of_tangent(symbol.name), "cotangent", v)

    def follow(self, value: Any, name: str, role: str, source: Var) -> None:
        """Name the variables in which the current derivation has the value of the variable ``source``, and its tangent."""
        if type(value) is not Tracer:
            return
        owner, payload = value.owner, value.payload
        if isinstance(owner, JVPTrace):
            self.follow(payload[0], name, role, source)
            self.follow(owner.tangent(payload), self.tangent(name), "tangent", source)
        elif isinstance(owner, BatchTrace):
            self.follow(payload, name, role, source)
        elif isinstance(owner, StagingTrace | LinearTape):
            if source in self.inlined:
                if payload not in self.symbols:
                    self.inlined.add(payload)
            elif payload in self.inlined:
                self.inlined.discard(payload)
                del self.symbols[payload]
            known = self.give(payload, name, role, own=False)
            if role == known.role == "tangent" and known.name != name and self.values_of.get(name) == self.symbols[source].name:
                self.tangents[source] = known


def variables(values: Iterable[Var | Literal]) -> list[Var]:
    return [v for v in values if isinstance(v, Var)]
