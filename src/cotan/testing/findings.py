"""The findings of derivative checks, and their messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..api.arguments import leaf
from ..core import tree
from ..core.errors import ArgumentTypeError, CotanError, teach
from ..core.printing import Printed
from .numeric import Estimate, Vector

__all__ = [
    "Finding",
    "NotSmoothWarning",
    "RuleCheckError",
    "RuleReport",
    "between",
    "told",
    "tuple_of_arguments",
    "wrong_derivative",
]


class RuleCheckError(AssertionError, CotanError):
    """A derivative rule is wrong; the message names the entry and, if it is found, the cause."""


class NotSmoothWarning(UserWarning):
    """A derivative was asked for at a kink or a jump, or too near to one for differences to resolve."""


@dataclass(frozen=True, repr=False)
class Finding(Printed):
    """One failed check: its name, the values that differ, and the likely cause."""

    check: str
    what: str
    cause: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.what}" + (f"\n    likely cause: {self.cause}" if self.cause else "")


@dataclass(frozen=True, repr=False)
class RuleReport(Printed):
    """The checks that `check_rule` made, with the largest error relative to its tolerance (below 1 is a pass)."""

    checks: dict[str, float]
    findings: tuple[Finding, ...] = ()
    rough: tuple[str, ...] = ()
    """Entries at a kink or a jump of the function."""

    @property
    def ok(self) -> bool:
        return not self.findings

    def __str__(self) -> str:
        rows = [
            f"  {name:<24} {'ok' if margin <= 1 else 'WRONG':<6} error / tolerance = {margin:.2g}" for name, margin in self.checks.items()
        ]
        return "\n".join([*rows, *(f"  {f}" for f in self.findings), *(f"  {text}" for text in self.rough)])


REMEDIES = {
    "value": "return the value of the function itself as the first result of the rule.",
    "transpose": "the two modes disagree: make the backward or transpose rule the adjoint of the JVP, <J^T y_bar, x'> = <y_bar, J x'>.",
    "linearity": "make the tangent that the rule returns linear in the tangents: multiply each by a value of the primals, and add up.",
    "batching": "correct the vmap rule, or leave it out: then cotan derives it.",
    "second": "write the rule in functions of cotan.numpy, so that it can be differentiated itself: no float, np.asarray or stop_gradient.",
}
"""What to do, by the first word of the check that fails."""
RULE = (
    "work out the entry that is named by hand, and correct the rule; for a function without a rule of its own, check the functions that it "
    "calls, until one is wrong."
)


def wrong_derivative(what: str, check: str, report: str = "") -> RuleCheckError:
    """The error that ``check`` of a derivative fails."""
    return teach(RuleCheckError, what, detail=report, do=REMEDIES.get(check.replace(",", " ").partition(" ")[0], RULE))


def tuple_of_arguments(name: str, args: Any) -> Sequence[Any]:
    """The arguments of the function that is checked, if they are a tuple of trees of arrays."""
    if not isinstance(args, tuple | list):
        what = f"{name}: args is a {type(args).__name__}, not a tuple of arguments."
        raise teach(ArgumentTypeError, what, do=f"write {name}(f, (x,)) for f(x), {name}(f, (x, y)) for f(x, y).")
    leaves, spec = tree.flatten(tuple(args))
    for x, path in zip(leaves, tree.leaf_names(spec, "args"), strict=True):
        if isinstance(x, str | bytes) or callable(x):
            what = f"{name}: {path} is a {type(x).__name__}, which has no derivative."
            raise teach(ArgumentTypeError, what, do=f"close over it: {name}(lambda x: f(x, {x!r:.20}), (x,)).")
        leaf(np.asarray(x), path)
    return args


def between(estimate: Estimate, tolerance: Vector) -> tuple[Vector, Vector]:
    """The least and the largest derivatives that pass: at a kink, all values between the derivatives of both sides."""
    value, (left, right), rough = estimate.value, estimate.sides, estimate.rough
    return (
        np.where(rough, np.minimum(value, left), value) - tolerance,
        np.where(rough, np.maximum(value, right), value) + tolerance,
    )


def told(estimate: Estimate) -> str:
    """A message about the first entry without a derivative."""
    k = int(np.argmax(estimate.rough))
    low, high = (float(side[k]) for side in estimate.sides)
    where = f"entry {k} of the function" if estimate.rough.size > 1 else "the function"
    if np.isinf(high):
        return f"{where} jumps here, or within the steps of the differences: it is not compared."
    return f"{where} has a kink here, or within the steps of the differences: from {low:.6g} to {high:.6g}, all derivatives between pass."
