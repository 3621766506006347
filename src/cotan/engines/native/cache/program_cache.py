"""The IR cache: the LLVM IR of Programs on disk, found before a Program is scheduled.

To schedule and write a Program takes longer than to load its object file. So an entry holds, under the Program's fingerprint, the IR and
the rest of its `LoweredModule`: sizes, results in arguments, messages of failures, and library routines by name. An entry has no addresses,
and nothing in it is executed as it is: the IR is the key of the object file. This process must have each routine and symbol that the IR
refers to, with the same calling convention. Otherwise, or if an entry is damaged, the Program is written again.

Code with callbacks into Python is not cached, nor code with symbols that this process cannot make known by name.
"""

from __future__ import annotations

import json
import re
from typing import TypeAlias

from cotan.core.errors import EqualValuesError
from cotan.engines.native.codegen.failures import Failures
from cotan.engines.native.codegen.lower import LoweredModule
from cotan.engines.native.libraries.registry import Routine, routine
from cotan.engines.native.llvm import disk_cache
from cotan.engines.native.llvm.jit import machine
from cotan.engines.native.runtime.symbols import RUNTIME_SYMBOLS

__all__ = ["load", "store"]

Convention: TypeAlias = list[str | bool]
"""How a routine is called: its symbol, whether it takes numbers by address, its integers; empty if there is no such routine."""
KIND = "ll"
"""The suffix of entries."""
ERRORS: dict[str, type[Exception]] = {"EqualValuesError": EqualValuesError, "ValueError": ValueError}
"""The exceptions of failures by name."""
OURS = re.compile(r"\n(?:declare [^@]*@|@)(cotan_\w+)(?:\(| = external )")
"""The symbols of this process to which IR refers, beside functions of the system."""


def load(key: str) -> LoweredModule | None:
    """The code of a Program that is cached under this key, without loop nests."""
    entry = disk_cache.load(key, KIND)
    if entry is None:
        return None
    try:
        head, _, ir = entry.decode().partition("\n")
        content = json.loads(head)
        failures = Failures()
        failures.known = [(ERRORS[name], str(message)) for name, message, _ in content["failures"]]
        failures.ops = {str(message): list(map(str, ops)) for _, message, ops in content["failures"]}
        routines = {str(name): list(how) for name, how in content["routines"]}
        failures.routines = dict.fromkeys(routines)
        donated_input_of = {int(k): int(j) for k, j in content["donated_input_of"]}
        workspace, callback_table = int(content["workspace"]), str(content["callback_table"])
        code = LoweredModule(ir, [], workspace, [], failures, callback_table, [], {}, [], donated_input_of, tuple(content["unused"]))
    except (ValueError, KeyError, TypeError):
        return None
    return code if binds(ir, routines) and not machine().missing(ir) else None


def store(key: str, code: LoweredModule) -> None:
    """Cache the code of a Program, if another process can use it."""
    names = {error: name for name, error in ERRORS.items()}
    if code.callbacks or code.places or not all(error in names for error, _ in code.failures.known):
        return
    routines = {name: how_called(routine(name)) for name in code.failures.routines}
    if not binds(code.ir, routines):
        return
    head: dict[str, object] = {
        "workspace": code.workspace,
        "callback_table": code.callback_table,
        "donated_input_of": sorted(code.donated_input_of.items()),
        "unused": list(code.unused),
        "failures": [(names[error], message, code.failures.ops[message]) for error, message in code.failures.known],
        "routines": list(routines.items()),
    }
    disk_cache.store(key, f"{json.dumps(head)}\n{code.ir}".encode(), KIND)


def how_called(found: Routine | None) -> Convention:
    """The calling convention of a routine."""
    return list(found[:3]) if found is not None else []


def binds(ir: str, routines: dict[str, Convention]) -> bool:
    """Whether all symbols of this process that IR refers to are there, with their calling conventions; the JIT knows them afterwards."""
    for name, how in routines.items():
        found = routine(name)
        if found is None or how_called(found) != how:
            return False
        machine().add_symbol(found.symbol, found.address)
    known = {how[0] for how in routines.values()}
    return all(symbol in known or is_known(symbol) for symbol in set(OURS.findall(f"\n{ir}")))


def is_known(name: str) -> bool:
    """Whether a symbol that is none of a library's routines can be made known, which this does."""
    symbol = RUNTIME_SYMBOLS.get(name)
    return symbol is not None and symbol.make_known is not None and symbol.make_known(machine()) is not False
