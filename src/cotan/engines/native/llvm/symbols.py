"""Symbols: what the text of a module refers to beside the functions that are written for its Program.

A symbol is a function or a variable with the text that declares or defines it, the symbols to which that text refers in turn, and how the
process makes it known to LLVM. `Module.refer` is the one way to its name, and puts all of this in place, so nothing refers to a symbol that
the module does not have. Functions of libraries and LLVM's own are declared by `Module.call` from the arguments that they are given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Symbol"]


class Symbol(NamedTuple):
    """A function or variable by name. ``text`` declares or defines it, once in a module."""

    name: str
    text: str
    needs: tuple[Symbol, ...] = ()
    """The symbols to which the text refers."""
    make_known: Callable[[], Any] | None = None
    """Makes a symbol of the process known to LLVM; None if the text defines it."""
    alone: str | None = None
    """The text in code that runs outside of this process; None if it is the same."""
