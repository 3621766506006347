"""LLVM on this machine: a module's text in, the addresses of its functions out.

Scalar calls of mathematical functions become calls of glibc's vector variants (libmvec) where these are there: LLVM's loop vectoriser maps
them by the attribute ``vector-function-abi-variant``.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import llvmlite.binding as llvm

from cotan.engines.native.runtime.capi import keep_forever
from cotan.engines.native.runtime.compile_lock import compile_lock, once

from . import object_cache

__all__ = ["VECTOR_FUNCTIONS", "Machine", "Variant", "machine"]

ONE_ARGUMENT = (
    *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cbrt", "cos", "cosh", "erf", "erfc", "exp"),
    *("exp2", "expm1", "log", "log10", "log1p", "log2", "sin", "sinh", "tan", "tanh"),
)
VECTOR_FUNCTIONS = dict.fromkeys(ONE_ARGUMENT, 1) | dict.fromkeys(("atan2", "hypot", "pow"), 2)
"""The functions of libmvec, and how many arguments they take."""
LEVELS = {
    "x86-64-v2": ("sse4.2",),
    "x86-64-v3": ("sse4.2", "avx2", "fma", "f16c"),
    "x86-64-v4": ("sse4.2", "avx2", "fma", "f16c", "avx512f"),
}
"""What COTAN_CPU may ask for, to debug code for another processor than this one: levels of x86-64, and which features they have."""
PASSES = 4
"""The version of what `Machine.optimised` does: with another one, code in the cache is not what it would make."""
DECLARED = re.compile(r"\ndeclare [^@]*@([\w.]+)\(")


@dataclass(frozen=True)
class Variant:
    """A vector variant of a function: its symbol, its number of lanes, and the attribute that leads to it."""

    symbol: str
    lanes: int
    attribute: str


class Linked(dict[str, int]):
    """Functions in memory by name. They are there as long as this is."""

    owner: Any = None


class Machine:
    """The host: compiles modules."""

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.features: dict[str, bool] = llvm.get_host_cpu_features()
        self.flags: str = llvm.get_host_cpu_features().flatten()
        self.triple = llvm.get_process_triple()
        self.cpu: str = llvm.get_host_cpu_name()
        level = os.environ.get("COTAN_CPU")
        if level:
            self.cpu, self.flags, self.features = level, "", features_of(level, self.features)
        self.kept: list[Any] = []
        self.symbols: set[str] = set()
        """Functions that were found in the process, which stay there."""
        for library in ("libm.so.6", "libmvec.so.1"):
            try:
                llvm.load_library_permanently(library)
            except RuntimeError:
                continue

    @cached_property
    def casts_as_x86(self) -> bool:
        """Whether NumPy's conversions of floats to integers are those of an x86 processor, also of numbers that do not fit."""
        return platform.machine().lower() in ("x86_64", "amd64")

    @cached_property
    def complex_numbers(self) -> str | None:
        """How C functions take complex numbers: by parts; ``packed`` if two floats are one vector; None if it is not known."""
        if os.name != "posix":
            return None
        return {"x86_64": "packed", "amd64": "packed", "aarch64": "parts", "arm64": "parts"}.get(platform.machine().lower())

    @property
    def fuses(self) -> bool:
        """Whether the processor has an instruction that multiplies and adds with one rounding."""
        return bool(self.features.get("fma")) or platform.machine().lower() in ("aarch64", "arm64")

    @property
    def converts_halves(self) -> bool:
        """Whether the processor has instructions for numbers of half precision."""
        return bool(self.features.get("f16c")) or platform.machine().lower() in ("aarch64", "arm64")

    @property
    def width(self) -> int:
        """The bits of a vector register that code is made for."""
        return 512 if self.features.get("avx512f") else 256 if self.features.get("avx2") else 128

    @lru_cache(maxsize=None)  # noqa: B019, UP033 - there is one machine
    def variant(self, name: str, bits: int) -> Variant | None:
        """The widest vector variant of a libm function for numbers of so many bits."""
        if name not in VECTOR_FUNCTIONS:
            return None
        letter = {512: "e", 256: "d", 128: "b"}[self.width]
        lanes, scalar = self.width // bits, name if bits == 64 else f"{name}f"
        arguments = "v" * VECTOR_FUNCTIONS[name]
        symbol = f"_ZGV{letter}N{lanes}{arguments}_{scalar}"
        if not llvm.address_of_symbol(symbol):
            return None
        return Variant(symbol, lanes, f"_ZGV_LLVM_N{lanes}{arguments}_{scalar}({symbol})")

    def optimised(self, text: str, level: int = 3, reloc: str = "default", codemodel: str = "jitdefault") -> tuple[Any, Any]:
        """The module ``text`` optimised for this host: at level 3 with vectors, at 1 quickly, at 0 hardly at all; and the target machine,
        made anew.
        """
        host = llvm.Target.from_triple(self.triple).create_target_machine(
            cpu=self.cpu, features=self.flags, opt=min(level, 1), reloc=reloc, codemodel=codemodel, jit=reloc == "default"
        )
        module = llvm.parse_assembly(text)
        module.verify()
        # LLVM's level 1 with vectors takes a seventh less time than level 3, and makes most loops as fast, but not all: k-means takes up to
        # twice as long. Levels of what follows the passes make no difference.
        options = llvm.create_pipeline_tuning_options(speed_level=level)
        # Vectors out of straight code are left alone: LLVM 22 has aborted on what became of them.
        options.loop_vectorization = options.loop_interleaving = level == 3
        # What should be written out is written out before; unrolled vector loops took LLVM ten times as long and were no faster.
        options.loop_unrolling = False
        options.slp_vectorization = False
        builder = llvm.create_pass_builder(host, options)
        if level > 1:
            passes = builder.getModulePassManager()
        else:  # LLVM's own choice for level 1 takes four times as long, and its code is no faster
            passes = llvm.create_new_module_pass_manager()
            passes.add_sroa_pass()
            if level:
                passes.add_instruction_combine_pass()
        passes.run(module, builder)
        return module, host

    def compile(self, text: str, names: list[str], level: int = 3, *, keep: bool = True, forever: bool = False) -> dict[str, int]:
        """The addresses of the functions ``names`` of the module ``text``, which stays as long as this module does. Its object is kept on
        disk, or found there, with ``keep``. Code that may be called when Python is ending, and this module is empty, stays ``forever``.

        Raises:
            LookupError: as `linked`.
        """
        found = self.linked(text, names, level, keep=keep)
        self.kept.append(found)
        if forever:
            for part in found.owner:
                keep_forever(part)
        return found

    def linked(self, text: str, names: list[str], level: int = 3, *, keep: bool = True) -> Linked:
        """The same of a module that goes when nothing refers to what is returned.

        Raises:
            LookupError: the module calls a function that the process does not have; to link it would end the process.
        """
        missing = self.missing(text)
        if missing:
            raise LookupError(f"there is no function {missing[0]} in this process")
        with compile_lock:
            return self.loaded(text, names, level, self.key(text, level) if keep else "")

    def loaded(self, text: str, names: list[str], level: int, key: str) -> Linked:
        """The same of calls that are there, by the thread that may compile; kept under a key, if there is one."""
        code = object_cache.load(key) if key else None
        if code is None:
            module, host = self.optimised(text, level)
            code = host.emit_object(module)
            if key:
                object_cache.store(key, code)
        target = llvm.Target.from_triple(self.triple)
        host = target.create_target_machine(cpu=self.cpu, features=self.flags, codemodel="jitdefault", jit=True)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), host)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        found = Linked({name: engine.get_function_address(name) for name in names})
        found.owner = engine, host
        return found

    def missing(self, text: str) -> list[str]:
        """The functions that a text calls and the process does not have."""
        return [name for name in DECLARED.findall(f"\n{text}") if not name.startswith("llvm.") and not self.has_symbol(name)]

    def is_kept(self, text: str, level: int) -> bool:
        """Whether the object of a text is on disk."""
        return object_cache.load(self.key(text, level)) is not None

    def key(self, text: str, level: int) -> str:
        """What the code of a text depends on, as a hash."""
        parts = (text, str(level), self.triple, self.cpu, self.flags, str(llvm.llvm_version_info), str(PASSES))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def add_symbol(self, name: str, address: int) -> None:
        """Make a function known under a name that compiled code may call."""
        llvm.add_symbol(name, address)

    def has_symbol(self, name: str) -> bool:
        """Whether the process has this function; a module that needs one it has not must never be linked."""
        if name not in self.symbols and llvm.address_of_symbol(name):
            self.symbols.add(name)
        return name in self.symbols


def features_of(level: str, host: dict[str, bool]) -> dict[str, bool]:
    """The features that decide what code is written, at a level of x86-64.

    Raises:
        ValueError: there is no such level, or the processor is below it.
    """
    if level not in LEVELS:
        raise ValueError(f"COTAN_CPU={level}: give one of {', '.join(LEVELS)}")
    missing = [name for name in LEVELS[level] if not host.get(name)]
    if missing:
        raise ValueError(f"COTAN_CPU={level}: this processor has no {missing[0]}")
    return dict.fromkeys(LEVELS[level], True)


@once
def machine() -> Machine:
    """The machine, set up when it is first asked for."""
    return Machine()
