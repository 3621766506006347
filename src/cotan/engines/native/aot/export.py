"""Export: compiled code as a relocatable object file with a C header, independent of Python.

The object file holds the code, the arrays that it captured, and the entry of `c_entry`. It needs the C library and libm; libmvec if there
are vector functions; a BLAS or LAPACK with Fortran names (``dgemm_``) if there are library calls. Code with callbacks into Python cannot be
exported.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from typing import NamedTuple

from cotan.core.types import ArrayType
from cotan.engines.native.call.caller import NumPyArray
from cotan.engines.native.codegen.failures import Failures
from cotan.engines.native.codegen.lower import LoweredModule
from cotan.engines.native.libraries.registry import routine
from cotan.engines.native.llvm.builder import Module
from cotan.engines.native.llvm.jit import machine
from cotan.engines.native.runtime.symbols import Symbol
from cotan.engines.native.status import NotExportableError, Status
from cotan.engines.native.target import ALIGNMENT, Target

from .c_entry import AheadOfTimeCode, write_entry

__all__ = ["Exported", "exported", "libraries_of"]

LARGEST_CONSTANT = 1 << 24
"""The most bytes of an array that a module may hold."""
C_TYPES = {"f8": "double", "f4": "float", "f2": "uint16_t", "c16": "double", "c8": "float", "b1": "uint8_t"} | {
    f"{kind}{size}": f"{'u' * (kind == 'u')}int{8 * size}_t" for kind in "iu" for size in (1, 2, 4, 8)
}
NO_CALLBACKS = Symbol("nothing", "@nothing = internal constant [2 x i64] zeroinitializer")
LIBRARIES = ("lapack", "blas", "mvec")
"""In the order of a linker."""
DECLARED = re.compile(r"^declare [^@]*@([\w.]+)\(", re.MULTILINE)
VARIABLE = re.compile(r"^@([\w.]+) = external ", re.MULTILINE)


class Exported(NamedTuple):
    """An object file, its header, and what has to be linked."""

    object: bytes
    header: str
    libraries: tuple[str, ...]


def exported(ahead: AheadOfTimeCode, name: str, arguments: Sequence[str], results: Sequence[str]) -> Exported:
    """The code as an object with the function ``name``; the parameters in its header have the names ``arguments`` and ``results``."""

    def finish(module: Module, code: LoweredModule) -> None:
        """Write the entry for C, and the arrays that it passes on."""
        constants = [module.refer(constant(f"{name}_constant{k}", x)) for k, x in enumerate(ahead.caller.constants)]
        callback_table, sizes = f"getelementptr (i64, ptr {module.refer(NO_CALLBACKS)}, i64 1)", (len(ahead.given), len(ahead.outputs))
        write_entry(module, name, f"@{name}_code", constants, sizes, code.workspace, callback_table, ahead.copies(code))

    code = ahead.written.standalone(f"{name}_code", finish)
    if code.callbacks:
        raise NotExportableError(f"{code.callbacks[0].equation.op.name} is a call back into Python")
    libraries = libraries_of(code)
    module, host = machine().optimize(code.ir, ahead.written.level, reloc="pic", codemodel="default")
    return Exported(host.emit_object(module), header(ahead, code.failures, name, arguments, results, libraries), libraries)


def constant(name: str, x: NumPyArray) -> Symbol:
    """An array as data of the module."""
    if x.nbytes > LARGEST_CONSTANT:
        raise NotExportableError(f"it has captured an array of {x.nbytes} bytes")
    data = "".join(f"\\{byte:02x}" for byte in x.tobytes()) or "\\00"
    return Symbol(name, f'@{name} = internal constant [{max(x.nbytes, 1)} x i8] c"{data}", align {ALIGNMENT}')


def libraries_of(code: LoweredModule) -> tuple[str, ...]:
    """The libraries that standalone code needs, in the order of a linker.

    Raises:
        NotExportableError: it refers to something in this process.
    """
    routines = {found.symbol: name.split()[0] for name in code.failures.routines if (found := routine(name, Target.STANDALONE)) is not None}
    libraries: set[str] = set()
    for symbol in DECLARED.findall(code.ir):
        if symbol.startswith("llvm."):
            continue
        if routines.get(symbol) in LIBRARIES:
            libraries.add(routines[symbol])
        elif symbol.startswith("_ZGV"):
            libraries.add("mvec")
        elif not in_c_library(symbol):
            raise NotExportableError(f"{symbol} is a routine of this process")
    for symbol in VARIABLE.findall(code.ir):
        raise NotExportableError(f"{symbol} is a variable of this process")
    return (*[x for x in LIBRARIES if x in libraries], "m")


def in_c_library(symbol: str) -> bool:
    """Whether the C library or libm has a function; where they go by other names than on Linux, it is taken on trust."""
    found = False
    for library in ("libc.so.6", "libm.so.6"):
        try:
            handle = ctypes.CDLL(library)
        except OSError:
            return True
        found = found or hasattr(handle, symbol)
    return found


# ---- the header -------------------------------------------------------------------------------------------------------------------
def header(
    ahead: AheadOfTimeCode, failures: Failures, name: str, arguments: Sequence[str], results: Sequence[str], libraries: Sequence[str]
) -> str:  # fmt: skip
    """The C declaration, with the type of each pointer."""
    parameters = [
        *[f"const {c_type(t)} *{x}" for x, t in zip(arguments, ahead.given, strict=True)],
        *[f"{c_type(t)} *{y}" for y, t in zip(results, ahead.outputs, strict=True)],
    ]
    notes = [
        f" *   {x}: {t.long_name()}{' (pairs of real and imaginary part)' * (t.dtype.kind == 'c')}"
        for x, t in zip((*arguments, *results), (*ahead.given, *ahead.outputs), strict=True)
    ]
    statuses = [f" * It returns {status} where: {text}" for status, text in failures.statuses()]
    return "\n".join(
        [
            f"/* {name}, compiled by cotan for {machine().cpu}.",
            " *",
            *notes,
            *statuses,
            " *",
            " * Arrays are row-major without gaps and aligned as C aligns their elements. Results do not overlap arguments or each other.",
            f" * It may be called from several threads at once. Link with {' '.join(f'-l{x}' for x in libraries)}.",
            " */",
            f"#ifndef COTAN_{name.upper()}_H",
            f"#define COTAN_{name.upper()}_H",
            "#include <stdint.h>",
            "#ifndef COTAN_STATUS",
            "#define COTAN_STATUS",
            f"enum cotan_status {{ COTAN_OK = 0, COTAN_OUT_OF_MEMORY = {Status.OUT_OF_MEMORY} }};",
            "#endif",
            "#ifdef __cplusplus",
            'extern "C" {',
            "#endif",
            "/* Returns COTAN_OK, or what went wrong: then the results are undefined. */",
            f"int32_t {name}({', '.join(parameters) or 'void'});",
            "#ifdef __cplusplus",
            "}",
            "#endif",
            "#endif",
            "",
        ]
    )


def c_type(t: ArrayType) -> str:
    """The C type of an element; of a complex one, of its parts."""
    return C_TYPES[t.dtype.str[1:]]
