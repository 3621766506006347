"""Copies: which arrays a Program's code copies, because of which equation, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cotan.core.program import Equation
from cotan.core.types import ArrayType

__all__ = ["Copy", "copy_of"]


@dataclass(frozen=True)
class Copy:
    """An array that compiled code copies.

    ``type``: its shape and dtype; ``equation``: the op that needs the copy, and the user's line from which it comes; ``reason``: why it is
    copied; ``in_loop``: whether it is copied in each iteration of a loop.
    """

    type: str
    equation: str
    reason: str
    in_loop: bool

    def __str__(self) -> str:
        return f"{self.type}{' in each iteration' if self.in_loop else ''}, {self.equation or 'result'}: {self.reason}"


def copy_of(type: ArrayType, equations: Sequence[Equation], reason: str, *, in_body: bool) -> Copy:
    """The record of a copy in the code of the last of these equations, or ``in_body`` of it: in a program that it holds. So is each of the
    equations in a program that the one before it holds.
    """
    around = equations if in_body else equations[:-1]
    in_loop = any(not region.exclusive for equation in around for region in equation.op.regions())
    return Copy(str(type), equations[-1].described if equations else "", reason, in_loop)
