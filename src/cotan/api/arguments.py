"""The gate of every transformation: its arguments, their leaves, its results.

A `FlatCall` turns ``fun(*args, **kwargs)``, of which some positional arguments are transformed, into a flat function of their leaves.
Everything that can be wrong with arguments is refused here, by name: ``args[0]['w']``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from inspect import isroutine
from typing import Any, TypeVar

import numpy as np

from ..core import tree
from ..core.array import Array, handed, plain, unwrapped
from ..core.borrowing import refused_by_borrowing
from ..core.errors import (
    ArgumentError,
    ArgumentTypeError,
    BorrowedArrayError,
    CotanError,
    IntegerRangeError,
    TracerConversionError,
    UnsupportedFunctionError,
    hide_internal_frames,
    teach,
)
from ..core.origin import PACKAGE, Origin, describe_error, describe_function, is_users
from ..core.refusals import lost_refusal
from ..core.subclasses import refuse_other_meaning
from ..core.tracing import FLOAT64, Tracer, concrete_zero, type_of
from ..core.types import DTYPES, ArrayType, refuse_foreign_dtype
from ..ops.casting import ConvertElementType
from ..ops.families import zeros
from ..ops.gaps import GAPS_MET
from ..ops.transcendental import NEGATIVE_POWER
from .limits import settled

__all__ = [
    "Argnums",
    "FlatCall",
    "boundary",
    "check_callable",
    "check_inexact",
    "check_same_structure",
    "check_tangents",
    "floating",
    "floating_leaves",
    "leaf",
    "note_lists",
    "one_argument",
    "present",
    "refuse_large_integers",
    "surely_zero",
    "weakly_floating",
]

Argnums = int | Sequence[int]
F = TypeVar("F", bound=Callable[..., Any])

INTEGERS = (int, np.integer)
FAST_LEAVES = frozenset({np.ndarray, Array, float, Tracer, np.float64})


def check_callable(transformation: str, fun: Any) -> None:
    """Refuse an object that cannot be called (the result in ``grad(f(x))``, most often, or in ``cond(p, f(x), g(x))``)."""
    if not callable(fun):
        what = f"{transformation} takes a function, not {'a traced value' if type(fun) is Tracer else with_article(type(fun).__name__)}."
        do = CALLS_OF_OPERATIONS.get(transformation, f"write {transformation}(f)(x), not {transformation}(f(x)).")
        raise teach(ArgumentTypeError, what, do=do)


CALLS_OF_OPERATIONS = {
    "cond": "write cond(p, lambda x: a, lambda x: b, x); to choose between values write cotan.numpy.where(p, a, b).",
    "switch": "write switch(k, [lambda x: a, lambda x: b], x), not switch(k, [a, b]).",
    "scan": "write scan(f, first, xs) with f(carry, x) -> (carry, y).",
    "map": "write map(f, xs).",
    "fori_loop": "write fori_loop(start, stop, body, first) with body(k, value) -> value.",
    "while_loop": "write while_loop(condition, body, first) with condition(value) -> bool and body(value) -> value.",
    "associative_scan": "write associative_scan(f, xs) with f(a, b) -> c.",
    "explain": "write explain(f, x), not explain(f(x)).",
    "why_nan": "write why_nan(f, x), not why_nan(f(x)).",
    "check_rule": "write check_rule(f, (x,)), not check_rule(f(x)).",
    "check_grads": "write check_grads(f, (x,), order), not check_grads(f(x)).",
}
"""The calls of functions that take a function among other arguments."""


def boundary(function: F) -> F:
    """A function that users call: cotan's own frames are left out of the traceback of its errors."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        before = GAPS_MET[0]
        try:
            try:
                result = function(*args, **kwargs)
            except np.linalg.LinAlgError as error:  # of what is not finite, as a derivative at equal values is before `settled`
                if GAPS_MET[0] == before:
                    raise
                result = error
            return result if GAPS_MET[0] == before else settled(result, lambda: function(*args, **kwargs))
        except Exception as error:
            try:
                present(error)
            except CotanError as better:
                hide_internal_frames(better)  # those of `present`
                raise
            raise

    return call  # type: ignore[return-value]


def present(error: Exception) -> None:
    """Prepare an error for the user: hide frames of cotan, or raise a better error in its place. The caller raises either again: a bare
    raise adds no frame to the traceback.
    """
    better = better_error(error)
    if better is not None:
        raise better.with_traceback(error.__traceback__) from None
    if isinstance(error, CotanError) or not raised_here(error):
        hide_internal_frames(error)


def better_error(error: Exception) -> CotanError | None:
    """The error that tells the user more than ``error``; None if there is none."""
    if isinstance(error, SystemError) and isinstance(cause := error.__cause__ or error.__context__, CotanError):
        return cause  # C code went on after the refusal
    refusal = lost_refusal(error)
    if isinstance(error, CotanError):
        return None
    if refusal is not None:
        return refusal
    if isinstance(error, ValueError) and isinstance(error.__cause__, UnsupportedFunctionError | TracerConversionError):
        return error.__cause__
    return refused_change(error) if isinstance(error, ValueError) and refused_by_borrowing(error) else None


def raised_here(error: Exception) -> bool:
    """Whether code of cotan raised ``error`` by mistake: the traceback of such a defect keeps its frames."""
    if isinstance(error, np.linalg.LinAlgError) or str(error) == NEGATIVE_POWER:
        return False
    if isinstance(error, TypeError) and WRONG_CALL.match(str(error)):
        return False
    tb = error.__traceback__
    while tb is not None and tb.tb_next is not None:
        tb = tb.tb_next
    innermost = tb.tb_frame.f_code.co_filename if tb is not None else ""
    return innermost.startswith(PACKAGE) and innermost != TRACING


WRONG_CALL = re.compile(r"[\w.<>]+\(\) (takes|missing|got) ")
"""Python's message about a call whose arguments do not match the parameters."""
TRACING = type_of.__code__.co_filename
"""The file that raises those errors of a traced value that an ndarray raises too: len() of a number, say."""


def refused_change(error: ValueError) -> BorrowedArrayError:
    """The error of ``array[i] = v`` where the derivative, or a Program, needs the old contents of the array."""
    return teach(
        BorrowedArrayError,
        "this array is changed in place, but its old contents are needed: it has met a traced value in this function.",
        detail=f"NumPy says: {error}",
        do="make a new array in each step (a = a.copy() before the change, or a = a.at[i].set(v) with a from cotan.numpy).",
        origin=origin_of(error),
    )


def origin_of(error: BaseException) -> Origin | None:
    """The line that raised ``error``, or the user's line that called NumPy's code there."""
    found = None
    tb = error.__traceback__
    while tb is not None:
        if is_users(tb.tb_frame.f_code):
            found = Origin(tb.tb_frame.f_code, tb.tb_lasti)
        tb = tb.tb_next
    return found


def leaf(x: Any, name: str) -> Any:
    """A leaf as transformations take it: a plain ndarray, a scalar or a tracer."""
    if type(x) in FAST_LEAVES:
        if type(x) is Array:
            x = x.view(np.ndarray)
        if type(x) is not np.ndarray:
            return x
        if x.dtype in DTYPES:
            return x
    refuse_other_meaning(x, name)
    x = unwrapped(plain(x))
    if isinstance(x, np.ndarray | np.generic):
        if x.dtype not in DTYPES:
            refuse_foreign_dtype(f"{name} is an array of shape {x.shape}", x.dtype)
        return x
    try:
        type_of(x)
    except ArgumentTypeError:
        raise teach(
            ArgumentTypeError,
            f"{name} is {with_article(type(x).__name__)}, not a number or an array of numbers.",
            do=remedy(x, name),
        ) from None
    return x


def with_article(name: str) -> str:
    """``a str``, ``an object``."""
    return f"a{'n' * (name[:1].lower() in 'aeio')} {name}"


RESULTS = ("the output", "the carry", "the value", "y")
"""How the names of results begin; all others are names of arguments."""


def remedy(x: Any, name: str) -> str:
    """The advice for an argument, or an output, that is no array."""
    kind = type(x)
    if name.startswith(RESULTS):
        return "return numbers and arrays (or trees of them), and keep other results out of the traced function."
    if hasattr(kind, "to_numpy"):  # pandas, polars, xarray
        return "pass its numbers, x.to_numpy()."
    if hasattr(kind, "__array__") or hasattr(kind, "__dlpack__"):
        return "pass its numbers, np.asarray(x)."
    static = "make it static: a closure, functools.partial, or jit's static_argnums"
    if isinstance(x, str | bytes) or kind.__module__ == "builtins" or isroutine(x):
        return f"pass numbers and arrays (or trees of them); make other arguments static: {static.partition(': ')[2]}."
    return (
        "pass its arrays to a function of these; or register its class as a tree, "
        f"cotan.tree.register_pytree_node({kind.__name__}, flatten, unflatten); "
        f"or {static} (jit keeps a Program for each value, told apart by its __hash__ and __eq__)."
    )


def refuse_large_integers(args: Any, kwargs: Any) -> None:
    """Raise if there is a Python int among the arguments that no array can hold."""
    leaves, spec = tree.flatten((args, kwargs))
    for x, name in zip(leaves, tree.leaf_names(spec, ""), strict=True):
        if type(x) is int and not -(2**63) <= x < 2**63:
            raise teach(
                IntegerRangeError,
                f"{'args' if name.startswith('[0]') else 'kwargs'}{name[3:]} is the integer {x:.3e}, which does not fit into 64 bits.",
                do="pass it as a float, float(x), or make it a static argument: jit(f, static_argnums=...).",
            )


def note_lists(error: Exception, arguments: Mapping[str, Any]) -> None:
    """Add a note to an error of a function if one of its arguments is a list, which reached it as a list of traced numbers."""
    for name, x in arguments.items():
        if isinstance(x, list | tuple) and x and all(isinstance(y, int | float | complex) for y in x) and not hasattr(error, "__notes__"):
            kind = type(x).__name__
            error.add_note(
                f"{name} is a {kind}: a {kind} is a tree of arguments here, and reaches the function as a {kind} of traced numbers. "
                f"For one array pass cotan.numpy.array({name})."
            )


@contextmanager
def one_argument(name: str, fun: Any, primals: Any) -> Generator[None]:
    """Within this context, ``fun`` is called with the one argument ``primals``. If that is a tuple, which other transformations take as the
    arguments, an error of its type is explained.
    """
    try:
        yield
    except TypeError as error:
        if not isinstance(primals, tuple) or isinstance(error, CotanError):
            raise
        where, text = describe_function(fun), describe_error(error)
        values = "x, v" if len(primals) == 1 else "xs, vs"
        raise teach(
            ArgumentTypeError,
            f"{name} calls {where} with one argument, and got a tuple of {len(primals)} as that: {text}",
            do=f"write {name}(f, {values}), without a tuple round a single argument; "
            "a function of several arguments takes them as one: lambda xs: f(*xs).",
        ) from error


class FlatCall:
    """``fun(*args, **kwargs)`` as a function of the leaves of the arguments at ``argnums`` (of all, if None)."""

    __slots__ = ("args", "aux", "fun", "has_aux", "indices", "kwargs", "leaves", "one", "out_spec", "spec", "strict")

    def __init__(
        self,
        transformation: str,
        fun: Any,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        argnums: Argnums | None,
        has_aux: bool,
        strict: bool = False,
    ):
        self.fun, self.args, self.kwargs, self.has_aux, self.strict = fun, list(args), kwargs, has_aux, strict
        self.one = isinstance(argnums, INTEGERS)
        self.indices = check_argnums(transformation, argnums, len(args))
        chosen = [args[k] for k in self.indices]
        if len(chosen) == 1 and type(chosen[0]) in FAST_LEAVES:
            self.spec = ONE_LEAF
            self.leaves = [leaf(chosen[0], "args[0]")]
        else:
            values, self.spec = tree.flatten(tuple(chosen))
            if all(type(x) in FAST_LEAVES for x in values):
                self.leaves = [leaf(x, "an argument") for x in values]
            else:
                self.leaves = [leaf(x, name) for x, name in zip(values, self.names(), strict=True)]
        self.out_spec: Any = None
        self.aux: Any = None

    def names(self) -> list[str]:
        """``args[0]['w']`` for each leaf."""
        return [
            name for k, spec in zip(self.indices, tree.children(self.spec), strict=True) for name in tree.leaf_names(spec, f"args[{k}]")
        ]

    def __call__(self, *leaves: Any) -> list[Any]:
        args = [x if k in self.indices else handed(x) for k, x in enumerate(self.args)]
        if self.spec is ONE_LEAF:
            x = leaves[0]
            args[self.indices[0]] = x if type(x) is Tracer else handed(x)
        else:
            for k, x in zip(self.indices, tree.unflatten(self.spec, map(handed, leaves)), strict=True):
                args[k] = x
        kwargs = {name: handed(x) for name, x in self.kwargs.items()} if self.kwargs else self.kwargs
        try:
            out = self.fun(*args, **kwargs)
        except (TypeError, AttributeError) as error:
            note_lists(error, {f"args[{k}]": self.args[k] for k in self.indices})
            raise
        if self.has_aux:
            if not isinstance(out, tuple) or len(out) != 2:  # type: ignore[arg-type]
                raise teach(
                    ArgumentTypeError,
                    f"with has_aux=True, {describe_function(self.fun)} must return a pair (output, aux); it returned "
                    f"{type_of(out).long_name() if type(out) is Tracer else type(out).__name__}.",
                    do="return (value, auxiliary), or leave out has_aux.",
                )
            out, self.aux = out
        if type(out) in FAST_LEAVES:
            self.out_spec = LEAF
            return [leaf(out, "the output")]
        results, self.out_spec = tree.flatten(out)
        return [leaf(y, f"the output of {describe_function(self.fun)}") for y in results]

    def rebuild_inputs(self, leaves: Sequence[Any]) -> Any:
        """Leaves like the inputs' in the user's tree: the tree of the one argument, or a tuple of trees for several ``argnums``."""
        if self.spec is ONE_LEAF:
            return leaves[0] if self.one else tuple(leaves)
        values = tree.unflatten(self.spec, leaves)
        return values[0] if self.one else values

    def rebuild_output(self, leaves: Sequence[Any]) -> Any:
        return leaves[0] if self.out_spec is LEAF else tree.unflatten(self.out_spec, leaves)


ONE_LEAF = tree.structure((0,))
LEAF = tree.structure(0)


def check_argnums(transformation: str, argnums: Argnums | None, count: int) -> list[int]:
    """The positions that ``argnums`` names, from 0, of ``count`` positional arguments."""
    if type(argnums) is int and 0 <= argnums < count:  # most often
        return [argnums]
    if type(argnums) is tuple and {*map(type, argnums)} == {int} and len(argnums) == len({*argnums} & {*range(count)}):
        return list(argnums)
    if argnums is None:
        return list(range(count))
    indices = list(argnums) if np.iterable(argnums) else [argnums]
    for k in indices:
        if not isinstance(k, int | np.integer):  # type: ignore[redundant-expr]
            raise teach(
                ArgumentTypeError,
                f"{transformation}: argnums must be an int or a sequence of ints, not {argnums!r}.",
                do="give the position of the argument, counted from 0: argnums=1, or argnums=(0, 1) for two.",
            )
        if not -count <= k < count:
            raise teach(
                ArgumentError,
                f"{transformation}: argnums={argnums!r}, but the function was called with {count} positional argument{'s' * (count != 1)}.",
                do="differentiated arguments are positional; pass them so, and count from 0.",
            )
    positions = [int(k) % count for k in indices]
    if len(set(positions)) < len(positions):
        raise teach(ArgumentError, f"{transformation}: argnums={argnums!r} names a position twice.", do="name each position once.")
    return positions


def floating(x: Any) -> Any:
    """``x``, converted to float64 if it is an integer, as a derivative needs; a weak one (a Python int) stays weak."""
    if type(x) is int:
        return float(x)
    t = type_of(x)
    return x if t.dtype.kind not in "iu" else ConvertElementType(FLOAT64, t.weak)(x)


def weakly_floating(x: Any) -> Any:
    """``x``, a Python int (or one that is traced) as a float; an integer array as it is."""
    return floating(x) if type(x) is int or (type(x) is Tracer and type_of(x).weak) else x


def floating_leaves(call: FlatCall, allow_int: bool = False) -> None:
    """Make floats of the integers among the inputs of a call; with ``allow_int`` they stay integers, without derivative."""
    if not allow_int:
        for k, x in enumerate(call.leaves):
            if type(x) is not np.ndarray or x.dtype.kind != "f":
                call.leaves[k] = floating(x)


def check_inexact(
    call: FlatCall, transformation: str, *, holomorphic: bool = False, allow_int: bool = False, complex_ok: bool = False
) -> None:
    """Refuse inputs that have no derivative: truth values, and complex numbers where a real derivative is asked for.

    Integers become floats, unless ``allow_int``.
    """
    for k, x in enumerate(call.leaves):
        t = type_of(x)
        if t.dtype.kind in "iu" and not allow_int:
            x = call.leaves[k] = floating(x)
            t = type_of(x)
        if t.dtype.kind == "f" and not holomorphic:  # most often
            continue
        if t.dtype.kind == "b" and not allow_int:
            raise teach(
                ArgumentTypeError,
                f"{transformation} needs floating-point inputs; {call.names()[k]} has dtype {t.dtype}.",
                do="convert it, as in x.astype(float); for inputs that are to have no derivative use argnums, or allow_int=True.",
            )
        if t.dtype.kind == "c" and not holomorphic and not complex_ok:
            raise teach(
                ArgumentTypeError,
                f"{transformation} of a function of complex {call.names()[k]} needs holomorphic=True.",
                do="pass holomorphic=True if the function is complex-differentiable (and its output complex); "
                "otherwise take real and imaginary parts as inputs, or use grad or jacrev (of a real output) or wirtinger.",
            )
        if holomorphic and t.dtype.kind != "c":
            raise teach(
                ArgumentTypeError,
                f"{transformation} with holomorphic=True needs complex inputs; {call.names()[k]} has dtype {t.dtype}.",
                do="convert it with x.astype(complex), or leave out holomorphic.",
            )


def check_same_structure(what: str, given: Any, wanted: Any, given_name: str, wanted_name: str) -> None:
    """Refuse a tree whose structure differs from the one it must match."""
    if given != wanted:
        raise teach(
            ArgumentError,
            f"{what}: {given_name} and {wanted_name} are different trees.",
            detail=f"{given_name}: {tree.describe(given)}\n{wanted_name}: {tree.describe(wanted)}",
            do=f"give {given_name} the same nesting of tuples, lists and dicts as {wanted_name}.",
        )


def surely_zero(x: Any) -> bool:
    """Whether a tangent or cotangent given for an integer is but a placeholder: None, zeros, JAX's float0, a traced integer."""
    if type(x) is Tracer:
        return not type_of(x).inexact or concrete_zero(x)
    return x is None or np.asarray(x).dtype.kind == "V" or not np.any(x)


WHY_NONE = {"tangent": "cannot vary", "cotangent": "is piecewise constant, so nothing can be pulled back through it"}


def check_tangents(what: str, kind: str, values: Sequence[Any], types: Sequence[ArrayType], names: Sequence[str]) -> list[Any]:
    """Tangents or cotangents as values of the shape and dtype of ``types``; None for integers, which have none.

    For an integer or a truth value None, zeros and traced integers are taken; a number that would be lost is refused. None is zero.
    """
    checked: list[Any] = []
    for x, t, name in zip(values, types, names, strict=True):
        if not t.inexact:
            if not surely_zero(x):
                raise teach(
                    ArgumentTypeError,
                    f"{what}: the {kind} of {name} is not zero, but {name} has dtype {t.dtype}: it {WHY_NONE[kind]}.",
                    do=f"give None or zeros as the {kind} of {name}, or convert {name} with .astype(float).",
                )
            checked.append(None)
            continue
        if x is None:
            checked.append(zeros(t.with_shape(t.shape)))
            continue
        x = leaf(x, f"the {kind} of {name}")
        have = type_of(x)
        if have.shape != t.shape:
            shapes = [np.shape(v) if type(v) is not Tracer else v.shape for v in values]
            swapped = sorted(map(str, shapes)) == sorted(str(u.shape) for u in types)
            raise teach(
                ArgumentError,
                f"{what}: the {kind} of {name} has shape {have.shape}, not {t.shape}.",
                do=f"give the {kind}s in the order of what they belong to, {', '.join(names)}; here they are in another."
                if swapped
                else f"give each {kind} the shape of its {name}.",
            )
        if have.dtype != t.dtype:
            if not np.can_cast(have.dtype, t.dtype, "safe") and not (have.weak and (have.dtype.kind != "c" or t.dtype.kind == "c")):
                raise teach(
                    ArgumentTypeError,
                    f"{what}: the {kind} of {name} has dtype {have.dtype}, not {t.dtype}.",
                    do=f"convert the {kind} with .astype({t.dtype}).",
                )
            x = x.astype(t.dtype) if hasattr(x, "astype") else t.dtype.type(x)
        checked.append(x)
    return checked
