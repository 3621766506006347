"""The language of defining equations: the protocols between an op's ``element`` or ``routine`` and those who run it.

``element(e, i, *readers)`` gives element ``i`` (a tuple of indices) of the result as a scalar of elements of the operands,
``reader(index)``. An engine makes a native loop or a printed formula of it; the tests interpret it on numbers and compare
the result with ``impl``.

An index supports ``+ - * // %`` and the comparisons ``< <= > >=``, which give conditions that support ``& |``. A scalar is
opaque: only the emitter's methods touch it. An `Expression` is a scalar with operators.

An op whose result is computed as a whole (a factorization, a sorted array, a running sum) has ``routine(w, operands,
results)`` instead, which calls the operations of `Routines`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np

__all__ = ["Batch", "DType", "Emitter", "Expression", "Index", "Number", "Reader", "Routines", "Scalar", "StridedView", "where"]

Index = Any
Scalar = Any
Condition = Any
"""Each engine has its own indices, scalars and conditions."""
Number = Any
"""A number of Python or NumPy."""
DType = np.dtype[Any]
"""A dtype, whose scalar type is not known statically."""


class Reader(Protocol):
    """An operand: its type, and the scalar at an index."""

    shape: tuple[int, ...]
    dtype: DType

    def __call__(self, index: Sequence[Index]) -> Scalar: ...


class Emitter(Protocol):
    """The operations of defining equations."""

    def math(self, name: str, *operands: Scalar) -> Scalar:
        """A scalar function by name: the ``machine`` name of an elementwise op."""
        ...

    def constant(self, value: Number, dtype: DType) -> Scalar: ...

    def cast(self, operand: Scalar, dtype: DType) -> Scalar: ...

    def choose(self, condition: Condition, yes: Callable[[], Scalar], no: Callable[[], Scalar]) -> Scalar:
        """``yes()`` where the index condition holds, else ``no()``; the case that is not taken reads no operands."""
        ...

    def reduce(self, monoid: str, extents: Sequence[int], at: Callable[[Sequence[Index]], Scalar], dtype: DType) -> Scalar:
        """The reduction of ``at(r)`` over all indices ``r`` below ``extents`` by add, mul, max, min, and, or."""
        ...

    def as_index(self, operand: Scalar) -> Index:
        """An integer element as an index (a gather reads an index)."""
        ...

    def as_scalar(self, index: Index, dtype: DType) -> Scalar:
        """An index as an element (``iota``)."""
        ...


EmitterT = TypeVar("EmitterT", bound=Emitter)
ScalarT = TypeVar("ScalarT")
ExpressionT = TypeVar("ExpressionT", bound="Expression[Any, Any]")


class Expression(Generic[EmitterT, ScalarT]):
    """A scalar with its emitter, written like a number: each operator emits code. A Python number beside it is a constant of its dtype.

    Scalars of an emitter are opaque, so a subclass knows the dtype (`dtype`), and how to wrap another scalar (`of`).
    """

    __slots__ = ("e", "scalar")

    def __init__(self, e: EmitterT, scalar: ScalarT):
        self.e, self.scalar = e, scalar

    @property
    def dtype(self) -> DType:
        """The dtype of constants beside it."""
        raise NotImplementedError

    def of(self, scalar: ScalarT) -> Self:
        """Another scalar of this emitter as an expression."""
        raise NotImplementedError

    def like(self, x: Self | complex) -> Self:
        """An expression unchanged; a number as a constant of this dtype."""
        return x if isinstance(x, Expression) else self.of(self.e.constant(x, self.dtype))

    def math(self, name: str, *others: Self | complex) -> Self:
        """The scalar function ``name`` of this expression and others."""
        return self.of(self.e.math(name, self.scalar, *[self.like(x).scalar for x in others]))

    def fused(self, factor: Self | complex, term: Self | complex) -> Self:
        """``self * factor + term``, rounded once where the processor can, else twice."""
        return self.math("fmuladd", factor, term)

    # ---- arithmetic
    def __add__(self, other: Self | complex) -> Self:
        return self.math("add", other)

    def __radd__(self, other: complex) -> Self:
        return self.like(other) + self

    def __sub__(self, other: Self | complex) -> Self:
        return self.math("sub", other)

    def __rsub__(self, other: complex) -> Self:
        return self.like(other) - self

    def __mul__(self, other: Self | complex) -> Self:
        return self.math("mul", other)

    def __rmul__(self, other: complex) -> Self:
        return self.like(other) * self

    def __truediv__(self, other: Self | complex) -> Self:
        return self.math("div", other)

    def __rtruediv__(self, other: complex) -> Self:
        return self.like(other) / self

    def __neg__(self) -> Self:
        return self.math("neg")

    def __abs__(self) -> Self:
        return self.math("abs")

    # ---- comparisons and conditions: scalars of bools. ``==`` compares the Python objects.
    def equals(self, other: Self | complex) -> Self:
        return self.math("eq", other)

    def differs(self, other: Self | complex) -> Self:
        return self.math("ne", other)

    def __lt__(self, other: Self | complex) -> Self:
        return self.math("lt", other)

    def __le__(self, other: Self | complex) -> Self:
        return self.math("le", other)

    def __gt__(self, other: Self | complex) -> Self:
        return self.math("gt", other)

    def __ge__(self, other: Self | complex) -> Self:
        return self.math("ge", other)

    def __and__(self, other: Self | complex) -> Self:
        return self.math("and", other)

    def __or__(self, other: Self | complex) -> Self:
        return self.math("or", other)

    def __xor__(self, other: Self | complex) -> Self:
        return self.math("xor", other)

    def __invert__(self) -> Self:
        return self.math("not")


def where(condition: ExpressionT, yes: ExpressionT | complex, no: ExpressionT | complex) -> ExpressionT:
    """``yes`` where the condition holds, else ``no``. At least one of them is an expression; the result has its dtype."""
    model = yes if isinstance(yes, Expression) else no
    if not isinstance(model, Expression):
        raise TypeError("where needs an expression among its cases, for the dtype of the result")
    return model.of(model.e.math("select", condition.scalar, model.like(no).scalar, model.like(yes).scalar))


class StridedView(Protocol):
    """An array in memory, whose elements are read and written: ``x[i, j]``."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> DType: ...

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides of the axes, in elements."""
        ...

    def transposed(self, order: Sequence[int]) -> StridedView:
        """A view with the axes in another order."""
        ...

    def view(self, dtype: DType) -> StridedView:
        """A view as numbers of another dtype of equal size."""
        ...

    def shifted(self, elements: Index) -> StridedView:
        """A view that starts ``elements`` elements further in memory."""
        ...

    @property
    def mT(self) -> StridedView:  # noqa: N802 - NumPy's name
        """A view with the last two axes exchanged: the transposed matrix."""
        ...

    def __getitem__(self, index: Any) -> Scalar: ...

    def __setitem__(self, index: Any, x: Scalar) -> None: ...

    def part(self, *leading: Index) -> StridedView:
        """The elements under leading indices."""
        ...


class Batch(Protocol):
    """Some arrays of a batch, one in each lane of a vector. Its arrays (operands, results, scratch) are opaque outside of `each`."""

    def scratch(self, shape: Sequence[int], dtype: DType) -> Any:
        """Memory of each lane."""
        ...

    def parts(self, array: Any) -> Any:
        """The array as real numbers, with a last axis for the parts of a number."""
        ...

    def each(self, step: Callable[..., None], *arrays: Any) -> None:
        """``step(*views)`` in every lane: straight-line code. Within another step it is part of that one."""
        ...

    def over(self, count: int, step: Callable[..., None], *arrays: Any) -> None:
        """``step(k, *views)`` in every lane for every k below ``count``, in order: a loop, or within another step straight-line code."""
        ...

    def repeat(self, most: int, flags: Any, body: Callable[[], None]) -> None:
        """``body()`` while the number ``flags`` of some lane is not zero, at most so many times."""
        ...

    def where_any(self, flags: Any, body: Callable[[], None]) -> None:
        """``body()`` if the number ``flags`` of some lane is not zero."""
        ...


class Routines(Protocol):
    """The operations of ``routine(w, operands, results)`` on memory, and calls of libraries, for ops without ``element``.

    Operands are readers and are never written to; results are strided views. The body of a branch returns nothing: it writes to memory.
    A library routine is named by its library and its name there, ``"lapack dpotrf"``. Fortran routines take numbers and letters by address,
    C functions by value.
    """

    emitter: Emitter
    integer: DType
    """The integers of BLAS and LAPACK."""

    def has(self, name: str) -> bool:
        """Whether this routine is available. Ask before any code is emitted that needs it."""
        ...

    def in_vectors(self, name: str) -> bool:
        """Whether this routine is available and vectorized."""
        ...

    def call(self, name: str, *arguments: Any, work: int = 0) -> None:
        """Call a routine: views are passed as pointers, letters and numbers as the library takes them. ``work`` is about the number of
        multiplications: a call with few of them runs on one thread.
        """
        ...

    def scratch(self, shape: Sequence[int], dtype: DType) -> StridedView:
        """Memory until the op is done; without axes, a variable. In the body of a parallel loop each thread has its own."""
        ...

    def variable(self, start: Scalar) -> StridedView:
        """A variable that begins with this value."""
        ...

    def dense(self, operand: Reader) -> StridedView:
        """An operand in memory, C-contiguous. Do not write to it."""
        ...

    def copy(self, source: StridedView, target: StridedView) -> None:
        """Copy a matrix, or its upper left part, to another; their strides are arbitrary."""
        ...

    def strided(self, operand: Reader) -> StridedView:
        """An operand in memory without a copy: its strides are arbitrary if it is a view of another array."""
        ...

    def every(self, shape: Sequence[int], body: Callable[[tuple[Index, ...]], None]) -> None:
        """``body(index)`` for every index below ``shape``, in order."""
        ...

    def up_to(self, end: Scalar, most: int, body: Callable[[Index], None], *, first: Scalar | None = None) -> None:
        """``body(k)`` for every k from ``first`` (or 0) to before ``end``, computed integers of at most ``most``, in order."""
        ...

    def totals(self, monoid: str, first: Scalar, end: Scalar, most: int, at: Callable[[Index], Sequence[Scalar]]) -> Sequence[Scalar]:
        """The reductions of each scalar of ``at(k)`` over every k from ``first`` to before ``end``, computed integers of at most ``most``.
        Sums of floats are in any order.
        """
        ...

    def parallel_for(self, shape: Sequence[int], body: Callable[[tuple[Index, ...]], None], work: int, *, most: int = 64) -> None:
        """``body(index)`` for every index below ``shape``, by several threads if the total work is large: ``work`` multiplications for
        each index. The body does not fail. It runs in at most ``most`` chunks, each with its own scratch memory.
        """
        ...

    def parallel_ranges(self, count: int, body: Callable[[Index, Any], None], work: int) -> None:
        """``body(first, number)`` on a part of the range below ``count`` for each thread, if ``work`` multiplications in total are worth
        the threads; else on the whole range. The number is an argument for `call`. The body does not fail.
        """
        ...

    def outlined(self, write: Callable[[], None]) -> None:
        """Outline the code that ``write`` emits: loops without calls or failures, in a function of their own, which LLVM vectorizes."""
        ...

    def fill(self, target: StridedView, element: Callable[[tuple[Index, ...]], Scalar]) -> None:
        """``target[index] = element(index)`` for every index, in any order."""
        ...

    def batched(self, lead: Sequence[int], operands: Sequence[Reader], results: Sequence[StridedView], body: Callable[..., None]) -> None:
        """``body(*operands, *results)`` on views for every index below ``lead``, one index in each lane of a vector.

        The body is straight-line code on scalars, without calls, loops or branches.
        """
        ...

    def batches(
        self, lead: Sequence[int], operands: Sequence[Reader], results: Sequence[StridedView], body: Callable[..., None], work: int
    ) -> None:
        """``body(batch, *operands, *results)`` for all indices below ``lead``, some of them at a time, on several threads if that pays:
        there are ``work`` operations for each index. Unlike `batched`, the code may have loops.
        """
        ...

    def vectorized(self, count: int, body: Callable[[Index], None]) -> None:
        """``body(k)`` for every k below ``count``, one k in each lane of a vector: straight-line code on scalars."""
        ...

    def when(self, condition: Scalar, body: Callable[[], None]) -> None:
        """``body()`` where the condition holds."""
        ...

    def fail(self, condition: Scalar, error: type[Exception], message: str, number: Scalar | None = None) -> None:
        """Where the condition holds, the whole call raises ``error(message)``; ``{}`` in the message is the number."""
        ...
