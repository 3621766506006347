"""Symbols: functions and variables to which the LLVM IR of a module refers and which no Program defines.

A symbol is defined in the module itself, or provided by this process. Symbols of the second kind are in a registry, `RUNTIME_SYMBOLS`: the
module of cotan that owns the function or variable registers it by `runtime_symbol`. A symbol has the LLVM IR that declares or defines it,
the symbols to which that IR refers, and the function that makes it known to the JIT. `llvm.builder.Module.refer` is the one way to its name
and puts all of this in place, so a module has every symbol to which it refers. Library functions and intrinsics are declared by
`Module.call`, from their arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

__all__ = ["RUNTIME_SYMBOLS", "Jit", "Symbol", "runtime_symbol"]


class Jit(Protocol):
    """The interface of the JIT to the runtime: `llvm.jit.Machine`."""

    def add_symbol(self, name: str, address: int) -> None:
        """Make an address known under a name that compiled code may refer to."""
        ...

    def compile(self, ir: str, names: list[str], level: int = 3, *, cached: bool = True, forever: bool = False) -> Mapping[str, int]:
        """The addresses of the functions ``names`` of a module."""
        ...


class Symbol(NamedTuple):
    """A function or variable by name; ``ir`` declares or defines it, once in a module."""

    name: str
    ir: str
    needs: tuple[Symbol, ...] = ()
    """The symbols to which ``ir`` refers."""
    make_known: Callable[[Jit], object] | None = None
    """Makes a symbol of this process known to the JIT; False if it cannot. None if ``ir`` defines the symbol."""
    standalone: str | None = None
    """The LLVM IR in code that runs outside of this process; None if it is ``ir``."""


RUNTIME_SYMBOLS: dict[str, Symbol] = {}
"""The symbols that this process provides, by name."""


def runtime_symbol(
    name: str, ir: str, *, make_known: Callable[[Jit], object] | None = None, needs: tuple[Symbol, ...] = (), standalone: str | None
) -> Symbol:
    """A symbol that this process provides; ``standalone`` replaces it in code that runs outside."""
    found = RUNTIME_SYMBOLS[name] = Symbol(name, ir, needs, make_known, standalone)
    return found
