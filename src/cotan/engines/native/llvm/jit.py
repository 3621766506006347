"""The JIT: compiles the LLVM IR of a module for this machine, and gives the addresses of its functions.

LLVM's loop vectorizer replaces calls of libm by calls of glibc's vector variants (libmvec) where the process has them, by the
attribute ``vector-function-abi-variant``. Objects come from `disk_cache` where it has them. `machine` is the one instance.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import llvmlite.binding as llvm

from cotan.engines.native.libraries.libmvec import VECTOR_FUNCTIONS
from cotan.engines.native.runtime.capi import keep_forever
from cotan.engines.native.runtime.compile_lock import compile_lock, lazy_singleton

from . import disk_cache

__all__ = ["BoundCode", "Machine", "Main", "Variant", "machine"]

LEVELS = {
    "x86-64-v2": ("sse4.2",),
    "x86-64-v3": ("sse4.2", "avx2", "fma", "f16c"),
    "x86-64-v4": ("sse4.2", "avx2", "fma", "f16c", "avx512f"),
}
"""The values of COTAN_CPU, to debug code for another processor: levels of x86-64, and their features."""
PASSES = 4
"""The version of `Machine.optimize`, a part of the keys of objects in the disk cache."""
DECLARED = re.compile(r"\ndeclare [^@]*@([\w.]+)\(")


@dataclass(frozen=True)
class Variant:
    """A vector variant of a function: its symbol, its number of lanes, and the attribute by which LLVM finds it."""

    symbol: str
    lanes: int
    attribute: str


class LinkedModule(dict[str, int]):
    """The addresses of functions by name. Their code lives as long as this object."""

    owner: tuple[llvm.ExecutionEngine, llvm.TargetMachine]


class Main(NamedTuple):
    """The address of code, which lives as long as its owner."""

    address: int
    owner: object


class BoundCode(NamedTuple):
    """Code, and the numbers that it reads from the callback table."""

    main: Main
    slots: tuple[int, ...]


class Machine:
    """LLVM for this host: its features, and the compiler of modules."""

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
        self.kept: list[LinkedModule] = []
        self.symbols: set[str] = set()
        """The functions that were found in the process."""
        for library in ("libm.so.6", "libmvec.so.1"):
            try:
                llvm.load_library_permanently(library)
            except RuntimeError:
                continue

    @cached_property
    def casts_as_x86(self) -> bool:
        """Whether NumPy converts floats to integers as an x86 processor does, also numbers that do not fit."""
        return platform.machine().lower() in ("x86_64", "amd64")

    @cached_property
    def complex_numbers(self) -> str | None:
        """The calling convention of complex numbers: by parts; ``packed`` if two floats are one vector; None if unknown."""
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
        """The bits of the vector registers for which code is compiled."""
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

    def optimize(
        self, ir: str, level: int = 3, reloc: str = "default", codemodel: str = "jitdefault"
    ) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
        """The module ``ir`` optimized for this host, and a new target machine. Level 3 vectorizes, 1 is quick, 0 does next to nothing."""
        host = llvm.Target.from_triple(self.triple).create_target_machine(
            cpu=self.cpu, features=self.flags, opt=min(level, 1), reloc=reloc, codemodel=codemodel, jit=reloc == "default"
        )
        module = llvm.parse_assembly(ir)
        module.verify()
        # LLVM's level 1 with vectors takes a seventh less time than level 3, and makes most loops as fast, but not all: k-means takes up to
        # twice as long. The level of code generation makes no difference.
        options = llvm.create_pipeline_tuning_options(speed_level=level)
        # Straight-line code is not vectorized (SLP): LLVM 22 has aborted on the result.
        options.loop_vectorization = options.loop_interleaving = level == 3
        # Loops that should be unrolled are unrolled before; unrolled vector loops took LLVM ten times as long and were no faster.
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

    def compile(self, ir: str, names: list[str], level: int = 3, *, cached: bool = True, forever: bool = False) -> dict[str, int]:
        """The addresses of the functions ``names`` of the module ``ir``, which lives as long as this object.

        With ``cached``, its object comes from the disk cache, or goes there. With ``forever``, its code survives this Python module: it may
        be called while Python ends.

        Raises:
            LookupError: as `link`.
        """
        found = self.link(ir, names, level, cached=cached)
        self.kept.append(found)
        if forever:
            for part in found.owner:
                keep_forever(part)
        return found

    def link(self, ir: str, names: list[str], level: int = 3, *, cached: bool = True) -> LinkedModule:
        """The addresses of the functions ``names`` of the module ``ir``, which is freed with the returned object. ``cached`` is as in
        `compile`.

        Raises:
            LookupError: the module calls a function that the process does not have; to link it would end the process.
        """
        missing = self.missing(ir)
        if missing:
            raise LookupError(f"there is no function {missing[0]} in this process")
        with compile_lock:
            return self.load(ir, names, level, self.key(ir, level) if cached else "")

    def load(self, ir: str, names: list[str], level: int, key: str) -> LinkedModule:
        """Compile and load a module whose external functions exist, under the compile lock; ``key`` is its key in the disk cache."""
        code = disk_cache.load(key) if key else None
        if code is None:
            module, host = self.optimize(ir, level)
            code = host.emit_object(module)
            if key:
                disk_cache.store(key, code)
        target = llvm.Target.from_triple(self.triple)
        host = target.create_target_machine(cpu=self.cpu, features=self.flags, codemodel="jitdefault", jit=True)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), host)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        found = LinkedModule({name: engine.get_function_address(name) for name in names})
        found.owner = engine, host
        return found

    def missing(self, ir: str) -> list[str]:
        """The functions that a module calls and the process does not have."""
        return [name for name in DECLARED.findall(f"\n{ir}") if not name.startswith("llvm.") and not self.has_symbol(name)]

    def is_cached(self, ir: str, level: int) -> bool:
        """Whether the object of a module is in the disk cache."""
        return disk_cache.load(self.key(ir, level)) is not None

    def key(self, ir: str, level: int) -> str:
        """The key of the object of a module in the disk cache: a hash of all inputs of its compilation."""
        parts = (ir, str(level), self.triple, self.cpu, self.flags, str(llvm.llvm_version_info), str(PASSES))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def add_symbol(self, name: str, address: int) -> None:
        """Make an address known under a name that compiled code may refer to."""
        llvm.add_symbol(name, address)

    def has_symbol(self, name: str) -> bool:
        """Whether the process has this function. To link a module that calls a missing one would end the process."""
        if name not in self.symbols and llvm.address_of_symbol(name):
            self.symbols.add(name)
        return name in self.symbols


def features_of(level: str, host: dict[str, bool]) -> dict[str, bool]:
    """The features that code generation asks for, at a level of x86-64.

    Raises:
        ValueError: there is no such level, or the processor is below it.
    """
    if level not in LEVELS:
        raise ValueError(f"COTAN_CPU={level}: give one of {', '.join(LEVELS)}")
    missing = [name for name in LEVELS[level] if not host.get(name)]
    if missing:
        raise ValueError(f"COTAN_CPU={level}: this processor has no {missing[0]}")
    return dict.fromkeys(LEVELS[level], True)


@lazy_singleton
def machine() -> Machine:
    """The JIT of this process."""
    return Machine()
