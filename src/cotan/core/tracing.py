"""Tracing: the current trace interprets each op; a tracer stands for a value under a transformation.

Dispatch has no stack and no levels. One context variable holds the current `Trace`. ``op(*operands)`` asks it to `process` the op; the
trace unwraps its own tracers, makes its *parent* current, and applies its transformation there. A tracer of another trace is just a
value to it and goes on to the parent. `EvalTrace`, the last parent, runs the op's NumPy meaning.

Invariant: a trace only ever unwraps tracers whose ``owner`` is itself, so two nested transformations never confuse their
perturbations. When a transformation returns, its trace is closed; a tracer of a closed trace is refused where it is next used.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar, Token
from functools import lru_cache
from types import FrameType
from typing import Any, ClassVar, NoReturn, Protocol

import numpy as np

from .operators import ArrayMethods, surface
from .origin import describe_function
from .refusals import refuse_assignment, refuse_conversion, refuse_deletion, refuse_escaped, refuse_scalar, refused_value, stack
from .sizes import Size
from .subclasses import refuse_other_meaning
from .types import ArrayType, Shape, array_type, is_known, refuse_foreign_dtype

__all__ = [
    "EVAL",
    "TYPE_READERS",
    "EvalTrace",
    "Operation",
    "Trace",
    "Tracer",
    "concrete_zero",
    "current_trace",
    "reset_trace",
    "running",
    "set_trace",
    "type_of",
]


class Operation(Protocol):
    """The part of an op that evaluation needs; `core.op.Op` has it. Traces of transformations take an `Op`, whose rules they run."""

    multiple: ClassVar[bool]
    """Whether ``impl`` returns a tuple of results."""

    def impl(self, *operands: Any) -> Any:
        """The result, computed by NumPy."""


class Trace:
    """One running transformation: it interprets ops on its tracers. ``verb`` and ``function`` name it in messages."""

    __slots__ = ("closed", "function", "recording", "verb")
    recording: bool
    """Whether the ops that it runs in the end become equations of a Program, which have an origin."""

    def __init__(self, verb: str, function: Any = None, *, recording: bool = False):
        self.verb, self.function = verb, function
        self.closed, self.recording = False, recording

    def process(self, op: Operation, operands: Sequence[Any]) -> Sequence[Any]:
        """The results of ``op``, as a sequence, whatever their number."""
        raise NotImplementedError

    def type_of(self, payload: Any) -> ArrayType:
        """The type that the user sees of a tracer of this trace with this payload."""
        raise NotImplementedError

    def is_zero(self, payload: Any) -> bool:
        """Whether the traced value is known to be zero."""
        return False

    def value(self, payload: Any) -> Any | None:
        """The value to print for a tracer of this trace with this payload; None where it is not known, or stands for many values."""
        return None

    def concrete(self, tracer: Tracer, conversion: str) -> Any:
        """The number behind ``tracer``, for a conversion to Python; raises where there is none."""
        refuse_conversion(tracer, conversion, "but it has no value yet", self.made_static(tracer, stack()))

    def made_static(self, tracer: Tracer, frames: Iterable[FrameType]) -> str:
        """How the user makes a plain value of ``tracer``; empty if that cannot be. One of ``frames`` runs his function."""
        return ""

    def close(self) -> None:
        self.closed = True

    @property
    def label(self) -> str:
        return self.verb if self.function is None else f"{self.verb} in {describe_function(self.function)}"


class EvalTrace(Trace):
    """No transformation: runs the NumPy meaning of each op."""

    __slots__ = ()

    def process(self, op: Operation, operands: Sequence[Any]) -> Sequence[Any]:
        for operand in operands:
            if type(operand) is Tracer:
                refuse_escaped(operand, operand.owner.label)
        results = op.impl(*operands)
        return results if op.multiple else (results,)


EVAL = EvalTrace("evaluation")
_current: ContextVar[Trace] = ContextVar("current_trace", default=EVAL)
current_trace = _current.get
set_trace: Callable[[Trace], Token[Trace]] = _current.set
reset_trace: Callable[[Token[Trace]], None] = _current.reset


class running:  # noqa: N801 - a context manager reads as a verb
    """Make ``trace`` the current one within this context."""

    __slots__ = ("token", "trace")

    def __init__(self, trace: Trace):
        self.trace = trace

    def __enter__(self) -> Trace:
        self.token = _current.set(self.trace)
        return self.trace

    def __exit__(self, *_: object) -> None:
        _current.reset(self.token)


class Tracer(ArrayMethods):
    """A value under a transformation, its ``owner``. The ``payload`` is that trace's own: (value, tangent), a batched value, or a Var."""

    __slots__ = ("germ", "known_type", "owner", "payload")
    germ: Any
    """Of a square root, and of functions of it: their germ near its zero (see `cotan.numpy.roots`); else None."""

    def __init__(self, owner: Trace, payload: Any):
        self.owner, self.payload = owner, payload
        self.known_type = self.germ = None

    @property
    def type(self) -> ArrayType:
        """The type that the user sees, worked out when it is first asked for."""
        known: ArrayType | None = self.known_type
        if known is None:
            known = self.known_type = self.owner.type_of(self.payload)
        return known

    @property
    def shape(self) -> Shape:
        return self.type.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    @property
    def size(self) -> int:
        return self.type.size

    @property
    def itemsize(self) -> int:
        return self.type.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    def __repr__(self) -> str:
        return f"{self.type.long_name()}, traced by {self.owner.label}"

    def __str__(self) -> str:
        value = self.owner.value(self.payload)
        return repr(self) if value is None else str(value)

    def __len__(self) -> int:
        if not self.shape:
            refuse_scalar(self, "len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            refuse_scalar(self, "iteration over a 0-d array")
        return (self[k] for k in range(self.shape[0]))

    # Conversions to Python: the gate where traced code most often meets untraced code.
    def __bool__(self) -> bool:
        return bool(self.owner.concrete(self, "bool"))

    def __int__(self) -> int:
        return int(self.owner.concrete(self, "int"))

    def __index__(self) -> int:
        return operator.index(self.owner.concrete(self, "index"))

    def __float__(self) -> float:
        return float(self.owner.concrete(self, "float"))

    def __complex__(self) -> complex:
        return complex(self.owner.concrete(self, "complex"))

    def __hash__(self) -> int:
        return hash(self.owner.concrete(self, "hash"))

    def __floor__(self) -> int:
        return math.floor(np.asarray(self.owner.concrete(self, "floor")).item())

    def __ceil__(self) -> int:
        return math.ceil(np.asarray(self.owner.concrete(self, "ceil")).item())

    def __trunc__(self) -> int:
        return math.trunc(np.asarray(self.owner.concrete(self, "trunc")).item())

    def __format__(self, spec: str) -> str:
        return format(self.owner.concrete(self, "format"), spec) if spec else str(self)

    def item(self, *index: int) -> Any:
        return self.owner.concrete(self[index] if index else self, "item").item()

    def tolist(self) -> Any:
        return self.owner.concrete(self, "tolist").tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self.owner.concrete(self, "array"), dtype)

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        refuse_assignment(self)

    def __delitem__(self, index: Any) -> NoReturn:
        refuse_deletion(self)

    # NumPy's protocols: np.sin(tracer), np_array @ tracer, np.sum(tracer) are traced.
    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return surface().call_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return surface().call_function(function, args, kwargs)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return surface()

    # A traced value never changes, so it is its own copy.
    def __copy__(self) -> Tracer:
        return self

    def __deepcopy__(self, memo: Any) -> Tracer:
        return self

    @property
    def device(self) -> str:
        return "cpu"


# ---- types of values ----------------------------------------------------------------------------------------------
FLOAT64, INT64, COMPLEX128, BOOL = (np.dtype(t) for t in (np.float64, np.int64, np.complex128, np.bool_))
WEAK_FLOAT, WEAK_INT, WEAK_COMPLEX = (array_type((), t, True) for t in (FLOAT64, INT64, COMPLEX128))
PLAIN_BOOL = array_type((), BOOL)
PYTHON_TYPES: dict[type, ArrayType] = {float: WEAK_FLOAT, int: WEAK_INT, complex: WEAK_COMPLEX, bool: PLAIN_BOOL}


@lru_cache(maxsize=8192)
def numeric_type(shape: Shape, dtype: np.dtype[Any]) -> ArrayType | None:
    """The type of an array of numbers; None for other dtypes."""
    return array_type(shape, dtype) if is_known(dtype) else None


def constantly(type: ArrayType) -> Callable[[Any], ArrayType]:
    """The function that gives ``type`` for every value."""
    return lambda _: type


TYPE_READERS: dict[type, Callable[[Any], ArrayType | None]] = {
    np.ndarray: lambda x: numeric_type(x.shape, x.dtype),
    Tracer: lambda x: x.known_type or x.type,
    Size: lambda x: PYTHON_TYPES.get(x.__class__) or array_type((), np.dtype(x.__class__)),
    **{python: constantly(t) for python, t in PYTHON_TYPES.items()},
    **{s: constantly(array_type((), np.dtype(s))) for s in (np.float64, np.float32, np.int64, np.bool_, np.complex128)},
}
"""How the type of a value is read, by its Python class; `program` adds Var and Literal."""


def type_of(x: Any) -> ArrayType:
    """The ArrayType of an array, a NumPy or Python scalar, a tracer or a Var.

    Raises:
        ArgumentTypeError: ``x`` is none of these.
        DtypeError: it is an array of a dtype that there is not here: objects, strings, times, long doubles.
    """
    kind = type(x)
    if kind is Tracer:  # most often
        return x.known_type or x.type
    if kind is np.ndarray:
        known = numeric_type(x.shape, x.dtype)
        if known is not None:
            return known
    reader = TYPE_READERS.get(kind)
    if reader is not None:
        known = reader(x)
        if known is not None:
            return known
    elif isinstance(x, np.ndarray | np.generic):
        refuse_other_meaning(x)
        if is_known(x.dtype):
            return array_type(x.shape, x.dtype)
    else:
        for python, weak in PYTHON_TYPES.items():  # subclasses of float, int: an IntEnum, say
            if isinstance(x, python):
                return weak
    if isinstance(x, np.ndarray | np.generic):
        refuse_foreign_dtype(f"this is an array of shape {x.shape}", x.dtype)
    raise refused_value(x)


SCALARS = (np.generic, float, int, complex)


def concrete_zero(x: Any) -> bool:
    """Whether ``x``, concrete or traced, is known to be zero everywhere."""
    if type(x) is Tracer:
        return x.owner.is_zero(x.payload)
    if type(x) is Size:
        return x == 0
    return not x if isinstance(x, SCALARS) else not np.any(x)
