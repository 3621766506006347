"""The language of defining equations: the protocol between an op's ``element`` and its readers.

``element(e, i, *readers)`` gives element ``i`` (a tuple of indices) of the result as a scalar of elements of the operands,
``reader(index)``. These few lines become a native loop, a printed formula, or (in the tests) a slow scalar interpretation that is
compared with ``impl``.

An index supports ``+ - * // %`` and the comparisons ``< <= > >=``, which give conditions that support ``& |``. A scalar is opaque: only
the emitter's methods touch it.

An op whose results are made as a whole (a factorization, a sorted array, a running sum) has ``routine(w, operands, results)`` instead,
written in the words of `Routines`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np

__all__ = ["Emitter", "Expression", "Number", "Reader", "Routines", "StridedView", "where"]

Index = Any
Scalar = Any
Condition = Any
"""Opaque here: each emitter has its own."""
Number = Any
"""A number of Python or NumPy."""


class Reader(Protocol):
    """An operand: its type, and the scalar at an index."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __call__(self, index: Sequence[Index]) -> Scalar: ...


class Emitter(Protocol):
    """The vocabulary of defining equations."""

    def math(self, name: str, *operands: Scalar) -> Scalar:
        """A scalar function by name: the ``machine`` name of an elementwise op."""
        ...

    def constant(self, value: Number, dtype: np.dtype[Any]) -> Scalar: ...

    def cast(self, operand: Scalar, dtype: np.dtype[Any]) -> Scalar: ...

    def choose(self, condition: Condition, yes: Callable[[], Scalar], no: Callable[[], Scalar]) -> Scalar:
        """``yes()`` where the index condition holds, else ``no()``; only the one taken may read its operands."""
        ...

    def reduce(self, monoid: str, extents: Sequence[int], at: Callable[[Sequence[Index]], Scalar], dtype: np.dtype[Any]) -> Scalar:
        """The fold of ``at(r)`` over all indices ``r`` below ``extents`` with add, mul, max, min, and, or."""
        ...

    def as_index(self, operand: Scalar) -> Index:
        """An integer element as an index (a gather reads one to read another)."""
        ...

    def as_scalar(self, index: Index, dtype: np.dtype[Any]) -> Scalar:
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
    def dtype(self) -> np.dtype[Any]:
        """The dtype of constants beside it."""
        raise NotImplementedError

    def of(self, scalar: ScalarT) -> Self:
        """Another scalar of this emitter as an expression."""
        raise NotImplementedError

    def like(self, x: Self | complex) -> Self:
        """An expression unchanged; a number as a constant of this dtype."""
        return x if isinstance(x, type(self)) else self.of(self.e.constant(x, self.dtype))

    def math(self, name: str, *others: Self | complex) -> Self:
        """The scalar function ``name`` of this expression and others."""
        return self.of(self.e.math(name, self.scalar, *[x.scalar if isinstance(x, Expression) else self.like(x).scalar for x in others]))

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
    """``yes`` where the condition holds, else ``no``. At least one of them is an expression: its dtype is that of the result."""
    model = yes if isinstance(yes, Expression) else no
    if not isinstance(model, Expression):
        raise TypeError("where needs an expression among its cases, for the dtype of the result")
    return model.of(model.e.math("select", condition.scalar, model.like(no).scalar, model.like(yes).scalar))


class StridedView(Protocol):
    """An array in memory: its elements are read and written, ``x[i, j]``."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides of the axes, in elements."""
        ...

    def transposed(self, order: Sequence[int]) -> StridedView:
        """A view with the axes in another order."""
        ...

    def view(self, dtype: np.dtype[Any]) -> StridedView:
        """A view as numbers of another dtype of the same size."""
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


class Routines(Protocol):
    """The vocabulary of ``routine(w, operands, results)``: operations on memory and calls of libraries, for ops without ``element``.

    Operands are readers, and are never written to; results are blocks. Branches only write.
    A routine of a library is named by the library and its name there, ``"lapack dpotrf"``. Fortran's get numbers and letters by address,
    C's by value.
    """

    emitter: Emitter
    integer: np.dtype[Any]
    """The integers of BLAS and LAPACK."""

    def has(self, name: str) -> bool:
        """Whether this routine is available; to be asked before any code is written that needs it."""
        ...

    def in_vectors(self, name: str) -> bool:
        """Whether this routine is available and known to work on many numbers at once."""
        ...

    def call(self, name: str, *arguments: Any, work: int = 0) -> None:
        """Call a routine: blocks are passed as pointers, letters and numbers as the library takes them. ``work``: about how many
        multiplications that is; one thread is enough for few.
        """
        ...

    def scratch(self, shape: Sequence[int], dtype: np.dtype[Any]) -> StridedView:
        """Memory until the op is done; without axes, a variable. In what several threads run, each part has its own."""
        ...

    def variable(self, start: Scalar) -> StridedView:
        """A variable that begins with this value."""
        ...

    def dense(self, operand: Reader) -> StridedView:
        """An operand in memory, row by row; not to be written to."""
        ...

    def copy(self, source: StridedView, target: StridedView) -> None:
        """The numbers of a matrix, or of its upper left part, into another, whichever way each of them lies."""
        ...

    def strided(self, operand: Reader) -> StridedView:
        """An operand in memory, where it is: its strides are arbitrary if it is a view of another array."""
        ...

    def every(self, shape: Sequence[int], body: Callable[[tuple[Index, ...]], None]) -> None:
        """``body(index)`` for every index below ``shape``, in order."""
        ...

    def up_to(self, count: Scalar, most: int, body: Callable[[Index], None]) -> None:
        """``body(k)`` for every k below an integer that is computed, which is ``most`` at most, in order."""
        ...

    def parallel_for(self, shape: Sequence[int], body: Callable[[tuple[Index, ...]], None], work: int, *, most: int = 64) -> None:
        """``body(index)`` for every index below ``shape``, by several threads if all of it is much: ``work`` multiplications each. The
        body does not fail; it is run in ``most`` parts at most, each with its own memory.
        """
        ...

    def parallel_ranges(self, count: int, body: Callable[[Index, Any], None], work: int) -> None:
        """``body(first, number)`` on parts of the range below ``count``, one for each thread, if ``work`` multiplications in all are worth
        it, else on the whole range. The number is an argument for `call`. The body does not fail.
        """
        ...

    def outlined(self, write: Callable[[], None]) -> None:
        """Outline the code that ``write`` emits: loops that call nothing and do not fail. They are compiled alone and may be vectorized."""
        ...

    def fill(self, target: StridedView, element: Callable[[tuple[Index, ...]], Scalar]) -> None:
        """``target[index] = element(index)`` for every index, in any order."""
        ...

    def batched(self, lead: Sequence[int], operands: Sequence[Reader], results: Sequence[StridedView], body: Callable[..., None]) -> None:
        """``body(*operands, *results)`` on blocks for every index below ``lead``, several side by side in the lanes of vectors.

        The body is straight code on numbers: no calls, loops or branches.
        """
        ...

    def vectorized(self, count: int, body: Callable[[Index], None]) -> None:
        """``body(k)`` for every k below ``count``, in the lanes of vectors: straight code on numbers."""
        ...

    def when(self, condition: Scalar, body: Callable[[], None]) -> None:
        """``body()`` where the condition holds."""
        ...

    def fail(self, condition: Scalar, error: type[Exception], message: str, number: Scalar | None = None) -> None:
        """Where the condition holds, the whole call raises ``error(message)``; ``{}`` in the message is the number."""
        ...
