"""Symbols: the functions and variables to which the IR of a module refers beside the functions that are written for its Program.

A symbol has the text that declares or defines it, the symbols to which that text refers in turn, and the function that makes it known to
the JIT. `llvm.builder.Module.refer` is the one way to its name, and puts all of this in place, so no module refers to a symbol that it does
not have. Functions of libraries and LLVM's own are declared by `Module.call` from the arguments that they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

__all__ = ["RUNTIME_SYMBOLS", "Jit", "Symbol", "runtime_symbol"]


class Jit(Protocol):
    """What the runtime needs of the compiler: `llvm.jit.Machine`."""

    def add_symbol(self, name: str, address: int) -> None:
        """Make an address known under a name that compiled code may refer to."""
        ...

    def compile(self, text: str, names: list[str], level: int = 3, *, keep: bool = True, forever: bool = False) -> Mapping[str, int]:
        """The addresses of the functions ``names`` of a module."""
        ...


class Symbol(NamedTuple):
    """A function or variable by name. ``text`` declares or defines it, once in a module."""

    name: str
    text: str
    needs: tuple[Symbol, ...] = ()
    """The symbols to which the text refers."""
    make_known: Callable[[Jit], Any] | None = None
    """Makes a symbol of this process known to the JIT; None if the text defines it. It gives False where this cannot be done."""
    standalone: str | None = None
    """The text in code that runs outside of this process; None if it is the same."""


RUNTIME_SYMBOLS: dict[str, Symbol] = {}
"""The symbols that this process provides, by name."""


def runtime_symbol(
    name: str, text: str, *, make_known: Callable[[Jit], Any] | None = None, needs: tuple[Symbol, ...] = (), standalone: str | None
) -> Symbol:
    """A symbol that this process provides, or that is another one outside of it."""
    found = RUNTIME_SYMBOLS[name] = Symbol(name, text, needs, make_known, standalone)
    return found
