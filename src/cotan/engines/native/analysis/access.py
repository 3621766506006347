"""Access analysis: the elements that an op's defining equation reads, found by running it on symbolic indices.

In loops an op is what its ``element`` says; `schedule` and `codegen` decide by ``routine``, ``destination``, ``update`` and ``regions``
whether it becomes loops. One run on symbols tells which elements of the operands an element of the result reads, whether the op reduces
over further axes, and whether it computes anything or only moves elements. One run on an emitter whose LLVM IR is thrown away tells whether
the engine has instructions for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from cotan.core import emitting
from cotan.core.emitting import DType, Number
from cotan.core.op import Op
from cotan.core.types import ArrayType, Type
from cotan.engines.native.affine import Atom, Condition, ElementIndex, Index
from cotan.engines.native.cost import scalar_cost
from cotan.engines.native.llvm.builder import Function, Module
from cotan.engines.native.scalar.emitter import LlvmEmitter, NoInstructionError, Scalar, supported

__all__ = ["REDUCED", "AccessProbe", "AccessSummary", "Reader", "access_summary", "axis", "extent"]


class Reader:
    """An operand of a defining equation: its type, and its element at an index."""

    __slots__ = ("at", "dtype", "shape")

    def __init__(self, type: ArrayType, at: Callable[[ElementIndex], emitting.Scalar]):
        self.shape, self.dtype, self.at = type.shape, type.dtype, at

    def __call__(self, index: Sequence[Index | int]) -> emitting.Scalar:
        return self.at(tuple(index))


class AccessSummary(NamedTuple):
    """The accesses of a defining equation. ``monoid`` and ``extents`` are its reduction, if it is one; ``only_moves`` says whether it is
    pure data movement.
    """

    monoid: str
    extents: tuple[int, ...]
    only_moves: bool
    conditional: bool
    element_cost: int
    """In elementary operations (`cost`)."""
    reads: tuple[tuple[int, ElementIndex], ...]
    """The numbers of the operands, and the index at which each is read for the element at the symbols of the axes."""
    conditions: tuple[Condition, ...]
    index_dependent: bool
    """Whether the computation depends on the index of the element."""
    computes_index: bool
    """Whether an index is converted to a value."""


@lru_cache(maxsize=100_000)
def axis(number: int, extent: int, reduced: bool = False) -> Index:
    """The symbol of an axis of the result, or of an axis that is reduced."""
    return Index({Atom(("r" if reduced else "o", number), 0, extent - 1): 1}, 0)


def extent(symbol: Index) -> int:
    """The length of an axis."""
    (atom,) = symbol.terms
    return atom.high + 1


REDUCED = object()
"""The result of a reduction for the probe."""


class AccessProbe:
    """An emitter that computes nothing: it counts operations, and calls the readers. Its scalars are None, and `REDUCED`."""

    def __init__(self) -> None:
        self.operations = self.scalar_cost = 0
        self.conditions: list[Condition] = []
        self.monoid = ""
        self.extents: tuple[int, ...] = ()
        self.index_dependent = self.computes_index = False
        """As in `AccessSummary`."""

    def constant(self, value: Number, dtype: DType) -> None: ...

    def cast(self, operand: emitting.Scalar, dtype: DType) -> None:
        self.operations += 1

    def math(self, name: str, *operands: emitting.Scalar) -> None:
        self.operations += name != "copy"
        self.scalar_cost += scalar_cost(name)

    def choose(self, condition: Condition | bool, yes: Callable[[], emitting.Scalar], no: Callable[[], emitting.Scalar]) -> None:
        if isinstance(condition, Condition):
            self.conditions.append(condition)
            self.index_dependent = True
            yes()
            no()
        else:
            (yes if condition else no)()

    def reduce(self, monoid: str, extents: Sequence[int], at: Callable[[ElementIndex], emitting.Scalar], dtype: DType) -> emitting.Scalar:
        self.monoid, self.extents = monoid, tuple(extents)
        at(tuple(axis(k, n, True) for k, n in enumerate(extents)))
        self.operations += 1
        return REDUCED

    def as_index(self, operand: emitting.Scalar) -> Index:
        self.operations += 1
        return Index({Atom(("read", self.operations)): 1}, 0)

    def as_scalar(self, index: Index | int, dtype: DType) -> None:
        self.index_dependent = self.computes_index = True


class TrialEmitter(LlvmEmitter):
    """The emitter on unnamed values, to try whether it has the instructions."""

    reduced: Scalar | None = None

    def reduce(self, monoid: str, extents: Sequence[int], at: Callable[[ElementIndex], Scalar], dtype: DType) -> Scalar:
        x = at(tuple(axis(k, n, True) for k, n in enumerate(extents)))
        self.combine(monoid, x, self.identity(monoid, dtype))
        self.reduced = x
        return x


class UnplacedFunction(Function):
    """A function whose indices need no values."""

    def atom(self, atom: Atom) -> str:
        return "0"


@lru_cache(maxsize=100_000)
def access_summary(op: Op, types: tuple[Type, ...]) -> AccessSummary | None:
    """The access summary of an op on operands of these types; None if the engine has no code for it."""
    arrays = [t for t in types if isinstance(t, ArrayType) and supported(t.dtype)]
    if not op.has_element() or len(arrays) < len(types):
        return None
    result = op.type_rule(*arrays)
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
        made = op.element(trial, at, *[Reader(t, lambda _, t=t: anything(t)) for t in arrays])
    except NoInstructionError:
        return None
    if made.dtype != result.dtype:
        return None
    reads: list[tuple[int, ElementIndex]] = []
    found = op.element(probe, at, *[Reader(t, lambda index, k=k: reads.append((k, index))) for k, t in enumerate(arrays)])
    if probe.monoid and (found is not REDUCED or made is not trial.reduced):
        return None
    element_cost, moves = probe.scalar_cost + len(types) + 1, probe.operations == 0
    conditions = tuple(probe.conditions)
    return AccessSummary(
        probe.monoid,
        probe.extents,
        moves,
        bool(conditions),
        element_cost,
        tuple(reads),
        conditions,
        index_dependent=probe.index_dependent,
        computes_index=probe.computes_index,
    )
