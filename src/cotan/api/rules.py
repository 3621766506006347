"""Checks of the results of a user's rule: structure, shapes and dtypes, with an error that names the rule and its line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.errors import ArgumentTypeError, CotanError, DtypeError, RuleError, teach
from ..core.origin import Origin, describe_function, users_rule
from ..core.tracing import Tracer, type_of
from ..core.types import ArrayType
from .arguments import leaf, surely_zero

__all__ = ["CheckedRules", "parameter_names", "refuse_parameters", "shown", "takes"]

NAMES = {
    "jvp": "JVP rule",
    "fwd": "forward rule",
    "bwd": "backward rule",
    "vjp": "VJP rule",
    "transpose": "transpose rule",
    "vmap": "vmap rule",
    "batch": "batching rule",
    "type_rule": "type rule",
}


class CheckedRules:
    """The rules of one function: called by name, and their results checked.

    ``subject`` names the function; ``signatures`` says how each rule is written.
    """

    def __init__(self, subject: str, function: Any, rules: Mapping[str, Callable[..., Any]], signatures: Mapping[str, str]):
        self.subject, self.function, self.rules, self.signatures = subject, function, rules, signatures

    def call(self, rule: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """``function(*args, **kwargs)``, of the rule of this name; refused where it does not take these arguments."""
        try:
            with users_rule():
                return function(*args, **kwargs)
        except TypeError:
            if takes(function, args, kwargs):
                raise
        names = parameters(function)
        given = f"{len(args)} argument{'s' * (len(args) != 1)}" + "".join(f", {name}=" for name in kwargs)
        raise self.wrong(rule, f"it is called with {given}, but takes {names}.")

    def wrong(self, rule: str | None, problem: str, detail: str = "", do: str = "") -> RuleError:
        """The error that a rule (or, None, the function itself) returned something that does not fit."""
        function = self.rules[rule] if rule else self.function
        code = getattr(inspect.unwrap(function), "__code__", None)
        return teach(
            RuleError,
            f"the {NAMES[rule] if rule else 'function'} {describe_function(function)} of {self.subject}: {problem}",
            detail=detail,
            do=do or self.signatures.get(rule or "", "return a tree of arrays."),
            origin=Origin(code, 0) if code else None,
            locate=False,
        )

    def pair(self, rule: str, result: Any, what: str) -> tuple[Any, Any]:
        """A result that must be a pair."""
        if not isinstance(result, tuple | list) or len(result) != 2:  # type: ignore[arg-type]
            raise self.wrong(rule, f"it must return a pair {what}, not {shown(result)}.")
        return result[0], result[1]

    def fitting(self, rule: str, dy: Any, wanted: ArrayType, name: str) -> Any:
        """A tangent or cotangent that a rule returned, if it has the shape and dtype it must have; None is zero."""
        if not wanted.inexact and not surely_zero(dy):
            raise self.wrong(
                rule,
                f"{name} is not zero, but belongs to a value of dtype {wanted.dtype}, which has no derivative.",
                do="return None or zeros for it.",
            )
        if dy is None or not wanted.inexact:
            return np.zeros(wanted.shape, wanted.dtype)
        try:
            have = type_of(leaf(dy, name))
        except (ArgumentTypeError, DtypeError):
            raise self.wrong(rule, f"{name} is {shown(dy)}, not an array of numbers.") from None
        detail = f"it must be {wanted.long_name()}, and is {have.long_name()}"
        if have.shape != wanted.shape:
            do = ""
            if broadcasts(wanted.shape, have.shape):
                do = f"{name} belongs to an array that was broadcast: sum it over the axes that broadcasting added."
            raise self.wrong(rule, f"{name} has shape {have.shape}, not {wanted.shape}.", detail, do)
        if have.dtype != wanted.dtype:
            if have.weak and have.dtype.kind != "c":
                return wanted.dtype.type(dy) if type(dy) is not Tracer else dy
            raise self.wrong(rule, f"{name} has dtype {have.dtype}, not {wanted.dtype}.", detail, "convert it with .astype.")
        return dy

    def cotangents(self, rule: str, given: Sequence[Any], types: Sequence[ArrayType], names: Sequence[str]) -> list[Any | None]:
        """The cotangents that a rule returned, one for each operand, if each is like its operand; None is zero."""
        shapes = [np.shape(x) if isinstance(x, np.ndarray | Tracer | float | int | complex) else None for x in given]
        wanted = [t.shape for t in types]
        if None not in shapes and shapes != wanted and sorted(shapes, key=str) == sorted(wanted, key=str):
            raise self.wrong(
                rule,
                f"the cotangents have shapes {', '.join(map(str, shapes))}, and the arguments shapes {', '.join(map(str, wanted))}: "
                "as if the cotangents were in another order.",
                do=f"return them in the order of the arguments: {', '.join(names)}.",
            )
        fitted = [
            x if x is None else self.fitting(rule, x, t, f"the cotangent of {n}") for x, t, n in zip(given, types, names, strict=True)
        ]
        return [x if t.inexact else None for x, t in zip(fitted, types, strict=True)]

    def matching(self, rule: str, y: Any, wanted: ArrayType, name: str) -> None:
        """Refuse a value of another shape or dtype than the function's own."""
        have = type_of(leaf(y, name))
        if have.shape != wanted.shape or (have.dtype != wanted.dtype and not have.weak):
            raise self.wrong(rule, f"{name} is {have.long_name()}, where the function's own is {wanted.long_name()}.")


def broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    """Whether an array of shape ``small`` becomes one of shape ``large`` by broadcasting."""
    try:
        return small != large and np.broadcast_shapes(small, large) == large
    except ValueError:
        return False


def takes(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a function can be called with these arguments; True where its signature is not known."""
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except ValueError:
        return True
    except TypeError:
        return False
    return True


def parameters(function: Callable[..., Any]) -> str:
    """The parameters of a function, for a message."""
    return ", ".join(parameter_names(function)) or "no arguments"


Called = tuple[str, Callable[..., Any], int, str]
"""A function that an operation calls: its role, itself, the number of arguments, and how it is written."""


def refuse_parameters(error: TypeError, caller: str, *functions: Called) -> None:
    """Raise in place of ``error`` if one of the functions that ``caller`` calls does not take the arguments."""
    if isinstance(error, CotanError):
        return
    for role, function, count, written in functions:
        if not takes(function, [None] * count, {}):
            given = f"{count} argument{'s' * (count != 1)}"
            what = f"{caller}: {role}, {describe_function(function)}, is called with {given}, but takes {parameters(function)}."
            raise teach(ArgumentTypeError, what, do=f"write {written}.") from None


def parameter_names(function: Callable[..., Any]) -> list[str]:
    """The names of the parameters of a function; none where its signature is not known."""
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def shown(x: Any) -> str:
    """A short description of a wrong result."""
    if x is None:
        return "None (it has no `return`, perhaps)"
    if isinstance(x, tuple | list):
        return f"a {type(x).__name__} of length {len(x)}"
    return type_of(x).long_name() if type(x) is Tracer or isinstance(x, np.ndarray) else f"a {type(x).__name__}"
