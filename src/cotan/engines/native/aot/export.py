"""Compiled code as a file for C: a relocatable object and its header, which need nothing of Python.

The object holds the code, the arrays that it captured, and the entry of `ahead`. It needs the C library and libm; libmvec where there are
vector functions; a BLAS or LAPACK with the names of Fortran (``dgemm_``) where there are products of matrices. What would be a call back
into Python cannot be exported.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cotan.core.types import ArrayType
from cotan.engines.native.cache.program_cache import OF_PROCESS
from cotan.engines.native.codegen.context import OUT_OF_MEMORY
from cotan.engines.native.codegen.kernels.builder import Failures
from cotan.engines.native.llvm.jit import machine

from .c_entry import Ahead, entry_text

__all__ = ["Exported", "NotExportableError", "exported"]

LARGEST_CONSTANT = 1 << 24
"""Bytes of an array that the text of a module may hold."""
C_TYPES = {"f8": "double", "f4": "float", "f2": "uint16_t", "c16": "double", "c8": "float", "b1": "uint8_t"} | {
    f"{kind}{size}": f"{'u' * (kind == 'u')}int{8 * size}_t" for kind in "iu" for size in (1, 2, 4, 8)
}
EMPTY_TABLE, NO_TABLE = "@nothing = internal constant [2 x i64] zeroinitializer", "getelementptr (i64, ptr @nothing, i64 1)"
DECLARED = re.compile(r"^declare [^@]*@([\w.]+)\(", re.MULTILINE)
VARIABLE = re.compile(r"^@([\w.]+) = external ", re.MULTILINE)


class NotExportableError(Exception):
    """Why code cannot leave the process."""


class Exported(NamedTuple):
    """An object file, its header, and what has to be linked."""

    object: bytes
    header: str
    libraries: tuple[str, ...]


def exported(ahead: Ahead, name: str, arguments: Sequence[str], results: Sequence[str]) -> Exported:
    """The code as an object with the function ``name``; the parameters in its header have the names ``arguments`` and ``results``."""
    code = ahead.written.for_linker()
    if code.callbacks:
        raise NotExportableError(f"{code.callbacks[0].equation.op.name} is a call back into Python")
    text = code.text.replace("define i32 @main(", f"define internal i32 @{name}_code(")
    text, libraries = linked(outside(text))
    constants = [constant(f"{name}_constant{k}", x) for k, x in enumerate(ahead.caller.constants)]
    pointers = [f"@{name}_constant{k}" for k in range(len(constants))]
    entry = entry_text(name, f"@{name}_code", pointers, len(ahead.given), len(ahead.outputs), code.workspace, NO_TABLE, ahead.copies(code))
    known = set(DECLARED.findall(text))
    entry = "\n".join(line for line in entry.splitlines() if not (found := DECLARED.match(line)) or found[1] not in known)
    module, host = machine().optimised(
        "\n".join([*constants, EMPTY_TABLE, text, entry]), ahead.written.level, reloc="pic", codemodel="default"
    )
    return Exported(host.emit_object(module), header(ahead, code.failures, name, arguments, results, libraries), libraries)


def outside(text: str) -> str:
    """The text without what it wants of this process."""
    for symbol in OF_PROCESS:
        if symbol.alone is not None:
            text = text.replace(symbol.text, symbol.alone)
    return text


def constant(name: str, x: np.ndarray[Any, Any]) -> str:
    """An array as data of the module."""
    if x.nbytes > LARGEST_CONSTANT:
        raise NotExportableError(f"it has captured an array of {x.nbytes} bytes")
    data = "".join(f"\\{byte:02x}" for byte in x.tobytes()) or "\\00"
    return f'@{name} = internal constant [{max(x.nbytes, 1)} x i8] c"{data}", align 64'


def linked(text: str) -> tuple[str, tuple[str, ...]]:
    """The text with routines of BLAS and LAPACK under their own names, and the libraries that it needs, in the order of a linker."""
    libraries: dict[str, None] = {}
    for symbol in DECLARED.findall(text):
        library, _, routine = symbol.removeprefix("cotan_").partition("_")
        if symbol.startswith("llvm."):
            continue
        if symbol.startswith("cotan_") and library in ("blas", "lapack") and not symbol.endswith("_64"):
            libraries[library] = None
            text = re.sub(rf"@{symbol}\b", f"@{routine}_", text)
        elif symbol.startswith("_ZGV"):
            libraries["mvec"] = None
        elif not in_c_library(symbol):
            raise NotExportableError(f"{symbol} is a routine of this process")
    for symbol in VARIABLE.findall(text):
        raise NotExportableError(f"{symbol} is a variable of this process")
    if "@_ZGV" in text:
        libraries["mvec"] = None
    order = ("lapack", "blas", "mvec")
    return text, (*[x for x in order if x in libraries], "m")


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
    ahead: Ahead, failures: Failures, name: str, arguments: Sequence[str], results: Sequence[str], libraries: Sequence[str]
) -> str:  # fmt: skip
    """The declaration for C, with what each pointer is of."""
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
            f"enum cotan_status {{ COTAN_OK = 0, COTAN_OUT_OF_MEMORY = {OUT_OF_MEMORY} }};",
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
