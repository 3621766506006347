"""Access analysis: the elements that an op's defining equation reads, found by running it on symbolic indices.

The engine knows ops by their ``element`` only. One run on symbols tells which elements of the operands an element of the result reads,
whether the op reduces over further axes, and whether it computes anything or only moves elements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from cotan.core.op import Op
from cotan.core.types import ArrayType
from cotan.engines.native.affine import Atom, Condition, Index
from cotan.engines.native.cost import scalar_cost
from cotan.engines.native.llvm.builder import Function, Module
from cotan.engines.native.scalar.emitter import LlvmEmitter, NoInstructionError, Scalar, supported

__all__ = ["REDUCED", "AccessProbe", "AccessSummary", "Reader", "access_summary", "axis", "extent"]


class Reader:
    """An operand of a defining equation: its type, and its element at an index."""

    __slots__ = ("at", "dtype", "shape")

    def __init__(self, type: ArrayType, at: Callable[[tuple[Any, ...]], Any]):
        self.shape, self.dtype, self.at = type.shape, type.dtype, at

    def __call__(self, index: Sequence[Any]) -> Any:
        return self.at(tuple(index))


class AccessSummary(NamedTuple):
    """The accesses of a defining equation. ``monoid`` and ``extents`` are its reduction, if it is one; ``only_moves`` says whether it is
    pure data movement.
    """

    monoid: str
    extents: tuple[int, ...]
    only_moves: bool
    conditional: bool
    work: int
    """The cost of an element (`cost`)."""
    reads: tuple[tuple[int, tuple[Any, ...]], ...]
    """The numbers of the operands, and the index at which each is read for the element at the symbols of the axes."""
    conditions: tuple[Condition, ...]
    index_dependent: bool
    """Whether the computation depends on the index of the element."""
    computes_index: bool
    """Whether an index is converted to a value."""


@lru_cache(maxsize=100_000)
def axis(number: int, extent: int, reduced: bool = False) -> Any:
    """The symbol of an axis of the result, or of an axis that is reduced."""
    return Index({Atom(("r" if reduced else "o", number), 0, extent - 1): 1}, 0)


def extent(symbol: Index) -> int:
    """The length of an axis."""
    (atom,) = symbol.terms
    return atom.high + 1


REDUCED = object()


class AccessProbe:
    """An emitter that computes nothing: it counts operations, and calls the readers."""

    def __init__(self) -> None:
        self.operations = self.work = 0
        self.conditions: list[Condition] = []
        self.monoid, self.extents = "", ()
        self.index_dependent = self.computes_index = False
        """As in `AccessSummary`."""

    def constant(self, value: Any, dtype: Any) -> Any:
        return None

    def cast(self, operand: Any, dtype: Any) -> Any:
        self.operations += 1

    def math(self, name: str, *operands: Any) -> Any:
        self.operations += name != "copy"
        self.work += scalar_cost(name)

    def choose(self, condition: Any, yes: Any, no: Any) -> Any:
        if isinstance(condition, Condition):
            self.conditions.append(condition)
            self.index_dependent = True
            yes()
            no()
        else:
            (yes if condition else no)()

    def reduce(self, monoid: str, extents: Sequence[int], at: Any, dtype: Any) -> Any:
        self.monoid, self.extents = monoid, tuple(extents)
        at(tuple(axis(k, n, True) for k, n in enumerate(extents)))
        self.operations += 1
        return REDUCED

    def as_index(self, operand: Any) -> Any:
        self.operations += 1
        return Index({Atom(("read", self.operations)): 1}, 0)

    def as_scalar(self, index: Any, dtype: Any) -> Any:
        self.index_dependent = self.computes_index = True


class TrialEmitter(LlvmEmitter):
    """The emitter on unnamed values, to try whether it has the instructions."""

    reduced: Any = None

    def reduce(self, monoid: str, extents: Sequence[int], at: Any, dtype: np.dtype[Any]) -> Any:
        x = at(tuple(axis(k, n, True) for k, n in enumerate(extents)))
        self.combine(monoid, x, self.identity(monoid, dtype))
        self.reduced = x
        return x


class UnplacedFunction(Function):
    """A function whose indices need no values."""

    def atom(self, atom: Any) -> str:
        return "0"


@lru_cache(maxsize=100_000)
def access_summary(op: Op, types: tuple[Any, ...]) -> AccessSummary | None:
    """The access summary of an op on operands of these types; None if the engine has no code for it."""
    if not op.has_element() or not all(type(t) is ArrayType and supported(t.dtype) for t in types):
        return None
    result = op.type_rule(*types)
    if type(result) is not ArrayType or not supported(result.dtype):
        return None
    at = tuple(axis(k, n) for k, n in enumerate(result.shape))
    module = Module()
    module.stack.append(UnplacedFunction(module, []))
    trial = TrialEmitter(module)

    def anything(t: ArrayType) -> Scalar:
        return Scalar(("%x", "%y"), t.dtype) if t.dtype.kind == "c" else Scalar("%x", t.dtype)

    probe = AccessProbe()
    try:
        made = op.element(trial, at, *[Reader(t, lambda _, t=t: anything(t)) for t in types])
    except NoInstructionError:
        return None
    if made.dtype != result.dtype:
        return None
    reads: list[tuple[int, tuple[Any, ...]]] = []
    found = op.element(probe, at, *[Reader(t, lambda index, k=k: reads.append((k, index))) for k, t in enumerate(types)])
    if probe.monoid and (found is not REDUCED or made is not trial.reduced):
        return None
    work, moves = probe.work + len(types) + 1, probe.operations == 0
    conditions = tuple(probe.conditions)
    return AccessSummary(
        probe.monoid,
        probe.extents,
        moves,
        bool(conditions),
        work,
        tuple(reads),
        conditions,
        index_dependent=probe.index_dependent,
        computes_index=probe.computes_index,
    )
