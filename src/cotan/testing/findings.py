"""The findings of derivative checks, and their messages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.errors import CotanError
from ..core.printing import Printed
from .numeric import Estimate, Vector

__all__ = ["Finding", "NotSmoothWarning", "RuleCheckError", "RuleReport", "between", "told"]


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
