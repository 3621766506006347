"""Names of the values of a Program: those that the user gave them, and the names of tangents and cotangents that follow from them.

A value that the user's code holds in a variable has the name of that variable. Its tangent is called ``da`` and its cotangent ``a_bar``;
which value is whose tangent is seen while the rules run (`Names` observes), not guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import CodeType, FrameType
from typing import Any

import numpy as np

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
        origin: Origin | None = None
        for f in users:
            self.frames.setdefault(id(f), f)
            self.read(f.f_locals)
            origin = Origin(f.f_code, f.f_lasti, caller=origin)
        assert origin is not None
        return origin

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


def results_named(program: Program) -> dict[Var, str]:
    """The result of a Program, named like it; of a lambda, y."""
    results = variables(program.outputs)
    name = program.name if program.name.isidentifier() and program.name != "lambda" else "y"
    return {results[0]: name} if len(results) == 1 else {}


class Names:
    """Symbols for variables. It observes the derivations that run, and names what these make of a value that has a name."""

    def __init__(self) -> None:
        self.symbols: dict[Var, Symbol] = {}
        self.taken: set[str] = set()
        self.reserved: set[str] = set()
        """The user's names, which no other value gets by a number."""
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
            if name not in self.taken:
                return name

    # ---- the user's names ------------------------------------------------------------------------------------------------
    def name_inputs(self, program: Program, names: Sequence[str]) -> None:
        for v, name in zip(program.inputs, names, strict=True):
            self.give(v, name)

    def name_program(self, program: Program, found: Mapping[Var, str]) -> None:
        """Name all variables of a Program, and of those that its ops hold, as the user does, else by numbers. Each has names of its own."""
        for v in program.inputs:
            self.give(v, found.get(v) or self.further())
        assigned = results_named(program)
        self.reserved.update(found[v] for e in program.equations for v in e.outputs if v in found)
        for e in program.equations:
            for region in e.op.regions():
                inner = Names()
                inner.symbols = self.symbols
                for v, x in zip(region.program.inputs[: region.constants], e.inputs[region.first :], strict=False):
                    if isinstance(x, Var) and x in found and v not in found:
                        inner.give(v, found[x])
                inner.name_program(region.program, found)
            for v in e.outputs:
                name = found.get(v) or assigned.get(v)
                if name is None and len(e.inputs) == 1 and isinstance(e.inputs[0], Var) and is_identity(e):
                    self.share(v, e.inputs[0])
                self.give(v, name or self.further())

    # ---- what derivations make of named values -----------------------------------------------------------------------------
    def values(self, values: Mapping[Any, Any]) -> None:
        for v, value in values.items():
            symbol = self.symbols.get(v)
            if symbol is not None:
                self.follow(value, symbol.name, symbol.role, v)

    def cotangent(self, v: Any, y_bar: Any) -> None:
        symbol = self.symbols.get(v)
        if symbol is not None and symbol.role == "tangent":
            self.follow(y_bar, f"{symbol.name[1:]}_bar", "cotangent")

    def follow(self, value: Any, name: str, role: str, source: Var | None = None) -> None:
        """Name the variables in which the current derivation has a value, of the variable ``source``, and its tangent."""
        if type(value) is not Tracer:
            return
        owner, payload = value.owner, value.payload
        if isinstance(owner, JVPTrace):
            self.follow(payload[0], name, role)
            self.follow(payload[1], f"d{name}", "tangent", source if role == "value" else None)
        elif isinstance(owner, BatchTrace):
            self.follow(payload, name, role, source)
        elif isinstance(owner, StagingTrace | LinearTape):
            known = self.give(payload, name, role, own=False)
            if source is not None and role == known.role == "tangent" and known.name != name:
                self.tangents[source] = known


def variables(values: Iterable[Var | Literal]) -> list[Var]:
    return [v for v in values if isinstance(v, Var)]


def place(origin: Origin | None) -> Any:
    """The user's instruction, as he reached it."""
    return None if origin is None else (origin.code, origin.offset, place(origin.caller))
