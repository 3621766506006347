"""Names of the values of a Program: those that the user gave them, and the names of tangents and cotangents that follow from them.

A value that the user's code holds in a variable has the name of that variable. Its tangent is called ``da`` and its cotangent ``a_bar``;
which value is whose tangent is seen while the rules run (`Names` observes), not guessed.
"""

from __future__ import annotations

import dis
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

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
            self.read(f.f_locals)
            origin = Origin(f.f_code, f.f_lasti, caller=origin)
        assert origin is not None
        return origin

    def read(self, variables: Mapping[str, Any]) -> None:
        for name, value in list(variables.items()):
            if type(value) is Tracer and type(value.payload) is Var and not name.startswith("."):
                self.found.setdefault(value.payload, name)


@lru_cache(maxsize=4096)
def instructions(code: CodeType) -> list[dis.Instruction]:
    return [i for i in dis.get_instructions(code) if i.opname != "CACHE"]


def assigned_name(origin: Origin | None) -> str | None:
    """The variable to which the result of the user's instruction is assigned, there or where the function that returns it was called."""
    while origin is not None and isinstance(origin.code, CodeType):
        following = [i for i in instructions(origin.code) if i.offset > origin.offset][:1]
        if not following:
            return None
        (after,) = following
        if after.opname in ("STORE_FAST", "STORE_NAME", "STORE_GLOBAL", "STORE_DEREF"):
            return str(after.argval)
        if after.opname != "RETURN_VALUE":
            return None
        origin = origin.caller
    return None


def assigned_names(program: Program) -> dict[Var, str]:
    """The variables to which the user's instructions assign results: the last one that an instruction makes, if something else reads it."""
    readers: dict[Var, set[Any]] = {v: {None} for v in variables(program.outputs)}
    last: dict[Any, Equation] = {}
    for e in program.equations:
        at = place(e.origin)
        last[at] = e
        for v in variables(e.inputs):
            readers.setdefault(v, set()).add(at)
    found: dict[Var, str] = {}
    for at, e in last.items():
        if len(e.outputs) == 1 and readers.get(e.outputs[0], set()) - {at}:
            name = assigned_name(e.origin)
            if name is not None:
                found[e.outputs[0]] = name
    return found


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
        self.numbers: dict[str, int] = {}
        """The last number that a name has got."""
        self.same: dict[str, Symbol] = {}
        """Names that would be those of values that have another one: the tangent of ``r = p - 1`` is that of p."""
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
        while found in self.taken:
            k += 1
            found = f"{name}{'_' if name[-1:].isdigit() else ''}{k}"
        self.taken.add(found)
        self.numbers[name] = k
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
        assigned = assigned_names(program)
        assigned = {**results_named(program), **assigned}
        for e in program.equations:
            for region in e.op.regions():
                inner = Names()
                inner.symbols = self.symbols
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
                self.follow(value, symbol.name, symbol.role)

    def cotangent(self, v: Any, y_bar: Any) -> None:
        symbol = self.symbols.get(v)
        if symbol is not None and symbol.role == "tangent":
            self.follow(y_bar, f"{symbol.name[1:]}_bar", "cotangent")

    def follow(self, value: Any, name: str, role: str) -> None:
        """Name the variables in which the current derivation has a value, and its tangent."""
        if type(value) is not Tracer:
            return
        owner, payload = value.owner, value.payload
        if isinstance(owner, JVPTrace):
            self.follow(payload[0], name, role)
            self.follow(payload[1], f"d{name}", "tangent")
        elif isinstance(owner, BatchTrace):
            self.follow(payload, name, role)
        elif isinstance(owner, StagingTrace | LinearTape):
            known = self.give(payload, name, role, own=False)
            if known.name != name:
                self.same[name] = known


def variables(values: Iterable[Var | Literal]) -> list[Var]:
    return [v for v in values if isinstance(v, Var)]


def place(origin: Origin | None) -> Any:
    """The user's instruction, as he reached it."""
    return None if origin is None else (origin.code, origin.offset, place(origin.caller))
