"""From the user's operands to an op's operands: the choice of eager or traced, promotion by NEP 50, broadcasting.

A function of the surface is eager or traced. If no operand is traced, NumPy computes at once, and the result is viewed as an `Array` (also
while another function is being traced: known values stay known). If one is traced, the operands are converted to NumPy's dtypes, broadcast
(except scalars, which every elementwise op takes), and handed to an op.

Python scalars are weak, and so are tracers of Python scalars: they adapt to the dtype of the other operand.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import prod
from typing import Any, NoReturn
from typing import cast as as_type

import numpy as np

from ..core.array import Array, plain, settled, unwrapped
from ..core.errors import DtypeError, IndexingError, ShapeError, teach
from ..core.sizes import Size
from ..core.subclasses import refuse_other_meaning
from ..core.tracing import BOOL, COMPLEX128, FLOAT64, INT64, PYTHON_TYPES, Tracer, type_of
from ..core.types import DTYPES, ArrayType, Shape, refuse_foreign_dtype
from ..ops.casting import ConvertElementType
from ..ops.families import BroadcastInDim
from ..ops.movement import concatenate as join
from ..ops.movement import reshape as reshape_op

__all__ = [
    "Numbers", "broadcast_all", "broadcast_shapes", "can_cast", "canonical_axes", "canonical_axis", "convert_to", "from_nested",
    "has_tracer", "operand", "promote", "python_kind", "result_dtype", "result_type", "shape_of", "strong", "wrap",
]  # fmt: skip

Numbers = Any
"""An array, a Python or NumPy scalar, a tracer, or a nested list of them."""

PYTHON_KINDS: dict[str, Any] = {"i": int, "f": float, "c": complex}
"""The Python type as which a weak type of this kind promotes."""


# ---- eager or traced ---------------------------------------------------------------------------------------------------
def wrap(result: Any) -> Any:
    """NumPy's result as `Array` (a scalar as a 0-d one), also inside tuples and lists; any other object unchanged."""
    kind = type(result)
    if kind is Array or kind is Tracer:
        return result
    if isinstance(result, np.ndarray | np.generic):
        array = plain(result) if isinstance(result, np.ndarray) else np.asarray(result)
        if array.dtype not in DTYPES:
            refuse_foreign_dtype("the result is", array.dtype)
        return settled(array.view(Array))
    if isinstance(result, tuple):
        parts = [wrap(part) for part in as_type("tuple[Any, ...]", result)]
        return kind(*parts) if hasattr(result, "_fields") else tuple(parts)
    return [wrap(part) for part in as_type("list[Any]", result)] if kind is list else result


ABSENT: Any = np._NoValue  # noqa: SLF001 - NumPy has no other name for it
"""The default value of parameters that may be omitted and for which None is a value. It is NumPy's, so NumPy's functions accept it."""
SIMPLE = frozenset(
    {*PYTHON_TYPES, np.ndarray, Array, np.float64, np.float32, np.int64, np.bool_, Size, str, type(None), type(ABSENT), np.dtype, type}
)
"""Classes of arguments that hold no tracer and whose operators are an ndarray's; they need no further check."""


def has_tracer(x: Any) -> bool:
    """Whether ``x`` is a tracer, or a (nested) list or tuple, or an object of another library, that holds one.

    Raises:
        ArgumentTypeError: it holds an array whose operators differ in meaning from an ndarray's.
    """
    kind = type(x)
    if kind is Tracer:
        return True
    if kind in SIMPLE:
        return False
    if kind is list or kind is tuple:
        return any(map(has_tracer, x))
    refuse_other_meaning(x)
    return type(unwrapped(x)) is Tracer


# ---- operands ----------------------------------------------------------------------------------------------------------
def operand(x: Any) -> Any:
    """A value that ops take: a tracer, a plain ndarray, a NumPy or Python scalar. Lists, which may hold tracers, become arrays.

    Raises:
        ArgumentTypeError: ``x`` is not made of numbers.
    """
    kind = type(x)
    if kind is Tracer or kind is np.ndarray or kind in PYTHON_TYPES or kind is Size:
        return x
    if isinstance(x, np.ndarray):
        return plain(x)
    if kind is list or kind is tuple:
        return from_nested(x)
    if not isinstance(x, np.generic) and hasattr(x, "__array__"):
        refuse_other_meaning(x)
        inner = unwrapped(x)
        return inner if type(inner) is Tracer else np.asarray(x)
    type_of(x)
    return x


def from_nested(x: Any) -> Any:
    """The array of a nested list or tuple of numbers and tracers."""
    if not has_tracer(x):
        return np.asarray(x)
    if type(x) is Tracer:
        return x
    parts = [from_nested(part) if isinstance(part, list | tuple) else operand(part) for part in x]
    shapes = {shape_of(part) for part in parts}
    if len(shapes) > 1:
        raise teach(
            ShapeError,
            f"array: the parts of a nested list have different shapes: {', '.join(map(str, sorted(shapes)))}.",
            do="give all parts one shape, or join arrays of different lengths with cotan.numpy.concatenate.",
        )
    shape = next(iter(shapes))
    dtype = promoted(tuple([type_of(part).dtype for part in parts]))  # an array is never weak
    return join([reshape_op(convert_to(part, dtype), (1, *shape)) for part in parts], 0)


def shape_of(x: Any) -> Shape:
    """The shape of an operand, or of any array-like of NumPy."""
    kind = type(x)
    if kind is Tracer:
        return (x.known_type or x.type).shape
    if kind is Size:
        return ()
    shape = getattr(x, "shape", None)
    return shape if shape is not None else () if kind in PYTHON_TYPES else np.shape(x)


# ---- dtypes ------------------------------------------------------------------------------------------------------------
def python_kind(t: ArrayType) -> Any:
    """The representation of the type ``t`` in NumPy's promotion: its dtype, or int, float or complex if it is weak."""
    return PYTHON_KINDS[t.dtype.kind] if t.weak else t.dtype


EXAMPLES: dict[Any, Any] = {int: 0, float: 0.0, complex: 0j}


@lru_cache(maxsize=4096)
def promoted(kinds: tuple[Any, ...]) -> np.dtype[Any]:
    return np.result_type(*[EXAMPLES.get(kind, kind) for kind in kinds])


def result_dtype(*xs: Any) -> np.dtype[Any]:
    """The dtype that NumPy promotes these operands to (``np.result_type``).

    Raises:
        DtypeError: there is none.
    """
    return promoted(tuple([python_kind(type_of(operand(x))) for x in xs]))


def convert_to(x: Any, dtype: np.dtype[Any], weak: bool = False) -> Any:
    """An operand in this dtype. A Python scalar stays one if possible; ``weak``: a tracer becomes weak."""
    kind = type(x)
    if kind is Tracer:
        t = x.known_type or x.type
        return x if t.dtype == dtype else ConvertElementType(dtype, weak)(x)
    if kind is np.ndarray:
        return x if x.dtype == dtype else real_part(x, dtype).astype(dtype)
    if kind in PYTHON_TYPES:
        if dtype is FLOAT64:
            return float(x.real) if kind is complex else float(x)
        return int(x) if dtype is INT64 and kind is not complex else complex(x) if dtype is COMPLEX128 else dtype.type(real_part(x, dtype))
    if kind is Size:
        return x.converted(dtype)
    return x if x.dtype == dtype else real_part(x, dtype).astype(dtype)


def real_part(x: Any, dtype: np.dtype[Any]) -> Any:
    """``x``, or its real part if the conversion is from complex to a real dtype (not to bool)."""
    return x.real if dtype.kind in "iuf" and type(x) is not bool and np.iscomplexobj(x) else x


def strong(x: Any) -> Any:
    """``x`` with a strong type, as in an array made of a Python scalar."""
    t = type_of(x)
    if not t.weak:
        return x
    if type(x) is Size:
        return x.strong(t.dtype)
    return ConvertElementType(t.dtype)(x) if type(x) is Tracer else t.dtype.type(x)


def promote(*xs: Any) -> list[Any]:
    """Operands (lists allowed) in their common dtype, not broadcast."""
    operands = [operand(x) for x in xs]
    types = [type_of(x) for x in operands]
    first = types[0]
    if not first.weak and all(t.dtype is first.dtype and not t.weak for t in types):
        return operands
    dtype = promoted(tuple([python_kind(t) for t in types]))
    return [convert_to(x, dtype) for x in operands]


def inexact_dtype(x: Any) -> np.dtype[Any]:
    """The dtype of ``x`` if floating or complex, else float64: the dtype of a mean."""
    dtype = type_of(x).dtype
    return dtype if dtype.kind in "fc" else FLOAT64


def as_bool(x: Any) -> Any:
    """Whether each element is nonzero."""
    return convert_to(operand(x), BOOL)


# ---- shapes ------------------------------------------------------------------------------------------------------------
def broadcast_shapes(name: str, shapes: Sequence[Shape]) -> Shape:
    """The broadcast shape of these shapes.

    Raises:
        ShapeError: they do not broadcast.
    """
    distinct = {shape for shape in shapes if shape}
    if len(distinct) <= 1:
        return next(iter(distinct), ())
    common = common_shape(distinct)
    if common is not None:
        return common
    raise teach(
        ShapeError,
        f"{name}: shapes {' and '.join(str(s) for s in shapes)} do not broadcast.",
        do="axes are compared from the last; they must be equal or 1. Insert an axis with x[:, None], or check what the operands are.",
    )


def common_shape(shapes: Iterable[Shape]) -> Shape | None:
    """The broadcast shape of these shapes; None if they do not broadcast."""
    found: list[int] = []
    for shape in shapes:
        found = [1] * (len(shape) - len(found)) + found
        for k, n in enumerate(reversed(shape), 1):
            if found[-k] == 1:
                found[-k] = n
            elif n != 1 and n != found[-k]:
                return None
    return tuple(found)


def broadcast_all(name: str, xs: Sequence[Any], *, scalars: bool = True) -> list[Any]:
    """Operands broadcast to one shape; 0-d operands are unchanged if ``scalars``."""
    shapes = [shape_of(x) for x in xs]
    common = broadcast_shapes(name, shapes)
    return [x if shape == common or (scalars and not shape) else spread_to(x, common, shape) for x, shape in zip(xs, shapes, strict=True)]


def spread_to(x: Any, shape: Shape, have: Shape) -> Any:
    """``x`` of shape ``have`` broadcast to ``shape`` by NumPy's rule."""
    return x if have == shape else BroadcastInDim(shape, tuple(range(len(shape) - len(have), len(shape))))(x)


def canonical_axis(name: str, axis: Any, ndim: int) -> int:
    """An axis from 0 to ``ndim`` - 1.

    Raises:
        IndexingError: there is no such axis.
    """
    k = int(axis)
    if -ndim <= k < ndim:
        return k % ndim
    raise teach(
        IndexingError,
        f"{name}: axis {k} of an array with {ndim} axes.",
        do=f"give an axis from {-ndim} to {ndim - 1}." if ndim else "0-d arrays have no axes.",
    )


def canonical_axes(name: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """Increasing distinct axes from None (all), an int or a tuple of ints.

    Raises:
        IndexingError: there is no such axis.
        ShapeError: an axis is named twice.
    """
    if axis is None:
        return tuple(range(ndim))
    axes = [canonical_axis(name, k, ndim) for k in (axis if isinstance(axis, tuple | list) else (axis,))]
    if len(set(axes)) < len(axes):
        raise teach(ShapeError, f"{name}: axis {axis} names an axis twice.", do="name each axis once.")
    return tuple(sorted(axes))


def reduced_axes(name: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """`canonical_axes`, except that a 0-d array has an axis 0 or -1 to reduce, as in NumPy's reductions."""
    if ndim == 0 and axis is not None and not isinstance(axis, tuple) and int(axis) in (0, -1):
        return ()
    return canonical_axes(name, axis, ndim)


def as_line(x: Any, shape: Shape) -> tuple[Any, Shape]:
    """``x`` and its shape; a 0-d array becomes an array of one axis, as in some functions of NumPy."""
    return (x, shape) if shape else (reshape_op(strong(x), (1,)), (1,))


def size_of(shape: Sequence[int]) -> int:
    return prod(shape)


def refuse_dtype(name: str, *types: ArrayType) -> NoReturn:
    """Raise an error: NumPy has no loop for these dtypes, or cotan has no op for it."""
    raise teach(
        DtypeError,
        f"{name} does not take {' and '.join(f'a Python {python_kind(t).__name__}' if t.weak else str(t.dtype) for t in types)} operands.",
        do="convert them with x.astype(dtype) first.",
    )


def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """The dtype to which these arrays, scalars (weak if Python's), tracers and dtypes promote."""
    return np.result_type(*[stand_in(x) for x in arrays_and_dtypes])


def can_cast(from_: Any, to: Any, casting: str = "safe") -> bool:
    """Whether values of a dtype (or of the dtype of an array) can be cast to another by NumPy's rule ``casting``."""
    given = from_.dtype if isinstance(from_, Tracer | np.ndarray) else from_
    return bool(np.can_cast(given, to, casting))  # type: ignore[arg-type]


def stand_in(x: Any) -> Any:
    """The representation of ``x`` in NumPy's promotion: a tracer's dtype, or a Python scalar for a weak one."""
    if type(x) is not Tracer:
        return x
    kind = python_kind(type_of(x))
    return EXAMPLES.get(kind, kind)
