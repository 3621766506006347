"""Recall: a staged Program serves a new function object with the same code and the same closure.

A loop's body is mostly a lambda, and a new object each time the code around it runs. `Recall` compares two such functions by
their parts: code, closure, defaults and the globals they name, down to numbers and small arrays by value. Traced values are
told by their place, and put in that place again. Whatever else a function refers to (an instance of some class, a large array, a
generator of random numbers) might have changed unseen, so that such a function is staged anew each time. So is one that itself changes
what it refers to (it appends to a list), one whose body asks a traced value for its number, and one whose Program calls Python later on (a
callback, a rule): two lists that are equal now may differ by then, and two callbacks may write into different objects.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from ..core.array import Array
from ..core.origin import staged_anew
from ..core.program import Program
from ..core.tracing import Tracer, type_of
from ..transforms.jvp import conversions
from .transformed import Transformed

__all__ = ["Recall"]

KNOWN_PACKAGES = frozenset({"cotan", "functools", "itertools", "math", "numpy", "operator", "scipy"})
IMPURE_NAMES = frozenset({"random", "time", "input", "open", "next", "perf_counter", "global_state"})
LARGEST = 1 << 16


class Unknowable(Exception):  # noqa: N818 - no error
    """The function refers to something that may change unseen."""


class Recall:
    """Results of staging, by fingerprint; the least recently used of more than ``limit`` are dropped."""

    def __init__(self, limit: int = 512):
        self.limit = limit
        self.known: OrderedDict[Hashable, tuple[Any, list[Any], Any, Any]] = OrderedDict()

    def recall(self, key: Hashable, functions: Sequence[Any], make: Callable[[], tuple[Any, tuple[Any, list[Any], Any]]]) -> Any:
        """The result of ``make()``, (first, (program, captured values, rest)), from memory if the functions are known."""
        tracers: list[Any] = []
        if staged_anew():
            return make()
        try:
            fingerprint = (key, tuple(Fingerprint(tracers).of(f) for f in functions))
        except (Unknowable, RecursionError):
            return make()
        entry = self.known.get(fingerprint)
        if entry is not None:
            self.known.move_to_end(fingerprint)
            first, places, program, rest = entry
            return first, (program, [tracers[k] if k is not None else value for k, value in places], rest)
        before = conversions()
        first, (program, captured, rest) = make()
        index = {id(t): k for k, t in enumerate(tracers)}
        places = [(index.get(id(v)), None if type(v) is Tracer else private(v)) for v in captured]
        told = all(k is not None or type(v) is not Tracer for v, (k, _) in zip(captured, places, strict=True))
        if told and conversions() == before and not any(map(calls_later, programs_in(program))) and unchanged(key, functions, fingerprint):
            self.known[fingerprint] = (first, places, program, rest)
            if len(self.known) > self.limit:
                self.known.popitem(last=False)
        return first, (program, captured, rest)


def unchanged(key: Hashable, functions: Sequence[Any], fingerprint: Hashable) -> bool:
    """Whether the functions still have this fingerprint: one that appends to a list must run again to append again."""
    try:
        return (key, tuple(map(Fingerprint([]).of, functions))) == fingerprint
    except (Unknowable, RecursionError):
        return False


def programs_in(staged: Any) -> list[Program]:
    """The Programs in a result of staging: one, or several in a tuple or list."""
    if isinstance(staged, Program):
        return [staged]
    return [x for part in staged for x in programs_in(part)] if isinstance(staged, tuple | list) else []


def calls_later(program: Program) -> bool:
    """Whether a Program, or one that an op in it holds, has functions of Python among its parameters that may refer to something."""
    found: bool | None = program.derived.get("calls later")
    if found is None:
        found = program.derived["calls later"] = any(
            any(map(refers, e.op.parameters().values())) or any(calls_later(region.program) for region in e.op.regions())
            for e in program.equations
        )
    return found


def refers(parameter: Any) -> bool:
    """Whether a parameter of an op is, or contains, a function of Python that may refer to something."""
    if isinstance(parameter, tuple | list):
        return any(map(refers, parameter))
    if isinstance(parameter, FunctionType):
        return (parameter.__module__ or "").partition(".")[0] not in KNOWN_PACKAGES or bool(parameter.__closure__)
    return isinstance(parameter, MethodType | partial)


def private(x: Any) -> Any:
    """A copy of an array, which its owner may change."""
    return x.copy() if isinstance(x, np.ndarray) else x


class Fingerprint:
    """The parts of a value, as a hashable key. ``tracers`` collects the traced values, in order."""

    def __init__(self, tracers: list[Any]):
        self.tracers = tracers
        self.inside: dict[int, int] = {}

    def of(self, x: Any) -> Hashable:
        kind = type(x)
        reader = READERS.get(kind)
        if reader is not None:
            return kind, reader(self, x)
        if isinstance(x, np.generic):
            return kind, x.tobytes()
        package = (x if isinstance(x, type) else kind).__module__.partition(".")[0]
        if isinstance(x, type) and package in (*KNOWN_PACKAGES, "builtins"):  # a class of the user may change its attributes
            return kind, x
        if isinstance(x, np.dtype) or (package == "cotan" and hasattr(x, "parameter_names")):
            return kind, x  # dtypes and ops are values
        raise Unknowable

    def of_tracer(self, x: Tracer) -> Hashable:
        known = next((k for k, t in enumerate(self.tracers) if t is x), None)
        if known is None:
            known = len(self.tracers)
            self.tracers.append(x)
        return known, type_of(x)

    def of_array(self, x: np.ndarray[Any, Any]) -> Hashable:
        if x.nbytes > LARGEST or x.dtype.hasobject:
            raise Unknowable
        return x.shape, x.dtype.str, x.tobytes()

    def of_module(self, x: ModuleType) -> Hashable:
        if x.__name__.partition(".")[0] not in KNOWN_PACKAGES:
            raise Unknowable
        return x.__name__

    def of_all(self, *values: Any) -> Hashable:
        return tuple([self.of(v) for v in values])

    def of_function(self, f: FunctionType) -> Hashable:
        if (f.__module__ or "").partition(".")[0] in KNOWN_PACKAGES and not f.__closure__:
            return f
        if id(f) in self.inside:  # a function that refers to itself
            return self.inside[id(f)]
        self.inside[id(f)] = len(self.inside)
        cells = tuple(self.of(c.cell_contents) for c in f.__closure__ or ())
        defaults = (self.of(f.__defaults__), self.of(f.__kwdefaults__), self.of(dict(f.__dict__)))
        named = tuple((name, self.of(f.__globals__[name])) for name in global_names(f.__code__) if name in f.__globals__)
        return f.__code__, cells, defaults, named


def same(_: Fingerprint, x: Any) -> Any:
    return x


READERS: dict[type, Callable[[Fingerprint, Any], Hashable]] = {
    **dict.fromkeys((type(None), bool, int, str, bytes, type(Ellipsis), BuiltinFunctionType, np.ufunc), same),
    **dict.fromkeys((float, complex), lambda _, x: repr(x)),  # tells 0.0 from -0.0
    **dict.fromkeys((tuple, list), lambda self, x: self.of_all(*x)),
    **dict.fromkeys((np.ndarray, Array), Fingerprint.of_array),
    dict: lambda self, x: tuple([(self.of(k), self.of(v)) for k, v in x.items()]),
    slice: lambda self, x: self.of_all(x.start, x.stop, x.step),
    partial: lambda self, x: self.of_all(x.func, x.args, x.keywords),
    MethodType: lambda self, x: self.of_all(x.__func__, x.__self__),
    Tracer: Fingerprint.of_tracer,
    ModuleType: Fingerprint.of_module,
    FunctionType: Fingerprint.of_function,
    Transformed: lambda self, x: (x.make.__qualname__, self.of_all(x.args, x.kwargs)),
}
"""The fingerprint of a value, by its class. Values of other classes have none."""


def global_names(code: CodeType) -> list[str]:
    """The names that the code and the functions inside it may look up in the globals (or as attributes)."""
    names = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names += global_names(constant)
    if not IMPURE_NAMES.isdisjoint(names):
        raise Unknowable
    return names
